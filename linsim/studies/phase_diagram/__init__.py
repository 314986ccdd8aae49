"""Phase diagram: collapsed dimensions over noise and initial scale, measured against the theory of
this batch size.

A dimension has collapsed while its embeddings' standard deviation sqrt(a) w (anchor variance a,
singular value w of the product of the weights) is below a cut-off. The distance loss has a unit of
length, so that this needs no other dimension to compare with, and a model of which nothing has
grown yet counts as wholly collapsed.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from linsim.config import Amplitude, Positive, require, whole
from linsim.studies.linear import GaussianData
from linsim.studies.study import Picture, Preset, Study, StudySettings
from linsim.sweeps.settings import Settings

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

    from linsim.sweeps.engine import Engine
    from linsim.sweeps.sweep import Sweep

PhaseModel = Literal["one-view", "two-views", "two-layers", "two-layers-random"]
Cells = Annotated[int, whole(3)]


@dataclass(kw_only=True)
class Grid(Settings):
    """The models, and the cells in which they are looked at."""

    models: tuple[PhaseModel, ...] = get_args(PhaseModel)
    """One layer with one or two noisy views; two layers (one noisy view) from a balanced or from
    the paper's random start.
    """
    grid: tuple[Cells, Cells] = (16, 16)
    """Values of noise and of initial scale."""
    noise_range: tuple[Amplitude, Amplitude] = (0.1, 2.5)
    """Smallest and largest noise, evenly spaced."""
    scale_range: tuple[Positive, Positive] = (0.05, 1.0)
    """Smallest and largest initial scale of each layer, evenly spaced on a log scale."""
    one_layer_time: Positive = 50.0
    """Time (learning rate x steps, mean loss) at which one layer is looked at."""
    two_layer_time: Positive = 10.0
    """The same for two layers."""
    cutoff: Positive = 0.1
    """A dimension counts as collapsed while the embeddings' standard deviation along it is below
    this; unit: the distance at which the distance loss's weight of a pair has fallen to exp(-1/2).
    """


@dataclass(kw_only=True)
class PhaseSettings(StudySettings, GaussianData, Grid):
    """What the study of phase diagrams can be asked."""

    def relations(self) -> None:
        """Check the fields against one another. Raises: BadInput."""
        super().relations()
        for name, (low, high) in (
            ("noise_range", self.noise_range),
            ("scale_range", self.scale_range),
        ):
            require(low < high, name, f"{low} {high}", "given smallest first")
        require(
            0 < self.noisy_dims < self.dim,
            "noisy_dims",
            self.noisy_dims,
            f"between 0 and --dim, here {self.dim}",
        )


EARLY = PhaseSettings(steps=500, dim=4, noisy_dims=2, seeds=2)
PRESETS = {
    "early": Preset(EARLY, "looked at before the softmax of the batch condenses"),
    "late": Preset(
        replace(EARLY, steps=5000, one_layer_time=500.0, two_layer_time=50.0),
        "five to ten times later",
    ),
}


class PhaseDiagram(Study[PhaseSettings]):
    """Phase diagram: collapsed dimensions over noise and initial scale.

    One panel per model; below it the measured count less the predicted one.
    """

    name = "phase_diagram"
    presets = PRESETS
    pictures = (
        Picture("phase_diagram", (), "none: collapsed dimensions over noise and initial scale"),
    )
    examples = ("--models one-view --grid 8 8", "--late", "--grid 64 64 --seeds 4")

    def sweeps(self, settings: PhaseSettings, engine: "Engine") -> "tuple[Sweep[Any], ...]":
        """One sweep over models, noise and initial scale."""
        from linsim.studies.phase_diagram.runs import sweep

        return (sweep(settings, engine),)

    def compare(self, results: "tuple[xr.Dataset, ...]", settings: PhaseSettings) -> "xr.Dataset":
        """The runs with measured and predicted counts, and the predicted boundaries."""
        from linsim.studies.phase_diagram.runs import compare

        return compare(results[0], settings)

    def figure(self, dataset: "xr.Dataset") -> "Figure":
        """Counts over noise and initial scale, one column per model."""
        from linsim.studies.phase_diagram.figure import draw

        return draw(dataset)

    def rows(self, dataset: "xr.Dataset") -> "list[dict[str, object]]":
        """The numbers of the table, of all runs. Args: a Dataset of `compare`."""
        from linsim.studies.phase_diagram.table import rows

        return rows(dataset)

    def table(self, dataset: "xr.Dataset") -> str:
        """In how many runs the count is the one that theory predicts, and the verdict."""
        from linsim.studies.phase_diagram.table import tell

        return tell(dataset)


STUDY = PhaseDiagram()
