"""Several models' outputs → the outputs of their average."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import log_expit, log_softmax, logit, logsumexp

from graft.contracts import Array, Link

__all__ = ["averaged", "spoken"]

_LEAST = 1e-12
"""The smallest chance that raw outputs are made of."""


def averaged(link: Link, outputs: Sequence[Array], shares: Sequence[float]) -> Array:
    """``(n, c)`` raw outputs whose probabilities (or values) are the weighted mean of those of several models.

    Probabilities are averaged, not logits: the loudest model has no more of a say than its share.

    Parameters
    ----------
    link
        What makes probabilities of the outputs: ``softmax``, ``sigmoid``, or ``identity`` for values.
    outputs
        Raw outputs ``(n, c)`` of each model on the same rows.
    shares
        How much each counts, above 0; their sum is 1.

    Examples
    --------
    >>> sure, unsure = np.log([[0.9, 0.1]], dtype=np.float32), np.log([[0.5, 0.5]], dtype=np.float32)
    >>> np.exp(averaged("softmax", [sure, unsure], [0.5, 0.5])).round(6).tolist()
    [[0.699999988079071, 0.30000001192092896]]
    """
    if len(outputs) == 1:
        return outputs[0]
    held = np.stack([np.asarray(each, dtype=np.float64) for each in outputs])
    parts = np.asarray(shares, dtype=np.float64)[:, None, None]
    if link == "identity":
        mean = (parts * held).sum(axis=0)
    elif link == "softmax":
        mean = logsumexp(log_softmax(held, axis=2), axis=0, b=parts)
    else:  # of a chance p the raw output is log p - log(1 - p)
        mean = logsumexp(log_expit(held), axis=0, b=parts) - logsumexp(log_expit(-held), axis=0, b=parts)
    return np.asarray(mean, dtype=np.float32)


def spoken(link: Link, means: Array) -> Array:
    """``(n, c)`` raw outputs that say these probabilities or values; no chance is taken as smaller than 1e-12."""
    if link == "identity":
        return np.asarray(means, dtype=np.float32)
    if link == "softmax":
        return np.log(np.maximum(means, _LEAST)).astype(np.float32)
    return np.asarray(logit(np.clip(means, _LEAST, 1 - _LEAST)), dtype=np.float32)
