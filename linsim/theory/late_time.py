"""The condensed regime: late training on finite batches (this project, docs/theory.md,
"Condensed regime").

This regime is not in the paper. While clean modes grow, the softmax of a finite batch condenses on
the positives: alpha_ii -> 1, and at most one sample at a time lies near enough to an anchor to push
it. To first order in 1 - alpha_ii the mean loss is then that of single pairs,

    l = E log(1 + sum_j e^{s_ij - s_ii})  ->  (N - 1) E log(1 + e^eta)
    eta = s_ij - s_ii = -1/2 sum_k m_k (D_k^2 - n_k^2)

which is a pairwise logistic loss. Here s_ij are the scores of the distance loss, the sum over k
runs over the modes, and m_k = sigma_k^2 is the strength of mode k, with sigma_k its singular value.
In mode k the data have variance a, the difference D = x_i - x_j of two anchors has variance 2a, the
augmentation n = x'_i - x_i has variance c, and cov(D, n) = rho.

The average over these Gaussians is exact. With log(1 + e^eta) written as a Mellin-Barnes integral,

    E log(1 + e^eta) = 1/(2 pi i) int ds  pi / (s sin pi s)  prod_k B_k(s)^(-1/2)
    B_k(s) = 1 + s m_k u_k - s^2 m_k^2 v_k,   u = 2a - c,   v = 2ac - rho^2

where 0 < Re s < 1 and every bracket B_k is positive on the real axis. The contour is taken through
the saddle point of the integrand, where the trapezoidal rule converges exponentially (relative
error below 1e-9).

A clean mode (c = rho = 0) contributes (1 + 2 a m s)^(-1/2), which is (2 a m s)^(-1/2) once m is
large. So d_s clean modes give a factor s^-p with p = d_s/2, and what remains is the average over
the noisy modes of F_{p+1}(eta) / Gamma(p + 1), where

    F_q(eta) = int_0^inf t^(q-1) / (1 + e^(t - eta)) dt

is the Fermi-Dirac integral. The noisy modes settle where this average is smallest. It is convex in
their strengths, so there is one such point.

Everything belongs to the distance loss. Times belong to the MEAN over anchors with a fresh batch
of N samples in every step. The computation is in NumPy float64 throughout.
"""

import numpy as np
import scipy

from linsim.theory.modes import Modes

_HEIGHT = 16.0  # the integrand falls as e^(-pi |Im s|)
_NODES_PER_SINGULARITY = 8  # trapezoidal error e^(-2 pi 8)
_EDGE = 1e-9  # the saddle is sought this far, relatively, inside the interval


def pair_average(groups: list[tuple[Modes, float]], grown: float = 0.0) -> tuple[float, np.ndarray]:
    """The average pair loss of groups of modes, and its derivatives by their strengths.

        J = 1/(2 pi i) int ds  pi / (s sin pi s)  s^-p  prod_k B_k(s)^(-1/2)

    with the brackets B_k(s) = 1 + s m_k u - s^2 m_k^2 v. For p = 0 this is E log(1 + e^eta) over
    all modes given. For p = d_s/2 > 0 it leaves out d_s clean modes that have grown large, and
    J = E[F_{p+1}(eta)] / Gamma(p + 1) over the modes given.

    Source: this project, docs/theory.md, Eq. (pairs) and (contour). The loss is N - 1 times J.

    Args:
        groups: Pairs of a group of modes and the strength m that each of its modes has.
        grown: The number p >= 0, half the number of the clean modes that are left out.

    Returns:
        J, and an array with dJ/dm of each group's common strength m, shape (number of groups,).

    Example:
        At strength zero eta = 0, and the loss is log 2, as that of any undecided pair. The
        derivative is then -count u/4: below the threshold the mode gains by growing.

        >>> value, slopes = pair_average([(Modes.of(1.0, 1.0, 0.0, 8), 0.0)])
        >>> round(value, 4)
        0.6931
        >>> slopes.round(4).tolist()
        [-2.0]
    """
    ceiling = min([1.0, *(_ceiling(modes, m) for modes, m in groups)])

    def log_integrand(s):
        brackets = sum(0.5 * modes.count * np.log(_bracket(modes, s, m)) for modes, m in groups)
        return -np.log(np.sin(np.pi * s)) - (1 + grown) * np.log(s) - brackets

    bounds = (_EDGE * ceiling, (1 - _EDGE) * ceiling)
    saddle = scipy.optimize.minimize_scalar(log_integrand, bounds=bounds, method="bounded").x
    spacing = min(saddle, ceiling - saddle) / _NODES_PER_SINGULARITY
    s = saddle + 1j * np.arange(-_HEIGHT, _HEIGHT + spacing, spacing)
    value = np.pi / np.sin(np.pi * s) * s ** -(1 + grown) * spacing / (2 * np.pi)
    for modes, m in groups:
        value = value * _bracket(modes, s, m) ** (-0.5 * modes.count)
    slopes = [
        value
        * -0.5
        * modes.count
        * (s * modes.pull - 2 * s * s * m * modes.spread)
        / _bracket(modes, s, m)
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
    """The strength at which identical noisy modes settle late in training.

        "fermi-dirac":   the m at which E[F_p(eta) (D^2 - n^2)] = 0, p = d_s/2: the minimum of
                         E F_{p+1}(eta)
        "leading":       m = (2a - c) / (2 (2ac - rho^2)), its limit for many clean modes
        both:            m = 0 if c >= 2a

    It holds once the d_s clean modes have grown large, and does not depend on the batch size. The
    value of `linsim.theory.population.fixed_point` is another one: it belongs to infinite batches.

    Source: this project, docs/theory.md, Eq. (fermi-dirac) and (settled). Distance loss.

    Args:
        variance: The variance a > 0 of the anchor view in each noisy mode.
        noise_variance: The variance c >= 0 of the augmentation x' - x in each noisy mode.
        covariance: The covariance rho of the anchor view with x' - x, see `Modes.of`.
        clean_modes: The number d_s >= 1 of modes without noise.
        noisy_modes: The number of noisy modes, at least 1.
        order: Which of the two formulas to use, "fermi-dirac" or "leading".

    Returns:
        The strength m = sigma^2 of each noisy mode: 0 from the threshold on, and inf if c = 0.

    Raises:
        ValueError: If a number of modes is below 1, `order` is unknown, or the moments are not
            those of any Gaussian variables.

    Example:
        >>> round(settled(1.0, 1.0, clean_modes=8, noisy_modes=8), 4)
        0.2659
        >>> settled(1.0, 1.0, clean_modes=8, noisy_modes=8, order="leading")
        0.25
        >>> settled(1.0, 2.0, clean_modes=8, noisy_modes=8)  # at the threshold: collapse
        0.0
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
    return float(
        scipy.optimize.root_scalar(
            slope, bracket=(1e-3 * leading, upper), xtol=1e-10 * leading
        ).root
    )


def growth_exponent(clean_modes: int) -> float:
    """The exponent of the power law by which clean modes grow late in training.

        m ~ t^(2/(d_s + 2))

    Source: this project, docs/theory.md, Eq. (growth). Distance loss, fresh batches.

    Args:
        clean_modes: The number d_s of modes without noise.

    Returns:
        The exponent 2/(d_s + 2) of the strength m = sigma^2.

    Example:
        With eight clean modes the strength doubles only when the time grows by a factor of 32:

        >>> growth_exponent(8)
        0.2
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
    """The strength of the clean modes at a very late time, when the noisy ones have settled.

        m(t) = ((p + 1) K t)^(1/(p + 1)),   p = d_s/2
        K = 2 (N - 1) (2a)^-p E[F_{p+1}(eta)] / Gamma(p + 1)

    which solves dm/dt = K m^-p. Training approaches it slowly, with corrections of relative order
    p/(2 a m); `finite_batch.flow` has no such corrections.

    Source: this project, docs/theory.md, Eq. (growth). Mean over anchors, fresh batches.

    Args:
        time: The time t > 0: learning rate times steps.
        noisy: The group of noisy modes.
        noisy_strength: Their settled strength, see `settled`.
        clean_modes: The number d_s >= 1 of modes without noise.
        clean_variance: The variance a > 0 of the data in the clean modes.
        batch_size: The number N of samples in a batch.

    Returns:
        The strength m(t) = sigma^2 of each clean mode.

    Example:
        The law of `growth_exponent`: 32 times the time gives twice the strength.

        >>> noisy = Modes.of(1.0, 1.0, 0.0, 8)
        >>> options = dict(clean_modes=8, clean_variance=1.0, batch_size=128)
        >>> early, late = (clean_strength(t, noisy, 0.266, **options) for t in (100.0, 3200.0))
        >>> round(late / early, 6)
        2.0
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
    """How much ln(m) of a noisy mode changes per unit of growth of the clean modes' strength.

        d ln(m_noisy) / d m_clean = -2 (d/dm) ln E[F_{p+1}(eta)],   p = d_s/2

    where m is the strength of one noisy mode. For weak noisy modes this is
    (2a - c) eta_D(p) / eta_D(p + 1), with Dirichlet's eta function eta_D. Beyond the threshold it
    is negative, so that m_noisy ~ exp(-(c - 2a) m_clean(t)) for many clean modes. Since m_clean
    grows as t^(2/(d_s + 2)), late collapse is a stretched exponential in time, not the exponential
    of a frozen contrast matrix (the paper's Theorem 1).

    Source: this project, docs/theory.md, Eq. (stretched).

    Args:
        noisy: The group of noisy modes.
        clean_modes: The number d_s >= 1 of clean modes, all grown large.
        strength: The common strength m = sigma^2 >= 0 of the noisy modes.

    Returns:
        The slope d ln(m_noisy) / d m_clean. It is zero where the noisy modes settle.

    Example:
        For noise beyond the threshold the slope is close to 2a - c = -1:

        >>> round(float(decay_per_growth(Modes.of(1.0, 3.0, 0.0, 8), clean_modes=8)), 4)
        -0.9742
    """
    value, (slope,) = pair_average([(noisy, strength)], clean_modes / 2)
    return -2 * slope / (noisy.count * value)


def _bracket(modes: Modes, s, strength: float):
    """The bracket B(s) of one of the modes, s real or complex."""
    return 1 + s * strength * modes.pull - (s * strength) ** 2 * modes.spread


def _ceiling(modes: Modes, strength: float) -> float:
    """The positive root of B(s) = 0, to the left of which the contour must stay; inf if there is
    none.
    """
    if modes.spread * strength > 0:
        return (modes.pull + np.sqrt(modes.pull**2 + 4 * modes.spread)) / (
            2 * modes.spread * strength
        )
    return np.inf if modes.pull >= 0 else 1 / (-modes.pull * max(strength, 1e-300))
