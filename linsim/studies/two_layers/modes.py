"""Which hidden modes of two layers grew, which share a degenerate group, and which are aligned
(paper, section 5.2).

A mode has collapsed if its s1 s2 stays below GROWN times the largest. A grown mode is aligned if
|A_kk| says so. Modes whose singular values lie close together have no basis of their own; where
|A_kk| reads as misaligned they are judged as a group, by the largest principal angle between their
spans in the two layers.
"""

import numpy as np
import xarray as xr

from linsim.studies.two_layers import TwoLayerSettings
from linsim.theory.alignment import degenerate_groups, group_angle

GROWN = 0.1
ALIGNED_COSINE = 0.98  # a mode is aligned from this |A_kk| on
ALIGNED_ANGLE = 10.0  # degrees; a group is aligned below this
STATES = ("collapsed", "misaligned", "aligned", "aligned as a group")


def judge(
    alignment: np.ndarray, first: np.ndarray, second: np.ndarray, gap: float
) -> tuple[np.ndarray, ...]:
    """Group number, angle in degrees of the group (or single mode), and index into STATES, of each
    mode.

    Args: A (h, h); singular values s1, s2 of W1 and W2 (h,), largest first; gap: relative distance
    of degenerate values.
    Returns: (group, angle, state), each (h,).
    """
    strength = first * second
    grown = int(np.sum(strength >= GROWN * strength.max()))
    groups = degenerate_groups(first[:grown], gap) + [
        range(k, k + 1) for k in range(grown, len(first))
    ]
    number, angle, state = np.zeros((3, len(first)))
    for index, group in enumerate(groups):
        members = slice(group.start, group.stop)
        number[members], angle[members] = index, group_angle(alignment, group)
        alone = np.abs(np.diag(alignment)[members]) >= ALIGNED_COSINE
        together = len(group) > 1 and angle[group.start] < ALIGNED_ANGLE
        state[members] = np.where(alone, 2, 3 if together else 1) if group.start < grown else 0
    return number.astype(int), angle, state.astype(int)


def add(dataset: xr.Dataset, settings: TwoLayerSettings) -> xr.Dataset:
    """`dataset` of two-layer runs with mode_group, group_angle and mode_state of the final time."""
    end = dataset.isel(time=-1)
    judged = xr.apply_ufunc(
        lambda a, s1, s2: judge(a, s1, s2, settings.group_gap),
        end["alignment"],
        end["w1_singular_values"],
        end["w2_singular_values"],
        input_core_dims=[["mode_w2", "mode_w1"], ["hidden_mode"], ["hidden_mode"]],
        output_core_dims=[["hidden_mode"]] * 3,
        vectorize=True,
    )
    names = ("mode_group", "group_angle", "mode_state")
    return dataset.assign(
        {name: array.drop_vars(("time", "step")) for name, array in zip(names, judged, strict=True)}
    )
