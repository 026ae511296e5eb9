"""SFDA as its authors solve it: by generalised eigenvectors of the scatters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy.linalg import eigh
from scipy.special import softmax

from graft.contracts import Array, Seen
from graft.scores.sfda import SFDA

Make = Callable[..., tuple[Seen, Array]]


def drawn(covariance: Array, share: float) -> Array:
    d = len(covariance)
    return (1 - share) * covariance + share * np.trace(covariance) / d * np.eye(d)


def discriminant(x: Array, targets: Array, share: float | None) -> tuple[Array, float]:
    """Chances of the classes, and the strength of the regularisation."""
    count = targets.max() + 1
    shares = np.bincount(targets) / len(targets)
    means = np.stack([x[targets == each].mean(axis=0) for each in range(count)])
    inside = sum(shares[each] * np.cov(x[targets == each].T, bias=True) for each in range(count))
    share = max(np.exp(-5 * np.linalg.eigvalsh(inside)[-1]), 1e-10) if share is None else share
    within = drawn(inside, share)
    _, axes = eigh(drawn(np.cov(x.T, bias=True), share) - within, within)
    weights = means @ axes @ axes.T
    bias = -np.diag(means @ weights.T) / 2 + np.log(shares)
    return softmax(x @ weights.T + bias, axis=1), float(share)


def written_out(x: Array, targets: Array) -> float:
    chances, share = discriminant(x, targets, None)
    sure = softmax(chances, axis=1)
    means = np.stack([x[targets == each].mean(axis=0) for each in range(targets.max() + 1)])
    harder = x.copy()
    for row, mine in enumerate(targets):
        others = np.delete(means, mine, axis=0).mean(axis=0)
        harder[row] = sure[row, mine] * x[row] + (1 - sure[row, mine]) * others
    chances, _ = discriminant(harder, targets, share)
    return float(chances[np.arange(len(x)), targets].mean())


@pytest.mark.parametrize("shape", [(60, 8), (30, 45)])
@pytest.mark.parametrize("scale", [1.0, 0.3])
def test_it_is_what_the_authors_compute(make: Make, shape: tuple[int, int], scale: float) -> None:
    seen, targets = make(*shape, apart=0.7)
    seen = replace(seen, features=seen.features * np.float32(scale))
    assert SFDA().score(seen, targets) == pytest.approx(written_out(seen.features.astype(float), targets), rel=1e-5)


def test_rows_that_equal_their_class_are_told_surely() -> None:
    targets = np.repeat([0, 1], 10)
    from graft.contracts import Card

    seen = Seen(np.eye(2, dtype=np.float32)[targets], None, Card("exact", "table"))
    assert SFDA().score(seen, targets) == pytest.approx(1.0)
