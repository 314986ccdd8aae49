"""How long the explorer takes to answer: CPU milliseconds of a move by kind of setting, theory and
pictures together, and seconds of a training.

`python benchmarks/explorer.py`
"""

import os

os.environ["OPENBLAS_NUM_THREADS"] = os.environ["NPROC"] = "1"  # as `linsim explore` sets them

import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from linsim.explore import figure, theory, training
from linsim.explore.setting import SEEDS, STEPS, Setting
from linsim.sweeps.runtime import configure_jax

KINDS = {
    "one noisy view": Setting(),
    "two noisy views": Setting(views="two"),
    "dot product": Setting(loss="dot"),
    "unequal variances": Setting(data_exponent=0.5),
    "two layers": Setting(depth=2),
}
NOISES = (0.85, 1.15, 1.45, 1.75, 2.05, 2.35)


def move(setting: Setting) -> float:
    """CPU seconds from a setting that nobody asked for before to its pictures."""
    start = time.process_time()
    answer, ends = theory.answer(setting), theory.ends(theory.at_any_noise(setting))
    figure.in_time(answer, theory.TIMES, None)
    figure.spectrum(setting, answer, None)
    figure.where(ends, setting)
    return time.process_time() - start


def main() -> None:
    """Print the times."""
    configure_jax()
    training.warm_up(Setting()).join()
    for name, kind in KINDS.items():
        move(kind)
        times = sorted(1000 * move(replace(kind, noise=noise)) for noise in NOISES)
        median = statistics.median(times)
        print(f"a move, {name}: {median:.0f} ms ({times[0]:.0f} to {times[-1]:.0f})")
    with tempfile.TemporaryDirectory() as folder:
        for order, noise in (("first", 1.25), ("second", 1.3)):
            start = time.perf_counter()
            training.train(Setting(noise=noise), Path(folder), lambda runs: None)
            took = time.perf_counter() - start
            print(f"{SEEDS} runs of {STEPS} steps, the {order} time: {took:.1f} s")


if __name__ == "__main__":
    main()
