"""Guided pages: a text with live figures, for a lecture. Each is a marimo notebook of its own."""
