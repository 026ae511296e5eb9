"""How much rows count."""

from __future__ import annotations

from torch import Tensor

from graft.errors import RequestError

__all__ = ["even_weights"]


def even_weights(weights: Tensor | None) -> Tensor | None:
    """Weights ``(n,)`` whose mean is 1 over the rows that count at all; ``None``, all alike, stays.

    What is weighed against the rows, a penalty or a price, then means what it means without weights.

    Raises
    ------
    RequestError
        Where all are 0.
    """
    if weights is None:
        return None
    counting = weights[weights > 0].float()
    if not len(counting):
        raise RequestError("every row weighs 0, so none can be learnt from; give some rows a weight above 0.")
    return weights.float() / counting.mean()
