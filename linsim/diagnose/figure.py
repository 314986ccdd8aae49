"""Pictures of `linsim diagnose`: embeddings, several of them over time, or two adjacent layers."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from linsim import spectra
from linsim.diagnose.layers import LayersReport
from linsim.diagnose.report import Report
from linsim.spectra import DIMENSIONAL
from linsim.studies.style import (
    BLOCK_COLOURS,
    BOUND,
    COLUMN,
    CUTOFF,
    PAGE,
    figure,
    look,
    sequential,
)

MANY = 200  # points, from which on markers are lines
HOLLOW = {"markerfacecolor": "none", "markersize": 5}
TRACED = {
    "effective_rank": ("effective rank", {"marker": "s", "markersize": 4}),
    "participation_ratio": ("participation ratio", {"marker": "^"}),
    "rankme": ("RankMe", {"marker": "o", "linestyle": ":", **HOLLOW}),
}


def embeddings(report: Report) -> Figure:
    """Standard deviations along the principal axes, beside those of as many isotropic samples, and
    the collapse threshold. Args: report. Returns: Figure.
    """
    with look():
        drawn = figure(COLUMN, 2.6)
        axis = drawn.subplots()
        values = report.deviations
        if not values.any():
            axis.set(xticks=[], yticks=[], title=_title(report))
            axis.text(0.5, 0.5, "all rows are equal:\nno spectrum", ha="center", va="center")
            return drawn
        _spectrum(axis, values, color=BLOCK_COLOURS[0], label=report.name)
        even = np.sqrt(spectra.isotropic_spectrum(report.count - 1, report.width))
        even *= values[0] * np.linalg.norm(values / values[0]) / np.linalg.norm(even)
        axis.plot(np.arange(1, len(even) + 1), even, **BOUND, label="isotropic samples")
        axis.axhline(np.sqrt(DIMENSIONAL) * values[0], label="collapsed below", **CUTOFF)
        left = int(np.sum(values == 0))
        axis.set(
            yscale="log",
            xlabel="rank" + (f" ({left} directions at rounding are not shown)" if left else ""),
            ylabel="standard deviation",
            title=_title(report),
        )
        axis.legend(loc="best")
        return drawn


def series(reports: Sequence[Report]) -> Figure:
    """Ranks from file to file, and all spectra in units of the largest. Args: reports. Returns:
    Figure.
    """
    with look():
        drawn = figure(PAGE, 2.9)
        axes = drawn.subplots(1, 2)
        place = np.arange(len(reports))
        colours = sequential()(np.linspace(0.0, 1.0, len(TRACED)))
        for (name, (label, mark)), colour in zip(TRACED.items(), colours, strict=True):
            values = [report.values[name] for report in reports]
            axes[0].plot(place, values, color=colour, label=label, **mark)
        axes[0].set_xticks(place[:: max(1, len(place) // 12)])
        shown = [reports[k].name for k in axes[0].get_xticks().astype(int)]
        axes[0].set_xticklabels(shown, rotation=45, ha="right")
        axes[0].set(ylabel="dimensions in use", ylim=(0, None), title="ranks")
        axes[0].legend(loc="best")
        shades = sequential()(np.linspace(0.0, 1.0, len(reports)))
        for report, shade in zip(reports, shades, strict=True):
            if report.deviations.any():
                relative = report.deviations / report.deviations[0]
                _spectrum(axes[1], relative, color=shade, label=report.name)
        axes[1].axhline(np.sqrt(DIMENSIONAL), **CUTOFF)
        axes[1].set(
            yscale="log",
            xlabel="rank",
            ylabel="standard deviation / largest",
            title="spectra (red: collapsed below)",
        )
        if len(reports) <= 6:
            axes[1].legend(loc="best")
        return drawn


def layers(report: LayersReport) -> Figure:
    """Singular values of both layers, and |A|. Args: report. Returns: Figure."""
    with look():
        drawn = figure(PAGE, 2.9)
        axes = drawn.subplots(1, 2)
        _spectrum(axes[0], report.first, color=BLOCK_COLOURS[0], label="W1")
        second = {"color": BLOCK_COLOURS[1], "linestyle": ":", **HOLLOW}
        _spectrum(axes[0], report.second, label="W2", **second)
        axes[0].set(yscale="log", xlabel="mode", ylabel="singular value")
        axes[0].legend()
        axes[1].set(title="|A|, A = V2ᵀ U1", xlabel="mode of W1", ylabel="mode of W2")
        if report.overlap.size:
            count = len(report.overlap) + 0.5
            extent = (0.5, count, count, 0.5)
            image = axes[1].imshow(report.overlap, vmin=0, vmax=1, extent=extent)
            for axis in (axes[1].xaxis, axes[1].yaxis):
                axis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
            drawn.colorbar(image, ax=axes[1], shrink=0.85)
        return drawn


def _spectrum(axis: Axes, values: np.ndarray, **style: object) -> None:
    """Values above zero over their rank."""
    shown = values > 0
    mark = {"marker": "o", "markersize": 3} if len(values) < MANY else {"linewidth": 1.5}
    axis.plot(np.arange(1, len(values) + 1)[shown], values[shown], **{**mark, **style})  # type: ignore[arg-type]


def _title(report: Report) -> str:
    return f"{report.count} samples, {report.width} dimensions"
