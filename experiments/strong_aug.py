"""Strong augmentation: dimensional collapse of a linear model (section 4, Fig. 3)."""

from linsim.studies.strong_aug import STUDY

if __name__ == "__main__":
    STUDY.main()
