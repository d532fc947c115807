"""The objective of composer pretraining: one file a term, and :class:`ContrastiveLoss`, which sums those chosen.

Notation of the paper (SCOT, arXiv 2501.08347): I the reference image, T_m the edit (modification text), T_o its own
caption, T_u the edited caption, and V_c = f(I, T_m) the composed query. Besides, R is a picture retrieved for T_u.
I, T_m, T_o, T_u and R come from a frozen encoder and carry no gradient. Centring belongs to the composers.
"""

from scot.training.objectives.analogy import analogy_loss
from scot.training.objectives.batch import Batch
from scot.training.objectives.config import LossConfig
from scot.training.objectives.contrastive import info_nce
from scot.training.objectives.direction import direction_loss
from scot.training.objectives.mined_targets import MinedTargets
from scot.training.objectives.noise import noised
from scot.training.objectives.objective import ContrastiveLoss
from scot.training.objectives.preservation import preservation_loss
from scot.training.objectives.queue import TargetQueue
from scot.training.objectives.sigmoid import sigmoid_loss

__all__ = [
    "Batch",
    "ContrastiveLoss",
    "LossConfig",
    "MinedTargets",
    "TargetQueue",
    "analogy_loss",
    "direction_loss",
    "info_nce",
    "noised",
    "preservation_loss",
    "sigmoid_loss",
]
