"""Strong augmentation: dimensional collapse of a linear model (paper, section 4, Figure 3)."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

from linsim.config import Amplitude, Fraction, require, whole
from linsim.studies.linear import Linear, time_coords
from linsim.studies.study import Picture, Preset, Study
from linsim.training.names import OneLayerStart

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

    from linsim.sweeps.engine import Engine
    from linsim.sweeps.sweep import Sweep


@dataclass(kw_only=True)
class StrongAugSettings(Linear):
    """What the study of one linear map can be asked."""

    init: OneLayerStart = "orthogonal"
    """Initial weights; uniform is torch.nn.Linear's."""
    depth: Annotated[int, whole(1, 8)] = 1
    """Linear layers whose product is W; several start balanced, with equal singular values."""
    data_exponent: Amplitude = 0.0
    """Exponent p of the data's spectrum: coordinate k has a variance proportional to k^-p, 1 in the
    mean; 0 is isotropic.
    """
    collapse_threshold: Fraction = 0.01
    """Collapsed: below this fraction of the largest."""

    def relations(self) -> None:
        """Check the fields against one another. Raises: BadInput."""
        super().relations()
        several = f"orthogonal with several layers, here --depth {self.depth}"
        require(self.depth == 1 or self.init == "orthogonal", "init", self.init, several)


PAPER = StrongAugSettings(noise=(0.5, 1.0, 1.3, 1.7, 2.0), steps=10_000)
RELEASED = replace(
    PAPER,
    noise=(0.5, 1.5),
    views="two",
    loss="dot",
    init="uniform",
    init_scale=3**-0.5,  # torch.nn.Linear's default
    learning_rate=1e-3,
)
PRESETS = {
    "paper": Preset(PAPER, "the paper's setting: distance loss, one noisy view"),
    "released": Preset(RELEASED, "the released toy code's: dot loss, two noisy views"),
}


class StrongAug(Study[StrongAugSettings]):
    """Strong augmentation: dimensional collapse of a linear model (section 4, Fig. 3).

    Trains a linear map, of one layer if nothing else is asked, with InfoNCE while noise is added to
    some coordinates, and draws the spectra that theory predicts through those of the runs.
    """

    name = "strong_aug"
    presets = PRESETS
    pictures = (
        Picture("strong_aug", (), "Fig. 3: weight spectrum against the strength of augmentation"),
    )
    examples = ("--noise 2.0", "--noise 1.3 1.7", "--noise 2.0 --views two", "--released --seeds 8")

    def sweeps(self, settings: StrongAugSettings, engine: "Engine") -> "tuple[Sweep[Any], ...]":
        """One sweep over noise and initial scale, with the population flow of every run."""
        from linsim.studies import theory
        from linsim.studies.strong_aug.theory import fixed_run
        from linsim.sweeps.sweep import Sweep
        from linsim.training import observe

        fixed = fixed_run(settings)
        sweep = Sweep(
            axes={"noise": settings.noise, "init_scale": settings.init_scale},
            make=lambda noise, init_scale: replace(fixed, noise=noise, init_scale=init_scale),
            simulate=observe.simulate_map,
            seed=settings.seed,
            seeds=settings.seeds,
            finish=theory.one_layer_flows(fixed, engine),
            kept="spectra of one layer and population flow",
            coords=time_coords(settings.steps, settings.rate),
        )
        return (sweep,)

    def begin(self, settings: StrongAugSettings) -> None:
        """What theory says of the runs before they are trained."""
        from linsim.studies.strong_aug import ahead

        ahead.begin(settings)

    def compare(
        self, results: "tuple[xr.Dataset, ...]", settings: StrongAugSettings
    ) -> "xr.Dataset":
        """The runs with what theory says of each setting."""
        from linsim.studies.strong_aug.theory import compare

        return compare(results[0], settings)

    def figure(self, dataset: "xr.Dataset") -> "Figure":
        """The paper's Figure 3 with both theories."""
        from linsim.studies.strong_aug.figure import draw

        return draw(dataset)

    def rows(self, dataset: "xr.Dataset") -> "list[dict[str, object]]":
        """The numbers of the table, of all runs. Args: a Dataset of `compare`."""
        from linsim.studies.strong_aug.table import rows

        return rows(dataset)

    def table(self, dataset: "xr.Dataset") -> str:
        """Measured beside predicted strengths, and the verdict on these and on the counts of
        collapsed dimensions.
        """
        from linsim.studies.strong_aug.table import tell

        return tell(dataset)


STUDY = StrongAug()
