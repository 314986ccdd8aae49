"""Every loss on one bench: which collapse, when, and by what theory (docs/losses.md)."""

from linsim.studies.losses import STUDY

if __name__ == "__main__":
    STUDY.main()
