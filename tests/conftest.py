"""Every test runs in float64 unless it says otherwise, with shapes checked by jaxtyping and beartype."""

import os

os.environ.setdefault("NPROC", "1")  # see linsim.config.configure_jax

import jaxtyping

jaxtyping.install_import_hook("linsim", "beartype.beartype")

import jax

jax.config.update("jax_enable_x64", True)

from hypothesis import settings

settings.register_profile("linsim", deadline=None, derandomize=True, max_examples=25)
settings.load_profile("linsim")
