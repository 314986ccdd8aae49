"""Theory only: one pure function per equation, importing nothing from the simulation.

- infonce: gradients of InfoNCE for one batch (paper, section 4.1)
- population: infinitely many samples: losses, flows, thresholds, escape times
- finite_batch: any batch size at any time: losses, contrast matrices, flows, by averages of mellin
- batch_noise: second moments of the contrast matrices of single batches
- parting: how equal modes part, samples begin it and layers widen it
- minibatch: what the learning rate and the noise of minibatches add to these, at first order
- late_time: finite batches late in training: the condensed regime
- alignment: what is exactly true about the alignment of two layers (paper, section 5.2)
- singular: how singular values and vectors of two layers move (paper, Lemmas 4-7, Theorem 3)
- noncontrastive: models without negatives (paper, section 3)
- cosine: from which noise on a mode vanishes under NT-Xent
- spectral: the spectral contrastive loss and linear Barlow Twins, as matrix factorisation
- redundancy: where VICReg and Barlow Twins end
- gaussianity: SIGReg on Gaussian embeddings
- jepa: which modes a linear JEPA or autoencoder learns when
- moving_average: BYOL's target: what it changes and what not
- isoloss: DirectPred and IsoLoss in modes
- distillation: which modes DINO learns first, and what centring has to do with it
- square_noise: what minibatches add to losses that are mean squares, at first order
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from linsim.theory import (
        alignment,
        batch_noise,
        cosine,
        distillation,
        finite_batch,
        gaussianity,
        infonce,
        isoloss,
        jepa,
        late_time,
        minibatch,
        moving_average,
        noncontrastive,
        parting,
        population,
        redundancy,
        singular,
        spectral,
        square_noise,
    )

__all__ = [
    "alignment",
    "batch_noise",
    "cosine",
    "distillation",
    "finite_batch",
    "gaussianity",
    "infonce",
    "isoloss",
    "jepa",
    "late_time",
    "minibatch",
    "moving_average",
    "noncontrastive",
    "parting",
    "population",
    "redundancy",
    "singular",
    "spectral",
    "square_noise",
]


def __getattr__(name: str) -> Any:
    """A module of closed forms, imported when it is first asked for."""
    import importlib

    if name in __all__:
        return importlib.import_module(f"linsim.theory.{name}")
    raise AttributeError(f"module 'linsim.theory' has no attribute {name!r}")
