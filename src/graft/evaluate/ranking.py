"""How well a score ranks sources, by what they really brought."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy import stats

from graft.contracts import Array
from graft.errors import RequestError

__all__ = ["normalised_regret", "ranking_metrics", "regret"]


def ranking_metrics(scores: Array, brought: Array) -> Iterator[tuple[str, float]]:
    """Every measure of a ranking by name.

    ``pearson``, ``kendall`` and ``weighted_kendall`` (Kendall's tau in which exchanging two good sources
    costs more than exchanging two bad ones, as scipy has it) are of the sources that have a
    score, ``nan`` where one side does not vary; then ``regret@1``, ``regret@3`` and ``normalised_regret``.

    Parameters
    ----------
    scores
        ``(n,)``, higher is better; ``nan`` for a source without one, which is chosen last.
    brought
        ``(n,)``: the metric of each source once it was transferred, higher is better.

    Raises
    ------
    RequestError
        Where the two differ in length, are empty, or what was brought is not known.

    References
    ----------
    Vigna, A weighted correlation index for rankings with ties, WWW 2015.

    Examples
    --------
    >>> dict(ranking_metrics(np.array([3.0, 2.0, 1.0]), np.array([0.7, 0.9, 0.5])))["kendall"]
    0.3333333333333333
    """
    scores, brought = _checked(scores, brought)
    held = ~np.isnan(scores)
    pair = scores[held], brought[held]
    varies = len(pair[0]) > 1 and all(np.ptp(side) > 0 for side in pair)
    ways: dict[str, Any] = {
        "pearson": stats.pearsonr,
        "kendall": stats.kendalltau,
        "weighted_kendall": stats.weightedtau,
    }
    for name, way in ways.items():
        yield name, float(way(*pair).statistic) if varies else float("nan")
    yield "regret@1", regret(scores, brought)
    yield "regret@3", regret(scores, brought, 3)
    yield "normalised_regret", normalised_regret(scores, brought)


def regret(scores: Array, brought: Array, k: int = 1) -> float:
    """What the best of the ``k`` sources of the highest scores lacks to the best of all.

    Of sources with equal scores the worst is taken first: what a score does not decide, it has not won.

    Raises
    ------
    RequestError
        As :func:`ranking_metrics`, and for fewer than one source.
    """
    scores, brought = _checked(scores, brought)
    if k < 1:
        raise RequestError(f"k is {k}; at least one source has to be taken.")
    order = np.lexsort((brought, -np.where(np.isnan(scores), -np.inf, scores)))
    return float(brought.max() - brought[order[:k]].max())


def normalised_regret(scores: Array, brought: Array, k: int = 1) -> float:
    """The regret as a share of what lies between the best and the worst source; 0 where they are alike."""
    lost, span = regret(scores, brought, k), float(np.ptp(np.asarray(brought, dtype=np.float64)))
    return lost / span if span else 0.0


def _checked(scores: Array, brought: Array) -> tuple[Array, Array]:
    scores, brought = np.asarray(scores, dtype=np.float64), np.asarray(brought, dtype=np.float64)
    if scores.ndim != 1 or scores.shape != brought.shape or not len(scores):
        raise RequestError(
            f"scores have shape {scores.shape} and what was brought {brought.shape}; give one number a source to each."
        )
    if not np.isfinite(brought).all():
        raise RequestError("what some source brought is not finite; leave out sources that were not measured.")
    return scores, brought
