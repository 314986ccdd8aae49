"""What the explorer answers at once: closed forms and the exact mean flow of one setting."""

from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from linsim.explore.setting import STEPS, Setting
from linsim.studies import theory
from linsim.studies.strong_aug.theory import fixed_run
from linsim.theory import batch_noise, finite_batch, late_time, population
from linsim.theory.mellin import Values
from linsim.theory.modes import Modes
from linsim.training import data, loss
from linsim.training.run import Run
from linsim.training.views import ModeMoments, mode_moments

TIMES = 40  # at which strengths are drawn, evenly spaced in ln t
TOLERANCE = 3e-3  # of the flow, relative per step: 2 to 3 % of m, a pixel of a picture
WIDENED = 1e-5  # the same of several layers, in whose growth early differences widen
POINTS = 150  # pairs of views in the cloud
LIMIT_ONLY = (
    "The lines are the theory of infinite batches, since that of this batch size takes minutes for "
    "the dot loss where variances differ."
)
PARTING = (
    "Theory keeps equal modes equal; in runs of several layers those that chance favours leave the "
    "others behind, so that dots leave the lines once modes have grown. Not so if variances differ."
)


class Answer(NamedTuple):
    """Theory's answer to a setting.

    times (T,); groups of equal modes, the block of each, 0 clean and 1 noisy, and their strengths m
    (T, G); settled: where each ends in infinite batches (G,); collapsed: how many dimensions do not
    survive there; remark: what is to be known of the lines, or nothing.
    """

    times: Values
    groups: list[Modes]
    block: list[int]
    strengths: Values
    settled: list[float]
    collapsed: int
    remark: str

    def whole_blocks(self) -> bool:
        """Whether all modes of a block are equal, so that each is one group."""
        return len(set(self.block)) == len(self.block)

    def ends(self) -> Values:
        """Strengths of the first and of the last coordinate in time, (T, 2)."""
        return self.strengths[:, [0, -1]]

    def modes(self) -> Values:
        """Strengths of all modes in time, coordinate by coordinate, (T, d)."""
        return self.strengths[:, batch_noise.members(self.groups)]


@lru_cache(256)
def answer(setting: Setting) -> Answer:
    """The mean dynamics of a setting, from equal singular values. Raises: BadInput,
    ArithmeticError.
    """
    run, times = _run(setting), _times(setting.settings().rate)
    kind = run.loss
    if not isinstance(kind, loss.SolvedLoss):
        raise ValueError(f"no theory is known for the {setting.loss} loss")
    groups, block = theory.mode_groups(run)
    start = np.full(len(groups), setting.init_scale ** (2 * setting.depth))
    exact = theory.any_batch_size(run)
    flow = _at_batch_size if exact else theory.population_modes
    moments = (ModeMoments(*_moments(group)) for group in groups)
    return Answer(
        times,
        groups,
        block,
        flow(run, groups, start, times),
        [kind.settled(each) for each in moments],
        kind.collapsed(run.moments()),
        _remark(setting, exact),
    )


def _run(setting: Setting) -> Run:
    run = fixed_run(setting.settings())
    return replace(run, noise=setting.noise, init_scale=setting.init_scale)


def _moments(group: Modes) -> tuple[float, float, float, float]:
    a, c, rho = group.variance, group.noise_variance, group.covariance
    return a, c, rho, a + c + 2 * rho


def _at_batch_size(run: Run, groups: list[Modes], start: Values, times: Values) -> Values:
    return finite_batch.flow(
        times,
        start,
        groups,
        batch_size=run.batch_size,
        depth=len(run.hidden) + 1,
        learning_rate=float(run.learning_rate),
        tolerance=WIDENED if run.hidden else TOLERANCE,
        quadrature=finite_batch.COARSE,
        temperature=theory.temperature(run.loss),
    )


def _remark(setting: Setting, exact: bool) -> str:
    if not exact:
        return LIMIT_ONLY
    return PARTING if setting.depth > 1 and setting.data_exponent == 0 else ""


def _times(rate: float) -> Values:
    return np.concatenate([[0.0], np.geomspace(rate, rate * STEPS, TIMES)])


class Ends(NamedTuple):
    """Where the first noisy mode settles, by the strength of the noise: noise, infinite and finite
    batches (the condensed regime, nan where it is not known), (K,) each; threshold: the noise from
    which on it vanishes, nan if never.
    """

    noise: Values
    infinite: Values
    finite: Values
    threshold: float


@lru_cache(64)
def ends(setting: Setting) -> Ends:
    """The bifurcation diagram of the first noisy coordinate. Args: a setting of which noise, start
    and batches do not matter (`at_any_noise`).
    """
    noise = np.linspace(0.2, 3.0, 57)
    clean = setting.dim - setting.noisy_dims
    variances = np.asarray(data.variances(setting.dim, setting.data_exponent), dtype=float)
    variance = float(variances[min(clean, setting.dim - 1)])
    kind = loss.named(setting.loss)
    moments = [mode_moments(n**2, setting.views, variance) for n in noise]
    infinite = np.array([kind.settled(m) for m in moments])  # type: ignore[attr-defined]
    finite = np.full(len(noise), np.nan)
    if setting.loss == "distance" and setting.data_exponent == 0 and 0 < clean < setting.dim:
        finite = np.array([_late(m, clean, setting.noisy_dims) for m in moments])
    vanishes = setting.loss == "distance" and setting.views == "one"
    threshold = float(np.sqrt(population.collapse_threshold(variance))) if vanishes else np.nan
    return Ends(noise, infinite, finite, threshold)


def at_any_noise(setting: Setting) -> Setting:
    """A setting without what `ends` does not depend on, so that they are computed once."""
    return Setting(
        views=setting.views,
        loss=setting.loss,
        noisy_dims=setting.noisy_dims,
        dim=setting.dim,
        data_exponent=setting.data_exponent,
    )


def _late(moments: ModeMoments, clean: int, noisy: int) -> float:
    a, c, rho, _ = map(float, moments)
    return late_time.settled(a, c, rho, clean_modes=clean, noisy_modes=noisy)


def cloud(setting: Setting) -> tuple[Values, Values]:
    """Pairs of views along the first and the last coordinate, (POINTS, 2) each."""
    groups, _ = theory.mode_groups(_run(setting))
    views = batch_noise.random_views(groups, 1, POINTS, np.random.default_rng(0))
    first, second = (view[0][:, [0, -1]] for view in views)
    return first, second
