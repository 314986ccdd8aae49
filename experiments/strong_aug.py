"""Strong augmentation: dimensional collapse of a linear model (paper, section 4, Figure 3)."""

from linsim.studies.strong_aug import STUDY

if __name__ == "__main__":
    STUDY.main()
