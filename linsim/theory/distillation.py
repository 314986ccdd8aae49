"""Where a linear DINO begins: near an output that does not depend on the input.

The student's shares are q = softmax(Wx/tau), the teacher's p = softmax((Wa x' - c)/tau_t), with n
outputs; Wa follows W, and c the mean of Wa x'. As long as all outputs are small against the
temperatures, softmax is linear, and for A = E[x x^T], K = E[x x'^T] and mu = E[x'], which A and K
contain,

    dW/dt = H [ (Wa K^T - c mu^T)/tau_t - W A/tau ] / (n tau),     H = I - 11^T/n,

so that modes do not see one another. **The centre's mean is Wa mu.** For data with mean zero it is
zero whatever W is, and centring has nothing to do, at any size of the outputs. What keeps a mode
from vanishing is sharpening: it grows if k/s > tau_t/tau. For data with a mean, centring takes
mu mu^T out of K and leaves it in A: it removes the one mode that views always share. A bias of the
network is such a mean. Views are equal in law.
"""

import numpy as np
from jaxtyping import Float

from linsim.arrays import Array

Real = float | Float[Array, "..."]


def growth_rate(
    variance: Real,
    covariance: Real,
    *,
    outputs: int,
    student_temperature: float,
    teacher_temperature: float,
    target_rate: float = np.inf,
) -> Real:
    """The growth rate of a small mode of a linear DINO, whose rows sum to zero.

        b = s/(n tau^2),  c = k/(n tau tau_t):   r = c - b   for a target that is the student,
        r = [sqrt((beta - b)^2 + 4 beta c) - beta - b] / 2   for one that follows it at rate beta

    Its sign does not depend on beta. Along a mean mu of the data, s gains |mu|^2, and k gains it
    unless outputs are centred.

    Source: this project, docs/theory.md, "DINO"; for the loss Caron et al. 2021 (arXiv 2104.14294).
    MEAN over samples; to first order in the weights, infinitely many samples of any distribution.

    Args:
        variance: The second moment s of a view along the mode.
        covariance: The second moment k between the views along it.
        outputs: The number n of outputs.
        student_temperature: The temperature tau > 0.
        teacher_temperature: The temperature tau_t > 0.
        target_rate: The rate beta > 0 of the target.

    Returns:
        The rate r, in the broadcast shape of variance and covariance.

    Example:
        Without sharpening the least noise makes a mode vanish:

        >>> equal = {"outputs": 4, "student_temperature": 1.0, "teacher_temperature": 1.0}
        >>> [float(growth_rate(s, 1.0, **equal)) for s in (1.0, 1.5)]
        [0.0, -0.125]
        >>> sharp = equal | {"teacher_temperature": 0.5}
        >>> float(growth_rate(1.5, 1.0, **sharp))
        0.125
    """
    b = np.asarray(variance) / (outputs * student_temperature**2)
    c = np.asarray(covariance) / (outputs * student_temperature * teacher_temperature)
    if np.isinf(target_rate):
        return c - b
    apart = np.sqrt((target_rate - b) ** 2 + 4 * target_rate * c)
    return 2 * target_rate * (c - b) / (apart + target_rate + b)


def threshold(student_temperature: float, teacher_temperature: float) -> float:
    """The ratio s/k of a mode's variance to the views' covariance from which on it does not grow.

        tau/tau_t

    Source: this project, docs/theory.md, "DINO"; see `growth_rate`.

    Args:
        student_temperature: The temperature tau > 0.
        teacher_temperature: The temperature tau_t > 0.

    Returns:
        The ratio.

    Example:
        >>> threshold(0.1, 0.04)
        2.5
    """
    return student_temperature / teacher_temperature
