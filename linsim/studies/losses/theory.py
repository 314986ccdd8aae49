"""Where each loss settles in closed form, and from which noise on the noisier modes vanish."""

from dataclasses import replace
from functools import singledispatch

import numpy as np

from linsim.theory import cosine, gaussianity, isoloss, jepa, noncontrastive, redundancy, spectral
from linsim.training.gaussianity import LeJEPA
from linsim.training.loss import Cosine, LinearBarlowTwins, SolvedLoss, SpectralContrastive
from linsim.training.objective_run import ObjectiveRun
from linsim.training.objectives import Objective, Plain, Predicted, Reconstructed
from linsim.training.redundancy import BarlowTwins, VICReg
from linsim.training.targets import DirectPrediction, MovingAverage
from linsim.training.views import ModeMoments, mode_moments

MOST_NOISE = 1e3  # a loss that bears so much has no threshold
UNKNOWN = (float("nan"), float("nan"))


def settled(run: ObjectiveRun) -> tuple[float, float]:
    """Strengths m (eigenvalues of W W^T) at which a clean and a noisy mode settle; nan where no
    closed form is known. Of Barlow Twins, which does not fix a scale, in units of the clean mode's.
    """
    clean, noisy = (
        mode_moments(float(noise) ** 2, run.views) for noise in (run.base_noise, run.noise)
    )
    return _settled(run.objective, run, clean, noisy)


def threshold(run: ObjectiveRun) -> float:
    """The noise from which on a noisy mode vanishes: inf if none is known to do it, nan where
    nothing is known. By bisection of `settled`, which falls with the noise.
    """

    objective = run.objective
    if isinstance(objective, Plain) and isinstance(objective.of, Cosine):
        return _cosine_threshold(run, float(objective.of.temperature))

    def ratio(noise: float) -> float:
        clean, noisy = settled(replace(run, noise=noise))
        return noisy / clean if clean > 0 else 0.0

    if np.isnan(settled(run)).any():
        return float("nan")
    low, high = float(run.base_noise), MOST_NOISE
    if ratio(high) > 0:
        return float("inf")
    if ratio(low) == 0:
        return 0.0
    while high / low > 1.001:
        middle = float(np.sqrt(low * high))
        low, high = (middle, high) if ratio(middle) > 0 else (low, middle)
    return high


def _cosine_threshold(run: ObjectiveRun, temperature: float) -> float:
    """Of NT-Xent with two views, whose clean modes are equal, in infinitely large batches."""
    strong = run.dim - run.noisy_dims
    if run.views == "one" or run.weight_decay or strong < 3:
        return float("nan")
    shared = 1 / (1 + float(run.base_noise) ** 2)
    return float(np.sqrt(max(cosine.threshold(strong, shared, temperature) - 1, 0.0)))


@singledispatch
def _settled(
    objective: Objective, run: ObjectiveRun, clean: ModeMoments, noisy: ModeMoments
) -> tuple[float, float]:
    """Nothing is known of other objectives."""
    return UNKNOWN


@_settled.register
def _(
    objective: Plain, run: ObjectiveRun, clean: ModeMoments, noisy: ModeMoments
) -> tuple[float, float]:
    of, decay = objective.of, float(run.weight_decay)
    if isinstance(of, Cosine) or not isinstance(of, SolvedLoss):
        return UNKNOWN
    if decay == 0 and isinstance(of, LinearBarlowTwins):
        modes = _present(run, clean, noisy)
        strengths = spectral.batch_fixed_point(
            np.array([float(mode.anchor) for mode, _ in modes]),
            np.array([float(mode.positive) for mode, _ in modes]),
            np.array([float(mode.anchor + mode.covariance) for mode, _ in modes]),
            tuple(count for _, count in modes),
            run.batch_size,
        )
        return float(strengths[0]), float(strengths[-1])
    if decay == 0:
        return of.settled(clean), of.settled(noisy)
    if run.depth > 1 or not isinstance(of, SpectralContrastive | LinearBarlowTwins):
        return UNKNOWN

    def decayed(mode: ModeMoments) -> float:
        cross = mode.anchor + mode.covariance
        alike = isinstance(of, LinearBarlowTwins)
        views = (cross, cross) if alike else (mode.anchor, mode.positive)
        return float(spectral.fixed_point(*views, cross, decay))

    return decayed(clean), decayed(noisy)


@_settled.register
def _(
    objective: Predicted, run: ObjectiveRun, clean: ModeMoments, noisy: ModeMoments
) -> tuple[float, float]:
    return _predicted(run, clean, noisy) if objective.stop_gradient else (0.0, 0.0)


@_settled.register
def _(
    objective: MovingAverage, run: ObjectiveRun, clean: ModeMoments, noisy: ModeMoments
) -> tuple[float, float]:
    return _predicted(run, clean, noisy) if objective.predictor else (0.0, 0.0)


def _predicted(run: ObjectiveRun, clean: ModeMoments, noisy: ModeMoments) -> tuple[float, float]:
    """Where a learned predictor and stop-gradient settle, with a moving average or without."""
    decay = float(run.weight_decay)

    def strength(mode: ModeMoments) -> float:
        cross = float(mode.anchor + mode.covariance)
        if decay == 0:
            return float(jepa.jepa_settled(cross / mode.anchor, run.depth)) ** 2
        return float(noncontrastive.predictor_fixed_point(cross, mode.anchor - cross, decay)) ** 2

    return UNKNOWN if decay and run.depth > 1 else (strength(clean), strength(noisy))


@_settled.register
def _(
    objective: DirectPrediction, run: ObjectiveRun, clean: ModeMoments, noisy: ModeMoments
) -> tuple[float, float]:
    decay = float(run.weight_decay)

    def strength(mode: ModeMoments) -> float:
        cross = float(mode.anchor + mode.covariance)
        if objective.isotropic or decay == 0:
            return float(isoloss.settled(mode.anchor, cross, decay))
        v = noncontrastive.predictor_fixed_point(cross, mode.anchor - cross, decay)
        return float(v) ** 2 / float(mode.anchor)

    return UNKNOWN if decay and run.depth > 1 else (strength(clean), strength(noisy))


@_settled.register
def _(
    objective: Reconstructed, run: ObjectiveRun, clean: ModeMoments, noisy: ModeMoments
) -> tuple[float, float]:
    if run.weight_decay:
        return UNKNOWN

    def strength(mode: ModeMoments) -> float:
        regression = float(mode.anchor + mode.covariance) / float(mode.anchor)
        return float(jepa.autoencoder_settled(regression, run.depth)) ** 2

    return strength(clean), strength(noisy)


@_settled.register
def _(
    objective: VICReg, run: ObjectiveRun, clean: ModeMoments, noisy: ModeMoments
) -> tuple[float, float]:
    if run.views == "one" or run.weight_decay:
        return UNKNOWN
    noise = [float(mode.step) / float(mode.anchor) for mode in (clean, noisy)]
    ratios = _of_modes(run, *noise)
    variances = redundancy.vicreg_optimum(ratios, batch_size=run.batch_size)
    return float(variances[0]) / float(clean.anchor), float(variances[-1]) / float(noisy.anchor)


@_settled.register
def _(
    objective: BarlowTwins, run: ObjectiveRun, clean: ModeMoments, noisy: ModeMoments
) -> tuple[float, float]:
    if run.weight_decay:
        return UNKNOWN
    shared = [
        float(mode.anchor + mode.covariance) / float(np.sqrt(mode.anchor * mode.positive))
        for mode in (clean, noisy)
    ]
    variances = redundancy.barlow_optimum(_of_modes(run, *shared))
    ends = variances[[0, -1]] / np.array([float(clean.anchor), float(noisy.anchor)])
    return 1.0, float(ends[1] / ends[0])


@_settled.register
def _(
    objective: LeJEPA, run: ObjectiveRun, clean: ModeMoments, noisy: ModeMoments
) -> tuple[float, float]:
    if run.views == "one" or run.weight_decay:
        return UNKNOWN
    modes = _present(run, clean, noisy)
    strengths = gaussianity.optimum(
        np.array([float(mode.anchor) for mode, _ in modes]),
        np.array([float(mode.step) for mode, _ in modes]),
        tuple(count for _, count in modes),
        batch_size=run.batch_size,
        weight=float(objective.weight),
    )
    return float(strengths[0]), float(strengths[-1])


def _present(
    run: ObjectiveRun, clean: ModeMoments, noisy: ModeMoments
) -> list[tuple[ModeMoments, int]]:
    """Both blocks, with how many modes each has, as far as it has any."""
    blocks = ((clean, run.dim - run.noisy_dims), (noisy, run.noisy_dims))
    return [(mode, count) for mode, count in blocks if count]


def _of_modes(run: ObjectiveRun, clean: float, noisy: float) -> np.ndarray:
    return np.repeat([float(clean), float(noisy)], [run.dim - run.noisy_dims, run.noisy_dims])
