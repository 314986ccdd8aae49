"""The averages behind the exact theory, against sums over random lengths and known transforms."""

import numpy as np
import pytest

from linsim.theory import mellin
from linsim.theory.mellin import SquaredLength


def law(variance, count, mean):
    return SquaredLength(
        np.array(variance, float), np.array(count, float), np.atleast_2d(np.array(mean, float))
    )


def values(one, v):
    """f at points v, each on its own window."""
    return np.array([sampled(one, point, tail=True).value[0, 0] for point in v])


def sampled(one, point, *, tail):
    return mellin.transform(one, np.array([point]), tail=tail).samples(one)


def test_without_length_it_is_the_exponential_of_an_exponential():
    none = law([0.0], [1], [0.0])
    v = np.array([-20.0, -3.0, 0.0, 1.5, 2.5, 3.0])
    assert np.allclose(values(none, v), np.exp(-np.exp(v)), rtol=1e-5, atol=1e-14)


@pytest.mark.parametrize(
    ("variance", "count", "mean"),
    [([0.3, 2.0], [3, 2], [0.5, 4.0]), ([20.0], [1], [3.0]), ([1e-3], [8], [0.0])],
)
def test_it_is_the_average_over_random_lengths(variance, count, mean):
    rng = np.random.default_rng(0)
    q = np.zeros(200_000)
    for v, k, t in zip(variance, count, mean, strict=True):
        h = np.sqrt(v) * rng.normal(size=(len(q), k))
        h[:, 0] += np.sqrt(t)
        q += 0.5 * np.sum(h**2, axis=1)
    points = np.array([-4.0, 0.0, 1.0, 2.2, 4.0, 9.0, 20.0])
    drawn = np.exp(-np.exp(points[:, None] - q))
    error = drawn.std(axis=1) / np.sqrt(len(q)) + 1e-9
    found = values(law(variance, count, mean), points)
    assert np.all(np.abs(found - drawn.mean(axis=1)) < 4.5 * error)
    wider = values(law([1.05 * v for v in variance], count, mean), points)
    if max(variance) > 0.1:
        assert np.any(np.abs(wider - drawn.mean(axis=1)) > 4.5 * error)


def test_neighbouring_windows_agree_where_they_meet():
    """The power series ends and the first contour begins at v = 2, the next window at v = 8."""
    one = law([5.0, 0.3], [8, 8], [40.0, 2.4])
    for edge in (mellin.SERIES_END, mellin.SERIES_END * mellin.WINDOW):
        below, above = (
            sampled(one, edge * (1 + side * 1e-9), tail=False).complement[0, 0] for side in (-1, 1)
        )
        assert np.isclose(below, above, rtol=1e-6)
