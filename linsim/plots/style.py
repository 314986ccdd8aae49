"""What all figures share: one look, marks and line styles, and atomic saving."""

import io
from pathlib import Path

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from linsim import results

plt.style.use(Path(__file__).with_name("linsim.mplstyle"))

MARKERS = "osD^vP*X<>"
BLOCK_COLOURS = ("#00204d", "#b3a24a")
POPULATION = {"linestyle": "--", "linewidth": 1.0, "marker": ""}
CONDENSED = {"linestyle": ":", "linewidth": 1.8, "marker": ""}


def save(figure: Figure, path: Path) -> Path:
    """Write the figure atomically (`results.write`); the format follows the suffix. Returns: path."""
    buffer = io.BytesIO()
    metadata = {"Date": None} if path.suffix == ".svg" else {}
    figure.savefig(buffer, format=path.suffix.removeprefix("."), metadata=metadata)
    plt.close(figure)
    return results.write(buffer.getbuffer(), path)


def floor(values: np.ndarray) -> float:
    """Lower end of a log axis: a decade below the smallest value that single precision resolves."""
    largest = np.nanmax(values)
    resolved = values[values > 1e-7 * largest]
    return max(0.3 * float(resolved.min()), 1e-7 * largest) if len(resolved) else 1e-7
