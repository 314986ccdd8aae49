"""Every choice about images and encoders that is made by name, each spelled once.

Imports no numerical library.
"""

from typing import Literal

DIGITS = "digits"  # the images that come with scikit-learn

Part = Literal["all", "choosing", "judging"]
"""All images; the third on which settings may be chosen; the others, on which they are judged."""

Setup = Literal[
    "none",
    "orthogonal",
    "trainable-orthogonal",
    "linear",
    "diagonal",
    "low-rank",
    "low-rank-diagonal",
    "nonlinear",
    "directclr",
    "random-subset",
    "directclr-linear-block",
    "shuffled",
]
"""A projector, with or without a linear last block of the encoder."""

LINEAR_BLOCK = "-linear-block"  # ending of a setup whose last block is linear

NormName = Literal["batch", "group"]
EncoderOptimizer = Literal["sgd", "lars"]
Classifier = Literal["logistic", "ridge"]
Feature = Literal["r", "r[:d0]", "r[d0:]", "h"]
Place = Literal["behind the last block", "representation"]

FEATURES: tuple[Feature, ...] = ("r", "r[:d0]", "r[d0:]", "h")
PLACES: tuple[Place, ...] = ("behind the last block", "representation")
