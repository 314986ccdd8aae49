"""Kinds of collapse, with and without negatives (section 3, Figs. 1, 2)."""

from linsim.studies.collapse_kinds import STUDY

if __name__ == "__main__":
    STUDY.main()
