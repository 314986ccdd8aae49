"""What the two studies of two linear layers share: what they can be asked, their presets, and their
runs (paper, section 5).
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

from linsim.config import Amplitude, Count, Finite, Fraction, Rule, require
from linsim.studies.linear import Linear, run_fields, time_coords
from linsim.studies.study import Preset
from linsim.training.names import NoiseShape, Solver, TwoLayerStart

if TYPE_CHECKING:
    from linsim.sweeps.engine import Engine
    from linsim.sweeps.sweep import Sweep
    from linsim.training.run import Run

Tolerance = Annotated[float, Rule(lambda v: 1e-14 <= v <= 1e-2, "a number from 1e-14 to 0.01")]


@dataclass(kw_only=True)
class TwoLayerSettings(Linear):
    """What a study of two linear layers can be asked."""

    init: TwoLayerStart = "spectral"
    """Random factors (paper), aligned ones, or Gaussian entries."""
    hidden: Count = 16
    """Width of the hidden layer."""
    solver: Solver = "descent"
    """Descent on batches, flow on a fixed one, or of infinitely many."""
    decay: Amplitude = 0.35
    """Initial singular values are init-scale e^(-decay k)."""
    kappa: Finite = 0.0
    """Of a balanced start: W1 W1^T - W2^T W2 = kappa I."""
    noise_shape: NoiseShape = "block"
    """In the last --noisy-dims, or in all, rising from half."""
    tolerance: Tolerance = 1e-11
    """Tolerance of the gradient flow."""
    group_gap: Fraction = 0.25
    """Values closer than this, relatively, are degenerate."""

    def relations(self) -> None:
        """Check the fields against one another. Raises: BadInput."""
        super().relations()
        require(
            self.solver == "descent" or self.x64, "solver", self.solver, "descent without --x64"
        )
        solved = self.loss != "cosine" or self.solver != "population"
        require(
            solved,
            "loss",
            self.loss,
            "another one with --solver population, which is not known for it",
        )


PAPER = TwoLayerSettings(
    noise=(0.1,),
    init_scale=(1.0,),
    steps=10_000,
    x64=True,
)
RELEASED = replace(PAPER, noise=0.001, views="two", loss="dot", learning_rate=1e-2)
FLOW = replace(PAPER, solver="flow", noise=0.001, batches="fixed", learning_rate=0.1)
POPULATION = replace(PAPER, solver="population", learning_rate=0.1)
IDENTITY = replace(
    PAPER,
    solver="population",
    noise=1.3,
    noise_shape="graded",
    init_scale=0.1,
    decay=0.05,
    learning_rate=0.4,
)
PRESETS = {
    "paper": Preset(
        PAPER, "the paper's setting: minibatches, distance loss, a tenth of its learning rate"
    ),
    "released": Preset(RELEASED, "the released toy code's: dot loss, two noisy views"),
    "flow": Preset(FLOW, "gradient flow on one fixed batch"),
    "population": Preset(POPULATION, "the flow of infinitely many samples"),
    "identity": Preset(
        IDENTITY, "a setting in which the alignment matrix does become the identity"
    ),
}


def fixed_run(settings: TwoLayerSettings) -> "Run":
    """What the runs of a grid share."""
    from linsim.training import starts
    from linsim.training.run import Run

    return Run(
        **run_fields(settings),
        start=starts.two_layers(settings.init, settings.decay, settings.kappa),
        hidden=(settings.hidden,),
        noise_shape=settings.noise_shape,
        solver=settings.solver,
        tolerance=settings.tolerance,
    )


def sweep(settings: TwoLayerSettings, engine: "Engine") -> "Sweep[Any]":
    """Two-layer runs over noise and initial scale, with what theory says of each from its start."""
    from linsim.studies import theory
    from linsim.sweeps.sweep import Sweep
    from linsim.training.observe import simulate

    fixed = fixed_run(settings)
    return Sweep(
        axes={"noise": settings.noise, "init_scale": settings.init_scale},
        make=lambda noise, init_scale: replace(fixed, noise=noise, init_scale=init_scale),
        simulate=simulate,
        seed=settings.seed,
        seeds=settings.seeds,
        finish=theory.two_layer_flows(fixed, engine),
        kept="spectra and alignment of two layers, and their theory",
        coords=time_coords(settings.steps, settings.rate),
    )
