"""DirectCLR and projectors on images (section 6, Tables 1, 2, Figs. 7-12)."""

from linsim.studies.directclr import STUDY

if __name__ == "__main__":
    STUDY.main()
