"""LeJEPA as an objective: the distance of the views and SIGReg, along directions that are drawn
anew for every step.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Float, PRNGKeyArray

from linsim import losses
from linsim.arrays import Array
from linsim.losses.gaussianity import LEJEPA_WEIGHT, nodes
from linsim.theory import gaussianity
from linsim.training.data import Moments
from linsim.training.objectives import Batch, Objective, Pair, Scalar
from linsim.training.records import Real, record, static


@record
class LeJEPA(Objective):
    """LeJEPA: `losses.lejepa`, along so many random directions."""

    weight: Real = LEJEPA_WEIGHT
    slices: int = static(64)
    limit: float = static(5.0)
    knots: int = static(17)

    def directions(self, width: int, key: PRNGKeyArray | None) -> Float[Array, "K n"]:
        """Random unit vectors. Raises: ValueError without a key."""
        if key is None:
            raise ValueError("LeJEPA draws its directions: it needs a key")
        return losses.unit_rows(jax.random.normal(key, (self.slices, width)))

    def loss(self, params: Pair, x: Batch, x_pos: Batch, key: PRNGKeyArray | None = None) -> Scalar:
        """`losses.lejepa` along the key's directions."""
        z, z_pos = (v @ params[0].T for v in (x, x_pos))
        a = self.directions(z.shape[1], key)
        return losses.lejepa(z, z_pos, a, self.weight, self.limit, self.knots)

    def gradient(
        self, params: Pair, x: Batch, x_pos: Batch, key: PRNGKeyArray | None = None
    ) -> tuple[Scalar, Pair]:
        """By the embeddings, SIGReg has the gradient

            g_i = (2/K) sum_a a sum_t w_t t [v_t cos(t p_ia) - (u_t - e^{-t^2/2}) sin(t p_ia)]

        with p_ia = a . z_i and the batch's characteristic function u_t + i v_t along a.
        """
        w, head = params
        a = self.directions(len(w), key)
        step = (x_pos - x) @ w.T
        alike = 0.5 * (1 - self.weight) / step.size * step.T @ (x_pos - x)
        values, pushes = zip(*(self._sigreg(v @ w.T, a) for v in (x, x_pos)), strict=True)
        towards = alike + 0.5 * self.weight * (pushes[0].T @ x + pushes[1].T @ x_pos)
        distance = 0.25 * (1 - self.weight) * jnp.mean(step**2)
        return distance + 0.5 * self.weight * sum(values), (towards, jnp.zeros_like(head))

    def _sigreg(
        self, z: Float[Array, "N n"], a: Float[Array, "K n"]
    ) -> tuple[Scalar, Float[Array, "N n"]]:
        """SIGReg and its gradient by the embeddings."""
        t, weights, normal = (jnp.asarray(v, z.dtype) for v in nodes(self.limit, self.knots))
        cos, sin = _of_multiples(t[1] * (z @ a.T), len(t))
        u, v = jnp.mean(cos, axis=1) - normal[:, None], jnp.mean(sin, axis=1)
        value = len(z) * jnp.mean(weights @ (u**2 + v**2))
        push = jnp.einsum("t,tia->ia", weights * t, v[:, None] * cos - u[:, None] * sin)
        return value, 2 / len(a) * push @ a

    def rates(self, params: Pair, moments: Moments, batch_size: int) -> Pair:
        """In the mean over batches and directions: see `gaussianity.slopes`."""
        w, head = params

        def pushed(cov: Float[Array, "d d"]) -> Float[Array, "n d"]:
            spectrum, axes = jnp.linalg.eigh(w @ cov @ w.T)
            slopes = gaussianity.slopes(
                jnp.maximum(spectrum, 0.0), batch_size, self.limit, self.knots
            )
            return 2 * (axes * slopes) @ axes.T @ w @ cov

        regular = pushed(moments.anchor) + pushed(moments.positive)
        alike = 0.5 * (1 - self.weight) / len(w) * w @ moments.step
        return -alike - 0.5 * self.weight * regular, jnp.zeros_like(head)


def _of_multiples(
    angle: Float[Array, "N K"], count: int
) -> tuple[Float[Array, "T N K"], Float[Array, "T N K"]]:
    """Cosine and sine of the first multiples of angles, from 0 on, which the nodes are: by the
    addition theorem, since they cost more than all else.
    """
    c, s = jnp.cos(angle), jnp.sin(angle)
    pairs = [(jnp.ones_like(c), jnp.zeros_like(s))]
    for _ in range(count - 1):
        cos, sin = pairs[-1]
        pairs.append((cos * c - sin * s, sin * c + cos * s))
    cosines, sines = zip(*pairs, strict=True)
    return jnp.stack(cosines), jnp.stack(sines)
