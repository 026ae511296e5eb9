"""Features brought to one scale, whatever source they come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

from graft.contracts import Array
from graft.errors import DivergedError

__all__ = ["Scale", "check_finite", "scaled"]


@dataclass(frozen=True)
class Scale:
    """Features as given → as learnt from: ``(x - centre) * factor``, ``(d,)`` each, float64."""

    centre: Tensor
    factor: Tensor


def check_finite(values: Array) -> Array:
    """The features as they are.

    Raises
    ------
    DivergedError
        Where one is not finite.
    """
    if not np.isfinite(values).all():
        raise DivergedError(
            "some features are not finite (NaN or infinite); finite numbers were expected of the source. "
            "Try --precision float32, or look for damaged weights."
        )
    return values


def scaled(x: Array | Any) -> tuple[Tensor | Any, Scale]:
    """Features centred and scaled (sparse ones: scaled) to a mean squared row length of 1.

    Columns are brought to equal variance first, except where all rows already have one length: such
    embeddings are compared by their angles, which that would change.

    Parameters
    ----------
    x
        ``(n, d)`` float32, or ``scipy.sparse``.

    Raises
    ------
    DivergedError
        Where a feature is not finite.
    """
    sparse: Any = x if scipy.sparse.issparse(x) else None
    check_finite(x if sparse is None else sparse.data)
    if sparse is not None:
        rows = sparse.tocsr().astype(np.float32)
        length = float(np.sqrt(np.square(rows.data, dtype=np.float64).sum() / max(rows.shape[0], 1)))
        factors = torch.full((rows.shape[1],), 1 / max(length, 1e-30), dtype=torch.float64)
        return rows * np.float32(1 / max(length, 1e-30)), Scale(torch.zeros_like(factors), factors)
    centre = x.mean(axis=0, dtype=np.float64)
    dense = x - centre.astype(np.float32)
    factor: Array = np.ones(x.shape[1]) if _one_length(x) else _inverse(dense.std(axis=0, dtype=np.float64), x)
    dense *= factor.astype(np.float32)
    length = max(float(np.sqrt(np.square(dense).sum(dtype=np.float64) / max(len(x), 1))), 1e-30)
    dense *= np.float32(1 / length)
    factor = factor / length
    return torch.from_numpy(dense), Scale(torch.from_numpy(centre), torch.from_numpy(factor))


def _one_length(x: Array) -> bool:
    lengths = np.sqrt(np.einsum("nd,nd->n", x, x, dtype=np.float64))
    return bool(np.ptp(lengths) <= 1e-2 * lengths.mean())


def _inverse(deviation: Array, x: Array) -> Array:
    """1 over it, and 0 for a column that only rounding moves."""
    moves = deviation > 1e-6 * np.abs(x).max(axis=0, initial=0)
    return np.divide(1.0, deviation, out=np.zeros(len(deviation)), where=moves)
