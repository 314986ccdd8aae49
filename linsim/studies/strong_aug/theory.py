"""What theory says about one linear layer: settled strengths, the condensed regime from where it
sets in, collapsed dimensions.
"""

from dataclasses import replace

import numpy as np
import xarray as xr

from linsim.studies.linear import run_fields
from linsim.studies.strong_aug import StrongAugSettings
from linsim.studies.theory import covers, silence
from linsim.sweeps.results import labelled
from linsim.theory import late_time
from linsim.training import data
from linsim.training.loss import SolvedLoss
from linsim.training.observe import BLOCKS
from linsim.training.run import Run

CONDENSED_FROM = 0.5  # the condensed regime is entered when the mean alpha_ii passes this value


def compare(dataset: xr.Dataset, settings: StrongAugSettings) -> xr.Dataset:
    """`dataset` of one-layer runs with every prediction beside it; nan where theory is silent, and
    then why.
    """
    fixed = Run(**run_fields(settings))
    points = [replace(fixed, noise=noise) for noise in settings.noise]
    added = {
        "population_settled": (("noise", "block"), [population_settled(run) for run in points]),
        "condensed_settled": (("noise", "block"), [condensed_settled(run) for run in points]),
        "condensed_block_strength": (
            ("noise", "init_scale", "time", "block"),
            condensed_flows(dataset, points),
        ),
        "predicted_collapsed": (("noise",), [collapsed(run) for run in points]),
    }
    dataset = dataset.merge(labelled(added, {"block": list(BLOCKS)}), combine_attrs="override")
    return dataset.assign_attrs(no_theory=silence(fixed))


def population_settled(run: Run) -> tuple[float, float]:
    """Population fixed points m* of a clean and of a noisy mode."""
    if not (covers(run) and isinstance(run.loss, SolvedLoss)):
        return np.nan, np.nan
    clean, noisy = (
        run.loss.settled(data.mode_moments(noise**2, run.views)) for noise in (0.0, run.noise)
    )
    return clean, noisy


def collapsed(run: Run) -> float:
    """Collapsed dimensions that the population theory predicts."""
    if not (covers(run) and isinstance(run.loss, SolvedLoss)):
        return np.nan
    return float(run.loss.collapsed(run.moments()))


def condensed_applies(run: Run) -> bool:
    """Whether the condensed regime is solved for: a loss that has one, changing batches, clean and
    noisy modes.
    """
    condenses = isinstance(run.loss, SolvedLoss) and run.loss.condenses
    return covers(run) and condenses and run.batches != "fixed" and 0 < run.noisy_dims < run.dim


def condensed_settled(run: Run) -> tuple[float, float]:
    """Late settled strengths of a clean and of a noisy mode on finite batches; nan where not solved
    for.
    """
    if not condensed_applies(run):
        return np.nan, np.nan
    a, c, rho, _ = map(float, data.mode_moments(run.noise**2, run.views))
    return np.inf, late_time.settled(
        a, c, rho, clean_modes=run.dim - run.noisy_dims, noisy_modes=run.noisy_dims
    )


def condensed_flow(run: Run, start: int, median: xr.Dataset) -> np.ndarray:
    """Strengths (T, 2) of the blocks in the condensed regime, from record `start` of the median run
    on; nan before.
    """
    times, strength = median["time"].values, median["block_strength"].values
    flow = np.full((len(times), 2), np.nan)
    if start < len(times) - 1 and np.all(strength[start] > 0):
        a, c, rho, _ = map(float, data.mode_moments(run.noise**2, run.views))
        clean = late_time.Modes.of(1.0, 0.0, 0.0, run.dim - run.noisy_dims)
        noisy = late_time.Modes.of(a, c, rho, run.noisy_dims)
        flow[start:] = late_time.flow(
            times[start:], strength[start], [clean, noisy], batch_size=run.batch_size
        )
    return flow


def condensed_flows(dataset: xr.Dataset, points: list[Run]) -> np.ndarray:
    """`condensed_flow` for every (noise, init_scale), from where the median alpha_ii passes
    CONDENSED_FROM: (.., T, 2).
    """
    median = dataset[["alpha_ii", "block_strength"]].median("seed")
    shape = tuple(dataset.sizes[name] for name in ("noise", "init_scale", "time"))
    flows = np.full((*shape, 2), np.nan)
    for i, j in np.ndindex(*shape[:2]):
        one = median.isel(noise=i, init_scale=j)
        condensed = one["alpha_ii"].values >= CONDENSED_FROM
        if condensed_applies(points[i]) and condensed.any():
            flows[i, j] = condensed_flow(points[i], int(np.argmax(condensed)), one)
    return flows
