"""What finite steps and the noise of minibatches do to the mean theory, to first order in the
learning rate (this project, docs/theory.md, Eq. (step)).

A step on a batch takes S = W^T W to (1 + eta X)S(1 + eta X), with the batch's own contrast matrix
X = X_N + xi. `linsim.theory.finite_batch` has its mean field, X_N; the flow of that is the limit of
small eta. At first order in eta three things come in, all of them here for one layer and groups of
equal modes:

- the finite step: S -> (1 + eta X_N)S(1 + eta X_N), the map that `finite_batch.flow` interpolates;
- the Ito term: the noise has no mean, but its square has, eta E[xi S xi];
- the spread: S is a Markov chain, with fluctuations dS of variance of order eta about its mean, and
  over these the field is curved. By symmetry dS has three kinds of entries: the traces tau_g of the
  blocks, with covariance U_gh; the rest of a block of equal modes, with variance V_gg per
  off-diagonal entry; and the entries between two blocks, with variance V_gh. They follow

      dV_gh/dt = 2 (X_g + X_h - (m_g + m_h) y_gh) V_gh + eta (m_g + m_h)^2 D_gh
      dU/dt = J U + U J^T + eta Q,   J_gh = d(2 m_g X_g)/dm_h,   Q_gh = 4 m_g m_h E[xi_g xi_h]

  where y_gh (`finite_batch.stiffness`) is the second derivative of the loss by an entry of S
  between modes of g and h, D_gh the variance of such an entry of xi, and xi_g the mean diagonal
  entry of xi in g. With Phi = E[d^2 l] the change of the mean loss by the spread, the mean
  strengths drift by

      dm_g/dt = ... - (4/k_g) d Phi / d(ln of the scale of block g)

The eigenvalues of a degenerate block of k modes are then those of a Gaussian symmetric matrix with
entries of variance V_gg about their mean: for many modes a semicircle of radius 2 sqrt(k V_gg).

The moments of xi are measured on random batches along the path (`batch_noise`); everything else is
exact. One clean and one noisy view or two, distance or dot loss, mean over anchors. NumPy float64.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import scipy

from linsim.theory import finite_batch, finite_distance
from linsim.theory.batch_noise import BATCH_ROWS, batch_noise
from linsim.theory.mellin import Values
from linsim.theory.modes import Modes

PATH_POINTS = 16  # along a flow, where coefficients are computed; between them interpolated in ln t
FIRST_TIME = 0.03  # of the path, in units of the time constant of weak modes
SHIFT = 1e-3  # relative, of a strength, for derivatives by it
VANISHED = 1e-150  # weaker modes are taken to be this strong


class FirstOrder(NamedTuple):
    """Training at a learning rate, to first order in it, at T times.

    strengths: the mean of tr(S_gg)/k_g for the first group, and for the others that of the Schur
    complement of the first group, S_gg - S_g0 S_00^-1 S_0g: what singular values show, and what
    `linsim.training.observe.block_strength` measures. mapped: the strengths with finite steps but
    without the noise of minibatches; flow: in the limit of small rates. spread: standard deviation
    sqrt(V_gg) of an off-diagonal entry of S within the block, in units of the strength; level: that
    of the logarithm of a block's strength between runs. Each (T, G).
    """

    strengths: Values
    mapped: Values
    flow: Values
    spread: Values
    level: Values

    @property
    def left_out(self) -> Values:
        """A bound for the terms of second order in ln m, (T, G): twice the change by the noise of
        minibatches times all that the rate changes. Of finite steps the map has all orders.
        """
        by_noise = log_change(self.strengths, self.mapped)
        by_steps = log_change(self.mapped, self.flow)
        return 2 * by_noise * (by_noise + by_steps)


def log_change(strengths: Values, others: Values) -> Values:
    """|ln m - ln m'|, infinite or nan where strengths have vanished."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.abs(np.log(strengths) - np.log(others))


def first_order(
    times: Values,
    start: Values | Sequence[float],
    groups: Sequence[Modes],
    *,
    batch_size: int,
    learning_rate: float,
    dataset_size: int | None = None,
    temperature: float | None = None,
    seed: int = 0,
    rows: int = BATCH_ROWS,
) -> FirstOrder:
    """Mean strengths and spread of one layer at a learning rate, to first order in it.

    Mean strengths are those of the map (`finite_batch.flow` at this rate), times the exponential of
    what the noise of minibatches adds at first order: the Ito term and the curvature of the drift
    under the spread. What is left is of second order.

    Source: this project, docs/theory.md, Eq. (step) and (modified). Mean over anchors, fresh
    batches.

    Args:
        times: The times at which they are wanted, increasing, shape (T,), the first one the start.
        start: The strength m > 0 of each group at the start, shape (G,), without any spread.
        groups: The G groups of modes.
        batch_size: The number N >= 2 of samples in a batch.
        learning_rate: The rate eta > 0 on the mean loss.
        dataset_size: The number n of clean samples that batches are drawn from, or None for fresh
            ones. Its covariance is off by E, entries of variance 1/n (2/n on the diagonal). The
            logarithms of the strengths are moved in proportion, which spreads the blocks, and as
            the mean of an exponential also raises them; known for the distance loss with one noisy
            view, and left out of others.
        temperature: The temperature tau > 0 of the dot loss; None for the distance loss.
        seed: Of the random batches on which the noise is measured.
        rows: Rows of all random batches at one point of the path.

    Returns:
        Strengths, those of the map and in the limit of small rates, spread and level, each (T, G).

    Raises:
        ValueError: As `finite_batch.flow` does.

    Example:
        >>> groups = [Modes.of(1.0, 0.0, 0.0, 8), Modes.of(1.0, 1.0, 0.0, 8)]
        >>> options = dict(batch_size=128, learning_rate=0.128)
        >>> found = first_order(np.array([0.0, 64.0]), [0.01, 0.01], groups, **options)
        >>> bool(0.265 < found.strengths[-1, 1] < 0.273), bool(0.02 < found.spread[-1, 1] < 0.04)
        (True, True)
    """
    times = np.asarray(times, dtype=float)
    theory = _Theory(groups, batch_size, temperature)
    path, flow, small_rates = _path(times, start, theory)
    rng = np.random.default_rng(seed)
    points = [_Coefficients.at(theory, m, rng, rows) for m in flow]
    entries, traces, drift, bent, moved = _spread_and_drift(times, path, points)
    mapped = theory.flow(times, start, learning_rate)
    with np.errstate(over="ignore"):  # far beyond what first order can say
        strengths = mapped * np.exp(learning_rate * drift)
    within, between = (learning_rate * np.maximum(v, 0.0) for v in (entries, traces))
    if dataset_size is not None:
        count = np.array([group.count for group in groups])
        fixed = bent**2 / dataset_size, np.sum(moved**2 * 2 / (dataset_size * count), axis=2)
        strengths = strengths * np.exp(_log_of_mean(*fixed, count))
        within, between = within + fixed[0], between + fixed[1]
    return FirstOrder(strengths, mapped, small_rates, np.sqrt(within), np.sqrt(between))


def _log_of_mean(within: Values, between: Values, count: Values) -> Values:
    """The logarithm by which the mean of e^h over a block exceeds 1, h of entries of variance
    `within` apart from its trace, and of variance `between` in that.
    """
    return 0.5 * (within * (count - 1) * (count + 2) / count + between)


def singular_values(
    found: FirstOrder, groups: Sequence[Modes], *, draws: int = 1000, seed: int = 0
) -> Values:
    """Singular values of W that the theory expects in independent runs.

    The eigenvalues of S in a block of k equal modes are those of m (1 + H) with H Gaussian and
    symmetric, entries of standard deviation `spread` apart from the trace, which varies by
    `level`. They are drawn as m e^H / E e^H, which is the same to first order and keeps strengths
    positive. Each draw keeps its H in time, as runs nearly do.

    Source: this project, docs/theory.md, Eq. (spread).

    Args:
        found: What `first_order` returned.
        groups: The G groups of modes.
        draws: The number of runs to draw.
        seed: Of the draws.

    Returns:
        Singular values, largest first, shape (T, draws, d) for d modes in all groups together.

    Example:
        >>> groups = [Modes.of(1.0, 0.0, 0.0, 2), Modes.of(1.0, 1.0, 0.0, 1)]
        >>> m, none = np.array([[4.0, 1.0]]), np.zeros((1, 2))
        >>> exact = FirstOrder(m, m, m, none, none)
        >>> singular_values(exact, groups, draws=1).tolist()
        [[[2.0, 2.0, 1.0]]]
    """
    rng = np.random.default_rng(seed)
    blocks = []
    for g, group in enumerate(groups):
        entries = rng.normal(size=(draws, group.count, group.count))
        values = np.linalg.eigvalsh((entries + entries.transpose(0, 2, 1)) / np.sqrt(2))
        values -= values.mean(axis=1, keepdims=True)
        m, _, _, spread, level = (part[:, g, None, None] for part in found)
        mean = _log_of_mean(spread**2, level**2, np.array(group.count))
        moved = spread * values + level * rng.normal(size=(draws, 1))
        blocks.append(m * np.exp(moved - mean))
    return np.sqrt(np.sort(np.concatenate(blocks, axis=2), axis=2)[:, :, ::-1])


class _Theory(NamedTuple):
    """The mean theory of a loss at a batch size."""

    groups: Sequence[Modes]
    batch_size: int
    temperature: float | None

    @property
    def loss(self) -> dict[str, Any]:
        """What tells `linsim.theory.finite_batch` the loss and the batch size."""
        return {"batch_size": self.batch_size, "temperature": self.temperature}

    def contrast(self, m: Values) -> Values:
        """X_N at strengths m (G,), one eigenvalue per group."""
        return finite_batch.predict(self.groups, m, **self.loss).contrast

    def stiffness(self, m: Values) -> Values:
        """y at strengths m (G,) in the parts that it is the sum of, (P, G, G): of the distance loss
        through phi alone, and the rest.
        """
        if self.temperature is None:
            return finite_distance.stiffness_parts(self.groups, m, self.batch_size)
        return finite_batch.stiffness(self.groups, m, **self.loss)[None]

    def flow(
        self, times: Values, start: Values | Sequence[float], learning_rate: float = 0.0
    ) -> Values:
        """The strengths in time, (T, G)."""
        return finite_batch.flow(
            times, start, self.groups, learning_rate=learning_rate, **self.loss
        )


def _path(
    times: Values, start: Values | Sequence[float], theory: _Theory
) -> tuple[Values, Values, Values]:
    """The flow at PATH_POINTS times from the start to the end of `times`, (P,) and (P, G): evenly
    spaced by how much ln t and the logarithms of the strengths change; and at `times`, (T, G).
    """
    weak = theory.contrast(np.full(len(theory.groups), 1e-12))
    first = FIRST_TIME / max(float(np.abs(weak).max()), 1e-3)
    length = max(times[-1] - times[0], 2 * first)
    fine = times[0] + np.concatenate([[0.0], np.geomspace(first, length, 12 * PATH_POINTS)])
    every = np.union1d(fine, times)
    found = theory.flow(every, start)
    flow = np.maximum(found[np.searchsorted(every, fine)], VANISHED)
    moved = np.abs(np.diff(np.log(flow), axis=0)).clip(max=0.5).sum(axis=1)
    length = np.concatenate([[0.0], np.cumsum(moved + np.diff(_clock(fine, fine)))])
    wanted = np.linspace(0.0, length[-1], PATH_POINTS)
    kept = np.unique(np.searchsorted(length, wanted).clip(max=len(fine) - 1))
    kept = np.union1d(kept, [0, 1])
    return fine[kept], flow[kept], found[np.searchsorted(every, times)]


class _Coefficients(NamedTuple):
    """What the equations of spread and drift need at one point of the path.

    Entries of the spread are in units in which they stay finite while a block vanishes: V_0h in
    m_0^2, V_gh in m_g m_h otherwise, and U_gh in m_g m_h.
    """

    relax: Values  # of V_gh, (G, G)
    drive: Values  # of V_gh per eta, (G, G)
    trace_drive: Values  # of U_gh per eta, (G, G)
    jacobian: Values  # d(2 X_g)/d ln m_h, (G, G)
    ito: Values  # d ln m_g/dt per eta, (G,)
    by_entries: Values  # d ln m_g/dt per V_hi, (G, G, G)
    by_traces: Values  # d ln m_g/dt per U_hi, (G, G, G)
    bend: Values  # of dS_ab / m_g per E_ab in a block, E relative to the anchors' variance, (G,)
    move: Values  # of d ln m_g/dt per mean diagonal entry of E in block h, (G, G)

    @classmethod
    def at(cls, theory: _Theory, m: Values, rng: np.random.Generator, rows: int) -> "_Coefficients":
        """The coefficients at strengths m (G,)."""
        k = np.array([g.count for g in theory.groups], dtype=float)
        steps = SHIFT * (m + SHIFT * max(m.max(), 1.0)) * np.eye(len(m))

        def slopes(m: Values) -> Values:
            return -0.5 * k * theory.contrast(m)

        def second(m: Values, here: Values) -> tuple[Values, Values]:
            """y in parts, and the second derivatives of the loss by the strengths of whole groups,
            where its first ones are `here`.
            """
            ahead = np.stack([(slopes(m + e) - here) / e.sum() for e in steps])
            return theory.stiffness(m), 0.5 * (ahead + ahead.T)

        here = slopes(m)
        x = -2 * here / k
        parts, hessian = second(m, here)
        y = parts.sum(axis=0)
        bend, move = _data_set(theory, m, x, np.diag(parts[0]))
        noise = batch_noise(theory.groups, m, rng=rng, rows=rows, **theory.loss)
        unit, sums, products = np.outer(m, m), m[:, None] + m, np.outer(m, m)
        unit[0, 1:] = unit[1:, 0] = m[0] ** 2
        growth = 2 * (x[:, None] + x)  # of the logarithm of the units
        growth[0, 1:] = growth[1:, 0] = 4 * x[0]
        number = np.outer(k, k)
        number[np.diag_indices(len(m))] = (k - 1) * (k + 2)
        by_entries, by_traces = np.zeros((2, len(m), len(m), len(m)))
        for g, e in enumerate(steps):
            parts_ahead, hessian_ahead = second(m + e, slopes(m + e))
            scale = np.zeros((len(m), len(m)))
            scale[g] += 1
            scale[:, g] += 1
            by_entry = (parts_ahead.sum(axis=0) - y) / e.sum() + scale * y / m[g]
            by_trace = (hessian_ahead - hessian) / e.sum() + scale * hessian / m[g]
            by_entries[g] = -number * by_entry * unit / k[g]
            by_traces[g] = -2 * by_trace * products / k[g]
        ito = (noise.between @ (m * k) + m * (noise.diagonal - np.diag(noise.between))) / m
        for g in range(1, len(m)):  # of the Schur complement, without what cancels in it
            mixing = noise.between[0, g] * k[0]
            ito[g] -= mixing * (m[0] / m[g] + 2 + m[g] / m[0])
            schur = k[0] * y[0, g] * (m[0] ** 2 / m[g] + m[0])
            by_entries[g, 0, g] += schur
            by_entries[g, g, 0] += schur
            by_entries[:, 0, g] -= 2 / k * hessian[:, g] * k[0] * m[0]
            by_entries[:, g, 0] -= 2 / k * hessian[:, g] * k[0] * m[0]
        return cls(
            relax=2 * (x[:, None] + x - sums * y) - growth,
            drive=sums**2 / unit * noise.between,
            trace_drive=4 * noise.traces,
            jacobian=-4 / k[:, None] * hessian * m,
            ito=ito,
            by_entries=by_entries,
            by_traces=by_traces,
            bend=bend,
            move=move,
        )


def _data_set(theory: _Theory, m: Values, x: Values, y_phi: Values) -> tuple[Values, Values]:
    """What an error E of the anchors' covariance drives, see `_Coefficients`; zero for two noisy
    views and for the dot loss, of which it is not known. Args: theory; m, x, y_phi:
    strengths, X, and the distance loss's y through phi within each group, (G,) each.

    Phi depends on the anchors through Sigma^(1/2) S Sigma^(1/2), and psi not at all, so that
    dX_ab = (X_phi - m y_phi) E_ab within a block; the blocks' scales are varied directly.
    """
    groups, batch_size = theory.groups, theory.batch_size
    if theory.temperature is not None or any(group.covariance for group in groups):
        return np.zeros(len(m)), np.zeros((len(m), len(m)))
    count = np.array([group.count for group in groups])
    _, (through_phi, _) = finite_distance.strength_slopes(groups, m, batch_size)
    move = np.zeros((len(m), len(m)))
    for h, group in enumerate(groups):
        wider = replace(group, variance=group.variance * (1 + SHIFT))
        changed = [*groups[:h], wider, *groups[h + 1 :]]
        ahead = theory._replace(groups=changed).contrast(m)
        move[:, h] = 2 * (ahead - x) / SHIFT
    return 2 * (-2 * through_phi / count - m * y_phi), move


def _spread_and_drift(
    times: Values, path: Values, points: list[_Coefficients]
) -> tuple[Values, Values, Values, Values, Values]:
    """V_gg / m_g^2, U_gg / m_g^2 and the drift of ln m by noise, each (T, G), per unit of the
    learning rate; and the responses to E within a block (T, G) and of the blocks' scales (T, G, G).
    """
    shapes = [np.shape(part) for part in points[0]]
    cuts = np.cumsum([np.prod(shape, dtype=int) for shape in shapes])[:-1]
    clock, offset = _clock(path, path), path[1] - path[0]
    columns = np.array([np.concatenate([np.ravel(part) for part in point]) for point in points])
    per_clock = np.exp(clock)[:, None] * columns  # rates fall as 1/t, these change little
    between = scipy.interpolate.make_interp_spline(clock, per_clock, k=1)
    size = len(points[0].ito)

    def velocity(now: float, state: Values) -> Values:
        parts = np.split(between(now), cuts)
        c = _Coefficients(*(p.reshape(s) for p, s in zip(parts, shapes, strict=True)))
        v, u, moved = state[: 3 * size**2].reshape(3, size, size)
        drift, bent = state[3 * size**2 :].reshape(2, size)
        pushed = c.jacobian @ u
        drift = c.jacobian @ drift + c.ito
        drift += np.einsum("ghi,hi->g", c.by_entries, v) + np.einsum("ghi,hi->g", c.by_traces, u)
        entries, traces = c.relax * v + c.drive, pushed + pushed.T + c.trace_drive
        bent = 0.5 * np.diag(c.relax) * bent + c.bend
        rates = (entries, traces, c.jacobian @ moved + c.move, drift, bent)
        return np.concatenate([rate.ravel() for rate in rates])

    start, wanted = np.zeros(3 * size**2 + 2 * size), np.log(times - path[0] + offset)
    span = (clock[0], max(clock[-1], wanted[-1]))
    solution = scipy.integrate.solve_ivp(
        velocity, span, start, "LSODA", wanted, rtol=1e-5, atol=1e-9
    )
    if not solution.success:
        raise ArithmeticError(f"the spread could not be integrated: {solution.message}")
    squares = solution.y.T[:, : 3 * size**2].reshape(-1, 3, size, size)
    entries, traces = np.einsum("tigg->itg", squares[:, :2])
    drift, bent = solution.y.T[:, 3 * size**2 :].reshape(-1, 2, size).transpose(1, 0, 2)
    return entries, traces, drift, bent, squares[:, 2]


def _clock(t: Values | float, path: Values) -> Values:
    """The logarithm of the time since the start, finite there."""
    return np.log(t - path[0] + path[1] - path[0])
