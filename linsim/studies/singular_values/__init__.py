"""Implicit regularisation: the singular values of two linear layers in time (paper, section 5.3,
Figure 6).
"""

from typing import TYPE_CHECKING, Any

from linsim.studies.study import Picture, Study
from linsim.studies.two_layers import PRESETS, TwoLayerSettings, sweep

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

    from linsim.sweeps.engine import Engine
    from linsim.sweeps.sweep import Sweep


class SingularValues(Study[TwoLayerSettings]):
    """Implicit regularisation: singular values of two layers in time (Fig. 6).

    Which modes grow, and when, beside Theorem 3 under each run's own pull and the exact theory of
    its batch size.
    """

    name = "singular_values"
    presets = PRESETS
    pictures = (
        Picture(
            "singular_values", (), "Fig. 6: singular values of W1, W2 and the embeddings in time"
        ),
    )
    examples = ("--seeds 1", "--flow", "--noise 0.5 --steps 2000")

    def sweeps(self, settings: TwoLayerSettings, engine: "Engine") -> "tuple[Sweep[Any], ...]":
        """One sweep over noise and initial scale, with what theory says of every run."""
        return (sweep(settings, engine),)

    def compare(
        self, results: "tuple[xr.Dataset, ...]", settings: TwoLayerSettings
    ) -> "xr.Dataset":
        """The runs with Theorem 3 integrated for each, and the escape times."""
        from linsim.studies.singular_values.theory import compare

        return compare(results[0], settings)

    def figure(self, dataset: "xr.Dataset") -> "Figure":
        """The paper's Figure 6 a-c."""
        from linsim.studies.singular_values.figure import draw

        return draw(dataset)

    def rows(self, dataset: "xr.Dataset") -> "list[dict[str, object]]":
        """The numbers of the table, of all runs. Args: a Dataset of `compare`."""
        from linsim.studies.singular_values.table import rows

        return rows(dataset)

    def table(self, dataset: "xr.Dataset") -> str:
        """Every mode of the first run, and the verdict over all runs."""
        from linsim.studies.singular_values.table import tell

        return tell(dataset)


STUDY = SingularValues()
