"""Pictures of the guided pages beside those of the bench."""

import numpy as np

from linsim.explore.lessons import Direct, TwoLayers
from linsim.explore.svg import Plot, Scale
from linsim.studies.style import BLOCK_COLOURS

SMALLEST = 1e-6  # relative, of what is drawn of a gradient


def alignment(layers: TwoLayers, record: int) -> str:
    """The absolute alignment matrix at one time, with a frame around the modes that have grown."""
    matrix = np.abs(layers.alignment[record])
    size, grown = len(matrix), layers.grown(record)
    axis = Scale(0.5, size + 0.5), Scale(size + 0.5, 0.5)
    title = f"|A| at t = {layers.times[record]:.3g}: bright is 1, dark is 0"
    plot = Plot(*axis, "mode k of W₁", "mode j of W₂", title)
    plot.cells(np.clip(matrix, 0.0, 1.0))
    edge = grown + 0.5
    corner = np.array([0.5, edge, edge]), np.array([edge, edge, 0.5])
    plot.line(*corner, "#e08214", 4)
    return plot.svg()


def strengths(layers: TwoLayers, record: int) -> str:
    """Singular values of both layers in time, multiplied mode by mode."""
    times = layers.times[1:]
    high = 2 * float(layers.strength.max())
    plot = Plot(
        Scale(times[0], times[-1], logarithmic=True),
        Scale(1e-4 * high, high, logarithmic=True),
        "time t = learning rate × steps",
        "σ₁ σ₂ of mode k",
        f"{layers.grown(record)} of {layers.strength.shape[1]} modes have grown",
    )
    for mode in layers.strength[1:].T:
        plot.line(times, mode, BLOCK_COLOURS[0], 1.5)
    plot.level(max(layers.times[record], times[0]), "#bbb", 2)
    return plot.svg()


def cosines(layers: TwoLayers, record: int) -> str:
    """|A_kk| of every mode, and below it what the bound promises."""
    found = np.abs(np.diagonal(layers.alignment[record]))
    k = np.arange(1, len(found) + 1)
    plot = Plot(
        Scale(0.5, len(found) + 0.5),
        Scale(0.0, 1.05),
        "mode k",
        "|A_kk|",
        "bars: cosines; black: their lower bound",
    )
    grown = layers.grown(record)
    plot.bars(k, found, [BLOCK_COLOURS[0] if n <= grown else "#c9d6e4" for n in k])
    for n, least in zip(k, layers.bound[record], strict=True):
        plot.line(np.array([n - 0.4, n + 0.4]), np.array([least, least]), "black", 3)
    return plot.svg()


def gradients(found: Direct) -> str:
    """Singular values of the gradient at r and in front of the last block."""
    k = np.arange(1, len(found.at_r) + 1)
    high = 2 * float(max(found.at_r[0], found.before[0]))
    here, before = found.ranks()
    plot = Plot(
        Scale(0.5, len(k) + 0.5),
        Scale(SMALLEST * high, high, logarithmic=True),
        "rank",
        "singular value of the gradient",
        f"rank {here} at r, rank {before} before the block",
    )
    plot.dots(k, found.before, BLOCK_COLOURS[1], 9)
    plot.dots(k, found.at_r, BLOCK_COLOURS[0], 7)
    key = [("at r", BLOCK_COLOURS[0]), ("before the last block", BLOCK_COLOURS[1])]
    plot.key(key, 0.03, 0.8)
    return plot.svg()


def moved(found: Direct, d0: int) -> str:
    """How far each coordinate of r has moved in training."""
    k = np.arange(1, len(found.moved) + 1)
    still = int(np.sum(found.moved < SMALLEST))
    told = f"{still} of {len(k)} coordinates of r have not moved" if still else "all of r has moved"
    plot = Plot(
        Scale(0.5, len(k) + 0.5),
        Scale(0.0, 1.25 * float(found.moved.max()) or 1.0),
        "coordinate of r",
        "how far it has moved",
        told,
    )
    plot.bars(k, found.moved, [BLOCK_COLOURS[int(n > d0)] for n in k])
    key = [("the loss sees these", BLOCK_COLOURS[0]), ("and not these", BLOCK_COLOURS[1])]
    plot.key(key, 0.97, 0.08)
    return plot.svg()
