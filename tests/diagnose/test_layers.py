"""Two layers: aligned ones are found aligned, the bound stays below the value, groups are judged as
spans, and what has no direction is not counted.
"""

import json

import numpy as np
import pytest
from helpers import assert_close

from linsim.diagnose import weights
from linsim.diagnose.layers import imbalance_norm


def orthogonal(rng, rows, columns=None):
    return np.linalg.qr(rng.standard_normal((rows, columns or rows)))[0]


def balanced(rng, values, rows):
    """W1 and W2 with C = 0: one set of hidden directions and singular values."""
    hidden = orthogonal(rng, rows, len(values))
    w1 = hidden * values @ orthogonal(rng, len(values) + 1, len(values)).T
    return w1, orthogonal(rng, len(values) + 2, len(values)) * values @ hidden.T


def test_aligned_layers_are_found_aligned():
    report = weights(*balanced(np.random.default_rng(0), np.array([4.0, 3.0, 2.0, 1.0]), 6))
    assert "4 of 4 modes aligned (cosine >= 0.98); the bound is above 0 for 4" in report.verdict
    assert_close(report.imbalance, 0.0, rtol=1e-12)
    assert report.table().splitlines()[-1] == f"verdict: {report.verdict}"


def test_the_bound_never_exceeds_the_value():
    for seed in range(200):
        rng = np.random.default_rng(seed)
        values = np.sort(rng.random(rng.integers(2, 8)))[::-1] * 10.0 ** rng.integers(-3, 4)
        report = weights(*balanced(rng, values, len(values) + int(rng.integers(0, 4))))
        judged = [group for group in report.groups if not np.isnan(group.cosine)]
        assert all(group.bound <= group.cosine for group in judged)
        assert all(group.cosine > 1 - 1e-9 for group in judged)
        assert not judged or max(group.bound for group in judged) > 0.99  # it says something


def test_the_bound_leaves_rounding_out():
    """Balanced layers whose modes lie apart by little more than rounding."""
    for seed in range(100):
        rng = np.random.default_rng(seed)
        apart = 10.0 ** -rng.integers(9, 15)
        report = weights(*balanced(rng, np.array([1.0, 1 - apart, 1 - 2 * apart, 0.5]), 6), gap=0.0)
        judged = [group for group in report.groups if not np.isnan(group.cosine)]
        assert all(group.bound <= group.cosine for group in judged)
        assert judged[-1].bound > 0.99


def test_the_bound_holds_for_layers_that_are_not_balanced():
    for seed in range(50):
        rng = np.random.default_rng(seed)
        w1, w2 = balanced(rng, np.array([5.0, 3.0, 1.5, 0.5]), 7)
        report = weights(w1 + 0.05 * rng.standard_normal(w1.shape), w2)
        assert any(group.bound > 0 for group in report.groups)
        assert all(group.bound <= group.cosine for group in report.groups)


def test_degenerate_modes_are_judged_as_one_span():
    rng = np.random.default_rng(1)
    hidden = orthogonal(rng, 12, 8)
    values = np.array([3.0] * 4 + [1.0] * 4)
    mixed = hidden.copy()
    for chosen in (slice(0, 4), slice(4, 8)):
        mixed[:, chosen] = hidden[:, chosen] @ orthogonal(rng, 4)
    tilt = 1e-8 * rng.standard_normal(mixed.shape)
    report = weights(
        hidden * values @ orthogonal(rng, 8).T, orthogonal(rng, 8) * values @ (mixed + tilt).T
    )
    assert [(group.first, group.last) for group in report.groups] == [(0, 3), (4, 7)]
    assert report.verdict.startswith("8 of 8 modes aligned")
    wrong = weights(
        hidden * values @ orthogonal(rng, 8).T,
        orthogonal(rng, 8) * values @ orthogonal(rng, 12, 8).T,
    )
    assert wrong.verdict.startswith("0 of 8 modes aligned")


def test_null_modes_are_not_counted():
    rng = np.random.default_rng(2)
    w1, w2 = balanced(rng, np.array([3.0, 2.0, 1e-18, 0.0]), 6)
    for kind in (np.float64, np.float32):
        report = weights(w1.astype(kind), w2.astype(kind))
        assert report.verdict.startswith("2 of 2 modes aligned")
    assert weights(np.zeros((4, 3)), np.ones((2, 4))).verdict == (
        "nothing to judge: a layer is zero"
    )


def test_multiples_of_orthogonal_matrices_have_no_directions():
    rng = np.random.default_rng(3)
    report = weights(2 * orthogonal(rng, 5), 3 * orthogonal(rng, 5))
    assert "nothing to judge: all singular values are equal" in report.verdict
    report.figure().canvas.draw()
    assert json.loads(json.dumps(report.to_dict()))["groups"][0]["cosine"] is None


@pytest.mark.parametrize("shapes", [((40, 3), (2, 40)), ((4, 9), (8, 4)), ((6, 2), (9, 6))])
def test_the_imbalance_from_thin_factors(shapes):
    rng = np.random.default_rng(4)
    w1, w2 = (rng.standard_normal(shape) for shape in shapes)
    assert_close(imbalance_norm(w1, w2), np.linalg.norm(w1 @ w1.T - w2.T @ w2, 2), size=100)


def test_thin_layers_of_a_wide_hidden_space_need_no_square_of_it():
    rng = np.random.default_rng(5)
    report = weights(rng.standard_normal((60_000, 8)), rng.standard_normal((4, 60_000)))
    assert report.overlap.shape == (4, 4)


def test_convolutions():
    rng = np.random.default_rng(6)
    w1, w2 = rng.standard_normal((6, 3, 3, 3)), rng.standard_normal((5, 6, 3, 3))
    report = weights(w1, w2)
    assert_close(report.first, np.linalg.svd(w1.reshape(6, 27), compute_uv=False), size=100)
    unfolded = np.moveaxis(w2, 1, 3).reshape(45, 6)
    assert_close(report.second, np.linalg.svd(unfolded, compute_uv=False), size=100)


def test_bad_layers_are_value_errors():
    for w1, w2, what in (
        (np.ones((3, 2)), np.ones((2, 4)), "columns must be the first's rows"),
        (np.full((3, 2), np.nan), np.ones((2, 3)), "w1 holds nan at row 0"),
        (np.ones(3), np.ones((2, 3)), r"w1 holds an array of shape \(3,\)"),
    ):
        with pytest.raises(ValueError, match=what):
            weights(w1, w2)
