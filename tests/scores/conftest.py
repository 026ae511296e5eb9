"""Rows that scores are told from."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from graft.contracts import Array, Card, Seen

Make = Callable[..., tuple[Seen, Array]]


@pytest.fixture
def make() -> Make:
    """Rows of classes around means of their own: ``make(n, d, c, apart, seed)``."""

    def rows(n: int = 60, d: int = 8, c: int = 3, apart: float = 2.0, seed: int = 0) -> tuple[Seen, Array]:
        draw = np.random.default_rng(seed)
        targets = np.arange(n) % c
        means = draw.normal(size=(c, d)) * apart
        features = (means[targets] + draw.normal(size=(n, d)) + 1).astype(np.float32)
        turn = draw.normal(size=(c, c + 2))
        outputs = (turn[targets] * apart + draw.normal(size=(n, c + 2))).astype(np.float32)
        return Seen(features, outputs, Card("made up", "table", parameters=1000, top1=0.5)), targets

    return rows
