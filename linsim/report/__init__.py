"""What a run prints: a short table of measured beside predicted values, and a verdict that can fail."""

from linsim.report.arrays import embeddings, layers
from linsim.report.networks import depth, kinds
from linsim.report.one_layer import collapsed_dimensions, early_record, late_exponent, resolved, state, strong_augmentation
from linsim.report.phases import phases
from linsim.report.projectors import projectors
from linsim.report.two_layers import alignment, singular_values
from linsim.report.words import divergence

__all__ = [
    "alignment",
    "collapsed_dimensions",
    "depth",
    "divergence",
    "early_record",
    "embeddings",
    "kinds",
    "late_exponent",
    "layers",
    "phases",
    "projectors",
    "resolved",
    "singular_values",
    "state",
    "strong_augmentation",
]
