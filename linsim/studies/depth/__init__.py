"""Depth: the embedding spectrum of L linear or ReLU layers under weak augmentation (paper, Figure
11).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from linsim.config import Amplitude, Fraction, Positive, whole
from linsim.studies.linear import Descent, GaussianData, require_batch_fits
from linsim.studies.study import Picture, Preset, Study, StudySettings
from linsim.sweeps.settings import Settings
from linsim.training.names import Activation

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

    from linsim.sweeps.engine import Engine
    from linsim.sweeps.sweep import Sweep


@dataclass(kw_only=True)
class Layers(Settings):
    """The networks of the study on depth."""

    depth: tuple[Annotated[int, whole(1, 8)], ...] = (1, 2, 3, 4)
    """Numbers of layers."""
    network: tuple[Activation, ...] = ("linear", "relu")
    """Linear layers, or ReLU between them; the same initial layers for both."""
    noise: Amplitude = 0.1
    """Standard deviation of the noise on one view, in the last --noisy-dims coordinates."""
    init_scale: Positive = 1.0
    """Factor on each layer's initial singular values."""
    decay: Amplitude = 0.35
    """Each layer starts with singular values --init-scale e^(-decay k), balanced (aligned with its
    neighbours).
    """
    same_product: bool = False
    """All depths start from the same singular values of the product instead, those of one layer."""
    dataset_size: Annotated[int, whole(2)] = 10_000
    """Samples of the fixed set that batches are drawn from."""


@dataclass(kw_only=True)
class DepthSettings(StudySettings, Descent, GaussianData, Layers):
    """What the study on depth can be asked."""

    learning_rate: Positive = 0.05
    """Step size on the MEAN loss."""
    collapse_threshold: Fraction = 0.01
    """A dimension counts as collapsed below this fraction of the largest standard deviation of the
    embeddings.
    """

    def relations(self) -> None:
        """Check the fields against one another. Raises: BadInput."""
        super().relations()
        require_batch_fits(self.batch_size, self.dataset_size)


PRESETS = {
    "weak": Preset(
        DepthSettings(steps=1000, noisy_dims=16, seeds=5),
        "weak noise in all coordinates",
    )
}


class Depth(Study[DepthSettings]):
    """Depth: the embedding spectrum of L linear or ReLU layers (Fig. 11).

    All networks start balanced, with the same singular values in each layer or in their product;
    linear ones are held against the theory of their batch size.
    """

    name = "depth"
    presets = PRESETS
    pictures = (Picture("depth", (), "Fig. 11: depth, linear and ReLU layers"),)
    examples = ("--depth 2 3 --network linear", "--same-product --steps 4000", "--init-scale 0.5")

    def sweeps(self, settings: DepthSettings, engine: "Engine") -> "tuple[Sweep[Any], ...]":
        """One sweep over networks and depths."""
        from linsim.studies.depth.runs import sweep

        return (sweep(settings),)

    def compare(self, results: "tuple[xr.Dataset, ...]", settings: DepthSettings) -> "xr.Dataset":
        """The runs with the count of collapsed dimensions, and the balanced population flow of
        linear layers.
        """
        from linsim.studies.depth.runs import compare

        return compare(results[0], settings)

    def figure(self, dataset: "xr.Dataset") -> "Figure":
        """The paper's Figure 11, and collapsed dimensions in time."""
        from linsim.studies.depth.figure import draw

        return draw(dataset)

    def rows(self, dataset: "xr.Dataset") -> "list[dict[str, object]]":
        """The numbers of the table, of all runs. Args: a Dataset of `compare`."""
        from linsim.studies.depth.table import rows

        return rows(dataset)

    def table(self, dataset: "xr.Dataset") -> str:
        """Collapsed dimensions by depth, measured and predicted, and the verdict."""
        from linsim.studies.depth.table import tell

        return tell(dataset)


STUDY = Depth()
