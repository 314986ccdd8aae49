"""What theory says of the runs of strong_aug to first order in the learning rate. It needs nothing
of them, so that a command begins it in other processes before it has imported JAX.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from linsim.studies import side_by_side
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


def first_order(settings: "StrongAugSettings", place: int) -> "FirstOrder":
    """That of one noise and initial scale, by its place among them."""
    from linsim.studies.strong_aug import theory

    return theory.first_order(settings, place)


def _calls(settings: "StrongAugSettings") -> list[dict[str, Any]]:
    places = range(len(settings.noise) * len(settings.init_scale))
    return [{"settings": settings, "place": place} for place in places]


def _keep(settings: "StrongAugSettings", found: "Callable[[], Theory]") -> None:
    _latest.clear()
    _latest[_name(settings)] = found


def _name(settings: "StrongAugSettings") -> str:
    return repr(identity(settings))
