"""Weight alignment of two linear layers: does V2^T U1 become the identity? (paper, section 5.2,
Figure 5).
"""

from typing import TYPE_CHECKING, Any

from linsim.studies.study import Picture, Study
from linsim.studies.two_layers import PRESETS, TwoLayerSettings, sweep

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

    from linsim.sweeps.engine import Engine
    from linsim.sweeps.sweep import Sweep


class Alignment(Study[TwoLayerSettings]):
    """Do two linear layers align, V2^T U1 -> I? (section 5.2, Fig. 5).

    Holds every run against the exact alignment identity and its bound, and says which modes align,
    alone or as a group.
    """

    name = "alignment"
    presets = PRESETS
    pictures = (
        Picture(
            "alignment_released",
            ("--preset", "released"),
            "Fig. 5: the alignment matrix, released settings",
        ),
        Picture(
            "alignment_identity",
            ("--preset", "identity"),
            "Fig. 5: where it does become the identity",
        ),
    )
    examples = ("--released --seeds 1", "--identity", "--init balanced --kappa 0.1")

    def sweeps(self, settings: TwoLayerSettings, engine: "Engine") -> "tuple[Sweep[Any], ...]":
        """One sweep over noise and initial scale, with what theory says of every run."""
        return (sweep(settings, engine),)

    def compare(
        self, results: "tuple[xr.Dataset, ...]", settings: TwoLayerSettings
    ) -> "xr.Dataset":
        """The runs with the state of every mode at the end."""
        from linsim.studies.two_layers import modes

        return modes.add(results[0], settings)

    def figure(self, dataset: "xr.Dataset") -> "Figure":
        """The paper's Figure 5, with the diagonal of A and its bound in time."""
        from linsim.studies.alignment.figure import draw

        return draw(dataset)

    def rows(self, dataset: "xr.Dataset") -> "list[dict[str, object]]":
        """The numbers of the table, of all runs. Args: a Dataset of `compare`."""
        from linsim.studies.alignment.table import rows

        return rows(dataset)

    def table(self, dataset: "xr.Dataset") -> str:
        """Every mode of the first run, and the verdict over all runs."""
        from linsim.studies.alignment.table import tell

        return tell(dataset)


STUDY = Alignment()
