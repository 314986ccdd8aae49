"""The measures of a report against float64 references written out here, at any scale, in any
precision, streamed, merged, and where there is only rounding to measure.
"""

import tracemalloc

import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from helpers import assert_close

from linsim.diagnose import Monitor, embeddings, measures, moments
from linsim.diagnose.moments import Moments

PRINTED = (
    "rankme",
    "effective_rank",
    "participation_ratio",
    "stable_rank",
    "alpha_req",
    "deviation_ratio",
    "variance_share",
)


def entropy_rank(p):
    p = p[p > 0]
    return np.exp(-np.sum(p * np.log(p)))


def reference(z):
    """The printed measures by their formulas, from singular values of NumPy."""
    z = np.asarray(z, np.float64)
    possible = min(len(z) - 1, z.shape[1])
    centred = z - z.mean(axis=0)
    s = np.linalg.svd(centred, compute_uv=False)[:possible]
    whole = np.linalg.svd(z, compute_uv=False)
    eigenvalues = s**2 / len(z)
    log_k = np.log(np.arange(1, possible + 1))
    return {
        "rankme": entropy_rank(whole / whole.sum() + 1e-7),
        "effective_rank": entropy_rank(s / s.sum()),
        "participation_ratio": eigenvalues.sum() ** 2 / np.sum(eigenvalues**2),
        "stable_rank": np.sum(s**2) / s[0] ** 2,
        "alpha_req": -np.polyfit(log_k, np.log(eigenvalues), 1)[0],
        "deviation_ratio": s[0] / s[-1],
        "variance_share": np.mean(np.sum(centred**2, axis=1)) / np.mean(np.sum(z**2, axis=1)),
    }


def random_input(seed):
    rng = np.random.default_rng(seed)
    count, width = (int(n) for n in rng.integers([3, 2], [90, 70]))
    spread = np.exp(-3 * rng.random(width))
    return (rng.standard_normal((count, width)) * spread) @ np.linalg.qr(
        rng.standard_normal((width, width))
    )[0] + rng.standard_normal(width)


@pytest.mark.parametrize("seed", range(20))
def test_printed_measures_are_right_to_1e_10(seed):
    z = random_input(seed)
    values, expected = embeddings(z).values, reference(z)
    for name in PRINTED:
        assert_close(values[name], expected[name], rtol=1e-10)


@pytest.mark.parametrize("scale", [1e-160, 1e-30, 1e30, 1e154])
def test_scale_makes_no_difference(scale):
    z = random_input(0)
    first, second = (embeddings(array).values for array in (z, scale * z))
    for name in first:
        if np.isfinite(first[name]) and name != "lidar":
            assert_close(second[name], first[name], rtol=1e-9)


def test_small_float32_is_measured_as_it_is():
    z = (1e-25 * random_input(1)).astype(np.float32)
    assert_close(
        embeddings(z).values["participation_ratio"], reference(z)["participation_ratio"], rtol=1e-10
    )


@pytest.mark.parametrize("kind", [np.float16, ml_dtypes.bfloat16, np.float32, np.int8])
def test_low_precision_is_raised(kind):
    z = (4 * random_input(2)).astype(kind)
    values, expected = embeddings(z).values, reference(z.astype(float))
    for name in ("rankme", "stable_rank", "variance_share"):
        assert_close(values[name], expected[name], rtol=1e-6)


def test_arrays_of_other_libraries():
    z = random_input(3)
    expected = embeddings(z).values["rankme"]
    assert_close(embeddings(jnp.asarray(z)).values["rankme"], expected)
    torch = pytest.importorskip("torch")
    assert_close(embeddings(torch.tensor(z, requires_grad=True)).values["rankme"], expected)
    half = torch.tensor(z).bfloat16()
    assert_close(
        embeddings(half).values["rankme"], reference(half.double().numpy())["rankme"], rtol=1e-6
    )


def test_rounding_is_not_data():
    """A rank-5 matrix: alpha of the five true eigenvalues, and a finite smallest deviation."""
    rng = np.random.default_rng(0)
    left, right = (np.linalg.qr(rng.standard_normal((n, 5)))[0] for n in (300, 40))
    left -= left.mean(axis=0)
    left = np.linalg.qr(left)[0]
    s = np.array([5.0, 4.0, 3.0, 2.0, 1.5])
    for kind in (np.float64, np.float32):
        report = embeddings((left * s @ right.T).astype(kind))
        alpha = -np.polyfit(np.log(np.arange(1, 6)), np.log(s**2), 1)[0]
        assert_close(report.values["alpha_req"], alpha, rtol=1e-5)
        assert_close(report.values["deviation_ratio"], 5 / 1.5, rtol=1e-5)
        assert report.values["numerical_rank"] == 5
        assert report.fit is not None
        assert (report.fit.first, int(report.fit.last)) == (1, 5)
        assert "power law over ranks 1 to 5" in report.table()


def test_variance_beyond_a_large_offset():
    """The spectrum is of the centred matrix, not of a difference of large sums."""
    z = random_input(4)
    assert_close(
        embeddings(z + 1e6).values["effective_rank"],
        embeddings(z).values["effective_rank"],
        rtol=1e-8,
    )


@pytest.mark.parametrize("shape", [(400, 6), (5, 40), (40, 40)])
def test_streams_and_merges_give_what_the_whole_gives(shape, monkeypatch):
    monkeypatch.setattr(moments, "BUFFER", 64)
    z = np.random.default_rng(1).standard_normal(shape) + 3.0
    whole = moments.of(z)
    first, second = Moments(shape[1]), Moments(shape[1])
    for k, row in enumerate(z):
        (first if k % 3 else second).update(row[None])
    first.merge(second)
    s = np.linalg.svd(z - z.mean(axis=0), compute_uv=False)[: min(shape[0] - 1, shape[1])]
    for found in (whole, first):
        spectra = measures.spectra_of(found)
        np.testing.assert_allclose(spectra.centred * 2.0**spectra.exponent, s, rtol=1e-9)
        assert_close(np.ldexp(found.mean, spectra.exponent), z.mean(axis=0), size=400)
        assert found.count == len(z)
        assert found.distinct() == len(z)
    assert len(whole.factor) <= shape[1] or shape[0] <= shape[1]


@pytest.mark.parametrize("shape", [(60_000, 8), (8, 60_000)])
def test_memory_is_that_of_some_blocks(shape, tmp_path):
    """Never N x N or d x d beside a thin matrix, and never the whole of a mapped file but if it is
    all there is."""
    np.save(tmp_path / "z.npy", np.random.default_rng(8).standard_normal(shape).astype(np.float32))
    tracemalloc.start()
    try:
        embeddings(np.load(tmp_path / "z.npy", mmap_mode="r")).figure()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 200 * 2**20  # N x N would be 29 GB


def test_a_monitor_reports_what_all_batches_show():
    z = np.random.default_rng(2).standard_normal((300, 8)) * [1, 1, 1, 1, 1, 1, 1, 1e-4]
    monitor, other = Monitor(), Monitor()
    for batch in np.split(z[:200], 5):
        monitor.update(jnp.asarray(batch))
    other.update(z[200:])
    monitor.merge(other)
    report = monitor.report()
    assert report.verdict.kind == "dimensional"
    assert report.verdict.collapsed == 1
    for name in PRINTED:
        assert_close(report.values[name], reference(z)[name], rtol=1e-10)
    assert monitor.values("train/")["train/collapsed_dimensions"] == 1
    with pytest.raises(ValueError, match="holds nan"):
        monitor.update(np.full((2, 8), np.nan))
    with pytest.raises(ValueError, match="samples of 3 and of 8 dimensions"):
        monitor.update(np.ones((2, 3)))
    assert monitor.count == 300
    monitor.reset()
    with pytest.raises(ValueError, match="two samples or more; the monitor has 0"):
        monitor.report()


def test_unit_vectors():
    z = random_input(5)
    u = z / np.linalg.norm(z, axis=1, keepdims=True)
    cosines = u @ u.T
    off = ~np.eye(len(z), dtype=bool)
    values = embeddings(z, positives=z + 0.1).values
    assert_close(values["mean_cosine"], cosines[off].mean(), size=100)
    deviation = np.sqrt(z.shape[1]) * u.std(axis=0).mean()
    assert_close(values["normalised_deviation"], deviation, size=100)
    square = np.sum((u[:, None] - u[None]) ** 2, axis=2)
    assert_close(values["uniformity"], np.log(np.exp(-2 * square)[off].mean()), size=100)
    other = (z + 0.1) / np.linalg.norm(z + 0.1, axis=1, keepdims=True)
    assert_close(values["alignment"], np.mean(np.sum((u - other) ** 2, axis=1)), size=100)


@pytest.mark.parametrize("shape", [(200, 5), (10, 60)])
def test_lidar_from_its_definition(shape):
    rng = np.random.default_rng(6)
    z = rng.standard_normal(shape)
    pairs = np.stack([z + 0.1 * rng.standard_normal(shape), z], axis=1)
    middle = pairs.mean(axis=1)
    between = np.cov(middle.T, bias=True)
    within = sum(
        np.outer(v - m, v - m) for views, m in zip(pairs, middle, strict=True) for v in views
    ) / (2 * len(z)) + 1e-4 * np.eye(shape[1])
    values, vectors = np.linalg.eigh(within)
    root = vectors / np.sqrt(values) @ vectors.T
    found = np.maximum(np.linalg.eigvalsh(root @ between @ root), 0)[::-1][: min(shape)]
    p = found / found.sum() + 1e-7
    expected = np.exp(-np.sum(p * np.log(p)))
    assert_close(embeddings(pairs[:, 0], pairs[:, 1]).values["lidar"], expected, rtol=1e-5)


def test_isotropic_column_is_what_isotropic_samples_show():
    rng = np.random.default_rng(7)
    reports = [embeddings(rng.standard_normal((120, 60))) for _ in range(10)]
    for name in ("rankme", "effective_rank", "participation_ratio", "alpha_req"):
        measured = np.mean([report.values[name] for report in reports])
        assert_close(reports[0].isotropic[name], measured, rtol=0.03)
