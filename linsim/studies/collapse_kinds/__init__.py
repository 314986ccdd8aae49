"""Kinds of collapse: none, dimensional or complete, with and without negatives (paper, section 3,
Figures 1 and 2).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from linsim.config import Amplitude, Fraction, Positive
from linsim.studies.linear import GaussianData
from linsim.studies.study import Picture, Preset, Study, StudySettings
from linsim.sweeps.settings import Settings

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

    from linsim.sweeps.engine import Engine
    from linsim.sweeps.sweep import Sweep

ObjectiveName = Literal[
    "infonce-two-views",
    "infonce-one-view",
    "alignment-only",
    "predictor",
    "no-stop-gradient",
    "no-predictor",
]


@dataclass(kw_only=True)
class Objectives(Settings):
    """What is trained, and on which augmentation."""

    objective: tuple[ObjectiveName, ...] = get_args(ObjectiveName)
    """InfoNCE (distance loss); its positive term alone; a linear predictor with stop-gradient, and
    without one of the two.
    """
    noise: Amplitude = 2.5
    """Standard deviation of each noisy view's noise in the last --noisy-dims coordinates."""
    base_noise: Amplitude = 0.5
    """The same in the other coordinates."""
    init_scale: Positive = 1.0
    """Initial singular values of W, and of the predictor."""
    imbalance: Amplitude = 0.0
    """Added to the predictor's initial singular values."""
    weight_decay: Amplitude = 0.1
    """Weight decay of the objectives with a predictor or a stop-gradient."""
    learning_rate: Positive = 0.05
    """Step size on the MEAN loss."""


@dataclass(kw_only=True)
class KindsSettings(StudySettings, GaussianData, Objectives):
    """What the study on kinds of collapse can be asked."""

    complete: Fraction = 0.01
    """Collapse is complete below this fraction of the initial total variance."""
    dimensional: Fraction = 1e-4
    """A dimension has collapsed below this fraction of the largest variance."""


PRESETS = {
    "strong": Preset(
        KindsSettings(steps=2000),
        "strong augmentation in half of the coordinates, weak in the others",
    )
}


class CollapseKinds(Study[KindsSettings]):
    """Kinds of collapse, with and without negatives (section 3, Figs. 1, 2).

    Every objective sees the same data: all coordinates are augmented, the last ones strongly.
    """

    name = "collapse_kinds"
    presets = PRESETS
    pictures = (Picture("collapse_kinds", (), "Figs. 1, 2: no, dimensional and complete collapse"),)
    examples = (
        "--objective predictor no-predictor",
        "--noise 1 --base-noise 1",
        "--weight-decay 0.02",
    )

    def sweeps(self, settings: KindsSettings, engine: "Engine") -> "tuple[Sweep[Any], ...]":
        """One sweep over the objectives, with the population flow of every run."""
        from linsim.studies.collapse_kinds.runs import sweep

        return (sweep(settings, engine),)

    def compare(self, results: "tuple[xr.Dataset, ...]", settings: KindsSettings) -> "xr.Dataset":
        """The runs with the kind of collapse of each, and what theory predicts."""
        from linsim.studies.collapse_kinds.runs import compare

        return compare(results[0], settings)

    def figure(self, dataset: "xr.Dataset") -> "Figure":
        """The paper's Figures 1 and 2, one row per objective."""
        from linsim.studies.collapse_kinds.figure import draw

        return draw(dataset)

    def rows(self, dataset: "xr.Dataset") -> "list[dict[str, object]]":
        """The numbers of the table, of all runs. Args: a Dataset of `compare`."""
        from linsim.studies.collapse_kinds.table import rows

        return rows(dataset)

    def table(self, dataset: "xr.Dataset") -> str:
        """The kind of collapse of every objective, measured and predicted."""
        from linsim.studies.collapse_kinds.table import tell

        return tell(dataset)


STUDY = CollapseKinds()
