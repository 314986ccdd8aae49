"""Objectives: each closed-form gradient is that of its public loss, on random shapes."""

import functools
import inspect
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_close, assert_not_close, make_case

from linsim import losses
from linsim.training import contrast
from linsim.training.data import Moments
from linsim.training.gaussianity import LeJEPA
from linsim.training.loss import (
    AlignmentOnly,
    Cosine,
    Distance,
    Dot,
    LinearBarlowTwins,
    SpectralContrastive,
)
from linsim.training.objectives import Plain, Predicted, Reconstructed, StoppedAttraction
from linsim.training.redundancy import BarlowTwins, VICReg, Whitening
from linsim.training.targets import Aimed, Directed, Distilled, Teacher

KEY = jax.random.key(3)
# (N, d, n); whitening needs more samples than outputs
SHAPES = [(9, 3, 5), *np.random.default_rng(1).integers([14, 2, 2], [40, 9, 9], (2, 3))]
OBJECTIVES = {
    "spectral": Plain(of=SpectralContrastive()),
    "linear Barlow Twins": Plain(of=LinearBarlowTwins()),
    "predictor": Predicted(),
    "no stop-gradient": Predicted(stop_gradient=False),
    "no predictor": StoppedAttraction(),
    "autoencoder": Reconstructed(),
    "VICReg": VICReg(),
    "Barlow Twins": BarlowTwins(),
    "whitening": Whitening(),
    "LeJEPA": LeJEPA(slices=5),
}


def with_target(name, params) -> Any:
    """Objectives that carry something, at a step at which they carry anything."""
    w = params[0]
    other = make_case(8, 1, *reversed(w.shape)).w
    centre, square = 0.4 * other[:, 0], other @ other.T
    match name:
        case "BYOL":
            return Aimed(target=other)
        case "BYOL without predictor":
            return Aimed(target=other, predictor=False)
        case "DINO":
            teacher = Teacher(other, centre)
            return Distilled(teacher=teacher, student_temperature=0.9, teacher_temperature=0.4)
        case "DirectPred":
            return Directed(predictor=square, isotropic=False)
        case "IsoLoss":
            return Directed(predictor=square)


CARRYING = ("BYOL", "BYOL without predictor", "DINO", "DirectPred", "IsoLoss")


def pairs(shape, objective):
    """Random weights and views that are not centred."""
    count, dim, out = (int(size) for size in shape)
    case = make_case(count, count, dim, out)
    head = make_case(7, 1, out, dim if isinstance(objective, Reconstructed) else out).w
    return (case.w, head), case.x + 0.3, case.x_pos + 0.3


def stated(name, params, x, x_pos):
    """The loss from the public functions and the weights."""
    (w, head), z, z_pos = params, x @ params[0].T, x_pos @ params[0].T
    match name:
        case "spectral":
            return losses.spectral_contrastive(z, z_pos)
        case "linear Barlow Twins":
            return losses.linear_barlow_twins(z, z_pos)
        case "predictor":
            return losses.jepa(z @ head.T, z_pos)
        case "no stop-gradient":
            return losses.alignment_only(z @ head.T, z_pos)
        case "no predictor":
            return losses.jepa(z, z_pos)
        case "autoencoder":
            return losses.mae(z @ head.T, x_pos)
        case "VICReg":
            return losses.vicreg(z, z_pos)
        case "Barlow Twins":
            return losses.barlow_twins(z, z_pos)
        case "whitening":
            return losses.whitening(z, z_pos)
        case "LeJEPA":
            return losses.lejepa(z, z_pos, OBJECTIVES[name].directions(len(w), KEY))
        case "BYOL":
            return losses.jepa(z @ head.T, x_pos @ with_target(name, params).target.T)
        case "BYOL without predictor":
            return losses.jepa(z, x_pos @ with_target(name, params).target.T)
        case "DINO":
            target, centre = with_target(name, params).teacher
            return losses.dino(z, x_pos @ target.T, centre, 0.9, 0.4)
        case "DirectPred":
            return losses.jepa(z @ with_target(name, params).predictor, z_pos)
        case "IsoLoss":
            return losses.isoloss(z, z_pos, z @ with_target(name, params).predictor)


@functools.partial(jax.jit, static_argnums=0)
def both_ways(name, params, x, x_pos):
    """Loss and gradient of an objective, and of the public loss by automatic differentiation."""
    of = with_target(name, params) if name in CARRYING else OBJECTIVES[name]
    value, towards = of.gradient(params, x, x_pos, KEY)
    again = of.loss(params, x, x_pos, KEY)
    return value, again, towards, *jax.value_and_grad(stated, argnums=1)(name, params, x, x_pos)


@pytest.mark.parametrize("name", [*OBJECTIVES, *CARRYING])
def test_gradients_are_those_of_the_public_losses(name):
    of = OBJECTIVES.get(name)
    for shape in SHAPES:
        if name == "whitening" and shape[2] > shape[1]:
            continue  # the pooled covariance is singular
        params, x, x_pos = pairs(shape, of)
        value, again, towards, expected, exact = both_ways(name, params, x, x_pos)
        assert_close(value, expected, rtol=1e-12)
        assert_close(again, expected, rtol=1e-12)
        size = max(float(jnp.linalg.norm(part)) for part in (*exact, params[0]))
        for gradient, wanted in zip(towards, exact, strict=True):
            assert float(jnp.linalg.norm(gradient - wanted)) < 1e-12 * size


def literal_spectral(z, z_pos):
    """HaoChen et al., pair by pair."""
    count = len(z)
    own = sum(z[i] @ z_pos[i] for i in range(count)) / count
    apart = sum((z[i] @ z_pos[j]) ** 2 for i in range(count) for j in range(count) if i != j)
    return -2 * own + apart / (count * (count - 1))


def literal_vicreg(z, z_pos):
    """Bardes et al., as released."""
    width = z.shape[1]
    total = 25 * np.mean((z - z_pos) ** 2)
    for v in (z, z_pos):
        total += 25 * np.mean(np.maximum(0, 1 - np.sqrt(np.var(v, axis=0, ddof=1) + 1e-4))) / 2
        c = np.cov(v.T)
        total += sum(c[i, j] ** 2 for i in range(width) for j in range(width) if i != j) / width
    return total


def literal_barlow(z, z_pos):
    """Zbontar et al., as released."""
    unit, unit_pos = ((v - v.mean(0)) / np.sqrt(v.var(0) + 1e-5) for v in (z, z_pos))
    c = unit.T @ unit_pos / len(z)
    return sum(
        (1 - c[i, j]) ** 2 if i == j else 0.0051 * c[i, j] ** 2
        for i in range(len(c))
        for j in range(len(c))
    )


def literal_lejepa(z, z_pos, a):
    """Balestriero and LeCun, Algorithms 1 and 2, with complex numbers on the whole interval."""
    t = np.linspace(-5, 5, 17)
    normal = np.exp(-(t**2) / 2)

    def sigreg(v):
        empirical = np.exp(1j * (v @ a.T)[:, :, None] * t).mean(0)
        return len(v) * np.trapezoid(np.abs(empirical - normal) ** 2 * normal, t, axis=1).mean()

    views = np.stack([z, z_pos])
    apart = np.mean((views.mean(0) - views) ** 2)
    return 0.98 * apart + 0.02 * np.mean([sigreg(v) for v in views])


def literal_whitening(z, z_pos):
    root = np.linalg.cholesky((np.cov(z.T) + np.cov(z_pos.T)) / 2)
    apart = np.linalg.solve(root, (z - z_pos).T)
    return np.mean(np.sum(apart**2, axis=0))


def test_losses_are_as_published():
    case = make_case(11, 23, 6, 4)
    z, z_pos = np.asarray(case.z) + 0.2, np.asarray(case.z_pos) - 0.1
    a = np.asarray(losses.unit_rows(make_case(12, 5, 4, 1).x))
    assert_close(losses.spectral_contrastive(z, z_pos), literal_spectral(z, z_pos), rtol=1e-12)
    assert_close(losses.vicreg(z, z_pos), literal_vicreg(z, z_pos), rtol=1e-12)
    assert_close(losses.barlow_twins(z, z_pos), literal_barlow(z, z_pos), rtol=1e-12)
    assert_close(losses.lejepa(z, z_pos, a), literal_lejepa(z, z_pos, a), rtol=1e-12)
    assert_close(losses.whitening(z, z_pos), literal_whitening(z, z_pos), rtol=1e-12)
    cross = (z.T @ z_pos + z_pos.T @ z) / (2 * len(z))
    expected = np.linalg.norm(cross - np.eye(4)) ** 2
    assert_close(losses.linear_barlow_twins(z, z_pos), expected, rtol=1e-12)
    assert_not_close(losses.vicreg(z, z_pos, epsilon=2e-4), literal_vicreg(z, z_pos), by=1e-6)


def test_unequal_views_are_refused_by_every_loss():
    z, directions = jnp.ones((4, 2)), jnp.eye(2)
    for loss in (losses.spectral_contrastive, losses.barlow_twins, losses.vicreg, losses.whitening):
        with pytest.raises(ValueError, match=r"same shape; got \(4, 2\) and \(4, 3\)"):
            inspect.unwrap(loss)(z, jnp.ones((4, 3)))
    with pytest.raises(ValueError, match=r"odd number of at least 3; got 4"):
        losses.sigreg(z, directions, knots=4)


@pytest.mark.parametrize(
    ("of", "loss"),
    [
        (Distance(), lambda z, z_pos: losses.infonce(z, z_pos) / len(z)),
        (Dot(temperature=0.5), lambda z, z_pos: losses.infonce_dot(z, z_pos, 0.5)),
        (AlignmentOnly(), losses.alignment_only),
    ],
)
def test_losses_of_the_product_descend_themselves(of, loss):
    case = make_case(3, 12, 5, 4)
    params = case.w, jnp.eye(4)
    value, (towards, head) = Plain(of=of).gradient(params, case.x, case.x_pos)
    exact = jax.grad(lambda w: loss(case.x @ w.T, case.x_pos @ w.T))(case.w)
    assert_close(towards, exact, size=1000)
    assert value == Plain(of=of).loss(params, case.x, case.x_pos)
    assert not np.any(head)


def test_a_loss_without_theory_says_so():
    case = make_case(3, 12, 4, 4)
    moments = Moments(jnp.eye(4), jnp.eye(4), jnp.eye(4))
    with pytest.raises(ValueError, match="no theory is known for the cosine loss"):
        Plain(of=Cosine()).rates((case.w, jnp.eye(4)), moments, 12)


def test_lejepa_needs_a_key():
    with pytest.raises(ValueError, match="needs a key"):
        LeJEPA().directions(4, None)


def test_the_spectral_drive_makes_no_array_of_pairs():
    """Ten thousand samples: 800 MB if it did."""
    shapes = jax.make_jaxpr(contrast.spectral)(
        *(jnp.ones(s) for s in ((3, 4), (10_000, 4), (10_000, 4)))
    )
    assert max(np.prod(v.aval.shape) for eqn in shapes.eqns for v in eqn.outvars) <= 40_000


def signs(dim):
    """Views whose second moments are exactly those of one clean and one noise of each view."""
    grid = np.array(np.meshgrid(*[[-1.0, 1.0]] * (3 * dim), indexing="ij")).reshape(3 * dim, -1).T
    deviations = np.linspace(0.4, 1.1, dim)
    clean = grid[:, :dim]
    return [jnp.asarray(clean + grid[:, k : k + dim] * deviations) for k in (dim, 2 * dim)]


@pytest.mark.parametrize("name", OBJECTIVES)
def test_rates_are_minus_the_gradient_of_data_with_the_same_moments(name):
    """For all data, if the loss knows second moments alone: up to N/(N - 1) and to what the theory
    of the batch size adds. SIGReg knows more, and is held against Gaussian batches below.
    """
    of = OBJECTIVES[name]
    if name == "LeJEPA":
        return
    x, x_pos = signs(3)
    count = len(x)
    params, _, _ = pairs((5, 3, 2), of)
    moments = Moments(x.T @ x / count, x_pos.T @ x_pos / count, x.T @ x_pos / count)
    _, towards = of.gradient(params, x, x_pos)
    rates = of.rates(params, moments, 10**9)
    tolerance = 1e-12 if isinstance(of, Predicted | StoppedAttraction | Reconstructed) else 2e-2
    for rate, gradient in zip(rates, towards, strict=True):
        assert float(jnp.linalg.norm(rate + gradient)) <= tolerance * float(
            jnp.linalg.norm(gradient)
        )


@pytest.mark.parametrize("name", ["VICReg", "LeJEPA", "spectral", "linear Barlow Twins"])
def test_rates_are_the_mean_over_small_batches(name):
    """Batches of 6 Gaussian samples: the batch size counts, and is in the theory."""
    of, count, draws = OBJECTIVES[name], 6, 40_000
    params, _, _ = pairs((5, 3, 3), of)
    deviations = jnp.array([0.3, 0.6, 1.2])

    @jax.jit
    @jax.vmap
    def towards(key):
        parts = jax.random.normal(key, (3, count, 3))
        x, x_pos = (parts[0] + parts[view] * deviations for view in (1, 2))
        return of.gradient(params, x, x_pos, jax.random.fold_in(key, 1))[1][0]

    found = towards(jax.random.split(jax.random.key(0), draws))
    error = jnp.std(found, axis=0) / np.sqrt(draws)
    noisy, clean = jnp.eye(3) + jnp.diag(deviations**2), jnp.eye(3)
    moments = Moments(noisy, noisy, clean)
    rate = of.rates(params, moments, count)[0]
    assert float(jnp.max(jnp.abs(jnp.mean(found, axis=0) + rate) / error)) < 4.5
    if name != "spectral":
        far = of.rates(params, moments, 2 * count)[0]
        assert float(jnp.max(jnp.abs(jnp.mean(found, axis=0) + far) / error)) > 9
