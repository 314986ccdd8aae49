"""Configuration from the command line: typed flags, presets, and one clear sentence for bad input.

Imports no numerical library, so that `--help` and a bad flag answer at once.
"""

import dataclasses
import math
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, NoReturn, TypeVar

import tyro


class BadInput(ValueError):
    """A value that the user can mend; the message is one sentence: what, the value, what is allowed."""


@dataclasses.dataclass(frozen=True)
class LinearConfig:
    """Flags that every experiment on linear models shares."""

    preset: str
    """Setting to start from; every other flag overrides it."""
    noise: tuple[float, ...]
    """Standard deviation of the additive noise, in units of the data's; several values make a sweep."""
    views: Literal["one", "two"]
    """Noisy views: one (anchor clean, the paper) or two (both noisy, the released code and SimCLR)."""
    loss: Literal["distance", "dot"]
    """InfoNCE on distances (paper, Eq. 2) or on inner products (released code)."""
    batches: Literal["fresh", "dataset", "fixed"]
    """New samples each step, minibatches of a fixed set, or one fixed batch."""
    init: Literal["orthogonal", "gaussian", "uniform"]
    """Initial weights: random orthogonal, independent Gaussian entries, or uniform ones as in torch.nn.Linear."""
    init_scale: tuple[float, ...]
    """Root mean square of the initial singular values; several values make a sweep."""
    learning_rate: float
    """Step size on the MEAN loss (the paper's rate on the sum of Eq. 2, times the batch size)."""
    steps: int
    """Training steps; time = learning rate x steps."""
    batch_size: int = 128
    """Samples per batch."""
    dataset_size: int = 10_000
    """Samples in the fixed set (with --batches dataset)."""
    dim: int = 16
    """Input and embedding dimension."""
    noisy_dims: int = 8
    """How many coordinates, the last ones, carry the noise."""
    temperature: float = 0.1
    """Temperature of the dot loss."""
    seeds: int = 3
    """Independent runs per setting."""
    seed: int = 0
    """Base random key."""
    x64: bool = False
    """Train in float64 instead of float32."""
    collapse_threshold: float = 0.01
    """A dimension counts as collapsed below this fraction of the largest singular value."""
    out: Path = Path("results")
    """Folder for the results."""
    format: Literal["png", "pdf", "svg"] = "png"
    """Format of the figure."""


@dataclasses.dataclass(frozen=True)
class TwoLayerConfig(LinearConfig):
    """Flags of the experiments on two linear layers."""

    init: Literal["spectral", "balanced", "gaussian"]  # type: ignore[assignment]
    """Initial layers: singular values e^(-decay k) between random factors (paper), the same but aligned, or Gaussian."""
    init_scale: tuple[float, ...]
    """Factor on the initial singular values (Gaussian: their root mean square); several values make a sweep."""
    solver: Literal["descent", "flow", "population"] = "descent"
    """Gradient descent on batches, gradient flow on one fixed batch, or the flow of infinitely many samples."""
    decay: float = 0.35
    """Decay rate of the initial singular values."""
    hidden: int = 16
    """Width of the hidden layer."""
    kappa: float = 0.0
    """Imbalance of a balanced start: W1 W1^T - W2^T W2 = kappa I."""
    noise_shape: Literal["block", "graded"] = "block"
    """Noise equal in the last --noisy-dims coordinates, or over all of them, rising from half to all of --noise."""
    tolerance: float = 1e-11
    """Tolerance of the gradient flow."""
    group_gap: float = 0.25
    """Singular values closer than this, relatively, count as degenerate."""


Config = TypeVar("Config", bound=LinearConfig)
Rule = tuple[Callable[[Any], bool], str]
_POSITIVE: Rule = (lambda v: math.isfinite(v) and v > 0, "a finite number above 0")
_COUNT: Rule = (lambda v: v >= 1, "a whole number of at least 1")
RULES: Mapping[str, Rule] = {
    "noise": (lambda v: math.isfinite(v) and v >= 0, "a finite number of at least 0"),
    "init_scale": _POSITIVE,
    "learning_rate": _POSITIVE,
    "temperature": _POSITIVE,
    "collapse_threshold": (lambda v: 0 < v < 1, "a number between 0 and 1"),
    "tolerance": (lambda v: 1e-14 <= v <= 1e-2, "a number from 1e-14 to 0.01"),
    "group_gap": (lambda v: 0 < v < 1, "a number between 0 and 1"),
    "hidden": _COUNT,
    "decay": (lambda v: math.isfinite(v) and v >= 0, "a finite number of at least 0"),
    "kappa": (math.isfinite, "a finite number"),
    "steps": (lambda v: v >= 2, "a whole number of at least 2"),
    "batch_size": (lambda v: v >= 2, "a whole number of at least 2"),
    "dataset_size": (lambda v: v >= 2, "a whole number of at least 2"),
    "dim": _COUNT,
    "noisy_dims": (lambda v: v >= 0, "a whole number of at least 0"),
    "seeds": _COUNT,
    "seed": (lambda v: 0 <= v < 2**32, "a whole number from 0 to 2^32 - 1"),
}


def flag(field: str) -> str:
    """The command-line flag of a configuration field."""
    return "--" + field.replace("_", "-")


def require(ok: bool, field: str, value: object, allowed: str) -> None:
    """Raise BadInput, naming the flag, the value and what is allowed, unless `ok`."""
    if not ok:
        raise BadInput(f"{flag(field)} {value} is not allowed: it must be {allowed}")


def check(config: LinearConfig) -> None:
    """Check every field against RULES and the fields against one another. Raises: BadInput."""
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        values = value if isinstance(value, tuple) else (value,)
        require(len(values) > 0, field.name, "without a value", "given at least one")
        require(len(set(values)) == len(values), field.name, " ".join(map(str, values)), "given distinct values")
        if field.name in RULES:
            allowed, wording = RULES[field.name]
            for each in values:
                require(allowed(each), field.name, each, wording)
    require(config.noisy_dims <= config.dim, "noisy_dims", config.noisy_dims, f"at most --dim, here {config.dim}")
    if isinstance(config, TwoLayerConfig) and config.solver != "descent":
        require(config.x64, "solver", config.solver, "descent without --x64")
    if config.batches == "dataset":
        limit = f"at most --dataset-size, here {config.dataset_size}"
        require(config.batch_size <= config.dataset_size, "batch_size", config.batch_size, limit)


def _preset_of(argv: list[str], presets: Mapping[str, Any]) -> str:
    """The preset named on the command line, or the first of `presets`."""
    name = next(iter(presets))
    for position, word in enumerate(argv):
        if word == "--preset" and position + 1 < len(argv):
            name = argv[position + 1]
        elif word.startswith("--preset="):
            name = word.removeprefix("--preset=")
    require(name in presets, "preset", name, f"one of {', '.join(presets)}")
    return name


def prepare_folder(folder: Path) -> None:
    """Create the results folder and prove that it can be written to. Raises: BadInput."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".write-test-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise BadInput(f"--out {folder} is not allowed: it must be a folder that can be written ({error.strerror})") from None


def stop(message: str, code: int) -> NoReturn:
    """End the program with one sentence on standard error."""
    print(f"error: {message}", file=sys.stderr)
    raise SystemExit(code)


def configure_jax(*, x64: bool) -> None:
    """Set up JAX for a script: precision, and on the CPU one worker thread for XLA. Call before the first computation.

    The arrays here are too small to split: one worker is about twice as fast as two, and it avoids a deadlock in XLA's
    CPU thread pool (jaxlib 0.10.2 with two or more workers, loops around LAPACK calls). NPROC in the environment wins.
    """
    os.environ.setdefault("NPROC", "1")
    import jax

    jax.config.update("jax_enable_x64", x64)


def parse(presets: Mapping[str, Config], argv: list[str] | None, name: str) -> Config:
    """Configuration of one experiment from its command line; ends the program with code 2 on bad input.

    Args: presets by name, the first being the default; argv without the program, or None for sys.argv; name of the
    experiment, the default folder below `out`.
    Returns: a checked Config whose `out` is a writable folder.
    """
    argv = sys.argv[1:] if argv is None else argv
    try:
        preset = presets[_preset_of(argv, presets)]
        preset = dataclasses.replace(preset, out=preset.out / name)
        config = tyro.cli(type(preset), args=argv, default=preset, description=sys.modules["__main__"].__doc__)
        check(config)
        prepare_folder(config.out)
    except BadInput as error:
        stop(str(error), 2)
    return config
