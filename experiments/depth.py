"""Depth: the embedding spectrum of L linear or ReLU layers under weak augmentation (paper, Figure 11)."""

from linsim.studies.depth import STUDY

if __name__ == "__main__":
    STUDY.main()
