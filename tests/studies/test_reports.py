"""Every study's verdict on constructed data, of which the right one is known both ways."""

from typing import Any

import numpy as np
import pytest
import xarray as xr

from linsim.spectra import KINDS
from linsim.studies import objectives
from linsim.studies.alignment import table as alignment
from linsim.studies.collapse_kinds import KindsSettings
from linsim.studies.collapse_kinds import table as kinds
from linsim.studies.depth import table as depth
from linsim.studies.phase_diagram import table as phases
from linsim.studies.singular_values import table as singular
from linsim.studies.two_layers import TwoLayerSettings, modes, words


def verdict(text):
    return text.splitlines()[-1]


# --- two layers -------------------------------------------------------------------------------


def turned(angle, dim=4, first=0):
    """The identity with two neighbouring modes turned by so many degrees."""
    found, at = np.eye(dim), slice(first, first + 2)
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    found[at, at] = [[c, -s], [s, c]]
    return found


@pytest.mark.parametrize(
    ("a", "expected"),
    [
        (turned(0.0), ["aligned", "aligned", "aligned", "collapsed"]),
        (turned(11.0), ["aligned", "aligned", "aligned", "collapsed"]),  # cos = 0.982
        (turned(12.0), ["misaligned", "misaligned", "aligned", "collapsed"]),  # 0.978
        (-turned(0.0), ["aligned", "aligned", "aligned", "collapsed"]),  # up to sign
        (turned(60.0, first=2), ["aligned", "aligned", "misaligned", "collapsed"]),
    ],
)
def test_modes_far_apart_are_judged_one_by_one(a, expected):
    first, second = np.array([4.0, 2.0, 1.0, 0.1]), np.array([4.0, 2.0, 1.7, 0.1])
    group, _, state = modes.judge(a, first, second, 0.1)
    assert [modes.STATES[each] for each in state] == expected
    assert group.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(("a", "together"), [(turned(60.0), True), (turned(60.0, first=1), False)])
def test_degenerate_modes_are_judged_by_their_span(a, together):
    """The first two are a group; turned among themselves they span the same."""
    values = np.array([4.0, 3.9, 2.0, 0.1])
    group, angle, state = modes.judge(a, values, values, 0.1)
    assert group.tolist() == [0, 0, 1, 2]
    names = [modes.STATES[each] for each in state]
    if together:
        assert names == ["aligned as a group"] * 2 + ["aligned", "collapsed"]
        assert angle[:2] == pytest.approx([0.0, 0.0], abs=1e-5)
    else:
        assert names == ["aligned", "misaligned", "misaligned", "collapsed"]
        assert angle[:2] == pytest.approx([60.0, 60.0])


@pytest.mark.parametrize(
    ("angle", "state"), [(9.9, "aligned as a group"), (10.1, "misaligned"), (12.9, "misaligned")]
)
def test_a_group_is_aligned_up_to_ten_degrees(angle, state):
    """The first two modes are turned by 60 degrees among themselves, then out of their plane."""
    values = np.array([4.0, 3.9, 2.0, 2.0])
    a = turned(60.0) @ turned(angle, first=1)
    group, found, states = modes.judge(a, values, values, 0.1)
    assert found[:2] == pytest.approx([angle, angle])
    assert modes.STATES[states[0]] == state
    assert group.tolist() == [0, 0, 1, 1]


def test_collapsed_modes_are_groups_of_their_own():
    values = np.array([4.0, 0.1, 0.1, 0.1])
    group, angle, _ = modes.judge(turned(40.0, first=1), values, values, 0.1)
    assert group.tolist() == [0, 1, 2, 3]
    assert angle == pytest.approx([0.0, 40.0, 40.0, 0.0], abs=1e-5)


def test_modes_are_judged_at_the_final_time_run_by_run():
    values = np.array([4.0, 2.2, 1.5, 0.1])
    a = np.stack([[turned(60.0), turned(60.0), end] for end in (np.eye(4), turned(60.0))])
    held = np.broadcast_to(values, (2, 3, 4))
    runs = xr.Dataset(
        {
            "alignment": (("seed", "time", "mode_w2", "mode_w1"), a),
            "w1_singular_values": (("seed", "time", "hidden_mode"), held),
            "w2_singular_values": (("seed", "time", "hidden_mode"), held),
        },
        coords={"time": [0.0, 1.0, 2.0], "step": ("time", [0, 1, 2])},
    )
    found = modes.add(runs, TwoLayerSettings(group_gap=0.1))["mode_state"]
    names = [[modes.STATES[each] for each in row] for row in found.values]
    assert names[0] == ["aligned"] * 3 + ["collapsed"]
    assert names[1] == ["misaligned"] * 2 + ["aligned", "collapsed"]


@pytest.mark.parametrize(("weak", "state"), [(0.101, "aligned"), (0.099, "collapsed")])
def test_a_mode_has_collapsed_below_a_tenth_of_the_largest_product(weak, state):
    values = np.array([2.0, 2.0 * weak])
    found = modes.judge(np.eye(2), values, np.array([3.0, 3.0]), 0.1)[2]
    assert [modes.STATES[each] for each in found] == ["aligned", state]


def aligned_runs(residual=0.0, short=0.0, states=(2, 2, 0), dtype="float64"):
    """Two runs; the second's largest residual, and how far an entry lies below the bound."""
    runs = {"noise": [0.1], "init_scale": [1.0], "seed": [0, 1], "time": [0.0, 1.0]}
    shape = tuple(map(len, runs.values()))
    a = np.broadcast_to(0.9 * np.eye(3), (*shape, 3, 3)).copy()
    bound = np.broadcast_to([0.9, 0.5, 0.0], (*shape, 3)).copy()
    bound[0, 0, 1, 0, 0] += short
    residuals = np.zeros(shape)
    residuals[0, 0, 1, 1] = residual
    return xr.Dataset(
        {
            "mode_state": (("noise", "init_scale", "seed", "hidden_mode"), [[[states, states]]]),
            "identity_residual": (tuple(runs), residuals),
            "alignment": ((*runs, "mode_w2", "mode_w1"), a),
            "alignment_bound": ((*runs, "hidden_mode"), bound),
        },
        coords=runs,
        attrs={"dtype": dtype},
    )


def test_the_identity_and_the_bound_are_held_against_every_run():
    fine = alignment._alignment_verdict(aligned_runs())
    assert fine.startswith("of 3 modes 1 collapsed, 0 misaligned, 2 aligned, 0 aligned as a group;")
    assert "every entry obeys the identity" in fine
    assert "no entry lies below the bound" in fine
    assert "VIOLATED" in alignment._alignment_verdict(aligned_runs(residual=1.1e-9))
    assert "VIOLATED" not in alignment._alignment_verdict(aligned_runs(residual=0.9e-9))
    assert "VIOLATED" not in alignment._alignment_verdict(aligned_runs(0.9e-4, dtype="float32"))
    assert "VIOLATED" in alignment._alignment_verdict(aligned_runs(1.1e-4, dtype="float32"))
    assert "1 entries lie BELOW" in alignment._alignment_verdict(aligned_runs(short=1.1e-9))
    assert "BELOW" not in alignment._alignment_verdict(aligned_runs(short=0.9e-9))


def test_the_table_shows_the_end_of_the_first_run():
    one = aligned_runs()
    for layer in (1, 2):
        values = np.array([[9.0, 9.0, 9.0], [5.0 * layer, 2.0, 0.25]])
        one[f"w{layer}_singular_values"] = (("time", "hidden_mode"), values)
    one["mode_group"] = (("seed", "hidden_mode"), [[0, 0, 1], [7, 7, 7]])
    one["group_angle"] = (("seed", "hidden_mode"), [[3.5, 3.5, 60.0], [7.0, 7.0, 7.0]])
    one["loss"] = (("noise", "init_scale", "seed", "time"), np.zeros((1, 1, 2, 2)))
    one["mode_state"][..., 1, :] = 1
    other = one.assign_coords(noise=[2.0]).copy(deep=True)
    other["mode_state"][:] = 1
    both = xr.concat([one, other], "noise", data_vars=["mode_state", "alignment", "loss"])
    both.attrs |= {"loss": "distance", "solver": "flow"}
    lines = alignment.tell(both).splitlines()
    assert lines[0].endswith("noise 0.1, t = 1; table of the first of 4 runs")
    assert lines[3].split() == ["1", "5", "10", "0.900", "0.900", "1", "3.5", "aligned"]
    assert lines[5].split() == ["3", "0.25", "0.25", "0.900", "0.000", "2", "60.0", "collapsed"]
    assert "noise 0.1: of 3 modes 0 to 1 collapsed, 0 to 3 misaligned, 0 to 2 aligned" in lines[-1]
    assert "noise 2: of 3 modes 0 collapsed, 3 misaligned" in lines[-1]


def grown_runs(end, theory, population=((8.0, 2.0, 0.2),), **attrs):
    """Runs of three modes that start with s1 s2 = 0.1: the products at the end, seed by seed, and
    theirs in theory.
    """

    def layers(products):
        start = np.full(np.shape(products), 0.1)
        strength = np.stack([start, 7 * start, np.asarray(products)], axis=1)
        return (("seed", "time", "hidden_mode"), np.sqrt(strength))

    seeds = len(end)
    everywhere = np.broadcast_to(population, (seeds, 3))
    arrays: dict[str, Any] = {
        f"{prefix}w{layer}_singular_values": layers(products)
        for prefix, products in (("", end), ("theory_", theory), ("population_", everywhere))
        for layer in (1, 2)
    }
    arrays["escape_time"] = (("seed", "hidden_mode"), np.tile([3.0, 6.0, np.inf], (seeds, 1)))
    return xr.Dataset(
        arrays,
        coords={"seed": range(seeds), "time": [0.0, 2.5, 5.0]},
        attrs={"no_theory": "", "solver": "descent", **attrs},
    )


def test_escaped_modes_are_counted_and_their_size_compared_with_theory():
    told = singular._singular_verdict(
        grown_runs([[4.0, 1.1, 0.2], [4.4, 0.9, 0.2]], [[4.0, 1.0, 0.2], [4.0, 0.9, 0.2]])
    )
    assert told.startswith("1 to 2 of 3 modes have escaped (s1 s2 grown 10-fold) by t = 5;")
    assert "in 1 of 2 runs" in told  # 1.1 is above ten times the start, 1.0 is not
    assert "within 5 % of it in the mean over runs" in told
    assert told.endswith(
        "in infinite batches: 2 of the population flow (1 escape times have passed)"
    )


def test_nothing_that_escaped_in_both_is_not_compared():
    told = singular._singular_verdict(grown_runs([[4.0, 0.2, 0.2]], [[0.3, 3.0, 0.2]]))
    assert "in 1 of 1 runs" in told  # as many, though not the same
    assert "not compared, as none has in both" in told


def test_the_table_shows_start_end_theory_and_escape_of_the_first_run():
    one = grown_runs([[4.0, 1.21, 0.25], [9.0, 9.0, 9.0]], [[3.61, 1.0, np.nan], [9.0, 9.0, 9.0]])
    one["theorem_3"] = (("layer", "seed", "time", "hidden_mode"), np.zeros((2, 2, 3, 3)))
    one["theorem_3"][0, 0, -1] = 1.5
    one["theorem_3"][1, 0, -1] = 2.5
    one["loss"] = (("seed", "time"), np.zeros((2, 3)))
    one = one.assign_coords(layer=[0, 1]).expand_dims(noise=[0.1], init_scale=[1.0])
    one.attrs |= {"loss": "distance", "dtype": "float32"}
    row = singular.tell(one).splitlines()[3].split()
    assert row == ["1", "0.316", "2", "1.9", "1.5", "2", "1.9", "2.5", "2.828", "3"]


def test_what_cannot_be_told_is_not():
    same = [[8.0, 2.0, 0.2]]
    population = singular._singular_verdict(grown_runs(same, same, solver="population"))
    assert "nothing to compare with" in population
    assert "cannot be told from theory (why)" in singular._singular_verdict(
        grown_runs(same, same, no_theory="why")
    )
    unknown = np.full((1, 3), np.nan)
    assert ", as many as the 2 of the population flow" in singular._singular_verdict(
        grown_runs(same, unknown)
    )
    assert "not as many as the 2 of the population flow" in singular._singular_verdict(
        grown_runs([[8.0, 0.2, 0.2]], unknown)
    )


def test_settings_are_named_where_there_are_several():
    both = xr.Dataset(coords={"noise": [0.1, 1.0], "init_scale": [0.5, 2.0]})
    names = [name for name, _ in words.one_by_one(both)]
    assert names == [
        f"noise {noise}: init scale {scale}: " for noise in ("0.1", "1") for scale in ("0.5", "2")
    ]
    (name, one), second = words.one_by_one(both.isel(init_scale=[1]))
    assert (name, second[0]) == ("noise 0.1: ", "noise 1: ")
    assert (float(one["noise"][0]), float(one["init_scale"][0])) == (0.1, 2.0)
    assert words.one_by_one(both.isel(noise=[0], init_scale=[1]))[0][0] == ""


# --- depth ------------------------------------------------------------------------------------


def deep(start, end, theory):
    """Counts of two seeds for each depth, which are given from the deepest on."""
    middle = np.full(len(end), 7)
    counts = np.array([start, middle, end])[None, :, :, None] * np.ones(2)
    return xr.Dataset(
        {
            "collapsed": (("network", "time", "depth", "seed"), counts),
            "theory_collapsed": (("depth", "time"), np.array([start, middle, theory], float).T),
            "population_collapsed": (("depth", "time"), np.array([start, middle, theory], float).T),
            "alpha_ii": (("network", "time", "depth", "seed"), 0.5 + 0 * counts),
        },
        coords={
            "network": ["linear"],
            "time": [0.0, 10.0, 20.0],
            "depth": np.arange(len(end), 0, -1),
            "seed": [0, 1],
            "mode": range(16),
        },
        attrs={"noise": 0.1, "batch_size": 64, "dtype": "float32"},
    )


@pytest.mark.parametrize(
    ("start", "end", "theory", "expected"),
    [
        (
            [2, 1, 0],
            [5, 3, 0],
            [5, 3, 1],
            "dimensions grow with depth (0, 3, 5 collapsed dimensions, 0, 1, 2",
        ),
        ([0, 0, 0], [3, 5, 0], [3, 5, 0], "do NOT grow with depth (0, 5, 3"),
        ([0, 0, 0], [3, 3, 0], [3, 3, 0], "do NOT grow with depth"),
        ([5, 3, 0], [5, 3, 0], [5, 3, 0], "nothing has changed yet, more --steps would tell"),
        ([1], [5], [5], "one depth cannot tell"),
        ([1, 1], [5, 3], [5, 3], "dimensions grow with depth (3, 5"),
        ([0, 0, 1], [5, 3, 1], [5, 3, 1], "dimensions grow with depth (1, 3, 5"),
    ],
)
def test_growth_with_depth(start, end, theory, expected):
    told = verdict(depth.tell(deep(start, end, theory)))
    assert expected in told
    right = 2 * int(np.sum(np.array(end) == theory))
    assert f"as many as theory predicts in {right} of {2 * len(end)} runs" in told


def test_counts_are_not_compared_where_no_theory_is_known():
    one = deep([0, 0], [5, 3], [5, 3])
    relu = verdict(depth.tell(one.assign_coords(network=["relu"])))
    assert "relu: " in relu
    assert "theory predicts" not in relu
    one["theory_collapsed"] = one["theory_collapsed"] * np.nan
    assert "theory predicts" not in verdict(depth.tell(one))
    assert [line.split()[:2] for line in depth.tell(one).splitlines()[3:5]] == [
        ["2", "-"],
        ["1", "-"],
    ]


# --- kinds of collapse ------------------------------------------------------------------------


def ended(found, expected, still=True):
    """Two objectives with two seeds, and the kinds that were found and expected of the second."""
    time = np.array([0.0, 4.0, 8.0, 9.0, 10.0])
    growth = np.ones(5) if still else np.array([0.8, 1.0, 1.0, 1.05, 1.2])
    spectrum = growth[:, None] * np.array([1.0, 1.0, 0.5])
    shape = (2, 2, 5, 3)
    names = ("objective", "seed", "time", "mode")
    index = KINDS.index
    return xr.Dataset(
        {
            "embedding_spectrum": (names, np.broadcast_to(spectrum, shape)),
            "theory_embedding_spectrum": (names, np.broadcast_to(spectrum, shape)),
            "kind": (("objective", "seed"), [[index("complete")] * 2, [index(f) for f in found]]),
            "theory_kind": (
                ("objective", "seed"),
                [[index("complete")] * 2, [index(expected)] * 2],
            ),
        },
        coords={"objective": ["first", "second"], "seed": [0, 1], "time": time},
        attrs={
            "base_noise": 0.5,
            "noisy_dims": 1,
            "noise": 2.5,
            "batch_size": 64,
            "weight_decay": 0.1,
            "complete": 0.02,
            "dimensional": 3e-4,
            "dtype": "float32",
        },
    )


def test_the_kind_of_a_run_is_that_of_its_last_record_against_the_variance_of_its_first():
    values = [
        [[1.0, 1.0], [1.0, 1e-5], [0.01, 0.01]],
        [[1.0, 1.0], [0.01, 0.01], [1.0, 5e-4]],
        [[1.0, 1.0], [1.0, 1e-5], [1.0, 2e-3]],
        [[1.0, 1.0], [1.0, 1.0], [np.nan, 1.0]],
    ]
    settings = KindsSettings(complete=0.02, dimensional=1e-3)
    found = objectives.kinds(xr.DataArray(values, dims=("seed", "time", "mode")), settings)
    names = [KINDS[place] if place >= 0 else "unknown" for place in found.values]
    assert names == ["complete", "dimensional", "none", "unknown"]


@pytest.mark.parametrize(
    ("found", "expected", "still", "agree", "early"),
    [
        (("dimensional", "dimensional"), "dimensional", True, 2, False),
        (("dimensional", "complete"), "dimensional", True, 1, False),
        (("none", "none"), "dimensional", True, 1, False),
        (("none", "none"), "none", True, 2, False),
        (("none", "none"), "none", False, 1, True),  # it may yet collapse
        (("dimensional", "dimensional"), "dimensional", False, 2, False),
    ],
)
def test_kinds_are_compared_objective_by_objective(found, expected, still, agree, early):
    told = verdict(kinds.tell(ended(found, expected, still)))
    assert told.startswith(f"verdict: the kind of collapse that theory predicts in {agree} of 2")
    assert ("cannot tell in 1" in told and told.endswith("(second)")) == early


def test_the_table_of_kinds_shows_what_is_left_at_the_end():
    one = ended(("none", "none"), "none", still=False)
    one["theory_embedding_spectrum"] = one["theory_embedding_spectrum"] * xr.DataArray(
        [1.0, 1.0, 0.5], dims="mode"
    )
    heading, _, row = kinds.tell(one).splitlines()[2:5]
    assert row.split() == ["second", "1.5", "0.5", "0.25", "none", "(none)"]
    assert [row.index(word) for word in ("none", "(none)")] == [
        heading.index(word) for word in ("collapse", "(predicted)")
    ]
    assert "below 2 % of the initial variance" in kinds.legend(one)
    assert "below 0.0003 of the largest" in kinds.legend(one)


@pytest.mark.parametrize(("last", "expected"), [(1.09, True), (1.12, False), (1 / 1.12, False)])
def test_a_spectrum_has_settled_once_nothing_changes_by_a_tenth_over_half_the_time(last, expected):
    values = np.ones((5, 2))
    values[:2] = 9.0  # before half the time
    values[-1, 1] = last
    assert kinds.settled(in_time(values)) is expected
    assert not kinds.settled(in_time(values).isel(time=[0, 2, 4]))  # two records are no plateau


def test_a_spectrum_that_crept_by_a_tenth_has_not_settled():
    values = np.array([9.0, 9.0, 1.06, 1.0, 0.95])[:, None]
    assert not kinds.settled(in_time(values))


def in_time(values):
    return xr.DataArray(values, dims=("time", "mode"), coords={"time": [0, 4.5, 5, 8, 10]})


# --- phase diagram ----------------------------------------------------------------------------


def diagram(wrong=0, near=0, flat=False):
    """40 cells of which so many are wrong, and so many at the boundary."""
    theory = np.where(np.arange(40) % 2, 0.0 if flat else 8.0, 0.0).reshape(1, 8, 5, 1)
    measured = theory.copy()
    measured.flat[:wrong] += 3
    close = np.zeros(theory.shape)
    close.flat[40 - near :] = 1
    names = ("model", "noise", "init_scale", "seed")
    return xr.Dataset(
        {
            "collapsed": (names, measured),
            "theory_collapsed": (names, theory),
            "population_collapsed": (names, theory + 1),
            "near_boundary": (names, close),
            "alpha_ii": ((*names, "time"), 0.5 + np.zeros((*theory.shape, 2))),
            "end_time": (("model",), [8.0]),
        },
        coords={
            "model": ["one layer"],
            "noise": np.arange(8.0),
            "init_scale": np.arange(1.0, 6.0),
            "seed": [0],
        },
        attrs={"batch_size": 128, "dim": 16, "noisy_dims": 8, "dtype": "float32"},
    )


@pytest.mark.parametrize(
    ("fields", "expected", "counted"),
    [
        ({}, "one layer as predicted", "40 of 40 (100.0 %)"),
        ({"wrong": 2}, "one layer as predicted", "38 of 40 (95.0 %)"),
        ({"wrong": 3}, "one layer NOT as predicted", "37 of 40 (92.5 %)"),
        ({"wrong": 2, "near": 1}, "one layer NOT as predicted", "37 of 39 (94.9 %)"),
        ({"near": 40}, "one layer not to be judged", "no run"),
        ({"flat": True}, "one layer as predicted (no boundary here)", "40 of 40"),
    ],
)
def test_the_share_of_runs_away_from_the_boundary_decides(fields, expected, counted):
    told = phases.tell(diagram(**fields))
    assert expected in verdict(told)
    assert ("(no boundary here)" in verdict(told)) == fields.get("flat", False)
    row = next(line for line in told.splitlines() if line.startswith("one layer "))
    assert counted in row
    assert f"{100 * (1 - fields.get('wrong', 0) / 40):.1f} %" in row
    assert f" {'+3' if fields.get('wrong') else '+0'} " in row
    assert " 0.0 % " in row  # infinite batches are wrong everywhere
