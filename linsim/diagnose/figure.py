"""Pictures of `linsim diagnose`: one's own embeddings, or two adjacent layers."""

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from linsim import spectra
from linsim.spectra import DIMENSIONAL
from linsim.studies.style import BLOCK_COLOURS, figure, look


def embeddings(z: Float[np.ndarray, "N n"]) -> Figure:
    """Covariance spectrum with the collapse threshold. Args: embeddings, one row a sample. Returns:
    Figure.
    """
    with look():
        return _embeddings(z)


def _embeddings(z: Float[np.ndarray, "N n"]) -> Figure:
    spectrum = np.asarray(spectra.covariance_spectrum(z))[: min(len(z) - 1, z.shape[1])]
    drawn = figure(4.4, 3.2)
    axis = drawn.subplots()
    shown = spectrum > 0
    rank = np.arange(1, len(spectrum) + 1)
    axis.plot(
        rank[shown],
        spectrum[shown],
        color=BLOCK_COLOURS[0],
        marker="o",
        markersize=3,
        label="eigenvalue",
    )
    axis.axhline(
        DIMENSIONAL * spectrum[0],
        color="0.3",
        linestyle="--",
        linewidth=1.0,
        label="collapsed below",
    )
    axis.set(
        yscale="log",
        xlabel="rank",
        ylabel="eigenvalue of the covariance",
        title=f"{len(z)} samples, {z.shape[1]} dimensions",
    )
    axis.legend()
    return drawn


def layers(w1: Float[np.ndarray, "h d"], w2: Float[np.ndarray, "n h"]) -> Figure:
    """Singular values of both layers, and |A|. Args: W1 (h, d), W2 (n, h). Returns: Figure."""
    with look():
        return _layers(w1, w2)


def _layers(w1: Float[np.ndarray, "h d"], w2: Float[np.ndarray, "n h"]) -> Figure:
    drawn = figure(7.2, 3.2)
    axes = drawn.subplots(1, 2)
    for w, name, colour, mark in (
        (w1, "W1", BLOCK_COLOURS[0], "o"),
        (w2, "W2", BLOCK_COLOURS[1], "^"),
    ):
        values = np.asarray(spectra.singular_values(w))
        axes[0].plot(
            np.arange(1, len(values) + 1),
            np.maximum(values, 1e-12),
            color=colour,
            marker=mark,
            label=name,
        )
    axes[0].set(yscale="log", xlabel="mode", ylabel="singular value")
    axes[0].legend()
    image = axes[1].imshow(np.abs(spectra.alignment_matrix(w1, w2)), vmin=0, vmax=1)
    axes[1].set(title="|A|, A = V2ᵀ U1", xlabel="mode of W1", ylabel="mode of W2")
    drawn.colorbar(image, ax=axes[1], shrink=0.85)
    return drawn
