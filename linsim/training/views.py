"""Second moments of a pair of views of Gaussian data, mode by mode. A light module."""

from typing import Any, NamedTuple

from linsim.theory.modes import Modes
from linsim.training.names import Views


class ModeMoments(NamedTuple):
    """Second moments of a pair of views along one mode, numbers or arrays.

    anchor: variance a of x; step: variance c of x' - x; covariance rho of x with x' - x; positive:
    variance a' of x'.
    """

    anchor: Any
    step: Any
    covariance: Any
    positive: Any


def mode_moments(noise_variance: Any, views: Views, variance: Any = 1.0) -> ModeMoments:
    """Moments of a mode of this clean variance, with noise of this variance in a noisy view."""
    noisy = variance + noise_variance
    if views == "two":
        return ModeMoments(noisy, 2 * noise_variance, -noise_variance, noisy)
    return ModeMoments(variance, noise_variance, 0.0, noisy)


def equal_modes(noise: float, count: int, views: Views, variance: float = 1.0) -> Modes:
    """So many modes of this clean variance. Args: standard deviation of one view's noise."""
    moments = mode_moments(noise**2, views, variance)
    return Modes.of(float(moments.anchor), float(moments.step), float(moments.covariance), count)


def block_modes(
    noise: tuple[float, float], counts: tuple[int, int], views: Views
) -> tuple[list[Modes], list[int]]:
    """The modes of two blocks of isotropic data, as far as there are any, and which blocks they
    are. Args: standard deviation of one view's noise in each block, modes in each, views.
    """
    present = [block for block in (0, 1) if counts[block]]
    return [equal_modes(noise[block], counts[block], views) for block in present], present
