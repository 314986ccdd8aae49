r"""
Collapse by strong augmentation
===============================

A linear model :math:`z = Wx` is trained with InfoNCE on pairs of views. The second view has noise
on half of its coordinates. How much noise can it take before these coordinates vanish from the
embedding?
"""

# %%
# Train
# -----
#
# A *study* is one question with its runs, its theory, its figure and its table. ``linsim.run``
# trains every run of a study and returns an ``xarray.Dataset``. Here are two values of noise, below
# and above :math:`\sqrt 2`, with two random starts each. With 1,000 steps at the default learning
# rate 0.128 training ends at the time :math:`t = 128`.

import linsim

dataset = linsim.run("strong_aug", noise=[1.0, 2.0], seeds=2, steps=1000)
dataset[["weight_singular_values", "block_strength", "alpha_ii", "loss"]]

# %%
# What came out
# -------------
#
# The strength :math:`m` of a block is the squared singular value of :math:`W` per direction. Its
# mean over both runs, at the end:

strength = dataset["block_strength"].isel(init_scale=0, time=-1).mean("seed")
for noise in (1.0, 2.0):
    clean, noisy = strength.sel(noise=noise).values
    print(f"noise {noise}: clean block {clean:.2f}, noisy block {noisy:.2g}")

# %%
# Under the weaker noise the noisy block has settled above zero; under the stronger one it is gone.
# The number of collapsed dimensions, those whose singular value is below 1 % of the largest:

values = dataset["weight_singular_values"].isel(init_scale=0, time=-1, seed=0)
collapsed = linsim.spectra.collapsed_dimensions(values.values)
print(dict(zip([1.0, 2.0], collapsed.tolist(), strict=True)))

# %%
# What theory says
# ----------------
#
# For infinitely many samples a mode of variance :math:`a` under augmentation of variance :math:`c`
# (the noise squared) vanishes if :math:`c \ge 2a`, and otherwise settles at a known strength.
# (:doc:`Derivation </theory>`, "Population limit".)

population = linsim.theory.population
settled = [float(population.fixed_point(1.0, noise**2)) for noise in (1.0, 2.0)]
print("infinite batches: noisy block settles at", [round(m, 3) for m in settled])

# %%
# But the runs are trained in batches of 128, and there the noisy block settles elsewhere. The
# theory of *that* batch size is exact too. It needs the two groups of modes, each with its variance
# :math:`a`, its augmentation's variance :math:`c` and their covariance, and the start:

import numpy as np

finite_batch = linsim.theory.finite_batch
blocks = [finite_batch.Modes.of(1.0, 0.0, 0.0, 8), finite_batch.Modes.of(1.0, 1.0, 0.0, 8)]
path = finite_batch.flow(np.array([0.0, 128.0]), [0.01, 0.01], blocks, batch_size=128)
clean, noisy = path[-1]
print(f"batches of 128, noise 1.0: clean block {clean:.2f}, noisy block {noisy:.2g}")

# %%
# Table and figure
# ----------------
#
# The study holds every setting against this theory and ends with a verdict.
# :doc:`Start here </start>` explains each column.

study = linsim.study("strong_aug")
print(study.table(dataset))

# %%

figure = study.figure(dataset)

# %%
# As a command
# ------------
#
# The same from a shell, where the runs are kept, so that adding one noise trains only that one::
#
#     linsim run strong_aug --noise 1.0 2.0 --seeds 2 --steps 1000
