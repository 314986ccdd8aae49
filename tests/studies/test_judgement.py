"""The verdict of strong_aug on constructed runs, of which the right one is known both ways."""

import numpy as np
import pytest
import xarray as xr

from linsim.studies.strong_aug.judgement import judge

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
            "theory_block_strength": (constant, THEORY),
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
