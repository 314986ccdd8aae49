r"""
Two layers and their alignment
==============================

Put a second matrix behind the first, :math:`z = W_2W_1x`. Do the two layers agree on the directions
that they pass on? The paper's Theorem 2 says that the alignment matrix :math:`A = V_2^\top U_1`
becomes the identity, up to signs. This page shows what decides it.
"""

# %%
# Three runs
# ----------
#
# A single run is a value, ``linsim.Run``. ``linsim.begin`` makes its first state, whose layers can
# be replaced by one's own, and ``linsim.step`` takes a step on a fresh batch. All three runs have
# two layers of width 8 and noise in all coordinates. They start from the same random matrices at
# two sizes, and the noise either differs from coordinate to coordinate (from about 0.7 to 1.3) or
# is the same in all.

import jax
import numpy as np

import linsim

rng = np.random.default_rng(0)
first, second = rng.normal(size=(2, 8, 8)) / np.sqrt(8)
step = jax.jit(linsim.step)


def trained(size, **settings):
    """The two layers after 2,000 steps from a start of this size."""
    run = linsim.Run(dim=8, hidden=(8,), noisy_dims=8, learning_rate=0.04, **settings)
    layers = tuple(jax.numpy.asarray(size * w) for w in (first, second))
    state = linsim.begin(run, jax.random.key(0))._replace(params=layers)
    for _ in range(2000):
        state, _ = step(run, state)
    return state.params


found = {
    "small, different noise": trained(0.2, noise=1.3, noise_shape="graded"),
    "small, equal noise": trained(0.2, noise=1.0),
    "large, different noise": trained(1.0, noise=1.3, noise_shape="graded"),
}

# %%
# The alignment matrix
# --------------------
#
# Singular vectors have arbitrary signs, so :math:`|A|` is what counts. Its entry :math:`(j, k)`
# says how much of mode :math:`k` of the first layer is in mode :math:`j` of the second.

from matplotlib.figure import Figure

matrices = {name: np.asarray(linsim.spectra.alignment_matrix(*w)) for name, w in found.items()}
figure = Figure(figsize=(8, 3), layout="constrained")
panels = figure.subplots(1, 3)
for axes, (name, matrix) in zip(panels, matrices.items(), strict=True):
    picture = {"vmin": 0, "vmax": 1, "cmap": "cividis", "extent": (0.5, 8.5, 8.5, 0.5)}
    shown = axes.imshow(np.abs(matrix), **picture)
    axes.set(title=name, xlabel="mode k of $W_1$", ylabel="mode j of $W_2$")
figure.colorbar(shown, ax=panels, label="|A| after training")

# %%
# Only in the first run has each mode found its partner. A mode is *grown* here if its singular
# value in the product :math:`W_2W_1` is at least a tenth of the largest; the others are still
# waiting to escape, and are not judged.
#
# What decides
# ------------
#
# Gradient flow conserves the *imbalance* :math:`C = W_1W_1^\top - W_2^\top W_2`. It follows that a
# mode aligns when the gap between its squared singular value and those of the other modes outgrows
# the size of :math:`C` (:doc:`derivation </theory>`, "Two layers"). A small start makes :math:`C`
# small; different noise makes the modes settle at different strengths, so that gaps open. One of
# the two is not enough:

alignment = linsim.theory.alignment
grown = {}
print(f"{'run':24} {'grown':>5} {'mean |A_kk|':>12} {'|C|':>6} {'typical gap':>12}")
for name, (w1, w2) in found.items():
    strength = np.asarray(linsim.spectra.singular_values(w2 @ w1))  # as squares of each layer's
    grown[name] = int(np.sum(strength > 0.1 * strength[0]))
    kept = slice(grown[name])
    cosines = np.abs(np.diagonal(matrices[name]))[kept]
    size = np.linalg.norm(alignment.imbalance(w1, w2), 2)
    gap = np.median(-np.diff(strength[kept]))
    print(f"{name:24} {grown[name]:5} {cosines.mean():12.2f} {size:6.2f} {gap:12.2f}")

# %%
# The bound behind this holds for any two matrices, trained or not:

w1 = np.diag([4.0, 2.0, 1.0]) + 0.1 * rng.normal(size=(3, 3))
w2 = np.diag([4.0, 2.0, 1.0]) + 0.1 * rng.normal(size=(3, 3))
bound = alignment.alignment_bound(w1, w2, alignment.imbalance(w1, w2))
cosines = np.abs(np.diagonal(linsim.spectra.alignment_matrix(w1, w2)))
for k in range(3):
    print(f"mode {k + 1}: |A_kk| = {cosines[k]:.3f}, at least {float(bound[k]):.3f}")

# %%
# Modes of equal size
# -------------------
#
# Equal singular values have no directions of their own, only a common *subspace*, and single
# entries of :math:`A` mean nothing there. What can be compared are the two subspaces. In the second
# run the grown modes have nearly the same size. One by one they are not aligned; as a group they
# are:

a, count = matrices["small, equal noise"], grown["small, equal noise"]
print("|A_kk| of the grown modes:", np.abs(np.diagonal(a))[:count].round(2))
angle = alignment.group_angle(a, range(count))
print(f"largest angle between their two subspaces: {angle:.1f} degrees")

# %%
# As a command
# ------------
#
# ``linsim run alignment`` holds every run against the identity behind the bound. In its preset
# ``identity`` the matrix :math:`A` does become the identity, in ``released``, the setting of the
# released code, it does not::
#
#     linsim run alignment --preset identity
