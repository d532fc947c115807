"""A queue of frozen targets: the T_u of the last steps as further negatives."""

from __future__ import annotations

import torch

from scot.training.objectives.batch import Batch, gather


class TargetQueue:
    """The global T_u of the last ``steps`` steps (MoCo, arXiv 1911.05722; cross-batch memory, arXiv 1912.06798).

    Those papers' queues go stale as their encoder learns; this one cannot, since T_u is frozen. A queued T_u with the
    text of a row's own T_u is no negative of that row. The queue follows from the order of the data, so it is in no
    checkpoint: a resumed run pushes the steps before its first again.
    """

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self._vectors_QD: torch.Tensor | None = None
        self._text_Q: torch.Tensor | None = None

    def push(self, batch: Batch, step: int) -> None:
        """Take the T_u of all workers' rows of a step in, in the place of those ``steps`` steps before."""
        edited_BD, edited_B = gather(batch.edited_BD), gather(batch.edited_B)
        rows = len(edited_B)
        if self._vectors_QD is None or self._text_Q is None:
            self._vectors_QD = edited_BD.new_zeros((self.steps * rows, edited_BD.shape[1]))
            self._text_Q = edited_B.new_full((self.steps * rows,), -1)
        place = slice(step % self.steps * rows, (step % self.steps + 1) * rows)
        self._vectors_QD[place], self._text_Q[place] = edited_BD, edited_B

    def attach(self, batch: Batch) -> None:
        """Give a batch the queued targets; places not yet filled are absent."""
        batch.queued_QD, batch.queued_Q = self._vectors_QD, self._text_Q
