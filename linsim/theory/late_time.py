"""The condensed regime: late training on finite batches (not in the paper; docs/theory.md, "Condensed regime").

While clean modes grow, the softmax of a finite batch condenses: alpha_ii -> 1, and at most one sample at a time lies near
enough to an anchor to push it. To first order in 1 - alpha_ii the mean loss is then that of single pairs,

    l = E log(1 + sum_j e^{s_ij - s_ii})  ->  (N - 1) E log(1 + e^eta),   eta = s_ij - s_ii = -1/2 sum_k m_k (D_k^2 - n_k^2),

a pairwise logistic loss. For mode k, D = x_i - x_j has variance 2a, n = x'_i - x_i variance c, and cov(D, n) = rho. The
average over these Gaussians is exact: with log(1 + e^eta) as a Mellin-Barnes integral,

    E log(1 + e^eta) = 1/(2 pi i) int ds  pi / (s sin pi s)  prod_k (1 + s m_k u_k - s^2 m_k^2 v_k)^(-1/2),
    u = 2a - c,   v = 2ac - rho^2,   0 < Re s < 1 and every bracket positive on the real axis,

taken through its saddle point, where the trapezoidal rule converges exponentially (relative error below 1e-9). A clean
mode (c = rho = 0) contributes (1 + 2 a m s)^(-1/2), or (2 a m s)^(-1/2) once m is large; d_s of them give s^-p, p = d_s/2,
and the remaining average over the noisy modes is that of the Fermi-Dirac integral F_{p+1}(eta)/Gamma(p + 1). The noisy
modes settle where it is smallest; it is convex in their strengths, so there is one such point.

Distance loss. Times belong to the MEAN loss with fresh batches of N. NumPy float64 throughout.
"""

from dataclasses import dataclass

import numpy as np
from scipy.integrate import solve_ivp
from scipy.optimize import minimize_scalar, root_scalar

_HEIGHT = 16.0  # the integrand falls as e^(-pi |Im s|)
_NODES_PER_SINGULARITY = 8  # trapezoidal error e^(-2 pi 8)
_EDGE = 1e-9  # the saddle is sought this far, relatively, inside the interval


@dataclass(frozen=True)
class Modes:
    """`count` identical modes: pull u = 2a - c and spread v = 2ac - rho^2 of the module's formulas."""

    pull: float
    spread: float
    count: int

    @classmethod
    def of(cls, variance: float, noise_variance: float, covariance: float, count: int) -> "Modes":
        """From the second moments of one mode.

        Args: variance a > 0 of the anchor view; noise_variance c >= 0 of x' - x; covariance rho of x_i - x_j with
        x'_i - x_i (0 for one noisy view, -s^2 for two with noise of variance s^2 each); count >= 1.
        Raises: ValueError if these are no covariances, or there is no mode.
        """
        if not variance > 0 or noise_variance < 0 or count < 1:
            raise ValueError(
                f"need variance > 0, noise >= 0, count >= 1; got {variance}, {noise_variance}, {count}"
            )
        spread = 2 * variance * noise_variance - covariance**2
        if spread < -1e-12 * variance * noise_variance:
            raise ValueError(
                f"covariance {covariance} is too large for variances {2 * variance} and {noise_variance}"
            )
        return cls(2 * variance - noise_variance, max(spread, 0.0), count)

    def bracket(self, s, strength: float):
        """1 + s m u - s^2 m^2 v."""
        return 1 + s * strength * self.pull - (s * strength) ** 2 * self.spread

    def ceiling(self, strength: float) -> float:
        """The positive root s of the bracket (inf if there is none)."""
        if self.spread * strength > 0:
            return (self.pull + np.sqrt(self.pull**2 + 4 * self.spread)) / (
                2 * self.spread * strength
            )
        return np.inf if self.pull >= 0 else 1 / (-self.pull * max(strength, 1e-300))


def pair_average(groups: list[tuple[Modes, float]], grown: float = 0.0) -> tuple[float, np.ndarray]:
    """The contour integral of the module docstring, and its derivatives with respect to the strengths.

        J = 1/(2 pi i) int ds  pi / (s sin pi s)  s^-p  prod_k (1 + s m_k u_k - s^2 m_k^2 v_k)^(-1/2)

    Source: this project, docs/theory.md, "Condensed regime". p = 0 gives E log(1 + e^eta); p = d_s/2 > 0 leaves out d_s clean modes that
    have grown large, J = E[F_{p+1}(eta)] / Gamma(p + 1).
    Args: groups of (modes, strength m of each of them); grown p >= 0. Returns: J, and dJ/dm for each group's common m.
    """
    ceiling = min([1.0, *(modes.ceiling(m) for modes, m in groups)])

    def log_integrand(s):
        brackets = sum(0.5 * modes.count * np.log(modes.bracket(s, m)) for modes, m in groups)
        return -np.log(np.sin(np.pi * s)) - (1 + grown) * np.log(s) - brackets

    bounds = (_EDGE * ceiling, (1 - _EDGE) * ceiling)
    saddle = minimize_scalar(log_integrand, bounds=bounds, method="bounded").x
    spacing = min(saddle, ceiling - saddle) / _NODES_PER_SINGULARITY
    s = saddle + 1j * np.arange(-_HEIGHT, _HEIGHT + spacing, spacing)
    value = np.pi / np.sin(np.pi * s) * s ** -(1 + grown) * spacing / (2 * np.pi)
    for modes, m in groups:
        value = value * modes.bracket(s, m) ** (-0.5 * modes.count)
    slopes = [
        value
        * -0.5
        * modes.count
        * (s * modes.pull - 2 * s * s * m * modes.spread)
        / modes.bracket(s, m)
        for modes, m in groups
    ]
    return float(value.real.sum()), np.array([slope.real.sum() for slope in slopes])


def settled(
    variance: float,
    noise_variance: float,
    covariance: float = 0.0,
    *,
    clean_modes: int,
    noisy_modes: int,
    order: str = "fermi-dirac",
) -> float:
    """Strength m = sigma^2 at which each of several identical noisy modes settles; independent of N.

        E[F_p(eta) (D^2 - n^2)] = 0, the minimum of E F_{p+1}(eta), p = d_s/2   ("fermi-dirac");
        m = (2a - c) / (2 (2ac - rho^2)), its limit for many clean modes          ("leading");      0 if c >= 2a

    Source: this project, docs/theory.md, "Condensed regime". Distance loss, condensed regime, clean modes grown large.
    Args: variance a, noise_variance c, covariance rho as in `Modes.of`; clean_modes d_s >= 1; noisy_modes >= 1.
    Returns: m, inf if the modes have no noise. Raises: ValueError.
    """
    modes = Modes.of(variance, noise_variance, covariance, noisy_modes)
    if clean_modes < 1:
        raise ValueError(f"clean_modes must be at least 1; got {clean_modes}")
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
        return pair_average([(modes, strength)], clean_modes / 2)[1][0]

    upper = 2 * leading
    while slope(upper) < 0:
        upper *= 2
    return float(root_scalar(slope, bracket=(1e-3 * leading, upper), xtol=1e-10 * leading).root)


def growth_exponent(clean_modes: int) -> float:
    """Exponent 2/(d_s + 2) of the clean modes' late growth m ~ t^(2/(d_s + 2)) on fresh batches.

    Source: this project, docs/theory.md, "Condensed regime". Args: clean_modes d_s. Returns: exponent of m = sigma^2.
    """
    return 2 / (clean_modes + 2)


def clean_strength(
    time: float,
    noisy: Modes,
    noisy_strength: float,
    *,
    clean_modes: int,
    clean_variance: float,
    batch_size: int,
) -> float:
    """Strength of the clean modes at a very late time, the noisy ones having settled.

        m(t) = ((p + 1) K t)^(1/(p + 1)),   K = 2 N (2a)^-p E[F_{p+1}(eta)] / Gamma(p + 1),   p = d_s/2

    from dm/dt = K m^-p. It is reached slowly, with corrections of order p/(2 a m); `flow` has none of them.
    Source: this project, docs/theory.md, "Condensed regime". Mean loss, fresh batches of N = batch_size.
    Args: time; noisy modes and their settled strength; clean_modes d_s; clean_variance a. Returns: m.
    """
    p = clean_modes / 2
    rate = (
        2
        * (batch_size - 1)
        * (2 * clean_variance) ** -p
        * pair_average([(noisy, noisy_strength)], p)[0]
    )
    return ((p + 1) * rate * time) ** (1 / (p + 1))


def decay_per_growth(noisy: Modes, *, clean_modes: int, strength: float = 0.0) -> float:
    """d ln(m_noisy) / d m_clean very late: a noisy mode's logarithmic growth per growth of the clean modes.

        -2 d ln E[F_{p+1}] / dm of one noisy mode;   (2a - c) eta(p) / eta(p + 1) for a weak one, eta Dirichlet's function

    Beyond the threshold it is negative, so m_noisy ~ exp(-(c - 2a) m_clean(t)) with m_clean ~ t^(2/(d_s + 2)): late
    collapse is a stretched exponential in time, not the exponential of a frozen contrast matrix (the paper's Theorem 1).
    Source: this project, docs/theory.md, "Condensed regime". Args: noisy modes; clean_modes d_s; their strength. Returns: slope.
    """
    value, (slope,) = pair_average([(noisy, strength)], clean_modes / 2)
    return -2 * slope / (noisy.count * value)


def flow(
    times: np.ndarray, start: np.ndarray, groups: list[Modes], *, batch_size: int
) -> np.ndarray:
    """Strengths of groups of modes in time under the pair loss, from a given start inside the condensed regime.

        d ln(m_k)/dt = -4 dl/dm_k,   l = (N - 1) E log(1 + e^eta)

    Source: this project, docs/theory.md, "Condensed regime". Mean loss, fresh batches of N = batch_size; valid while 1 - alpha_ii << 1.
    Args: times (T,) increasing, times[0] the start; start (G,) strengths > 0; groups of modes, clean ones with c = 0.
    Returns: (T, G).
    """
    counts = np.array([modes.count for modes in groups])

    def field(_, log_strength):
        _, slopes = pair_average(list(zip(groups, np.exp(log_strength), strict=True)))
        return -4 * (batch_size - 1) * slopes / counts

    span = (times[0], times[-1])
    return np.exp(
        solve_ivp(
            field, span, np.log(start), method="LSODA", t_eval=times, rtol=1e-6, atol=1e-8
        ).y.T
    )
