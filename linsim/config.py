"""Configuration from the command line: typed flags, presets, and one clear sentence for bad input.

Imports no numerical library, so that `--help` and a bad flag answer at once.
"""

import contextlib
import copy
import dataclasses
import hashlib
import importlib.util
import json
import math
import os
import platform
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, NoReturn, TypeVar

import tyro


class BadInput(ValueError):
    """A value that the user can mend; the message is one sentence: what, the value, what is allowed."""


class CannotWrite(Exception):
    """A result could not be written; the message is one sentence: what, where and why."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Flags about how and where a command runs; they do not change what is computed, beyond rounding."""

    preset: str
    """Setting to start from (or --NAME for short); every other flag overrides it."""
    out: Path = Path("results")
    """Folder for the results; the same command with the same folder goes on where it was stopped."""
    overwrite: bool = False
    """Start anew, whatever --out holds."""
    format: Literal["png", "pdf", "svg"] = "png"
    """Format of the figure."""
    chunk_size: int | None = None
    """Runs per compiled call and per file (default: by the devices' memory)."""
    devices: int | None = None
    """Devices per process to spread over (default: all of its accelerators, or one CPU device)."""
    num_processes: int | None = None
    """Processes that share this sweep; without --process-id all are started here (default on CPUs: by cores and runs)."""
    process_id: int | None = None
    """Which of them this is, from 0, where each is started by hand (default: as Slurm says)."""
    compilation_cache: bool = True
    """Keep compiled programs in the user's cache folder, so that the next command need not compile them again."""
    coordinator: str | None = None
    """host:port of process 0, only for devices that need one runtime over all hosts (TPU pods)."""

    def relations(self) -> None:
        """Check the fields against one another. Raises: BadInput."""
        count, index = self.num_processes, self.process_id
        require(index is None or count is not None, "process_id", index, "given with --num-processes")
        if count is not None and index is not None:
            require(index < count, "process_id", index, f"below --num-processes, here {count}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig(RunConfig):
    """Flags that every experiment shares: steps, batches, seeds and precision."""

    runs_per_worker: ClassVar[int] = 16
    """With fewer runs each, starting another process costs more than it saves."""

    steps: int
    """Training steps; time = learning rate x steps."""
    batch_size: int = 128
    """Samples per batch."""
    seeds: int = 3
    """Independent runs per setting."""
    seed: int = 0
    """Base random key."""
    x64: bool = False
    """Train in float64 instead of float32."""

    def runs(self) -> int:
        """How many runs this configuration makes."""
        values = (getattr(self, field.name) for field in dataclasses.fields(self) if field.name in AXES)
        return self.seeds * math.prod(len(each) for each in values if isinstance(each, tuple))


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelConfig(TrainConfig):
    """Flags of the experiments on Gaussian data: its dimension and its noisy coordinates."""

    dim: int = 16
    """Input and embedding dimension."""
    noisy_dims: int = 8
    """How many coordinates, the last ones, carry the noise."""

    def relations(self) -> None:
        """Check the fields against one another. Raises: BadInput."""
        super().relations()
        require(self.noisy_dims <= self.dim, "noisy_dims", self.noisy_dims, f"at most --dim, here {self.dim}")


Config = TypeVar("Config", bound=TrainConfig)
Request = TypeVar("Request")
AXES = (
    "noise",
    "init_scale",
    "models",
    "depth",
    "network",
    "objective",
    "projectors",
    "d0_sweep",
    "few",
)  # fields that take several values
OPTIONAL = ("d0_sweep", "few")  # fields that may be left without a value
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
    "base_noise": (lambda v: math.isfinite(v) and v >= 0, "a finite number of at least 0"),
    "imbalance": (lambda v: math.isfinite(v) and v >= 0, "a finite number of at least 0"),
    "weight_decay": (lambda v: math.isfinite(v) and v >= 0, "a finite number of at least 0"),
    "complete": (lambda v: 0 < v < 1, "a number between 0 and 1"),
    "dimensional": (lambda v: 0 < v < 1, "a number between 0 and 1"),
    "depth": (lambda v: 1 <= v <= 8, "whole numbers from 1 to 8"),
    "decay": (lambda v: math.isfinite(v) and v >= 0, "a finite number of at least 0"),
    "kappa": (math.isfinite, "a finite number"),
    "noise_range": (lambda v: math.isfinite(v) and v >= 0, "finite numbers of at least 0"),
    "scale_range": (lambda v: math.isfinite(v) and v > 0, "finite numbers above 0"),
    "grid": (lambda v: v >= 3, "whole numbers of at least 3"),
    "one_layer_time": _POSITIVE,
    "two_layer_time": _POSITIVE,
    "cutoff": _POSITIVE,
    "steps": (lambda v: v >= 2, "a whole number of at least 2"),
    "batch_size": (lambda v: v >= 2, "a whole number of at least 2"),
    "dataset_size": (lambda v: v >= 2, "a whole number of at least 2"),
    "dim": _COUNT,
    "noisy_dims": (lambda v: v >= 0, "a whole number of at least 0"),
    "seeds": _COUNT,
    "seed": (lambda v: 0 <= v < 2**32, "a whole number from 0 to 2^32 - 1"),
    "image_size": (lambda v: 2 <= v <= 512, "a whole number from 2 to 512"),
    "d0": _COUNT,
    "d0_sweep": (lambda v: v >= 0, "whole numbers of at least 0"),
    "width": (lambda v: v >= 2, "a whole number of at least 2"),
    "blocks": (lambda v: 1 <= v <= 16, "a whole number from 1 to 16"),
    "shift": (lambda v: v >= 0, "a whole number of at least 0"),
    "crop": (lambda v: 0 < v <= 1, "a number above 0 and at most 1"),
    "jitter": (lambda v: math.isfinite(v) and v >= 0, "a finite number of at least 0"),
    "train_images": _COUNT,
    "train_share": (lambda v: 0.1 <= v <= 0.9, "a number from 0.1 to 0.9"),
    "few": (lambda v: v >= 2, "whole numbers of at least 2"),
    "chunk_size": _COUNT,
    "devices": _COUNT,
    "num_processes": _COUNT,
    "process_id": (lambda v: v >= 0, "a whole number of at least 0"),
}


def flag(field: str) -> str:
    """The command-line flag of a configuration field."""
    return "--" + field.replace("_", "-")


def require(ok: bool, field: str, value: object, allowed: str) -> None:
    """Raise BadInput, naming the flag, the value and what is allowed, unless `ok`."""
    if not ok:
        raise BadInput(f"{flag(field)} {value} is not allowed: it must be {allowed}")


def require_batch_fits(batch_size: int, dataset_size: int) -> None:
    """Raise BadInput unless a batch can be drawn from the data set without repetition."""
    require(batch_size <= dataset_size, "batch_size", batch_size, f"at most --dataset-size, here {dataset_size}")


def check(config: RunConfig) -> None:
    """Check every field against RULES and the fields against one another. Raises: BadInput."""
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        values = value if isinstance(value, tuple) else (value,)
        require(len(values) > 0 or field.name in OPTIONAL, field.name, "without a value", "given at least one")
        if field.name in AXES:
            require(len(set(values)) == len(values), field.name, " ".join(map(str, values)), "given distinct values")
        if field.name in RULES and value is not None:
            allowed, wording = RULES[field.name]
            for each in values:
                require(allowed(each), field.name, each, wording)
    config.relations()


def at(config: Config, **point: Any) -> Config:
    """The configuration with other, maybe traced, values of some of its fields, unchecked."""
    moved = copy.copy(config)
    for name, value in point.items():
        object.__setattr__(moved, name, value)
    return moved


def identity(config: RunConfig) -> dict[str, Any]:
    """What decides the results: every field but those of RunConfig, as plain JSON values."""
    how = {field.name for field in dataclasses.fields(RunConfig)}
    return json.loads(json.dumps({k: v for k, v in dataclasses.asdict(config).items() if k not in how}, default=str))


def _spelled_out(argv: list[str], presets: Mapping[str, Any]) -> list[str]:
    """The command line with --preset NAME for every --NAME of a preset."""
    named = {flag(name): name for name in presets}
    return [part for word in argv for part in (("--preset", named[word]) if word in named else (word,))]


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
        try_to_write(folder)
    except OSError as error:
        raise BadInput(f"--out {folder} is not allowed: it must be a folder that can be written ({error.strerror})") from None


def try_to_write(folder: Path) -> None:
    """Make a file in a folder and remove it. Raises: OSError."""
    probe = folder / f".write-test-{os.getpid()}"
    probe.touch()
    probe.unlink()


def stop(message: str, code: int) -> NoReturn:
    """End the program with one sentence on standard error."""
    print(f"error: {message}", file=sys.stderr)
    raise SystemExit(code)


def configure_jax(*, x64: bool, devices: int | None = None, compilation_cache: bool = True) -> None:
    """Set up JAX for a script: precision, the cache of programs, and on the CPU devices and threads. Call before all computation.

    One CPU device with one thread is fastest for arrays this small; more cores are used by more processes (`linsim.cluster`).
    In jaxlib 0.10.2 every batched LAPACK call on the CPU waits, inside XLA's thread pool, for other threads of that pool, so that
    calls which run at the same time can block it for ever. One thread never waits; several devices get a pool so large that
    some thread is always free, which costs them half their speed. On CPUs the compiler's first level of optimisation halves the
    time to compile, of which short sweeps consist, and costs 5 % of the speed. A flow that fails gives nan: to raise, it would
    have to call Python, and such programs cannot be kept. Variables already in the environment win.
    """
    count = devices or 1
    os.environ.setdefault("NPROC", "1" if count == 1 else str(32 * count))
    os.environ.setdefault("EQX_ON_ERROR", "nan")
    flags = ["--xla_cpu_multi_thread_eigen=false"] if count > 1 else []
    if importlib.util.find_spec("jax_plugins") is None:  # no accelerator's plug-in is installed
        flags.append("--xla_backend_optimization_level=1")
    os.environ["XLA_FLAGS"] = " ".join([*flags, os.environ.get("XLA_FLAGS", "")]).strip()
    import jax

    jax.config.update("jax_enable_x64", x64)
    jax.config.update("jax_num_cpu_devices", count)
    if compilation_cache and "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        _keep_programs(cache_folder() / f"programs-{_processor()}")


def _keep_programs(folder: Path) -> None:
    """Let JAX keep compiled programs in a folder, if it can be written."""
    import jax

    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        try_to_write(folder)
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def cache_folder() -> Path:
    """Where things are kept from one command to the next: XDG_CACHE_HOME/linsim, or ~/.cache/linsim."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "linsim"


def _processor() -> str:
    """A name for this computer's instruction set: a program compiled for another processor may not run on this one."""
    try:
        described = next(
            line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith(("flags", "Features"))
        )
    except (OSError, StopIteration):
        described = platform.processor()
    return hashlib.sha256(f"{platform.machine()} {described}".encode()).hexdigest()[:12]


def parse(presets: Mapping[str, Config], argv: list[str] | None, name: str) -> Config:
    """Checked configuration of one experiment from its command line; a flag that cannot be read ends the program with code 2.

    Args: presets by name, the first being the default; argv without the program, or None for sys.argv; name of the
    experiment, the default folder below `out`. Raises: BadInput.
    """
    argv = _spelled_out(sys.argv[1:] if argv is None else argv, presets)
    preset = presets[_preset_of(argv, presets)]
    preset = dataclasses.replace(preset, out=preset.out / name)
    config = tyro.cli(type(preset), args=argv, default=preset, description=sys.modules["__main__"].__doc__)
    check(config)
    return config


def command_line(request: type[Request], argv: list[str], name: str) -> Request:
    """A command's flags as the dataclass `request`, whose docstring is the help; a bad flag ends the program with code 2."""
    return tyro.cli(request, args=argv, prog=f"python -m linsim {name}", config=(tyro.conf.FlagCreatePairsOff,))
