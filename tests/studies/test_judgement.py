"""The verdict of strong_aug on constructed runs, of which the right one is known both ways."""

from typing import Any

import numpy as np
import pytest
import xarray as xr
from helpers import assert_close
from scipy.stats import norm
from scipy.stats import t as student_t

from linsim.studies.strong_aug import judgement
from linsim.studies.strong_aug.judgement import Compared, judge

TIMES = [0.0, 1.0, 8.0, 64.0]
THEORY = np.array([[0.01, 0.01], [0.3, 0.05], [2.0, 0.2], [4.0, 0.25]])


def runs(seeds=4, level=0.02, left_out=0.0, shares=(1.0, 0.0, 0.0), **off):
    """One setting whose measured strengths are theory's, off by relative amounts: clean, noisy."""
    factor = np.array([1 + off.get("clean", 0.0), 1 + off.get("noisy", 0.0)])
    # deviations of seeds that average to nothing
    chance = 0.02 * np.resize([1.0, -1.0], seeds) if seeds > 1 else np.zeros(1)
    measured = THEORY * factor * (1 + chance[:, None, None])
    constant = ("time", "block")
    return xr.Dataset(
        {
            "block_strength": (("seed", *constant), measured),
            "theory_block_strength": (constant, THEORY.copy()),
            "theory_level": (constant, np.full(THEORY.shape, level)),
            "theory_left_out": (constant, np.full(THEORY.shape, left_out)),
            "collapsed_probability": (("count",), np.array(shares)),
            "predicted_collapsed": ((), 0.0),
        },
        coords={"time": TIMES, "block": ["clean", "noisy"]},
    )


def outcome(counts=(0, 0, 0, 0), settings=1, **options):
    one = runs(**options)
    return judge(one, xr.DataArray(np.array(counts[: one.sizes["seed"]]), dims="seed"), settings)


def test_runs_as_theory_has_them_agree():
    assert outcome() == ("agrees", "")
    assert outcome(noisy=0.015).outcome == "agrees"  # less than theory leaves out
    assert outcome(noisy=0.025).outcome == "agrees"  # two and a half standard errors of 1 %


@pytest.mark.parametrize("block", ["clean", "noisy"])
def test_a_deviation_of_one_block_is_named(block):
    found = outcome(clean=0.05) if block == "clean" else outcome(noisy=0.05)
    assert found.outcome == "disagrees"
    assert f"{block} strength at t = 64 off by +5 % and +5.0 standard errors" in found.reason
    assert ("noisy" in found.reason) == (block == "noisy")


def test_more_settings_allow_a_larger_worst_deviation():
    assert outcome(clean=0.036).outcome == "disagrees"
    assert outcome(clean=0.036, settings=100).outcome == "agrees"


def test_what_theory_leaves_out_cannot_be_told():
    found = outcome(noisy=-0.1, left_out=0.12)
    assert found.outcome == "cannot tell"
    assert "a lower --learning-rate" in found.reason
    assert outcome(noisy=-0.1, left_out=0.08).outcome == "disagrees"


def test_without_an_expected_spread_seeds_decide_and_one_cannot():
    assert outcome(clean=0.2, level=np.nan).outcome == "disagrees"
    assert outcome(clean=0.05, level=np.nan, seeds=2).outcome == "agrees"
    chance = outcome(clean=0.12, level=np.nan, seeds=2)
    assert chance.outcome == "cannot tell"
    assert "--seeds" in chance.reason
    alone = outcome(clean=0.05, level=np.nan, seeds=1)
    assert alone.outcome == "cannot tell"
    assert "--seeds" in alone.reason


def test_counts_are_compared_with_their_distribution():
    shares = (0.7, 0.29, 0.01)
    assert outcome(counts=(0, 1, 0, 0), shares=shares).outcome == "agrees"
    found = outcome(counts=(0, 2, 0, 0), shares=(0.7, 0.2999, 0.0001))
    assert found.outcome == "disagrees"
    assert "0 to 2 collapsed dimensions" in found.reason


def test_strengths_that_have_not_moved_tell_nothing(monkeypatch):
    still = np.repeat(THEORY[:1], 4, axis=0) * np.linspace(1, 1.2, 4)[:, None]
    monkeypatch.setitem(globals(), "THEORY", still)
    found = outcome()
    assert found.outcome == "cannot tell"
    assert "--steps" in found.reason


def compared(measured=1.0, theory=1.0, **fields: Any) -> Compared:
    """One comparison, with four standard errors allowed."""
    plain: dict[str, Any] = {"block": "clean", "time": 1.0, "error": 0.001, "limit": 4.0}
    plain |= {"left_out": 0.0, "start": 0.01, "measured": measured, "theory": theory}
    plain |= fields
    return Compared(**plain)


@pytest.mark.parametrize(
    ("measured", "theory", "expected"),
    [
        (1.0199, 1.0, True),
        (1.0201, 1.0, False),
        (0.9801, 1.0, True),
        (0.9799, 1.0, False),
        (1.1e-3 * 1.03, 1.1e-3, False),  # above WEAK: relative
        (1e-4 * np.exp(0.18), 1e-4, True),  # below: 2 % of ln m, 0.184
        (1e-4 * np.exp(-0.18), 1e-4, True),
        (1e-4 * np.exp(0.19), 1e-4, False),
        (1e-4 * np.exp(-0.19), 1e-4, False),
        (0.9e-12, 0.0, True),  # both as good as nothing
        (1.1e-12, 0.0, False),
        (0.0, 0.9e-12, True),
        (0.0, 1.1e-12, False),
        (0.0, 0.3, False),
        (0.0, 0.0, True),
    ],
)
def test_a_deviation_is_within_two_per_cent(measured, theory, expected):
    assert compared(measured, theory).within(0.02) is expected


def test_deviations_are_relative_to_theory_and_to_the_error():
    found = compared(1.03, 1.0, error=0.01)
    assert_close([found.off, found.errors], [0.03, 3.0], rtol=1e-9)
    assert np.isnan(compared(1.03, 0.0).off)
    assert np.isnan(compared(1.03, 1.0, error=0.0).errors)


@pytest.mark.parametrize(
    ("theory", "start", "expected"),
    [
        (0.5 * np.exp(0.49), 0.5, False),
        (0.5 * np.exp(0.51), 0.5, True),
        (0.5 * np.exp(-0.51), 0.5, True),
        (0.9e-3, 0.9e-3, True),  # weak: it has collapsed
        (1.1e-3, 1.1e-3, False),
    ],
)
def test_a_block_has_moved_by_half_a_unit_of_ln_m_or_has_collapsed(theory, start, expected):
    assert compared(theory, theory, start=start).moved() is expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"measured": 1.0199}, "agrees"),  # 20 standard errors, within what theory leaves out
        ({"measured": 1.0201}, "disagrees"),
        ({"measured": 1.0201, "error": np.nan}, "cannot tell"),
        ({"measured": 1.039, "error": 0.01}, "agrees"),  # 3.9 of 4 standard errors
        ({"measured": 1.041, "error": 0.01}, "disagrees"),
        ({"measured": 0.961, "error": 0.01}, "agrees"),
        ({"measured": 0.959, "error": 0.01}, "disagrees"),
        ({"measured": 1.09, "error": 0.1, "limit": 7.0}, "agrees"),
        ({"measured": 1.11, "error": 0.1, "limit": 7.0}, "cannot tell"),
        ({"measured": 1.11, "error": 0.1, "limit": 5.9}, "agrees"),
        ({"measured": 1.2, "left_out": 0.21}, "cannot tell"),
        ({"measured": 1.2, "left_out": 0.19}, "disagrees"),
        ({"measured": 9.0, "left_out": 0.24}, "disagrees"),
        ({"measured": 9.0, "left_out": 0.26}, "cannot tell"),
        (
            {"measured": 2e-5, "theory": 1e-5, "error": 1e-7, "left_out": 0.71},
            "cannot tell",
        ),  # above ln 2
        ({"measured": 2e-5, "theory": 1e-5, "error": 1e-7, "left_out": 0.67}, "disagrees"),
        ({"measured": 1.0, "theory": 1e-5, "left_out": 2.9}, "cannot tell"),  # a quarter of ln m
        ({"measured": 1.0, "theory": 1e-5, "left_out": 2.8}, "disagrees"),
    ],
)
def test_the_outcome_of_one_strength(fields, expected):
    each = compared(**fields)
    found = judgement._strength(each, each.left_out)
    assert found.outcome == expected
    assert bool(found.reason) == (expected != "agrees")


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([0, 0.5, 1, 3, 8, 30, 100], [2, 5, 6]),
        ([0, 0.2, 0.5], [2]),
        ([0, 4, 5], [1, 2]),
    ],
)
def test_the_first_the_middle_and_the_last_record_are_compared(times, expected):
    assert judgement.shown_records(xr.Dataset(coords={"time": times})) == expected


def test_every_block_that_is_there_is_compared_with_its_share_of_mistakes():
    found = judgement.comparisons(runs(), settings=4)
    assert [(each.block, each.time) for each in found] == [
        (block, time) for block in ("clean", "noisy") for time in (1.0, 8.0, 64.0)
    ]
    assert_close([each.limit for each in found], norm.isf(0.01 / 2 / (4 * 6)), rtol=1e-9)
    assert_close([each.start for each in found], 0.01, rtol=1e-12)
    assert_close(found[-1].error, 0.25 * 0.02 / 2, rtol=1e-9)
    without = runs()
    without["block_strength"][:, :, 1] = np.nan
    alone = judgement.comparisons(without, settings=4)
    assert [each.block for each in alone] == ["clean"] * 3
    assert_close([each.limit for each in alone], norm.isf(0.01 / 2 / (4 * 3)), rtol=1e-9)


def test_the_spread_of_seeds_is_that_of_all_times_or_of_one_if_larger():
    spread = np.array([0.01, 0.03, 0.02])  # at the three times that are compared
    one = runs(seeds=2, level=np.nan)
    one["block_strength"][:, 1:, 0] = THEORY[1:, 0] * (1 + np.outer([1, -1], spread / np.sqrt(2)))
    errors = [each.error / each.theory for each in judgement.comparisons(one)[:3]]
    together = np.sqrt(np.mean(spread**2))
    assert_close(np.array(errors) * np.sqrt(2), [together, 0.03, together], rtol=1e-9)
    limit = student_t.isf(0.01 / 2 / 6, 3)
    assert_close(judgement.comparisons(one)[0].limit, limit, rtol=1e-9)


def test_counts_are_not_held_against_a_theory_of_first_order_that_leaves_out_much():
    wrong = {"counts": (0, 1, 0, 0), "shares": (1.0, 0.0)}
    assert outcome(**wrong, left_out=0.24).outcome == "disagrees"
    found = outcome(**wrong, left_out=0.26)
    assert found.outcome == "cannot tell"
    assert "collapsed dimensions" in found.reason
    assert "26 %" in found.reason
    assert outcome(left_out=0.26).outcome == "agrees"


def test_a_theory_of_each_seeds_start_is_compared_by_its_median():
    one = runs(seeds=3)
    one["population_block_strength"] = one["theory_block_strength"] * xr.DataArray(
        [1.0, 2.0, 9.0], dims="seed"
    )
    one["theory_block_strength"] = one["theory_block_strength"] * np.nan
    assert not judgement.at_batch_size(one)
    assert_close(judgement.predicted_strength(one).values, 2 * THEORY, rtol=1e-12)


@pytest.mark.parametrize(
    ("share", "settings", "expected"),
    [
        (0.0026, 1, "agrees"),  # in one of four runs with 1.04 %
        (0.0024, 1, "disagrees"),  # 0.96 %
        (0.0024, 2, "agrees"),
        (0.00126, 2, "agrees"),
        (0.00124, 2, "disagrees"),
    ],
)
def test_counts_may_be_as_rare_as_one_in_a_hundred(share, settings, expected):
    found = outcome(counts=(0, 0, 1, 0), shares=(1 - share, share), settings=settings)
    assert found.outcome == expected


def test_expected_counts_are_named_with_their_shares():
    def named(*shares):
        return judgement.expected(runs(shares=shares))

    assert named(0.0049, 0.9951) == "1"
    assert named(0.0051, 0.9949) == "0 (1 %), 1 (99 %)"
    assert named(np.nan, 0.5) == "0"


def test_counts_are_not_held_against_theory_where_strengths_cannot_be():
    found = outcome(noisy=-0.1, left_out=0.12, counts=(1, 1, 1, 1))
    assert found.outcome == "cannot tell"
    assert "dimensions" not in found.reason


def test_one_block_that_moves_is_enough(monkeypatch):
    moving = THEORY.copy()
    moving[:, 1] = THEORY[0, 1]
    monkeypatch.setitem(globals(), "THEORY", moving)
    assert outcome().outcome == "agrees"


def test_what_theory_leaves_out_of_one_block_excuses_the_other():
    one = runs(clean=0.05)
    one["theory_left_out"][-1, 1] = 0.06
    found = judge(one, xr.DataArray(np.zeros(4), dims="seed"), 1)
    assert found.outcome == "cannot tell"
