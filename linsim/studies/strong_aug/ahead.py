"""What theory says of the runs of strong_aug to first order in the learning rate. It needs nothing
of them, so that a command begins it in other processes before it has imported JAX.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from linsim.studies import side_by_side
from linsim.studies.linear import time_coords
from linsim.sweeps.settings import identity

if TYPE_CHECKING:
    from linsim.studies.strong_aug import StrongAugSettings
    from linsim.theory.minibatch import FirstOrder

    Theory = Sequence[FirstOrder]

_latest: "dict[str, Callable[[], Theory]]" = {}


def begin(settings: "StrongAugSettings") -> None:
    """Begin to compute `first_orders` where runs start with equal singular values, unless they will
    be trained by other processes, which need the cores.
    """
    equal = settings.init == "orthogonal" and settings.depth == 1 and settings.data_exponent == 0
    runs = len(_calls(settings)) * settings.seeds
    alone = settings.num_processes is None and settings.scheduler is None
    if equal and alone and runs < 2 * settings.runs_per_worker:
        _keep(settings, side_by_side.begin(first_order, _calls(settings)))


def first_orders(settings: "StrongAugSettings") -> "Theory":
    """Of each noise and initial scale, training to first order in the learning rate, which must be
    known of such runs. What was asked for last is not computed again.
    """
    if _name(settings) not in _latest:
        found = side_by_side.side_by_side(first_order, _calls(settings))
        _keep(settings, lambda: found)
    return _latest[_name(settings)]()


def first_order(settings: "StrongAugSettings", noise: float, init_scale: float) -> "FirstOrder":
    """That of runs with one noise and initial scale. It needs no JAX, which takes a while to
    import.
    """
    from linsim.theory import minibatch
    from linsim.training.views import block_modes

    counts = settings.dim - settings.noisy_dims, settings.noisy_dims
    groups, _ = block_modes((0.0, noise), counts, settings.views)
    return minibatch.first_order(
        time_coords(settings.steps, settings.rate)["time"],
        [init_scale**2] * len(groups),
        groups,
        batch_size=settings.batch_size,
        learning_rate=settings.rate,
        dataset_size=settings.dataset_size if settings.batches == "dataset" else None,
        temperature=settings.temperature if settings.loss == "dot" else None,
    )


def _calls(settings: "StrongAugSettings") -> list[dict[str, Any]]:
    """The arguments of `first_order`, over noise and then initial scale."""
    grid = itertools.product(settings.noise, settings.init_scale)
    return [{"settings": settings, "noise": noise, "init_scale": scale} for noise, scale in grid]


def _keep(settings: "StrongAugSettings", found: "Callable[[], Theory]") -> None:
    _latest.clear()
    _latest[_name(settings)] = found


def _name(settings: "StrongAugSettings") -> str:
    return repr(identity(settings))
