"""The measures of collapse for one's own arrays: `linsim diagnose`, and from Python

    report = linsim.diagnose.embeddings(z, positives=None, labels=None)
    report = linsim.diagnose.weights(w1, w2)
    monitor = linsim.diagnose.Monitor()
    found = linsim.diagnose.views(x, y)

Data flows one way: a file or an array (`reading`) -> running moments (`moments`) -> spectra and
measures (`measures`), structure (`structure`) -> verdict with reasons (`verdict`) -> a report
(`report`, `layers`) -> table, picture, dictionary. Everything is loaded on first use, but `views`,
whose function has the name of its package.
"""

from typing import TYPE_CHECKING, Any

from linsim.diagnose.views import views

if TYPE_CHECKING:
    from linsim.diagnose.layers import LayersReport, weights
    from linsim.diagnose.monitor import Monitor
    from linsim.diagnose.report import Report, embeddings

__all__ = ["LayersReport", "Monitor", "Report", "embeddings", "views", "weights"]

_HOMES = {
    "LayersReport": "layers",
    "Monitor": "monitor",
    "Report": "report",
    "embeddings": "report",
    "weights": "layers",
}


def __getattr__(name: str) -> Any:
    """What is public is imported when it is first asked for."""
    import importlib

    if name not in _HOMES:
        raise AttributeError(f"module 'linsim.diagnose' has no attribute {name!r}")
    return getattr(importlib.import_module(f"linsim.diagnose.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
