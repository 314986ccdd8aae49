"""Claims C05-C07: collapse by strong augmentation (paper, section 4)."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from linsim import spectra
from linsim.claims.ledger import COUNT, Evidence, claim, solver
from linsim.claims.setups import (
    FLOW,
    SAMPLES,
    below,
    case,
    error,
    noisy_block,
    train,
)
from linsim.theory import infonce, population
from linsim.training import data, dynamics, models

TIMES = np.array([0.0, 1.0, 3.0])
NOISY = 2  # of 4 coordinates
STEPS = (0, 1, 400)
RATE = 0.1
WEAKER, STRONG = 1.35, 1.5  # deviations of the noise on either side of the threshold, √2
SMALL_VARIANCE = 1e-4  # of the largest: below it a dimension has collapsed (`collapse_kind`)


@jax.jit
def frozen(w, x):
    """The flow dW/dt = W X of a contrast matrix that does not change."""
    return dynamics.integrate(lambda w: w @ x, w, TIMES, tolerance=FLOW)


@claim(
    "C05",
    "4",
    "Theorem 1",
    tolerance=solver(FLOW),
    recorded="exact",
    error="X {} too large",
    by=1e-6,
)
def frozen_contrast_gives_an_exponential(seed: int, wrong: float) -> Evidence:
    """With X held fixed, W(t) = W(0) e^{Xt}: directions in which X is negative vanish at that
    rate.
    """
    w, x, x_pos = case(seed)
    contrast = infonce.contrast_matrix(w, x, x_pos) / SAMPLES
    stated = [infonce.frozen_flow(w, (1 + wrong) * contrast, t) for t in TIMES]
    return Evidence(
        error(jnp.stack(stated), frozen(w, contrast)),
        assumptions=(below("smallest eigenvalue of X/N", np.linalg.eigvalsh(contrast)[0], 0.0),),
    )


@functools.cache
def strong_augmentation(seed: int, noise: float, views: data.Views, scale: float):
    """One trained run with 2 of 4 coordinates noisy."""
    start = models.orthogonal(jax.random.key(seed), (4, 4), scale)
    return train(
        start, noisy_block(4, NOISY, noise), seed, RATE, views=views, batch_size=128, steps=STEPS
    )


def collapsed(seed: int, noise: float, views: data.Views, scale: float) -> int:
    """Collapsed dimensions of the embedded clean data's covariance after training."""
    w = strong_augmentation(seed, noise, views, scale).weights[0][-1]
    return int(
        np.sum(
            spectra.collapsed_dimensions(np.linalg.svd(w, compute_uv=False) ** 2, SMALL_VARIANCE)
        )
    )


@claim(
    "C06",
    "4",
    "Corollary 1",
    tolerance=COUNT,
    recorded="holds only under conditions",
    error="noise 1.35 for 1.5, which is beyond √2",
    conditions="noise² ≥ 2 with one noisy view; two noisy views never collapse, even where X(0) "
    "has negative eigenvalues",
)
def strong_augmentation_collapses(seed: int, wrong: float) -> Evidence:
    """With strong augmentation, X having negative eigenvalues, the embedding covariance becomes
    low-rank.
    """
    noise = WEAKER if wrong else STRONG
    lowest = {
        views: np.linalg.eigvalsh(strong_augmentation(seed, STRONG, views, 1.0).contrast[0])[1]
        for views in ("one", "two")
    }
    return Evidence(
        abs(collapsed(seed, noise, "one", 1.0) - NOISY),
        outside=abs(collapsed(seed, STRONG, "two", 1.0) - NOISY),
        assumptions=tuple(
            below(
                f"second smallest eigenvalue of X/N at the start, {views} noisy view(s)", value, 0.0
            )
            for views, value in lowest.items()
        ),
    )


@claim(
    "C07",
    "4",
    "Fig. 3",
    tolerance=COUNT,
    recorded="holds",
    error="the threshold {} too low",
    by=0.1,
)
def spectrum_against_amplitude(seed: int, wrong: float) -> Evidence:
    """On data whose pairs x_i - x_j have covariance I, singular values fall with the covariance k I
    of x' - x in their block, and vanish from k = 1 on.
    """
    noises = (0.5, 1.0, WEAKER, STRONG, 2.0)
    k = np.square(noises) / 2  # runs have data of covariance I, their pairs 2I: units differ by √2
    counts = np.array([collapsed(seed, noise, "one", 0.1) for noise in noises])
    weakest = [
        np.linalg.svd(strong_augmentation(seed, noise, "one", 0.1).weights[0][-1])[1][-1]
        for noise in noises
    ]
    stated = population.collapse_threshold(0.5)
    departure = np.abs(counts - NOISY * (k >= (1 - wrong) * stated)).max()
    return Evidence(max(float(departure), float(np.any(np.diff(weakest) >= 0))))
