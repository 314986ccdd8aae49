"""Closed forms only: one pure function per equation, importing nothing from the simulation."""
