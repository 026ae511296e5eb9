"""Sparse features become fewer dense ones: all of them while they are few, the ones that tell most of many."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import torch

from graft.contracts import Card, Score, Seen
from graft.linear import condensed as room
from graft.linear.closed import closed_outputs
from graft.linear.condensed import condensed
from graft.scores.knn import KNN
from graft.scores.logme import LogME
from graft.scores.probe import Probe


def words(n: int, d: int, seed: int = 0, rank: int = 12) -> tuple[Any, np.ndarray]:
    """Rows of few words each, and a class that decides which words are likely."""
    draw = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    topic = draw.integers(0, rank // 3, n) + labels * (rank // 3)
    columns = (topic[:, None] * (d // rank) + draw.integers(0, max(d // rank // 4, 1), (n, 6))).ravel()
    places = np.repeat(np.arange(n), 6)
    return scipy.sparse.csr_matrix((np.ones(6 * n, np.float32), (places, columns)), shape=(n, d)), labels


@pytest.mark.parametrize("shape", [(30, 80), (80, 30), (40, 40)])
def test_few_rows_or_columns_keep_every_angle_and_length(shape: tuple[int, int]) -> None:
    rows = scipy.sparse.random(*shape, density=0.2, random_state=1, format="csr")
    found = condensed(rows)
    assert found.shape[1] <= min(shape)
    np.testing.assert_allclose(found @ found.T, (rows @ rows.T).toarray(), atol=1e-10)


def test_rows_of_nothing_are_none_of_any_length() -> None:
    found = condensed(scipy.sparse.csr_matrix((5, 7)))
    assert len(found) == 5
    assert not found.any()


def test_of_many_rows_the_axes_of_the_largest_energy_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = words(300, 240)[0].astype(np.float64)
    monkeypatch.setattr(room, "_EXACT", 100)
    monkeypatch.setattr(room, "_AXES", 20)
    found = condensed(rows)
    energies = np.linalg.svd(rows.toarray(), compute_uv=False) ** 2
    assert found.shape == (300, 20)
    np.testing.assert_allclose(np.square(found).sum(axis=0)[:10], energies[:10], rtol=0.03)


@pytest.mark.parametrize("score", [Probe(), KNN(), LogME()], ids=lambda each: type(each).__name__)
def test_a_score_of_many_sparse_rows_is_about_that_of_all_axes(score: Score, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, labels = words(300, 2400)
    labels = np.where(np.random.default_rng(2).random(300) < 0.2, (labels + 1) % 3, labels)
    seen = Seen(rows, None, Card("words", "text"))
    exact = score.score(seen, labels)
    monkeypatch.setattr(room, "_EXACT", 100)
    monkeypatch.setattr(room, "_AXES", 100)
    assert score.score(seen, labels) == pytest.approx(exact, abs=0.05)


def test_memory_does_not_grow_with_the_square_of_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, labels = words(9000, 9000)
    monkeypatch.setattr(room, "_AXES", 64)
    tracemalloc.start()
    try:
        outputs = closed_outputs(rows, torch.from_numpy(labels), "softmax", n_outputs=3)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert outputs.shape == (9000, 3)
    assert (outputs.argmax(axis=1) == labels).mean() > 0.95
    assert peak < 9000**2  # bytes: an eighth of what the products of all pairs of rows would take
