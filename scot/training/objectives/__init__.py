"""The objective of composer pretraining: its terms, and :class:`ContrastiveLoss`, the sum of the configured ones.

Notation of the paper (SCOT, arXiv 2501.08347): I the reference image, T_m the edit (modification text), T_o its own
caption, T_u the edited caption, and V_c = f(I, T_m) the composed query. R is an image retrieved for T_u.
I, T_m, T_o, T_u and R come from a frozen encoder and carry no gradient. Centring is part of the composers.
"""

from scot.training.objectives.batch import TargetQueue, TripletBatch, noised
from scot.training.objectives.config import LossConfig
from scot.training.objectives.contrastive import info_nce, sigmoid_loss
from scot.training.objectives.direction import direction_loss, modality_gap, moved, preservation_loss
from scot.training.objectives.mined_targets import MinedTargets
from scot.training.objectives.objective import ContrastiveLoss
from scot.training.objectives.stand_ins import StandIns, from_captions

__all__ = [
    "ContrastiveLoss",
    "LossConfig",
    "MinedTargets",
    "StandIns",
    "TargetQueue",
    "TripletBatch",
    "direction_loss",
    "from_captions",
    "info_nce",
    "modality_gap",
    "moved",
    "noised",
    "preservation_loss",
    "sigmoid_loss",
]
