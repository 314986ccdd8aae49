"""The softmax sums: kept or in blocks, against their definition in plain NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_close, assert_not_close

from linsim.training import loss as loss_of
from linsim.training import softmax

KEPT = softmax.kept
FORMS = {
    "kept": KEPT,
    "blocks of 5": lambda *a: softmax.in_blocks(*a, block=5),
    "one block": lambda *a: softmax.in_blocks(*a, block=32),
}


def case(count=17, scale=1.0, gap=0.0, dtype=jnp.float64):
    rng = np.random.default_rng(count)
    a, b = scale * rng.standard_normal((2, count, 3))
    f, g = -rng.random((2, count))
    scores = softmax.Scores(a, b, f, g, np.sum(a * b, axis=1) - gap, np.max(a @ b.T))
    return jax.tree.map(
        lambda leaf: jnp.asarray(leaf, dtype),
        (scores, rng.standard_normal((4, count)), rng.standard_normal((2, count))),
    )


def definition(scores, v, u):
    s = np.asarray(
        scores.anchors @ scores.others.T
        + scores.anchor_terms[:, None]
        + scores.other_terms[None, :],
        np.longdouble,
    )
    np.fill_diagonal(s, scores.positives)
    top = s.max(axis=1, keepdims=True)
    p = np.exp(s - top) / np.exp(s - top).sum(axis=1, keepdims=True)
    off, v, u = p * (1 - np.eye(len(p))), np.asarray(v), np.asarray(u)
    odds = np.sum(np.exp(s - np.diag(s)[:, None]) * (1 - np.eye(len(p))), axis=1)
    sums = softmax.Softmax(v @ off.T, u @ off, off.sum(1), np.diag(p), np.log1p(odds))
    return softmax.Softmax(*(np.asarray(leaf, np.float64) for leaf in sums))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("gap", [0.0, -30.0, 2000.0])
def test_the_sums_are_those_of_the_softmax_also_far_from_the_positive(form, gap):
    """At a gap of -30 negatives are 1e-13 and right to rounding; at 2000 exponents relative to the
    positive would overflow.
    """
    given = case(gap=gap)
    found, expected = jax.jit(FORMS[form])(*given), definition(*given)
    for name, value in expected._asdict().items():
        assert_close(getattr(found, name), value, size=200)
    with_diagonal = expected.pulled + expected.positives * given[1]
    if gap < 2000:
        assert_not_close(found.pulled, with_diagonal)


def test_blocks_and_kept_agree_in_single_precision():
    given = case(count=300, scale=2.0, dtype=jnp.float32)
    for one, other in zip(KEPT(*given), softmax.in_blocks(*given), strict=True):
        assert_close(one, other, size=300)


def test_runs_side_by_side_share_one_reference_and_keep_their_numbers():
    near, far = case(), case(gap=2000.0)
    together = jax.vmap(KEPT)(*jax.tree.map(lambda *leaves: jnp.stack(leaves), near, far))
    for number, given in enumerate((near, far)):
        for one, other in zip(
            jax.tree.map(lambda leaf, n=number: leaf[n], together), KEPT(*given), strict=True
        ):
            assert_close(one, other, size=17)


@pytest.mark.parametrize("loss", ["distance", "dot", "cosine"])
def test_large_batches_need_no_matrix_of_all_pairs(loss):
    count = 16 * softmax.ABOVE
    shapes = [
        jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((16, 16), (count, 16), (count, 16))
    ]
    used = jax.jit(loss_of.named(loss).drive).lower(*shapes).compile().memory_analysis()
    assert used is not None
    assert used.temp_size_in_bytes < 20 * count * 16 * 4 + 20 * softmax.BLOCK**2 * 4
    assert used.temp_size_in_bytes < 0.05 * count**2 * 4


@pytest.mark.parametrize("loss", ["distance", "dot", "cosine"])
def test_drives_are_the_same_in_blocks(loss, monkeypatch):
    rng = np.random.default_rng(0)
    w, x, noise = rng.standard_normal((3, 4)), *rng.standard_normal((2, 50, 4))
    drive = loss_of.named(loss, 0.3).drive
    expected = drive(jnp.asarray(w), jnp.asarray(x), jnp.asarray(x + noise))
    monkeypatch.setattr(softmax, "ABOVE", 49)
    for one, other in zip(
        drive(jnp.asarray(w), jnp.asarray(x), jnp.asarray(x + noise)), expected, strict=True
    ):
        assert_close(one, other, size=50)
