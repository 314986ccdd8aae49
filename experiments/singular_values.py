"""Implicit regularisation: singular values of two layers in time (Fig. 6)."""

from linsim.studies.singular_values import STUDY

if __name__ == "__main__":
    STUDY.main()
