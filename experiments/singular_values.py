"""Implicit regularisation: the singular values of two linear layers in time (paper, section 5.3, Figure 6)."""

from linsim.studies.singular_values import STUDY

if __name__ == "__main__":
    STUDY.main()
