"""Depth: the embedding spectrum of L linear or ReLU layers (Fig. 11)."""

from linsim.studies.depth import STUDY

if __name__ == "__main__":
    STUDY.main()
