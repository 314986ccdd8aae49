"""What every study can be told about training, and about how and where it runs. Imports no
numerical library.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import tyro

from linsim.config import Checked, Count, Natural, Rule, require, whole

ADDRESS = re.compile(r"[a-z]+://[^/]+:[0-9]+")
Seed = Annotated[int, Rule(lambda v: 0 <= v < 2**32, "a whole number from 0 to 2^32 - 1")]


_UNSET = tyro.conf.arg(metavar="INT", help_behavior_hint="")  # without "(default: None)"
MaybeCount = Annotated[Count | None, _UNSET]
MaybeNatural = Annotated[Natural | None, _UNSET]


@dataclass(kw_only=True)
class Settings(Checked):
    """What a study can be asked."""

    preset: str = "paper"
    """Setting to start from; other flags override it."""


@dataclass(kw_only=True)
class Execution(Settings):
    """How and where a command runs; this does not change what is computed, beyond rounding."""

    runs_per_worker: ClassVar[int] = 16
    """With fewer runs each, starting another process costs more than it saves."""

    out: Path = Path("results")
    """Folder of the results, and of runs to reuse."""
    overwrite: bool = False
    """Train all anew, then replace the old result."""
    format: Literal["png", "pdf", "svg"] = "png"
    """Format of the figure."""
    csv: bool = False
    """Also write the table's numbers as a CSV file."""
    quiet: bool = False
    """Print the verdict alone, and show no progress."""
    chunk_size: MaybeCount = None
    """Runs per compiled call and per file; else by memory."""
    devices: MaybeCount = None
    """Devices per process; else all accelerators, or one CPU."""
    num_processes: MaybeCount = None
    """Processes that share the runs; else by cores and runs."""
    process_id: MaybeNatural = None
    """Which of them this is; else as Slurm says."""
    scheduler: Annotated[
        str | None, tyro.conf.arg(metavar="tcp://HOST:PORT", help_behavior_hint="")
    ] = None
    """A Dask scheduler whose workers train the runs."""
    coordinator: Annotated[
        str | None, tyro.conf.arg(metavar="HOST:PORT", help_behavior_hint="")
    ] = None
    """Of one runtime over all hosts, for devices that need it."""
    compilation_cache: bool = True
    """Keep no compiled programs for next time."""

    def relations(self) -> None:
        """Check the fields against one another. Raises: BadInput."""
        super().relations()
        count, index = self.num_processes, self.process_id
        given = self.scheduler
        known = given is None or ADDRESS.fullmatch(given) is not None
        require(known, "scheduler", given, "the address tcp://HOST:PORT of a Dask scheduler")
        require(
            index is None or count is not None, "process_id", index, "given with --num-processes"
        )
        if count is not None and index is not None:
            require(index < count, "process_id", index, f"below --num-processes, here {count}")
        alone = count is None and index is None
        require(
            self.scheduler is None or alone,
            "scheduler",
            self.scheduler,
            "given without --num-processes: the scheduler has its own workers",
        )


@dataclass(kw_only=True)
class Training(Settings):
    """How long, on how much, and how often a study trains."""

    steps: Annotated[int, whole(2)] = 1000
    """Training steps; time = learning rate x steps."""
    batch_size: Annotated[int, whole(2)] = 128
    """Samples per batch."""
    seeds: Count = 3
    """Independent runs per setting."""
    seed: Seed = 0
    """Base random key."""
    x64: bool = False
    """Train in float64 instead of float32."""


def identity(settings: Settings) -> dict[str, Any]:
    """What decides the results: every field but the preset's name and those of `Execution`."""
    how = vars(Execution()).keys()
    return {name: value for name, value in vars(settings).items() if name not in how}
