"""Claims C01-C04: the gradients of InfoNCE for one linear layer (paper, section 4.1 and Appendix
B.1-B.3).
"""

import jax
import jax.numpy as jnp
import numpy as np

from linsim import losses
from linsim.arrays import jitted
from linsim.claims.ledger import Evidence, claim, rounding
from linsim.claims.setups import SAMPLES, case, error, loss_gradient
from linsim.theory import infonce

embedding_gradients = jax.jit(jax.grad(losses.infonce, argnums=(0, 1)))


def off_diagonal(w, x, x_pos):
    """The softmax weights alpha_ij, j != i, with zeros on the diagonal."""
    alpha = infonce.softmax_weights(x @ w.T, x_pos @ w.T)
    return alpha - jnp.diag(jnp.diag(alpha))


@claim(
    "C01",
    "4",
    "Lemma 1",
    tolerance=rounding(SAMPLES),
    recorded="exact",
    error="g_z' {} too large",
    by=1e-6,
)
def weights_follow_the_embedding_gradients(seed: int, wrong: float) -> Evidence:
    """dW/dt = -G with G = Σ_i (g_zi x_iᵀ + g_z'i x'_iᵀ)."""
    w, x, x_pos = case(seed)
    g, g_pos = embedding_gradients(x @ w.T, x_pos @ w.T)
    summed = g.T @ x + (1 + wrong) * g_pos.T @ x_pos
    return Evidence(error(summed, loss_gradient(w, x, x_pos), case(seed).size))


@claim(
    "C02",
    "4",
    "Eq. 4",
    tolerance=rounding(SAMPLES),
    recorded="exact",
    error="a share of {} of α_ij for α_ji in the second sum",
    by=1e-6,
)
def embedding_gradients_of_infonce(seed: int, wrong: float) -> Evidence:
    """g_zi = Σ_{j≠i} α_ij (z_j - z'_i) + Σ_{j≠i} α_ji (z_j - z_i) and g_z'i = Σ_{j≠i} α_ij (z'_i -
    z_i).
    """
    w, x, x_pos = case(seed)
    z, z_pos = x @ w.T, x_pos @ w.T
    stated = infonce.embedding_gradients(z, z_pos)
    if wrong:
        alpha = off_diagonal(w, x, x_pos)
        exchanged = (alpha - alpha.T) @ z - (alpha.sum(1) - alpha.sum(0))[:, None] * z
        stated = stated[0] - wrong * exchanged, stated[1]
    size = SAMPLES * float(np.linalg.norm(z_pos))
    return Evidence(
        max(error(a, b, size) for a, b in zip(stated, embedding_gradients(z, z_pos), strict=True))
    )


@jitted
def misprinted_contrast(w, x, x_pos):
    """Eq. 6 as the main text prints it: a minus in front of the first sum."""
    alpha = off_diagonal(w, x, x_pos)
    first = alpha.sum(1)[:, None] * x_pos - alpha @ x
    return infonce.contrast_matrix(w, x, x_pos) - 2 * first.T @ x


@claim(
    "C03",
    "4",
    "Eq. 5, 6",
    tolerance=rounding(SAMPLES),
    recorded="holds as corrected",
    error="Σ̂1 {} too large",
    by=1e-6,
    erratum="Eq. 6 in the main text prints a minus before the first sum; Appendix B.2 has it right",
)
def gradient_is_minus_w_times_contrast(seed: int, wrong: float) -> Evidence:
    """G = -W X with X = Σ_i [Σ_{j≠i} α_ij (x'_i - x_j) + Σ_{j≠i} α_ji (x_i - x_j)] x_iᵀ - Σ_i (1 -
    α_ii)(x'_i - x_i) x'_iᵀ.
    """
    model = case(seed)
    exact = loss_gradient(*model)
    x = infonce.contrast_matrix(*model)
    x = x - wrong * infonce.covariances(*model)[1]
    printed = misprinted_contrast(*model)
    return Evidence(
        error(-model.w @ x, exact, model.size), printed=error(-model.w @ printed, exact, model.size)
    )


@claim(
    "C04",
    "4",
    "Lemma 2",
    tolerance=rounding(SAMPLES**2),
    recorded="exact",
    error="Σ̂1 {} too small",
    by=1e-6,
)
def contrast_is_a_difference_of_covariances(seed: int, wrong: float) -> Evidence:
    """X = Σ̂0 - Σ̂1, Σ̂0 = Σ_{i≠j} α_ij (x_i - x_j)(x_i - x_j)ᵀ and Σ̂1 = Σ_i (1 - α_ii)(x'_i -
    x_i)(x'_i - x_i)ᵀ, both positive semi-definite.
    """
    w, x, x_pos = case(seed)
    alpha = np.asarray(off_diagonal(w, x, x_pos))
    apart, step = np.asarray(x[:, None] - x[None, :]), np.asarray(x_pos - x)
    sigma0 = np.einsum("ij,ija,ijb->ab", alpha, apart, apart)
    sigma1 = np.einsum("i,ia,ib->ab", (1 - wrong) * alpha.sum(1), step, step)
    size = float(np.linalg.norm(x_pos)) ** 2
    difference = error(sigma0 - sigma1, infonce.contrast_matrix(w, x, x_pos), size)
    negative = -min(np.linalg.eigvalsh(sigma)[0] for sigma in (sigma0, sigma1)) / size
    return Evidence(max(difference, negative))
