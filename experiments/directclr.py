"""DirectCLR and the projector on images (paper, section 6, Tables 1 and 2)."""

from linsim.studies.directclr import STUDY

if __name__ == "__main__":
    STUDY.main()
