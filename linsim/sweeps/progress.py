"""How far a command is: on a terminal a bar whose clock runs from the first second on, elsewhere a
line now and then.
"""

import sys
import threading
from typing import Any

from tqdm import tqdm

SECONDS = 30.0  # between two lines where there is no terminal, and before the first one
LAYOUT = (
    "{desc}{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt}{unit} [{elapsed}<{remaining}{postfix}]"
)


class Bar(tqdm):
    """A bar that is drawn anew every second, so that its clock runs while nothing else happens."""

    def __init__(self, **options: Any) -> None:
        self._closed = threading.Event()
        super().__init__(bar_format=LAYOUT, leave=False, **options)
        if not self.disable:
            threading.Thread(target=self._run_clock, daemon=True).start()

    def _run_clock(self) -> None:
        while not self._closed.wait(1.0):
            self.refresh()

    def close(self) -> None:
        """See tqdm."""
        self._closed.set()
        super().close()


class Lines(tqdm):
    """The same as a line to standard error every half minute."""

    def __init__(self, **options: Any) -> None:
        super().__init__(mininterval=SECONDS, delay=SECONDS, leave=False, **options)

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        """See tqdm."""
        if msg is None and self.n < self.total:
            told = f"{self.desc}{self.n:.4g} of {self.total:.4g}{self.unit}"
            if (done := self.n - self.initial) > 0:
                left = (self.total - self.n) * self.format_dict["elapsed"] / done
                told += f", about {left / 60:.2g} minutes left"
            print(told, file=sys.stderr, flush=True)


def progress(total: int, unit: str, *, what: str = "", done: int = 0, hidden: bool = False) -> tqdm:
    """Something with `update(count)` and `close()` that shows how much of a total is done.

    Args: total and what is done of it already; unit: what is counted, such as runs; what: what is
    done to them; hidden: show nothing.
    """
    shown = Bar if sys.stderr.isatty() else Lines
    return shown(total=total, initial=done, unit=f" {unit}", desc=what, disable=hidden)
