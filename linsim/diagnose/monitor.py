"""Collapse watched during training: batches in, a report at any time."""

from typing import Any

import numpy as np

from linsim.diagnose import report
from linsim.diagnose.moments import Moments
from linsim.diagnose.reading import matrices
from linsim.diagnose.reading.arrays import to_numpy


class Monitor:
    """Takes batches of embeddings, and reports at any time what all of them together show.

    It keeps running moments in O(d^2) memory, not the embeddings, and so can be pickled and merged
    with the monitors of other processes. Everything but uniformity, LiDAR and classes is reported.

    Example:
        >>> import numpy as np
        >>> rng, monitor = np.random.default_rng(0), Monitor()
        >>> for step in range(10):
        ...     monitor.update(rng.standard_normal((32, 4)) * [1, 1, 1, 1e-4])
        >>> monitor.count, monitor.report().verdict.sentence
        (320, 'dimensional collapse, 1 of 4 dimensions')
    """

    def __init__(self, name: str = "embeddings") -> None:
        """Args: how reports call the embeddings."""
        self.name = name
        self.reset()

    @property
    def count(self) -> int:
        """How many samples have been taken."""
        return 0 if self._moments is None else self._moments.taken

    def reset(self) -> None:
        """Forget all samples, as at the start of an epoch."""
        self._moments: Moments | None = None
        self._dtype = ""

    def update(self, z: Any) -> None:
        """Take a batch of embeddings.

        Args: z, one sample to a row, (b, d), an array of NumPy, JAX or PyTorch. Raises: ValueError
        for another shape or numbers that are not finite, and then takes nothing.
        """
        rows = matrices.checked(to_numpy(z), "a batch")
        if self._moments is None:
            self._moments = Moments(rows.shape[1])
        self._moments.require(rows.shape[1])
        self._moments.update(rows)
        self._dtype = str(rows.dtype)

    def merge(self, other: "Monitor") -> None:
        """Take all samples of another process's monitor. Raises: ValueError for another width."""
        if other._moments is None:
            return
        if self._moments is None:
            self._moments = Moments(other._moments.width)
        self._moments.merge(other._moments)
        self._dtype = self._dtype or other._dtype

    def report(self) -> report.Report:
        """What all samples so far show. Raises: ValueError if there are fewer than two."""
        if self._moments is None or self.count < 2:
            raise ValueError(f"a report needs two samples or more; the monitor has {self.count}")
        return report.of_moments(self._moments, name=self.name, dtype=self._dtype)

    def values(self, prefix: str = "") -> dict[str, float]:
        """The measures that are defined, for a logger. Args: what to put before each name."""
        told = self.report()
        known = {name: value for name, value in told.values.items() if np.isfinite(value)}
        counts = {"collapsed_dimensions": told.verdict.collapsed}
        known |= {name: float(number) for name, number in counts.items() if number is not None}
        return {prefix + name: value for name, value in known.items()}
