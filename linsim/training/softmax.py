"""The softmax over the samples of a batch, each against its positive and the others' negatives
(paper, Eq. 2 and 4).

    s_ij = a_i . b_j + f_i + g_j  (i != j),   s_ii = positive_i,   p_ij = e^{s_ij} / sum_k e^{s_ik}

The gradients of all contrastive losses need it only through the sums of `Softmax`. Up to ABOVE
samples the exponentials are kept, computed once; beyond that they are computed in blocks, twice,
and memory is O(N + BLOCK^2) beside the samples.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from linsim.arrays import Array
from linsim.losses import gram

# Samples from which on the exponentials leave a CPU core's cache, so that computing them twice in
# blocks is faster.
ABOVE = 1024
BLOCK = 256
# How far a score may lie above its anchor's positive, as a share of the exponents of its dtype.
SAFE = 0.6

Vector = Float[Array, "N"]


class Scores(NamedTuple):
    """anchors a and others b (N, n); their terms f and g (N,); scores of the positives (N,); bound:
    no score is above it.
    """

    anchors: Float[Array, "N n"]
    others: Float[Array, "N n"]
    anchor_terms: Vector
    other_terms: Vector
    positives: Vector
    bound: Float[Array, ""]


class Softmax(NamedTuple):
    """Sums over the softmax p, without its diagonal where `j != i`; exact also where 1 - p_ii is
    far below rounding.

    pulled (k, N): sum_{j != i} p_ij v_j; pushed (m, N): sum_{i != j} p_ij u_i; negatives (N,):
    sum_{j != i} p_ij = 1 - p_ii; positives (N,): p_ii; losses (N,): -log p_ii.
    """

    pulled: Float[Array, "k N"]
    pushed: Float[Array, "m N"]
    negatives: Vector
    positives: Vector
    losses: Vector


def sums(scores: Scores, v: Float[Array, "k N"], u: Float[Array, "m N"]) -> Softmax:
    """The softmax of `scores`, summed with v over the negatives of each anchor and with u over the
    anchors of each negative.

    Source: paper, Eq. 4 and Lemma 2, whose sums these are. Args: scores; v (k, N), u (m, N), maybe
    no rows. Returns: Softmax.
    """
    return kept(scores, v, u) if len(scores.positives) <= ABOVE else in_blocks(scores, v, u)


def kept(scores: Scores, v: Float[Array, "k N"], u: Float[Array, "m N"]) -> Softmax:
    """`sums` from one N x N array of exponentials e_ji = e^{s_ij - c_i}, an anchor to a column; c:
    `_reference`.
    """
    inner = gram(scores.others, scores.anchors)
    reference = _reference(inner, scores)
    exponents = inner + scores.other_terms[:, None] + (scores.anchor_terms - reference)[None, :]
    e = jnp.where(jnp.eye(len(inner), dtype=bool), 0.0, jnp.exp(exponents))
    return _softmax(_with_ones(v) @ e, lambda total: (u / total) @ e.T, reference, scores.positives)


def _with_ones(v: Float[Array, "k N"]) -> Float[Array, "k_plus_1 N"]:
    """v with a row of ones below, which sums the weights themselves."""
    return jnp.concatenate([v, jnp.ones_like(v, shape=(1, v.shape[1]))])


def _softmax(weighted, push, reference, positives) -> Softmax:
    """Softmax from the sums over the negatives of e^{s_ij - c_i} times (v_j, 1), and push:
    denominators -> `pushed`.
    """
    negatives, excess = weighted[-1], positives - reference
    positive = jnp.exp(excess)
    total = negatives + positive
    losses = jnp.log1p(negatives + jnp.expm1(excess)) - excess
    return Softmax(weighted[:-1] / total, push(total), negatives / total, positive / total, losses)


@jax.custom_batching.custom_vmap
def _reference(inner: Float[Array, "*batch N N"], scores: Scores) -> Float[Array, "*batch N"]:
    """What exponents are relative to: the positive's score, or the largest score where that could
    overflow.

    A pass over the N x N scores is saved as long as no anchor of the batch, or of the runs side by
    side, needs it.
    """
    limit = SAFE * np.log(np.finfo(inner.dtype).max)
    near = jnp.all(scores.bound[..., None] - scores.positives <= limit)
    return jax.lax.cond(near, lambda inner, scores: scores.positives, _largest, inner, scores)


@_reference.def_vmap
def _(size, batched, inner, scores):
    def spread(leaf, has_axis):
        return leaf if has_axis else jnp.broadcast_to(leaf, (size, *leaf.shape))

    return _reference(*jax.tree.map(spread, (inner, scores), tuple(batched))), True


def _largest(inner: Float[Array, "*batch N N"], scores: Scores) -> Float[Array, "*batch N"]:
    others = inner + scores.other_terms[..., :, None]
    others = jnp.where(jnp.eye(inner.shape[-1], dtype=bool), -jnp.inf, others)
    return jnp.maximum(jnp.max(others, axis=-2) + scores.anchor_terms, scores.positives)


def in_blocks(
    scores: Scores, v: Float[Array, "k N"], u: Float[Array, "m N"], block: int = BLOCK
) -> Softmax:
    """`sums` by an online log-sum-exp over blocks of others; `pushed`, if any, in a second sweep
    over blocks of anchors.

    Source: Milakov and Gimelshein 2018, arXiv 1805.02867. Args: as `sums`; block: rows and columns
    computed at a time.
    """
    count = len(scores.positives)
    blocks = -(-count // block)

    def blocked(array, fill=0.0):
        """(N, ..) -> (blocks, block, ..), padded."""
        filled = jnp.pad(
            array,
            ((0, blocks * block - count), *((0, 0),) * (array.ndim - 1)),
            constant_values=fill,
        )
        return filled.reshape(blocks, block, *array.shape[1:])

    numbers = jnp.arange(blocks)
    anchors = (
        numbers,
        blocked(scores.anchors),
        blocked(scores.anchor_terms),
        blocked(scores.positives),
    )
    others = numbers, blocked(scores.others), blocked(scores.other_terms, -jnp.inf)
    others_and_v = others, blocked(v.T)

    def pull(anchor):
        def add(carry, other_and_v):
            (reference, weighted), (other, its_v) = carry, other_and_v
            exponents = _block_scores(other, anchor)
            higher = jnp.maximum(reference, jnp.max(exponents, axis=0))
            gained = _with_ones(its_v.T) @ jnp.exp(exponents - higher)
            return (higher, weighted * jnp.exp(reference - higher) + gained), None

        start = anchor[-1], jnp.zeros_like(v, shape=(len(v) + 1, block))
        return jax.lax.scan(add, start, others_and_v)[0]

    def push(total):
        anchors_and_u = anchors, blocked(reference + jnp.log(total)), blocked(u.T)

        def received(other):
            def add(carry, anchor_and_u):
                anchor, its_denominators, its_u = anchor_and_u
                return carry + its_u.T @ jnp.exp(
                    _block_scores(other, anchor) - its_denominators
                ).T, None

            return jax.lax.scan(add, jnp.zeros_like(u, shape=(len(u), block)), anchors_and_u)[0]

        return whole(jax.lax.map(received, others)) if len(u) else u

    def whole(columns):
        """(blocks, k, block) -> (k, N)."""
        return jnp.moveaxis(columns, 0, 1).reshape(columns.shape[1], -1)[:, :count]

    reference, weighted = jax.lax.map(pull, anchors)
    reference = reference.reshape(-1)[:count]
    return _softmax(whole(weighted), push, reference, scores.positives)


def _block_scores(others, anchors):
    """(block, block) scores, an anchor to a column, -inf where a sample meets itself."""
    (row, b, g), (column, a, f, _) = others, anchors
    scores = gram(b, a) + g[:, None] + f[None, :]
    return jnp.where((row == column) & jnp.eye(len(b), dtype=bool), -jnp.inf, scores)
