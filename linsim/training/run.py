"""One run of a linear network, as a typed value: `simulate` it at once, or `begin` it and take one
`step` after another.

    >>> run = Run(noise=2.0, dim=4, noisy_dims=2, batch_size=32)
    >>> state, one_step = begin(run, jax.random.key(0)), jax.jit(step)
    >>> for _ in range(20):
    ...     state, drive = one_step(run, state)
    >>> [w.shape for w in state.params], drive.contrast.shape
    ([(4, 4)], (4, 4))
"""

from typing import Any, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Float, Key, PRNGKeyArray

from linsim import losses
from linsim.arrays import Array, jitted
from linsim.theory import alignment
from linsim.training import contrast, data, dynamics, models, optimizers
from linsim.training.contrast import Drive
from linsim.training.dynamics import Trajectory
from linsim.training.loss import Distance, Loss, SolvedLoss
from linsim.training.models import Params, Weights
from linsim.training.names import Activation, Batches, NoiseShape, Solver, Views
from linsim.training.optimizers import AnyOptimizer, Optimizer
from linsim.training.records import Real, record, static
from linsim.training.starts import Orthogonal, Start

Square = Float[Array, "d d"]
CHOICES = {
    "noise_shape": get_args(NoiseShape),
    "views": get_args(Views),
    "batches": get_args(Batches),
    "activation": get_args(Activation),
    "solver": get_args(Solver),
}


@record
class Run:
    """A network z = W_L .. W_1 x and how it is trained on pairs of views of Gaussian data.

    Numbers without a note below may vary inside one compiled program: a sweep stacks runs that
    differ in nothing else.

    noise: standard deviation of each noisy view's noise, in units of the data's root mean square;
    data_exponent p: coordinate k has a variance proportional to k^-p, 1 in the mean; init_scale: of
    the initial layers; learning_rate on the MEAN loss; loss and start with their own numbers.
    Static: dim of input and embedding, and hidden widths between; which coordinates are noisy (the
    last `noisy_dims`, or all of them, graded); one noisy view or two; where batches come from;
    activation between the layers; the optimiser; gradient descent on batches, gradient flow on one
    fixed batch, or the flow of infinitely many samples (flows need float64); and the numbers of the
    steps to record.
    """

    noise: Real = 1.0
    data_exponent: Real = 0.0
    init_scale: Real = 0.1
    learning_rate: Real = 0.128
    loss: Loss = Distance()
    start: Start = Orthogonal()
    dim: int = static(16)
    hidden: tuple[int, ...] = static(())
    noisy_dims: int = static(8)
    noise_shape: NoiseShape = static("block")
    views: Views = static("one")
    batches: Batches = static("fresh")
    batch_size: int = static(128)
    dataset_size: int = static(10_000)
    activation: Activation = static("linear")
    optimizer: AnyOptimizer = static(Optimizer())
    solver: Solver = static("descent")
    tolerance: float = static(1e-11)
    record_at: tuple[int, ...] = static((0, 1, 1000))

    def __post_init__(self) -> None:
        """Check what is static. Raises: ValueError for a name that is not known, for ReLU layers
        with another loss or solver than they have, and for more noisy coordinates than there are.
        """
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in allowed:
                given, known = getattr(self, name), ", ".join(allowed)
                raise ValueError(f"{name} {given!r} is unknown; choose one of {known}")
        if not 0 <= self.noisy_dims <= self.dim:
            raise ValueError(f"noisy_dims must lie between 0 and {self.dim}; got {self.noisy_dims}")
        if self.activation == "relu":
            if isinstance(self.loss, Loss) and not isinstance(self.loss, Distance):
                raise ValueError(f"ReLU layers have the distance loss; got {self.loss}")
            if self.solver != "descent":
                raise ValueError(f"ReLU layers are trained by descent; got solver {self.solver!r}")

    @property
    def widths(self) -> tuple[int, ...]:
        """Widths of input, hidden layers and embedding."""
        return (self.dim, *self.hidden, self.dim)

    @property
    def times(self) -> Float[Array, "T"]:
        """Learning rate x steps at the records."""
        return np.asarray(self.record_at) * self.learning_rate

    @jitted
    def moments(self) -> data.Moments:
        """Second moments of its views."""
        return data.moments(self.data_cov(), self.noise**2 * self.unit_noise(), self.views)

    def data_cov(self) -> Square:
        """Covariance of its clean data."""
        return jnp.diag(data.variances(self.dim, self.data_exponent))

    def unit_noise(self) -> Square:
        """Covariance of a noisy view's noise at amplitude 1."""
        return data.noise_covariance(self.noise_shape, self.dim, self.noisy_dims)

    def layers(self, key: PRNGKeyArray) -> Params:
        """The initial layers that the run's key gives."""
        return self.start.draw(_keys(key)[0], self.widths, self.init_scale)

    def source(self, key: PRNGKeyArray) -> data.Source:
        """Where the batches of the run with this key come from."""
        return data.source(
            _keys(key)[1],
            self.batches,
            jnp.sqrt(self.data_cov()),
            self.noise * data.factor(self.unit_noise()),
            views=self.views,
            batch_size=self.batch_size,
            dataset_size=self.dataset_size,
        )


class State(NamedTuple):
    """Where a run stands: its layers, the optimiser's state, the source of its batches, the key of
    its steps, steps done.
    """

    params: Params
    optimizer: Any
    source: data.Source
    key: PRNGKeyArray
    steps: int | Array


class Trained(NamedTuple):
    """What a run recorded, and the second moment of its clean data."""

    trajectory: Trajectory
    data_cov: Square


def begin(run: Run, key: PRNGKeyArray) -> State:
    """A run at step 0."""
    params = run.layers(key)
    optimizer = optimizers.at(run.optimizer, run.learning_rate)
    return State(params, optimizer.init(params), run.source(key), _keys(key)[2], 0)


def step(run: Run, state: State) -> tuple[State, Drive]:
    """One step of descent, the same as `train` takes. Returns: the state after it, and the drive of
    the batch before it.
    """
    towards, now = gradient(
        run, state.params, *state.source(jax.random.fold_in(state.key, state.steps))
    )
    updates, optimizer = optimizers.at(run.optimizer, run.learning_rate).update(
        towards, state.optimizer, state.params
    )
    params = optax.apply_updates(state.params, updates)
    return state._replace(params=params, optimizer=optimizer, steps=state.steps + 1), now


def gradient(
    run: Run, params: Params, x: Float[Array, "N d"], x_pos: Float[Array, "N d"]
) -> tuple[Params, Drive]:
    """Gradient of the mean loss on one batch, layer by layer, and its drive.

    Linear layers: in closed form, G = -W X (paper, Lemmas 1 and 3). ReLU between them: by automatic
    differentiation, for the distance loss; the drive's contrast matrix is then that of the
    embeddings.
    """
    if run.activation == "relu":
        return _relu_gradient(params, x, x_pos)
    weights = models.product(params)
    now = run.loss.drive(weights, x, x_pos)
    return models.layer_gradients(params, -weights @ now.contrast), now


def _relu_gradient(
    params: Params, x: Float[Array, "N d"], x_pos: Float[Array, "N d"]
) -> tuple[Params, Drive]:
    def loss(params: Params):
        z, z_pos = models.relu_network(params, x), models.relu_network(params, x_pos)
        return losses.infonce(z, z_pos) / len(x), (z, z_pos)

    (value, (z, z_pos)), towards = jax.value_and_grad(loss, has_aux=True)(params)
    return towards, contrast.distance(jnp.eye(z.shape[1], dtype=z.dtype), z, z_pos)._replace(
        loss=value
    )


def train(run: Run, key: PRNGKeyArray) -> Trained:
    """A run from its start to its last record, by its solver. Traceable.

    Gradient descent of two linear layers tallies the drift of C = W1 W1^T - W2^T W2, which flows
    conserve.
    Raises: TypeError for a flow in float32; ValueError for the flow of infinitely many samples of a
    loss without theory.
    """
    params = run.layers(key)
    if run.solver == "population":
        drive = population_drive(run)
        return Trained(
            dynamics.gradient_flow(params, drive, run.times, tolerance=run.tolerance),
            run.data_cov(),
        )
    source, key_steps = run.source(key), _keys(key)[2]
    if run.solver == "flow":
        batch = source(key_steps)
        flow = dynamics.gradient_flow(
            params, lambda w: run.loss.drive(w, *batch), run.times, tolerance=run.tolerance
        )
        return Trained(flow, source.second_moment())

    def towards(params: Params, step_key: PRNGKeyArray):
        layers, now = gradient(run, params, *source(step_key))
        return layers, now, _drift(run, params, now)

    optimizer = optimizers.at(run.optimizer, run.learning_rate)
    weights, now, tally = dynamics.descend(params, towards, optimizer, run.record_at, key_steps)
    return Trained(
        Trajectory(weights, now.loss, now.contrast, now.alpha_ii, tally), source.second_moment()
    )


def population_drive(run: Run) -> dynamics.FieldDrive:
    """The drive of infinitely many samples under a run's loss and views. Raises: ValueError if its
    loss has no theory.
    """
    loss, moments = run.loss, run.moments()
    if not isinstance(loss, SolvedLoss):
        raise ValueError(
            f"the flow of infinitely many samples is not known for {type(loss).__name__}"
        )
    return lambda w: loss.population_drive(w, moments)


def _drift(run: Run, params: Params, now: Drive) -> Square | None:
    """What one step of plain descent adds to the imbalance of two linear layers; None for other
    networks.
    """
    if (
        len(params) != 2
        or run.activation != "linear"
        or not optimizers.is_plain_descent(run.optimizer)
    ):
        return None
    w1, w2 = params
    towards: Weights = -models.product(params) @ now.contrast
    return alignment.imbalance_drift(w1, w2, towards, run.learning_rate)


def _keys(key: PRNGKeyArray) -> Key[Array, "3"]:
    """The keys of the initial layers, of the data, and of the steps."""
    return jax.random.split(key, 3)
