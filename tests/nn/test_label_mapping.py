"""LEEP's predictor written with loops, and the best of all one-to-one mappings."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from graft.contracts import Link
from graft.nn.label_mapping import LabelMapping, expected_table, left_out, linked, one_to_one, picked

RANDOM = np.random.default_rng(0)
SAID = RANDOM.dirichlet([0.5] * 5, 30)
LABELS = RANDOM.integers(0, 3, 30)
WANTED = np.eye(3)[LABELS]
X, Y = torch.from_numpy(SAID), torch.from_numpy(WANTED)


def leep_table(said: np.ndarray, labels: np.ndarray, c: int) -> np.ndarray:
    """Equations of the paper: the empirical joint of labels and source classes, then the conditional."""
    n, s = said.shape
    joint = np.zeros((c, s))
    for y in range(c):
        for z in range(s):
            for i in range(n):
                if labels[i] == y:
                    joint[y, z] += said[i, z] / n
    return np.array([[joint[y, z] / joint[:, z].sum() for y in range(c)] for z in range(s)])


def test_the_table_is_leeps() -> None:
    assert np.allclose(expected_table(X, Y), leep_table(SAID, LABELS, 3), atol=1e-8)


def test_weights_count_rows_again() -> None:
    often = RANDOM.integers(1, 4, 30)
    again = np.repeat(np.arange(30), often)
    found = expected_table(X * torch.from_numpy(often)[:, None], Y)
    assert np.allclose(found, leep_table(SAID[again], LABELS[again], 3), atol=1e-8)


def test_a_source_class_that_no_row_is_likely_for_says_what_all_do() -> None:
    said = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    table = expected_table(said, torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))
    assert torch.allclose(table, torch.tensor([[2 / 3, 1 / 3]]).double().expand(2, 2))


def test_rows_left_out_are_those_of_a_table_without_them() -> None:
    unit = np.where(np.arange(30) < 6, np.arange(30) // 3, np.arange(30))  # two units of three rows, then single ones
    found = left_out(X, Y, X, unit)
    for row in range(30):
        rest = unit != unit[row]
        table = leep_table(SAID[rest], LABELS[rest], 3)
        assert np.allclose(found[row], SAID[row] @ table, atol=1e-7)


def test_the_best_one_to_one_mapping() -> None:
    counts = np.zeros((5, 3))
    for row in range(30):
        counts[SAID[row].argmax(), LABELS[row]] += 1
    best = max(sum(counts[s, y] for y, s in enumerate(each)) for each in itertools.permutations(range(5), 3))
    found = one_to_one(X, Y)
    assert len(set(found.tolist())) == 3
    assert sum(counts[s, y] for y, s in enumerate(found.tolist())) == best


def test_a_class_without_rows_is_mapped_to_nothing() -> None:
    few = torch.from_numpy(LABELS != 1)
    for said, wanted in ((X[few], Y[few]), (X * few[:, None], Y)):
        found = one_to_one(said, wanted)
        assert found[1] == -1
        assert found[[0, 2]].min() >= 0
    assert torch.equal(picked(X, found)[:, 1], torch.zeros(30))
    assert torch.equal(picked(X, found)[:, 2], X[:, found[2]])


@pytest.mark.parametrize(
    ("link", "back"), [("softmax", torch.exp), ("sigmoid", torch.sigmoid), ("identity", torch.clone)]
)
def test_means_as_outputs(link: Link, back: object) -> None:
    means = torch.tensor([[0.25, 0.75]])
    assert torch.allclose(back(linked(means, link)), means)  # type: ignore[operator]
    assert linked(torch.tensor([[0.0, 1.0]]), link).isfinite().all()


def test_the_head_reads_the_sources_own_outputs() -> None:
    outputs = torch.randn(4, 5)
    expected = LabelMapping(5, 3, "softmax", "expected")
    expected.table.copy_(expected_table(X, Y))
    expected.sure.fill_(2.0)
    assert torch.allclose(expected(outputs), 2 * (outputs.softmax(1) @ expected.table).log())
    frequency = LabelMapping(5, 3, "softmax", "frequency")
    frequency.chosen.copy_(torch.tensor([4, 0, 2]))
    assert torch.equal(frequency(outputs).argmax(1), outputs[:, [4, 0, 2]].argmax(1))
    assert LabelMapping(1, 2, "softmax", "expected")(outputs[:, :1]).shape == (4, 2)
