"""Every loss on one bench: which collapse, when, and by what theory (docs/losses.md)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from linsim.config import Amplitude, Count, Fraction, Positive, whole
from linsim.studies.linear import GaussianData
from linsim.studies.study import Picture, Preset, Study, StudySettings
from linsim.sweeps.settings import Settings
from linsim.training.names import Views

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

    from linsim.sweeps.engine import Engine
    from linsim.sweeps.sweep import Sweep

BenchName = Literal[
    "infonce",
    "infonce-dot",
    "ntxent",
    "spectral",
    "linear-barlow-twins",
    "barlow-twins",
    "vicreg",
    "whitening",
    "lejepa",
    "jepa",
    "byol",
    "directpred",
    "isoloss",
    "dino",
    "mae",
    "alignment",
]


@dataclass(kw_only=True)
class Bench(Settings):
    """Which losses are trained, and on what."""

    loss: tuple[BenchName, ...] = get_args(BenchName)
    """The losses, each with the weights of its published code."""
    noise: tuple[Amplitude, ...] = (1.0, 2.5)
    """Standard deviation of each noisy view's noise in the last --noisy-dims coordinates."""
    base_noise: Amplitude = 0.5
    """The same in the other coordinates."""
    views: Views = "two"
    """Noisy views: two, or one (the second)."""
    batch_size: tuple[Annotated[int, whole(4)], ...] = (128,)
    """Samples per batch; may be several."""
    weight_decay: tuple[Amplitude, ...] = (0.0,)
    """Weight decay; may be several."""
    temperature: tuple[Positive, ...] = (0.5,)
    """Of infonce-dot and ntxent; may be several."""
    depth: tuple[Count, ...] = (1,)
    """Layers of the encoder; may be several."""
    init_scale: Positive = 0.3
    """Initial singular values of the encoder."""
    learning_rate: Positive = 0.01
    """Step size on the MEAN loss."""


@dataclass(kw_only=True)
class LossesSettings(Bench, StudySettings, GaussianData):  # pyright: ignore[reportIncompatibleVariableOverride]
    """What the bench of losses can be asked."""

    complete: Fraction = 0.01
    """Collapse is complete below this fraction of the initial total variance."""
    dimensional: Fraction = 1e-3
    """A dimension has collapsed below this fraction of the largest variance."""


FOR_NOTHING = ("whitening", "alignment")  # which settings make no difference to
PRESETS = {
    "bench": Preset(LossesSettings(steps=4000), "every loss at two strengths of the noise"),
    "grid": Preset(
        LossesSettings(
            loss=tuple(name for name in get_args(BenchName) if name not in FOR_NOTHING),
            steps=2000,
            learning_rate=0.02,
            seeds=2,
            weight_decay=(0.0, 0.1),
            depth=(1, 2),
            noise=(2.5,),
        ),
        "and what weight decay and depth do",
    ),
}


class Losses(Study[LossesSettings]):
    """Every loss on one bench: which collapse, when, and by what theory.

    All losses see the same data: all coordinates are augmented, the last ones more. Each is trained
    at every noise, batch size, weight decay and depth, and held against the flow of its mean.
    """

    name = "losses"
    presets = PRESETS
    pictures = (Picture("losses", (), "new: every loss on one bench"),)
    examples = (
        "--loss vicreg barlow-twins --noise 0.5 0.75 1",
        "--loss jepa mae --depth 1 2 3",
        "--grid",
    )

    def sweeps(self, settings: LossesSettings, engine: "Engine") -> "tuple[Sweep[Any], ...]":
        """One sweep over all axes, with the flow of the mean of every run."""
        from linsim.studies.losses.runs import sweep

        return (sweep(settings, engine),)

    def compare(self, results: "tuple[xr.Dataset, ...]", settings: LossesSettings) -> "xr.Dataset":
        """The runs, what theory predicts of each, and both kinds of collapse."""
        from linsim.studies.losses.runs import compare

        return compare(results[0], settings)

    def figure(self, dataset: "xr.Dataset") -> "Figure":
        """Each loss's spectrum in time, with its theory through it."""
        from linsim.studies.losses.figure import draw

        return draw(dataset)

    def table(self, dataset: "xr.Dataset") -> str:
        """How each loss ends, what theory says of it, and its threshold in the noise."""
        from linsim.studies.losses.table import tell

        return tell(dataset)

    def rows(self, dataset: "xr.Dataset") -> "list[dict[str, object]]":
        """The numbers of the table, one row a setting. Args: a Dataset of `compare`."""
        from linsim.studies.losses.table import rows

        return rows(dataset)


STUDY = Losses()
