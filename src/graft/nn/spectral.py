"""What the singular values of a batch of features tell, as a loss."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["spectral_shrinkage"]


def spectral_shrinkage(features: Tensor, k: int = 1) -> Tensor:
    """The squares of the ``k`` smallest singular values of ``(b, d)`` features, summed.

    Directions of small singular values are those that transfer least.  A batch that has no more
    than ``k`` singular values gives 0: it would lose its large ones too.

    References
    ----------
    Chen, Wang, Fu, Long and Wang, Catastrophic forgetting meets negative transfer: batch spectral
    shrinkage for safe transfer learning, NeurIPS 2019, equation 4.

    Examples
    --------
    >>> spectral_shrinkage(torch.diag(torch.tensor([3.0, 2.0, 1.0])), k=2).item()
    5.0
    """
    if min(features.shape) <= k:
        return features.sum() * 0.0
    values: Tensor = torch.linalg.svdvals(features if features.dtype is torch.float64 else features.float())
    return values[-k:].square().sum()
