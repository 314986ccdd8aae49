"""Losses between two networks of which one, the teacher, is not trained by the loss: DINO."""

import jax
import jax.numpy as jnp
from jaxtyping import Float

from linsim.arrays import Array, jitted
from linsim.losses.views import Embeddings, Real, Scalar, pair

STUDENT_TEMPERATURE = 0.1
TEACHER_TEMPERATURE = 0.04


@jitted
def dino(
    z: Embeddings,
    target: Embeddings,
    centre: Float[Array, "n"] | None = None,
    student_temperature: Real = STUDENT_TEMPERATURE,
    teacher_temperature: Real = TEACHER_TEMPERATURE,
) -> Scalar:
    """DINO's cross-entropy of the student's shares with the teacher's, which are held fixed.

        L = -(1/N) sum_i sum_k p_ik log q_ik,
        q = softmax(z / tau),   p = sg(softmax((t - c) / tau_t))

    sg stops the gradient. Subtracting c centres, tau_t < tau sharpens.

    Source: Caron et al. 2021 (arXiv 2104.14294), Algorithm 1, from one view to the other, with the
    temperatures at which it begins. MEAN over samples.

    Args:
        z: The student's outputs for the first view, shape (N, n).
        target: The teacher's outputs t for the second view, shape (N, n).
        centre: The centre c of the teacher's outputs, shape (n,); none is zero.
        student_temperature: The temperature tau > 0.
        teacher_temperature: The temperature tau_t > 0.

    Returns:
        The loss, a scalar >= 0.

    Example:
        Student and teacher that do not depend on the input cost log n:

        >>> import jax.numpy as jnp
        >>> z = jnp.zeros((4, 3))
        >>> bool(jnp.allclose(dino(z, z), jnp.log(3)))
        True
    """
    z, target = pair(z, target)
    centred = target if centre is None else target - centre
    shares = jax.lax.stop_gradient(jax.nn.softmax(centred / teacher_temperature, axis=1))
    return -jnp.mean(jnp.sum(shares * jax.nn.log_softmax(z / student_temperature, axis=1), axis=1))
