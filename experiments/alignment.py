"""Do two linear layers align, V2^T U1 -> I? (section 5.2, Fig. 5)."""

from linsim.studies.alignment import STUDY

if __name__ == "__main__":
    STUDY.main()
