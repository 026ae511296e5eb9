"""Nearest rows: found block by block, and what they vote for."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from graft.contracts import Link
from graft.nn.kept_rows import KeptRows
from graft.nn.scaling import Scaling

__all__ = ["Metric", "Neighbours", "nearest", "votes"]

Metric = Literal["cosine", "euclidean"]

_NUMBERS = 1 << 24
"""Numbers that a block of rows may take at once (64 MB of float32)."""


def nearest(
    asked: Tensor,
    rows: Tensor,
    k: int,
    *,
    metric: Metric = "euclidean",
    apart: tuple[Tensor, Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """Distances ``(n, k)`` to the nearest rows, near to far, and their places ``(n, k)``.

    Parameters
    ----------
    asked, rows
        ``(n, d)`` and ``(m, d)``; of length 1 for ``cosine``.
    metric
        ``cosine``: 1 less the cosine of the angle.
    apart
        ``(n,)`` and ``(m,)``: numbers of units; rows of one's own unit are infinitely far away.
    """
    n, (m, d) = len(asked), rows.shape
    block = max(1, _NUMBERS // max(1, m, k * d))
    distances, places = asked.new_empty(n, k), torch.empty(n, k, dtype=torch.int64, device=asked.device)
    half = rows.square().sum(1) / 2
    for start in range(0, n, block):
        part = asked[start : start + block]
        near = part @ rows.T - half  # |x - r|² / 2 is |x|² / 2 less this
        if apart is not None:
            own = apart[0][start : start + block, None] == apart[1]
            near = near.masked_fill(own, float("-inf"))
        found = near.topk(k, dim=1)
        # Told once more from the rows themselves: differences of large numbers would hide how near is near.
        exact = (part[:, None] - rows[found.indices]).square().sum(2)
        exact = exact / 2 if metric == "cosine" else exact.sqrt()
        exact = exact.masked_fill(found.values == float("-inf"), float("inf"))
        order = exact.argsort(dim=1, stable=True)
        distances[start : start + block] = exact.gather(1, order)
        places[start : start + block] = found.indices.gather(1, order)
    return distances, places


def votes(distances: Tensor, said: Tensor, link: Link, counts: Tensor | None = None) -> Tensor:
    """Outputs ``(n, c)`` of neighbours that count by the inverse of their distance.

    Log-probabilities (softmax), logits (sigmoid) or means (identity).  One more neighbour, which says
    that everything is as likely, keeps probabilities from 0; it changes no decision.  Neighbours at
    distance 0 alone count where there are any.

    Parameters
    ----------
    distances
        ``(n, k)``; infinite ones do not count.
    said
        ``(n, k, c)``: the targets of the neighbours, as numbers.
    counts
        ``(n, k)``: how much each neighbour counts beside that.
    """
    weights = 1 / distances
    same = weights.isinf()
    weights = torch.where(same.any(1, keepdim=True), same.to(weights.dtype), weights)
    weights = weights if counts is None else weights * counts
    total = weights.sum(1, keepdim=True).clamp(min=1e-30)
    means = ((weights / total)[:, :, None] * said).sum(1)
    if link == "identity":
        return means
    k = distances.isfinite().sum(1, keepdim=True)
    if link == "sigmoid":
        return torch.logit((k * means + 0.5) / (k + 1))
    return ((k * means + 1 / means.shape[1]) / (k + 1)).log()


class Neighbours(KeptRows):
    """A head that keeps the training rows: features → what the nearest of them vote for.

    Parameters
    ----------
    dim, n_outputs, link
        ``d``, ``c``, and how outputs are read.
    metric
        ``cosine`` or ``euclidean``.
    """

    rows: Tensor
    said: Tensor
    counts: Tensor
    k: Tensor
    sure: Tensor

    def __init__(self, dim: int, n_outputs: int, link: Link, metric: Metric = "cosine") -> None:
        super().__init__()
        self.link, self.metric = link, metric
        self.scaling = Scaling(dim, normalise=metric == "cosine")
        self.rows_of("rows", dim)
        self.rows_of("said", n_outputs)
        self.rows_of("counts")
        self.register_buffer("k", torch.ones((), dtype=torch.int64))
        self.register_buffer("sure", torch.ones(()))

    def keep(self, rows: Tensor, said: Tensor, counts: Tensor | None, k: int, sure: float) -> None:
        """Take on scaled rows ``(m, d)``, targets ``(m, c)`` and weights ``(m,)``, how many vote, and how surely."""
        self.rows, self.said = rows.float().contiguous(), said.float().contiguous()
        self.counts = torch.ones(len(rows)) if counts is None else counts.float().contiguous()
        self.k.fill_(k)
        self.sure.fill_(sure)

    def forward(self, features: Tensor) -> Tensor:
        asked: Tensor = self.scaling(features)
        k = max(1, min(int(self.k), len(self.rows)))
        if not len(self.rows):
            return asked.new_zeros(len(asked), self.said.shape[1])
        block = max(1, _NUMBERS // max(1, k * self.said.shape[1]))
        parts = [asked[start : start + block] for start in range(0, len(asked), block)]
        return torch.cat([self._part(part, k) for part in parts]) if parts else asked.new_zeros(0, self.said.shape[1])

    def _part(self, asked: Tensor, k: int) -> Tensor:
        distances, places = nearest(asked, self.rows, k, metric=self.metric)
        outputs: Tensor = self.sure * votes(distances, self.said[places], self.link, self.counts[places])
        return outputs
