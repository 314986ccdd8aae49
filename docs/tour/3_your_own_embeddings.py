r"""
Your own embeddings
===================

The measures that linsim uses for its own runs work on any array: one sample to a row. This page
makes three arrays, as they might come from a trained network, and looks for collapse.
"""

# %%
# Three arrays
# ------------
#
# 2,000 samples in 32 dimensions: healthy; confined to 6 dimensions in a random orientation, so that
# no single coordinate shows it; and all at one point but for noise.

import numpy as np

import linsim

rng = np.random.default_rng(0)
healthy = rng.normal(size=(2000, 32))
directions, _ = np.linalg.qr(rng.normal(size=(32, 6)))
flat = rng.normal(size=(2000, 6)) @ directions.T + 1e-4 * rng.normal(size=(2000, 32))
point = np.ones((2000, 32)) + 1e-3 * rng.normal(size=(2000, 32))
arrays = {"healthy": healthy, "6 dimensions": flat, "one point": point}

# %%
# The spectrum
# ------------
#
# The eigenvalues of the embedding covariance say how much variance each direction holds. A cliff is
# a dimensional collapse.

spectra = {name: np.asarray(linsim.spectra.covariance_spectrum(z)) for name, z in arrays.items()}

from matplotlib.figure import Figure

figure = Figure(figsize=(5, 3), layout="constrained")
axes = figure.subplots()
for (name, spectrum), marker in zip(spectra.items(), "os^", strict=True):
    axes.semilogy(np.arange(1, 33), spectrum, marker, label=name, markersize=4)
axes.set(xlabel="rank", ylabel="eigenvalue of the covariance", title="Where the variance is")
axes.legend(loc="center right")

# %%
# Which kind of collapse
# ----------------------
#
# ``collapse_kind`` compares with the variance before training. A stand-in for it is the mean
# squared norm, of which an embedding without an offset keeps everything.

for name, z in arrays.items():
    square = float(np.mean(np.sum(z**2, axis=1)))
    kind = linsim.spectra.collapse_kind(spectra[name], square)
    count = int(linsim.spectra.collapsed_dimensions(spectra[name], 1e-4))
    print(f"{name:13} {kind:12} {count:2} of 32 dimensions below 1 % of the largest deviation")

# %%
# One array is the third kind of answer: relative to each other no dimension of the point has
# collapsed, and yet all variance is gone.
#
# How many dimensions are in use
# ------------------------------
#
# Smooth counts differ in what they weigh, and in whether they remove the mean: RankMe does not, so
# that a common offset counts as a dimension.

print(f"{'':13} {'RankMe':>8} {'effective rank':>15} {'participation ratio':>20}")
for name, z in arrays.items():
    rankme = float(linsim.spectra.rankme(z))
    effective = float(linsim.spectra.effective_rank(np.sqrt(spectra[name])))
    participation = float(linsim.spectra.participation_ratio(spectra[name]))
    print(f"{name:13} {rankme:8.2f} {effective:15.2f} {participation:20.2f}")

# %%
# From a file
# -----------
#
# The same for an array on disk, with a picture and a verdict::
#
#     linsim diagnose embeddings.npy
