"""A study: one question put to the models, with all that belongs to it in one object.

What it can be asked (its settings and presets), the runs that answer it, the theory beside them,
its figure, its table with the verdict, and its pictures in the gallery. The command line,
`linsim.run`, the gallery and the tests all go through it.

A study's module is light; its methods import what is heavy, so that `--help` and a bad flag answer
at once.
"""

import dataclasses
import inspect
import multiprocessing
import os
import pickle
import signal
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from linsim.config import BadInput, flag, made, one_sentence, parsed, require, stop
from linsim.sweeps import cluster, elsewhere
from linsim.sweeps.code import package_digest
from linsim.sweeps.runtime import configure_jax, guard_against_deadlock, prepare_folder
from linsim.sweeps.settings import Execution, Training, identity

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

    from linsim.sweeps.archive import Folder
    from linsim.sweeps.engine import Engine
    from linsim.sweeps.sweep import Sweep


@dataclass(kw_only=True)
class StudySettings(Execution, Training):
    """What every study can be asked."""


S = TypeVar("S", bound=StudySettings)


@dataclass(frozen=True)
class Picture:
    """One picture of the gallery: its name, the study's flags, and what it corresponds to in the
    paper.
    """

    name: str
    flags: tuple[str, ...]
    paper: str


@dataclass(frozen=True)
class Preset(Generic[S]):
    """Settings by name, and in a line what they are."""

    settings: S
    about: str


class Diverged(ArithmeticError):
    """Training left the finite numbers; `dataset` holds what was recorded."""

    def __init__(self, message: str, dataset: "xr.Dataset") -> None:
        super().__init__(message)
        self.dataset = dataset


class Study(ABC, Generic[S]):
    """One experiment as one object; subclasses say what it is about in their docstring, which is
    the help.
    """

    name: str
    presets: Mapping[str, Preset[S]]
    """Named settings, the first being the default."""
    pictures: tuple[Picture, ...] = ()
    examples: tuple[str, ...] = ()
    """Flags worth trying."""

    @abstractmethod
    def sweeps(self, settings: S, engine: "Engine") -> "tuple[Sweep[Any], ...]":
        """All runs. Args: settings; the engine that will solve them, for what is computed beside
        them.
        """

    @abstractmethod
    def compare(self, results: "tuple[xr.Dataset, ...]", settings: S) -> "xr.Dataset":
        """One Dataset of all measured runs, with theory beside them. Args: the results of `sweeps`,
        in order; settings.
        """

    @abstractmethod
    def figure(self, dataset: "xr.Dataset") -> "Figure":
        """The study's picture. Args: a Dataset of `compare`."""

    @abstractmethod
    def table(self, dataset: "xr.Dataset") -> str:
        """The study's table, whose last line is the verdict. Args: a Dataset of `compare`."""

    @abstractmethod
    def rows(self, dataset: "xr.Dataset") -> "list[dict[str, object]]":
        """The numbers of the table, row by row, by the names of their columns: what `--csv` writes,
        and `pandas.DataFrame` takes. Args: a Dataset of `compare`.
        """

    def begin(self, settings: S) -> None:
        """What needs no run, begun in other processes by a command before it imports JAX."""

    def meanwhile(self, settings: S) -> None:
        """What needs no run's result, done beside the first chunk: here what draws and judges is
        loaded.
        """
        import scipy.integrate
        import scipy.special  # noqa: F401

        import linsim.studies.style  # noqa: F401

    def solve(self, settings: S, engine: "Engine") -> "tuple[xr.Dataset | None, ...]":
        """The result of each sweep; None where runs of other processes are missing."""
        return tuple(
            engine.run(sweep, turn=turn) for turn, sweep in enumerate(self._made(settings, engine))
        )

    def missing(self, settings: S, engine: "Engine") -> int:
        """How many runs are still to be trained."""
        return sum(engine.missing(sweep) for sweep in self._made(settings, engine))

    def _made(self, settings: S, engine: "Engine") -> "tuple[Sweep[Any], ...]":
        """`sweeps`, made once for an engine, since their runs have names and programs."""
        if "sweeps" not in engine.made:
            engine.made["sweeps"] = self.sweeps(settings, engine)
        return engine.made["sweeps"]

    def inputs(self, settings: S) -> Mapping[str, object]:
        """What decides the result beside the settings, as what a folder holds that they name."""
        return {}

    def settings(self, **given: object) -> S:
        """Checked settings from keyword arguments, over those of `preset`. Raises: BadInput."""
        preset = given.pop("preset", next(iter(self.presets)))
        require(preset in self.presets, "preset", preset, f"one of {', '.join(self.presets)}")
        start = self.presets[cast(str, preset)].settings
        return made(type(start), given | {"preset": preset}, start)

    def run(self, *, out: Path | str | None = None, **given: object) -> "xr.Dataset":
        """Train every run of these settings and compare it with theory, in this process.

        Args: settings by the names of the flags, numbers, lists or arrays, and `preset`; optimizer
        may be any optax optimiser; out: a folder that keeps the runs and the result, as the command
        does (default: nothing is written).
        Returns: Dataset. Raises: BadInput for settings that are not allowed; Diverged; RuntimeError
        where JAX could deadlock.
        """
        settings = self.settings(
            **_custom_optimizer(given), **({} if out is None else {"out": out})
        )
        guard_against_deadlock()
        import jax

        with jax.enable_x64(settings.x64):
            if out is None:
                return self._compared(settings, self.solve(settings, self.engine(settings)))
            prepare_folder(settings.out)
            folder = self._folder(settings)
            dataset = folder.finished()
            if dataset is None:
                engine = self.engine(settings, archive=folder.archive)
                dataset = self._compared(settings, self.solve(settings, engine))
                folder.finish(dataset, self._drawn(dataset, settings.format), settings.format)
            return dataset

    def parse(self, argv: Sequence[str] | None = None, prog: str | None = None) -> S:
        """Checked settings from a command line; --help and a flag that cannot be read end the
        program. Raises: BadInput.
        """
        words = self._spelled_out(list(sys.argv[1:] if argv is None else argv))
        chosen = _preset_of(words, next(iter(self.presets)))
        require(chosen in self.presets, "preset", chosen, f"one of {', '.join(self.presets)}")
        start = self.presets[chosen].settings
        start = dataclasses.replace(start, preset=chosen, out=start.out / self.name)
        prog = prog or f"python experiments/{self.name}.py"
        try:
            return parsed(
                type(start), words, prog=prog, description=self._description(), default=start
            )
        except SystemExit as ended:
            if not ended.code and self.examples:
                print("examples:", *(f"  {prog} {example}" for example in self.examples), sep="\n")
            raise

    def main(
        self,
        argv: Sequence[str] | None = None,
        prog: str | None = None,
        *,
        own_process: bool | None = None,
    ) -> None:
        """The study's command: train what is missing, compare, draw, tell.

        Args: argv without the program, or None for sys.argv; prog: the program's name in the help;
        own_process: whether this process does nothing else, so that it may end at once on Ctrl-C
        (default: without argv). Ends the program with code 2 on bad input, with 1 if it cannot go
        on or training diverged, with 130 if interrupted. Runs that have ended stay, and so does the
        old result until the new one is complete.
        """
        with one_sentence("{}; runs that ended stay, and the same command goes on from them"):
            settings = self.parse(argv, prog)
            share = cluster.find(settings, os.environ)
            prepare_folder(settings.out)
            alone = argv is None if own_process is None else own_process
            if alone:
                signal.signal(signal.SIGINT, partial(_interrupted, settings.out))
                # of what joblib's processes leave behind then
                os.environ.setdefault("PYTHONWARNINGS", "ignore:resource_tracker")
                if share.count == 1:
                    self.begin(settings)
            begun = multiprocessing.active_children() if alone else []
            try:
                configure_jax(
                    devices=settings.devices, compilation_cache=settings.compilation_cache
                )
                import jax

                with jax.enable_x64(settings.x64):
                    self._command(settings, share)
            finally:
                for process in begun:  # Python would wait for what nobody may need any more
                    process.kill()

    def _command(self, settings: S, share: cluster.Share) -> None:
        cluster.join(settings, share, os.environ)
        folder = self._folder(settings)
        dataset = folder.finished()
        new = dataset is None
        if dataset is None:
            try:
                dataset = self._shared(settings, share, folder)
            except Diverged as error:
                path = folder.finish_diverged(error.dataset)
                stop(f"{error}; what was recorded is in {path}", 1)
        if dataset is None:
            print(
                f"process {share.index} of {share.count} is done; the last one to finish writes "
                f"{folder.path}"
            )
            return
        figure = self._drawn(dataset, settings.format)
        picture = (
            folder.finish(dataset, figure, settings.format)
            if new
            else folder.redraw(figure, settings.format)
        )
        saved = [folder.path, picture]
        if settings.csv:
            from linsim.studies.tabular import csv_of
            from linsim.sweeps.results import write

            content = csv_of(self.rows(dataset)).encode()
            saved.append(write(content, folder.path.with_suffix(".csv")))
        if settings.quiet:
            print(self.table(dataset).splitlines()[-1])
        else:
            print(f"saved {' and '.join(map(str, saved))}\n\n{self.table(dataset)}")

    def _shared(self, settings: S, share: cluster.Share, folder: "Folder") -> "xr.Dataset | None":
        """The result, from runs that other processes may train, too; None in a process that leaves
        it to another.

        The second pass trains what is left undone elsewhere, and finds what others finished in the
        meantime.
        """
        from linsim.sweeps import traced

        where = {"archive": folder.archive, "share": share, "traced": traced.folder()}
        engine = self.engine(settings, meanwhile=partial(self.meanwhile, settings), **where)
        results = self.solve(settings, self._sharing(settings, engine, folder))
        if any(each is None for each in results):
            results = self.solve(settings, engine)
        if any(each is None for each in results):
            return None
        return self._compared(settings, results)

    def _sharing(self, settings: S, engine: "Engine", folder: "Folder") -> "Engine":
        """The engine, with other processes to train in its stead where that pays."""
        from linsim.studies import task

        if engine.share.count > 1:
            return engine
        where = elsewhere.chosen(settings, self.missing(settings, engine))
        if where is None:
            return engine
        states = folder.archive.folder.absolute()
        asked = partial(task.trained, self.name, pickle.dumps(settings), package_digest(), states)
        return dataclasses.replace(engine, elsewhere=partial(where.trained, asked))

    def _compared(self, settings: S, results: "tuple[Any, ...]") -> "xr.Dataset":
        """All results beside theory. Raises: Diverged."""
        from linsim.studies.words import divergence

        for each in results:
            if (message := divergence(each)) is not None:
                raise Diverged(message, each)
        return self.compare(results, settings)

    def engine(self, settings: S, **where: Any) -> "Engine":
        """Where the runs of these settings are trained: on this process's devices. Options: of
        `linsim.sweeps.engine.Engine`.
        """
        import jax

        from linsim.sweeps import results
        from linsim.sweeps.engine import Engine

        devices = tuple(jax.local_devices())[: settings.devices]
        return Engine(
            devices,
            settings.chunk_size,
            attributes=partial(results.provenance, settings),
            quiet=settings.quiet,
            **where,
        )

    def _folder(self, settings: S) -> "Folder":
        from linsim.sweeps.archive import Folder

        what = identity(settings) | dict(self.inputs(settings))
        what |= {"study": self.name, "code": package_digest()}
        return Folder(settings.out, self.name, what, overwrite=settings.overwrite)

    def _drawn(self, dataset: "xr.Dataset", suffix: str) -> bytes:
        from linsim.studies.style import rendered

        return rendered(self.figure(dataset), suffix)

    def _description(self) -> str:
        presets = "\n".join(
            f"  --{name:12} {preset.about}" for name, preset in self.presets.items()
        )
        return f"{inspect.getdoc(self)}\n\npresets (the first is the default):\n{presets}"

    def _spelled_out(self, argv: list[str]) -> list[str]:
        """The command line with --preset NAME for every --NAME of a preset."""
        named = {flag(name): name for name in self.presets}
        return [
            part
            for word in argv
            for part in (("--preset", named[word]) if word in named else (word,))
        ]


def _custom_optimizer(given: dict[str, object]) -> dict[str, object]:
    """Settings in which an optimiser that is no name is `custom_optimizer`. Raises: BadInput."""
    optimizer = given.get("optimizer")
    if optimizer is None or isinstance(optimizer, str):
        return given
    if not (hasattr(optimizer, "init") and hasattr(optimizer, "update")):
        raise BadInput(
            f"optimizer {optimizer} is not allowed: it must be a name, or an "
            "optax.GradientTransformation"
        )
    return {name: value for name, value in given.items() if name != "optimizer"} | {
        "custom_optimizer": optimizer
    }


def _preset_of(argv: list[str], default: str) -> str:
    """The preset named on the command line."""
    name = default
    for position, word in enumerate(argv):
        if word == "--preset" and position + 1 < len(argv):
            name = argv[position + 1]
        elif word.startswith("--preset="):
            name = word.removeprefix("--preset=")
    return name


def _interrupted(out: Path, *_: Any) -> None:
    """End at once: every file is whole at every moment but one that is just being written, which
    goes.
    """
    for part in out.rglob(f".*.{os.getpid()}.part"):
        part.unlink(missing_ok=True)
    text = (
        f"error: interrupted; runs that ended stay in {out}, and the same command goes on from them"
    )
    print(text, file=sys.stderr, flush=True)
    os._exit(130)
