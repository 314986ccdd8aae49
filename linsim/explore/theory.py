"""What the explorer answers at once: closed forms and the exact mean flow of one setting."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from linsim.explore.setting import STEPS, Setting
from linsim.studies.theory import block_modes
from linsim.theory import batch_noise, finite_batch, late_time, population
from linsim.theory.mellin import Values
from linsim.theory.modes import Modes
from linsim.training import data, loss

TIMES = 40  # at which strengths are drawn, evenly spaced in ln t
TOLERANCE = 1e-3  # of the flow, relative per step: below what a picture shows
POINTS = 150  # pairs of views in the cloud
WEAKEST = 1e-12  # strength from which on a mode is as good as gone


class Answer(NamedTuple):
    """Theory's answer to a setting.

    times (T,); strengths m of each block at this batch size and rate (T, 2), nan for a block
    without modes; settled: where a clean and a noisy mode end in infinite batches; collapsed: how
    many dimensions do not survive there.
    """

    times: Values
    strengths: Values
    settled: tuple[float, float]
    collapsed: int


@lru_cache(256)
def answer(setting: Setting) -> Answer:
    """The mean dynamics of a setting, from equal singular values. Raises: BadInput."""
    settings = setting.settings()
    kind = loss.named(settings.loss, settings.temperature)
    if not isinstance(kind, loss.SolvedLoss):
        raise ValueError(f"no theory is known for the {settings.loss} loss")
    times = _times(settings.rate)
    groups, present = _groups(setting)
    strengths = np.full((len(times), 2), np.nan)
    strengths[:, present] = finite_batch.flow(
        times,
        np.full(len(groups), setting.init_scale**2),
        groups,
        batch_size=setting.batch_size,
        learning_rate=settings.rate,
        tolerance=TOLERANCE,
        temperature=settings.temperature if isinstance(kind, loss.Dot) else None,
    )
    clean, noisy = (
        kind.settled(data.mode_moments(noise**2, setting.views)) for noise in (0.0, setting.noise)
    )
    return Answer(times, strengths, (clean, noisy), setting.noisy_dims if noisy == 0 else 0)


def _groups(setting: Setting) -> tuple[list[Modes], list[int]]:
    counts = setting.dim - setting.noisy_dims, setting.noisy_dims
    return block_modes((0.0, setting.noise), counts, setting.views)


def _times(rate: float) -> Values:
    return np.concatenate([[0.0], np.geomspace(rate, rate * STEPS, TIMES)])


class Ends(NamedTuple):
    """Where a noisy mode settles, by the strength of the noise: noise, infinite and finite batches
    (the condensed regime, nan where it is not known), (K,) each; threshold: the noise from which on
    it vanishes, nan if never.
    """

    noise: Values
    infinite: Values
    finite: Values
    threshold: float


@lru_cache(64)
def ends(views: str, loss_name: str, clean_modes: int, noisy_modes: int) -> Ends:
    """The bifurcation diagram of a noisy mode."""
    noise = np.linspace(0.2, 3.0, 57)
    kind = loss.named(loss_name)  # type: ignore[arg-type]
    moments = [data.mode_moments(n**2, views) for n in noise]  # type: ignore[arg-type]
    infinite = np.array([kind.settled(m) for m in moments])  # type: ignore[attr-defined]
    finite = np.full(len(noise), np.nan)
    if loss_name == "distance" and clean_modes and noisy_modes:
        finite = np.array(
            [
                late_time.settled(
                    float(m.anchor),
                    float(m.step),
                    float(m.covariance),
                    clean_modes=clean_modes,
                    noisy_modes=noisy_modes,
                )
                for m in moments
            ]
        )
    vanishes = loss_name == "distance" and views == "one"
    threshold = float(np.sqrt(population.collapse_threshold(1.0))) if vanishes else np.nan
    return Ends(noise, infinite, finite, threshold)


def cloud(setting: Setting, strengths: Values) -> tuple[Values, Values]:
    """Embeddings of pairs of views along the first and the last coordinate, (POINTS, 2) each. Args:
    setting; strengths of the two blocks, (2,).
    """
    groups, present = _groups(setting)
    views = batch_noise.random_views(groups, 1, POINTS, np.random.default_rng(0))
    scale = np.sqrt(strengths[[present[0], present[-1]]])
    first, second = (view[0][:, [0, -1]] * scale for view in views)
    return first, second
