"""Nearest rows and their votes against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

from graft.nn import neighbours
from graft.nn.neighbours import Metric, Neighbours, nearest, votes

RANDOM = np.random.default_rng(0)
ROWS = torch.from_numpy(RANDOM.normal(size=(50, 4)).astype(np.float32))
ASKED = torch.from_numpy(RANDOM.normal(size=(20, 4)).astype(np.float32))
LABELS = torch.from_numpy(RANDOM.integers(0, 3, 50))
ASKED[0] = ROWS[7]  # at distance 0


def scaled(rows: torch.Tensor, metric: Metric) -> torch.Tensor:
    return torch.nn.functional.normalize(rows, dim=1) if metric == "cosine" else rows


@pytest.fixture(params=[1 << 24, 60])
def _blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """All at once, and row by row."""
    monkeypatch.setattr(neighbours, "_NUMBERS", request.param)


@pytest.mark.usefixtures("_blocks")
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_classes_are_those_of_scikit_learn(metric: Metric) -> None:
    other = KNeighborsClassifier(5, weights="distance", metric=metric).fit(ROWS.numpy(), LABELS.numpy())
    head = Neighbours(4, 3, "softmax", metric)
    head.keep(scaled(ROWS, metric), torch.nn.functional.one_hot(LABELS, 3), None, 5, 1.0)
    found = head(ASKED).exp()
    expected = other.predict_proba(ASKED.numpy())
    assert np.allclose(found[1:], (5 * expected[1:] + 1 / 3) / 6, atol=1e-5)
    assert found[0].argmax() == LABELS[7]
    assert np.array_equal(found.argmax(1), expected.argmax(1))
    assert torch.allclose(found.sum(1), torch.ones(20))


@pytest.mark.usefixtures("_blocks")
def test_numbers_are_those_of_scikit_learn() -> None:
    values = torch.from_numpy(RANDOM.normal(size=(50, 2)).astype(np.float32))
    other = KNeighborsRegressor(4, weights="distance").fit(ROWS.numpy(), values.numpy())
    head = Neighbours(4, 2, "identity", "euclidean")
    head.keep(ROWS, values, None, 4, 1.0)
    assert np.allclose(head(ASKED), other.predict(ASKED.numpy()), atol=1e-5)


def test_labels_of_which_a_row_may_have_several() -> None:
    said = torch.tensor([[[1.0, 0.0], [0.0, 0.0]]])
    found = votes(torch.tensor([[1.0, 3.0]]), said, "sigmoid").sigmoid()
    assert torch.allclose(found, torch.tensor([[(2 * 0.75 + 0.5) / 3, 0.5 / 3]]))


def test_neighbours_count_by_their_weight_too() -> None:
    said = torch.tensor([[[1.0], [3.0]]])
    found = votes(torch.tensor([[1.0, 1.0]]), said, "identity", torch.tensor([[3.0, 1.0]]))
    assert torch.allclose(found, torch.tensor([[1.5]]))


def test_rows_of_ones_own_unit_are_no_neighbours() -> None:
    unit = torch.arange(50) // 2
    distances, places = nearest(ROWS, ROWS, 3, apart=(unit, unit))
    full = torch.cdist(ROWS, ROWS)
    full[unit[:, None] == unit] = torch.inf
    expected = full.sort(1)
    assert torch.equal(places, expected.indices[:, :3])
    assert torch.allclose(distances, expected.values[:, :3], atol=1e-5)
    two, _ = nearest(ROWS[:3], ROWS[:3], 2, apart=(unit[:3], unit[:3]))
    assert two[:, 1].isinf().tolist() == [True, True, False]
    found = votes(two, torch.ones(3, 2, 1), "sigmoid").sigmoid()
    assert torch.allclose(found[:, 0], torch.tensor([1.5 / 2, 1.5 / 2, 2.5 / 3]))


def test_a_head_without_rows_says_nothing() -> None:
    assert torch.equal(Neighbours(4, 3, "softmax")(ASKED), torch.zeros(20, 3))
    assert Neighbours(4, 3, "softmax")(ASKED[:0]).shape == (0, 3)
