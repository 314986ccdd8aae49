"""Kinds of collapse: none, dimensional or complete, with and without negatives (paper, section 3, Figures 1 and 2)."""

from linsim.studies.collapse_kinds import STUDY

if __name__ == "__main__":
    STUDY.main()
