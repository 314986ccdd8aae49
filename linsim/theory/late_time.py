"""The condensed regime: late training on finite batches (not in the paper; README "The theory").

With clean modes that grow without bound, the softmax of a finite batch condenses: alpha_ii -> 1, and an anchor is pushed
only by the rare sample that happens to lie near it in the clean subspace. The distance to that neighbour has a flat
prior t^(p-1) dt with p = d_s/2 (d_s clean modes), so the mean loss factorises into

    l = N (2a)^-p prod_k m_k^(-1/2) Phi / Gamma(p + 1),     Phi = E[F_{p+1}(eta)],
    F_q(eta) = int_0^inf t^(q-1) / (1 + e^(t - eta)) dt,    eta = -1/2 sum_k m_k (Delta_k^2 - n_k^2),

where the product runs over the clean modes and the sum over the noisy ones; Delta = x_i - x_j has variance 2a,
n = x'_i - x_i variance c, and cov(Delta, n) = rho. The noisy modes settle where Phi is smallest. Phi is convex in
their strengths, so there is exactly one such point.

Averages over Delta and n are exact. With the Mellin-Barnes form of F_q, Phi is the contour integral

    E[F_q] = Gamma(q) / (2 pi i) int ds  pi / sin(pi s)  s^-q  prod_k (1 + s m_k u - s^2 m_k^2 v)^(-1/2),
    u = 2a - c,   v = 2ac - rho^2,   0 < Re s < 1 and every bracket positive on the real axis,

taken through its saddle point, where the trapezoidal rule converges exponentially (the values here are good to 1e-9).
Distance loss. Times belong to the MEAN loss, fresh batches of N. NumPy float64 throughout.
"""

from typing import Literal, NamedTuple

import numpy as np
from scipy.integrate import solve_ivp
from scipy.optimize import brentq, minimize_scalar

Order = Literal["fermi-dirac", "leading"]
_HEIGHT = 16.0  # the integrand falls as e^(-pi |Im s|)
_NODES_PER_SINGULARITY = 8  # trapezoidal error e^(-2 pi 8)


class NoisyModes(NamedTuple):
    """`count` identical noisy modes: pull u = 2a - c and spread v = 2ac - rho^2 of the module's formulas."""

    pull: float
    spread: float
    count: int

    @classmethod
    def of(cls, variance: float, noise_variance: float, covariance: float, count: int) -> "NoisyModes":
        """From the second moments of one mode.

        Args: variance a > 0 of the anchor view; noise_variance c >= 0 of x' - x; covariance rho of x_i - x_j with
        x'_i - x_i (0 for one noisy view, -s^2 for two with noise of variance s^2 each); count >= 0.
        Raises: ValueError if these are no covariances.
        """
        if not variance > 0 or noise_variance < 0 or count < 0:
            raise ValueError(f"need variance > 0, noise >= 0, count >= 0; got {variance}, {noise_variance}, {count}")
        spread = 2 * variance * noise_variance - covariance**2
        if spread < -1e-12 * variance * noise_variance:
            raise ValueError(f"covariance {covariance} is too large for variances {2 * variance} and {noise_variance}")
        return cls(2 * variance - noise_variance, max(spread, 0.0), count)


def driving_force(order: float, strength: float, modes: NoisyModes) -> tuple[float, float]:
    """E[F_q(eta)] / Gamma(q) over the noisy modes, all of strength m, and its derivative with respect to m.

    Source: this project; the contour integral of the module docstring. Without noisy modes it is F_q(0) / Gamma(q),
    Dirichlet's eta(q). Args: order q > 0; strength m >= 0; modes. Returns: (value, slope).
    """
    m, (u, v, count) = strength, modes

    def bracket(s):
        return 1 + s * m * u - (s * m) ** 2 * v

    def log_integrand(s):
        return -np.log(np.sin(np.pi * s)) - order * np.log(s) - 0.5 * count * np.log(bracket(s))

    ceiling = min(1.0, (u + np.sqrt(u * u + 4 * v)) / (2 * v * m)) if m * v > 0 else 1.0
    edge = 1e-9 * ceiling
    saddle = minimize_scalar(log_integrand, bounds=(edge, ceiling - edge), method="bounded").x
    spacing = min(saddle, ceiling - saddle) / _NODES_PER_SINGULARITY
    s = saddle + 1j * np.arange(-_HEIGHT, _HEIGHT + spacing, spacing)
    value = np.pi / np.sin(np.pi * s) * s**-order * bracket(s) ** (-0.5 * count) * spacing / (2 * np.pi)
    slope = value * (-0.5 * count) * (s * u - 2 * s * s * m * v) / bracket(s)
    return float(value.real.sum()), float(slope.real.sum())


def settled(
    variance: float,
    noise_variance: float,
    covariance: float = 0.0,
    *,
    clean_modes: int,
    noisy_modes: int,
    order: Order = "fermi-dirac",
) -> float:
    """Strength m = sigma^2 at which each of several identical noisy modes settles; independent of N.

        E[F_p(eta) (Delta^2 - n^2)] = 0, the minimum of Phi ("fermi-dirac");
        m = (2a - c) / (2 (2ac - rho^2)), its limit for many clean modes ("leading");   0 if c >= 2a

    Source: this project, README "The theory". Distance loss, condensed regime.
    Args: variance a, noise_variance c, covariance rho as in `NoisyModes.of`; clean_modes d_s >= 1; noisy_modes >= 1.
    Returns: m, inf if the modes have no noise. Raises: ValueError.
    """
    modes = NoisyModes.of(variance, noise_variance, covariance, noisy_modes)
    if clean_modes < 1 or noisy_modes < 1:
        raise ValueError(f"need clean_modes >= 1 and noisy_modes >= 1; got {clean_modes} and {noisy_modes}")
    if order not in ("fermi-dirac", "leading"):
        raise ValueError(f"order must be 'fermi-dirac' or 'leading'; got {order!r}")
    if modes.pull <= 0:
        return 0.0
    if modes.spread == 0:
        return np.inf
    leading = modes.pull / (2 * modes.spread)
    if order == "leading":
        return leading

    def slope(strength: float) -> float:
        return driving_force(clean_modes / 2 + 1, strength, modes)[1]

    upper = 2 * leading
    while slope(upper) < 0:
        upper *= 2
    return float(brentq(slope, 1e-3 * leading, upper, xtol=1e-10 * leading))


def growth_exponent(clean_modes: int) -> float:
    """Exponent 2/(d_s + 2) of the clean modes' growth m ~ t^(2/(d_s + 2)) on fresh batches.

    Source: this project, README "The theory". Args: clean_modes d_s. Returns: exponent of m = sigma^2.
    """
    return 2 / (clean_modes + 2)


def clean_growth(
    strength: float, noisy_strength: float, modes: NoisyModes, *, clean_modes: int, clean_variance: float, batch_size: int
) -> float:
    """Growth dm/dt of equally strong clean modes.

        dm/dt = 2 N (2 a m)^-p E[F_{p+1}(eta)] / Gamma(p + 1),   p = d_s/2

    Source: this project, README "The theory". Mean loss, fresh batches of N = batch_size.
    Args: strength m of the clean modes; noisy_strength of the noisy ones; clean_variance a. Returns: dm/dt.
    """
    p = clean_modes / 2
    force, _ = driving_force(p + 1, noisy_strength, modes)
    return 2 * batch_size * (2 * clean_variance * strength) ** -p * force


def clean_strength(
    time: float, noisy_strength: float, modes: NoisyModes, *, clean_modes: int, clean_variance: float, batch_size: int
) -> float:
    """Strength of the clean modes at a late time: `clean_growth` integrated with the noisy modes settled.

        m(t) = ((p + 1) K t)^(1/(p + 1)),   K = dm/dt at m = 1

    The start is forgotten as 1/t. Source: this project, README "The theory". Arguments as `clean_growth`. Returns: m.
    """
    p = clean_modes / 2
    unit = clean_growth(
        1.0, noisy_strength, modes, clean_modes=clean_modes, clean_variance=clean_variance, batch_size=batch_size
    )
    return ((p + 1) * unit * time) ** (1 / (p + 1))


def decay_per_growth(modes: NoisyModes, *, clean_modes: int, strength: float = 0.0) -> float:
    """d ln(m_noisy) / d m_clean: a noisy mode's logarithmic growth per growth of the clean modes.

        -(2/q) d ln Phi / dm_noisy for q equal modes;   (2a - c) eta(p) / eta(p + 1) for weak ones, eta Dirichlet's

    Beyond the threshold it is negative, so m_noisy ~ exp(-(c - 2a) m_clean(t)), m_clean ~ t^(2/(d_s + 2)): late collapse
    is a stretched exponential in time, not the exponential of a frozen contrast matrix (the paper's Theorem 1).
    Source: this project, README "The theory". Args: modes (count >= 1); clean_modes; strength m. Returns: slope.
    """
    value, slope = driving_force(clean_modes / 2 + 1, strength, modes)
    return -2 * slope / (modes.count * value)


def condensed_flow(
    times: np.ndarray,
    clean_start: float,
    noisy_start: float,
    modes: NoisyModes,
    *,
    clean_modes: int,
    clean_variance: float,
    batch_size: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Strengths of the clean and the noisy modes in time, from a given start inside the condensed regime.

        dm_clean/dt = `clean_growth`,   d ln(m_noisy)/dt = `decay_per_growth` x dm_clean/dt

    Source: this project, README "The theory". Mean loss, fresh batches.
    Args: times (T,) increasing, times[0] the start; strengths there; the rest as `clean_growth`. Returns: two (T,) arrays.
    """

    def field(_, state):
        clean, noisy = np.exp(state)
        growth = clean_growth(
            clean, noisy, modes, clean_modes=clean_modes, clean_variance=clean_variance, batch_size=batch_size
        )
        return [growth / clean, growth * decay_per_growth(modes, clean_modes=clean_modes, strength=noisy)]

    start = np.log([clean_start, noisy_start])
    solution = solve_ivp(field, (times[0], times[-1]), start, method="LSODA", t_eval=times, rtol=1e-6, atol=1e-9)
    clean, noisy = np.exp(solution.y)
    return clean, noisy
