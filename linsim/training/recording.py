"""When a run is recorded. A light module."""

import numpy as np


def record_steps(steps: int, count: int = 80) -> np.ndarray:
    """At most `count` step numbers, 0, 1 and `steps` among them, evenly spaced on a log scale.
    Returns: (T,) integers.
    """
    return np.unique(np.concatenate([[0], np.rint(np.geomspace(1, steps, count - 1)).astype(int)]))
