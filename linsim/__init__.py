"""linsim: the theory of dimensional collapse in self-supervised learning, simulated and verified.

Follows Jing, Vincent, LeCun, Tian, "Understanding Dimensional Collapse in Contrastive
Self-supervised Learning" (ICLR 2022, arXiv 2110.09348), called "the paper" in every docstring.

    import linsim

    dataset = linsim.run("strong_aug", noise=[1, 2], seeds=3)  # an xarray.Dataset
    study = linsim.study("strong_aug")
    print(study.table(dataset))
    study.figure(dataset)

`linsim.losses`, `linsim.spectra` and `linsim.theory` hold the losses, the measures of collapse and
the closed forms; `linsim.Run`, `linsim.begin`, `linsim.step` and `linsim.simulate` are for single
runs. Everything is loaded on first use: importing linsim loads no numerical library and changes
nothing outside it.

Data flows one way: settings -> runs -> training -> measures -> labelled results -> comparison with
theory -> figures and tables.
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    import xarray

    from linsim import diagnose, losses, spectra, theory
    from linsim.studies.study import Study
    from linsim.training.observe import simulate
    from linsim.training.run import Run, begin, step

__all__ = [
    "Run",
    "begin",
    "diagnose",
    "losses",
    "run",
    "simulate",
    "spectra",
    "step",
    "study",
    "theory",
]


def run(name: str, **settings: Any) -> "xarray.Dataset":
    """Train every run of a study and compare it with theory, in this process.

        linsim.run("strong_aug", noise=[1, 2], seeds=3)
        linsim.run("strong_aug", preset="released", loss="dot", optimizer=optax.adam(1e-3))

    Args: name of the study; its settings by the names of its flags (`linsim run NAME --help`),
    numbers, lists or arrays; preset: which of its presets to start from; out: a folder in which
    runs and result are kept, so that nothing is trained twice.
    Returns: Dataset whose variables say what they are. Raises: ValueError for settings that are not
    allowed, in one sentence; `linsim.studies.study.Diverged` if training diverged; RuntimeError if
    JAX was started in a way in which it can deadlock.
    """
    return study(name).run(**settings)


def study(name: str) -> "Study[Any]":
    """A study by name: its settings, `run`, `figure` and `table`. Raises: ValueError, naming the
    studies there are.
    """
    from linsim import studies

    return studies.study(name)


def __getattr__(name: str) -> Any:
    """What is public is imported when it is first asked for."""
    import importlib

    if name in ("diagnose", "losses", "spectra", "theory"):
        return importlib.import_module(f"linsim.{name}")
    if name == "simulate":
        from linsim.training.observe import simulate

        return simulate
    if name in ("Run", "begin", "step"):
        from linsim.training import run as one_run

        return getattr(one_run, name)
    raise AttributeError(f"module 'linsim' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
