"""Sparse features as fewer dense ones, in memory that has a limit."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.linalg
from sklearn.utils.extmath import randomized_svd

from graft.contracts import Array

__all__ = ["condensed"]

_EXACT = 4096
"""Rows, or columns, up to which all axes are kept: half a gigabyte and some seconds for their products."""

_AXES = 1024
"""Kept beyond that, the ones of the largest energy."""

_NUMBERS = 1 << 27
"""That are held at the most: 1 GB."""

_ROUNDING = 1e-12
"""Share of the largest energy below which a direction is rounding."""


def condensed(rows: Any) -> Array:
    """Rows ``(n, d)`` of ``scipy.sparse`` as dense ones ``(n, k)``, float64, turned into their principal axes.

    Up to 4 096 rows or columns every angle and length is kept.  Of more, the 1 024 axes of the largest
    energy are (fewer above 131 072 rows, never less than 64): what a penalty shrinks most is what goes.
    Without that limit, memory would grow with the square of the rows.

    References
    ----------
    Halko, Martinsson and Tropp, Finding structure with randomness, SIAM Review 53, 2011.

    Examples
    --------
    >>> import scipy.sparse
    >>> held = scipy.sparse.csr_matrix([[3.0, 0.0, 0.0], [0.0, 0.0, 2.0]])
    >>> abs(condensed(held)).max(axis=0).tolist()
    [2.0, 3.0]
    """
    held = rows.tocsr().astype(np.float64)
    n, d = held.shape
    least = min(n, d)
    if least > _EXACT or n * least > _NUMBERS:
        u, s, _ = randomized_svd(held, min(_AXES, least, max(64, _NUMBERS // n)), n_iter=4, random_state=0)
        return np.asarray(u * s)
    energy, axes = scipy.linalg.eigh((held @ held.T if n <= d else held.T @ held).toarray(), driver="evd")
    kept = energy > _ROUNDING * max(energy[-1], 0.0)
    return np.asarray(axes[:, kept] * np.sqrt(energy[kept]) if n <= d else held @ axes[:, kept])
