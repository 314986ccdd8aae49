"""The choices that are made by name in training, each spelled once. A light module."""

from typing import Literal

LossName = Literal["distance", "dot", "cosine", "alignment", "spectral", "linear-barlow-twins"]
Views = Literal["one", "two"]
Batches = Literal["fresh", "dataset", "fixed"]
Activation = Literal["linear", "relu"]
NoiseShape = Literal["block", "graded"]
Solver = Literal["descent", "flow", "population"]
OptimizerName = Literal["sgd", "momentum", "adam", "adamw"]
OneLayerStart = Literal["orthogonal", "gaussian", "uniform"]
TwoLayerStart = Literal["spectral", "balanced", "gaussian"]
