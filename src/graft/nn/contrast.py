"""Losses that bring rows of like targets near each other, and the others apart: all pairs of a batch at once."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["cosine_loss", "likeness", "supcon_loss"]


def likeness(targets: Tensor) -> Tensor:
    """How alike the targets of each two rows are, ``(n, n)`` in [0, 1].

    Parameters
    ----------
    targets
        ``(n,)`` int64: 1 for equal classes.  ``(n, c)`` in [0, 1], label sets or soft labels: what
        two rows share of what either has (Jaccard's index); two empty sets are alike.

    Examples
    --------
    >>> likeness(torch.tensor([[1.0, 1.0], [0.0, 1.0]]))[0].tolist()
    [1.0, 0.5]
    """
    if targets.ndim == 1:
        return (targets[:, None] == targets).float()
    either = torch.maximum(targets[:, None], targets).sum(-1)
    both = torch.minimum(targets[:, None], targets).sum(-1)
    return torch.where(either > 0, both / either.clamp(min=torch.finfo(targets.dtype).tiny), 1.0)


def cosine_loss(features: Tensor, alike: Tensor, weights: Tensor | None = None) -> Tensor:
    """``(cos(u, v) - likeness)²`` over all pairs of rows, where alike ones count as much in total as the others.

    Equal to the mean over as many pairs of either kind, which others draw one by one.

    Parameters
    ----------
    features
        ``(n, d)``.
    alike
        ``(n, n)`` in [0, 1].
    weights
        ``(n,)``: a pair counts by the product of its rows' weights.

    References
    ----------
    Tunstall, Reimers, Jo, Bates, Korat, Wasserblat and Pereg, Efficient few-shot learning without
    prompts, 2022.
    """
    unit = torch.nn.functional.normalize(features, dim=1)
    first, second = torch.triu_indices(len(features), len(features), 1, device=features.device)
    wanted = alike[first, second]
    lost = ((unit @ unit.T)[first, second] - wanted) ** 2
    counts = torch.ones_like(lost) if weights is None else (weights[first] * weights[second]).to(lost.dtype)
    sides = []
    for side in (wanted * counts, (1 - wanted) * counts):
        total = side.sum()
        sides.append((side * lost).sum() / total.clamp(min=torch.finfo(lost.dtype).tiny))
        sides.append((total > 0).to(lost.dtype))
    near, any_near, far, any_far = sides
    found: Tensor = (near + far) / (any_near + any_far).clamp(min=1)
    return found


def supcon_loss(features: Tensor, alike: Tensor, temperature: float = 0.1, weights: Tensor | None = None) -> Tensor:
    """For each row, the cross-entropy of telling the rows that are alike from all others by their cosines.

    A row that is like no other counts for nothing.

    Parameters
    ----------
    features
        ``(n, d)``.
    alike
        ``(n, n)`` in [0, 1]: the share of each row among those to be found.
    temperature
        Divides the cosines.
    weights
        ``(n,)``: how much each row counts, as the one that looks and as one to be found.

    References
    ----------
    Khosla, Teterwak, Wang, Sarna, Tian, Isola, Maschinot, Liu and Krishnan, Supervised contrastive
    learning, NeurIPS 2020 (L_out, equation 2).
    """
    unit = torch.nn.functional.normalize(features, dim=1)
    itself = torch.eye(len(features), dtype=torch.bool, device=features.device)
    chances = (unit @ unit.T / temperature).masked_fill(itself, float("-inf")).log_softmax(1).masked_fill(itself, 0.0)
    counts = torch.ones_like(unit[:, 0]) if weights is None else weights.to(unit.dtype)
    sought = alike.to(unit.dtype).masked_fill(itself, 0.0) * counts
    total = sought.sum(1)
    per_row = -(sought * chances).sum(1) / total.clamp(min=torch.finfo(unit.dtype).tiny)
    looking = counts * (total > 0)
    return (looking * per_row).sum() / looking.sum().clamp(min=torch.finfo(unit.dtype).tiny)
