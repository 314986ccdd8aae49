"""Losses by name: a batch of embeddings in, a scalar out.

A row of z is the embedding of an anchor, and the same row of z_pos is that of its positive, the
other view of the same sample.

- contrastive: InfoNCE on distances, inner products and cosines
- spectral: matrix factorisations: the spectral contrastive loss and linear Barlow Twins
- redundancy: Barlow Twins, VICReg and whitening, on the covariances of a batch
- gaussianity: SIGReg and LeJEPA, on the distribution of a batch
- predictive: a view predicted from the other (JEPA, IsoLoss, MAE), or merely attracted to it
- distillation: DINO, whose student imitates a centred and sharpened teacher
"""

from linsim.losses.contrastive import (
    distance_scores,
    infonce,
    infonce_dot,
    ntxent,
    ntxent_symmetric,
)
from linsim.losses.distillation import STUDENT_TEMPERATURE, TEACHER_TEMPERATURE, dino
from linsim.losses.gaussianity import lejepa, sigreg
from linsim.losses.predictive import alignment_only, isoloss, jepa, mae
from linsim.losses.redundancy import barlow_twins, vicreg, whitening
from linsim.losses.spectral import linear_barlow_twins, spectral_contrastive
from linsim.losses.views import Embeddings, Scalar, gram, unit_rows

__all__ = [
    "STUDENT_TEMPERATURE",
    "TEACHER_TEMPERATURE",
    "Embeddings",
    "Scalar",
    "alignment_only",
    "barlow_twins",
    "dino",
    "distance_scores",
    "gram",
    "infonce",
    "infonce_dot",
    "isoloss",
    "jepa",
    "lejepa",
    "linear_barlow_twins",
    "mae",
    "ntxent",
    "ntxent_symmetric",
    "sigreg",
    "spectral_contrastive",
    "unit_rows",
    "vicreg",
    "whitening",
]
