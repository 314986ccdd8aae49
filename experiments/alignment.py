"""Weight alignment of two linear layers: does V2^T U1 become the identity? (paper, section 5.2, Figure 5)."""

from linsim.studies.alignment import STUDY

if __name__ == "__main__":
    STUDY.main()
