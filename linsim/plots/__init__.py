"""Figures from saved results: Dataset in, Figure out. Nothing is computed here but what drawing needs.

Colour follows the sweep (cividis, dark to light, with one marker each so that no figure needs colour); measured values
are solid lines with markers, the population theory is dashed, the condensed regime dotted.
"""

from linsim.plots.arrays import embeddings, layers
from linsim.plots.networks import depth, kinds
from linsim.plots.one_layer import strong_augmentation
from linsim.plots.phases import phases
from linsim.plots.projectors import projectors
from linsim.plots.style import save
from linsim.plots.two_layers import alignment, singular_values

__all__ = [
    "alignment",
    "depth",
    "embeddings",
    "kinds",
    "layers",
    "phases",
    "projectors",
    "save",
    "singular_values",
    "strong_augmentation",
]
