"""What fine-tuning learns rows by."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from graft.contracts import FittedTask, Rows
from graft.data.cells import objects
from graft.data.examples import TableExamples
from graft.errors import RequestError
from graft.nn.losses import focal, gce, sce, sigmoid_focal
from graft.tasks.classification import Classification
from graft.tasks.multilabel import Multilabel
from graft.tasks.regression import Regression
from graft.tuning import Tuning
from graft.tuning.losses import chances_of, loss_of, weighed

CLASSES: FittedTask = Classification().start(np.array(["a", "b", "c"], dtype=object))
LABELS: FittedTask = Multilabel().start(objects([("a", "b"), ("c",)]))
NUMBERS: FittedTask = Regression().start(np.array([1.0, 2.0, 4.0], dtype=object))
TARGETS = torch.tensor([0, 0, 0, 0, 1, 1, 2, 0])
SETS = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0], [1.0, 0.0, 1.0], [1.0, 1.0, 1.0]])


def _outputs(n: int) -> Tensor:
    return torch.randn(n, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def _rows(targets: Tensor, weights: Tensor | None = None) -> Rows:
    return Rows(TableExamples(np.zeros((len(targets), 1), np.float32)), targets, weights)


def test_the_task_s_own_loss_is_the_default() -> None:
    for task, targets in ((CLASSES, TARGETS), (LABELS, SETS), (NUMBERS, torch.randn(8, 1))):
        outputs = torch.randn(len(targets), task.n_outputs)
        expected = task.loss(outputs, targets)
        assert torch.equal(loss_of(task, Tuning(), targets)(outputs, targets, None), expected)


@pytest.mark.parametrize(("name", "rows"), [("gce", gce), ("sce", sce), ("focal", focal)])
def test_a_loss_by_name(name: Any, rows: Any) -> None:
    outputs, weights = _outputs(8), torch.arange(8.0, dtype=torch.float64)
    found = loss_of(CLASSES, Tuning(loss=name), TARGETS)(outputs, TARGETS, weights)
    torch.testing.assert_close(found, (weights * rows(outputs, TARGETS)).sum() / weights.sum())


def test_smoothed_labels() -> None:
    outputs = _outputs(8)
    found = loss_of(CLASSES, Tuning(label_smoothing=0.2), TARGETS)(outputs, TARGETS, None)
    torch.testing.assert_close(found, cross_entropy(outputs, TARGETS, label_smoothing=0.2), check_dtype=False)


def test_labels_that_each_apply_or_not() -> None:
    outputs = _outputs(4)
    found = loss_of(LABELS, Tuning(loss="focal"), SETS)(outputs, SETS, None)
    torch.testing.assert_close(found, sigmoid_focal(outputs, SETS).mean())
    rare = loss_of(LABELS, Tuning(class_weights=True), SETS)(outputs, SETS, None)
    weight = torch.tensor([1 / 3, 3.0, 1.0])
    expected = binary_cross_entropy_with_logits(outputs, SETS.double(), pos_weight=weight)
    torch.testing.assert_close(rare, expected, check_dtype=False)


def test_classes_count_alike() -> None:
    rows = weighed(_rows(TARGETS), CLASSES, Tuning(class_weights=True))
    assert rows.weights is not None
    sums = torch.zeros(3).index_add_(0, TARGETS, rows.weights)
    assert torch.allclose(sums, sums[0].expand(3))
    twice = weighed(_rows(TARGETS, torch.full((8,), 2.0)), CLASSES, Tuning(class_weights=True))
    assert twice.weights is not None
    assert torch.allclose(twice.weights, 2 * rows.weights), "on top of the rows' own weights"
    assert weighed(_rows(TARGETS), CLASSES, Tuning()).weights is None
    assert weighed(_rows(SETS), LABELS, Tuning(class_weights=True)).weights is None, "labels are weighed in the loss"


def test_rows_of_all_classes_are_drawn_alike_often() -> None:
    chances = chances_of(_rows(TARGETS), CLASSES, Tuning(balanced=True))
    assert chances is not None
    assert np.allclose(np.bincount(TARGETS.numpy(), chances), chances.sum() / 3)
    assert chances_of(_rows(TARGETS), CLASSES, Tuning()) is None


@pytest.mark.parametrize("task", [LABELS, NUMBERS], ids=["labels", "numbers"])
@pytest.mark.parametrize(
    "given", [{"loss": "gce"}, {"loss": "sce"}, {"label_smoothing": 0.1}, {"balanced": True}, {"class_weights": True}]
)
def test_what_is_for_classes_alone_says_so(task: FittedTask, given: dict[str, Any]) -> None:
    if task is LABELS and "class_weights" in given:
        pytest.skip("labels have weights of their own")
    with pytest.raises(RequestError, match=f"{next(iter(given))}.* is for tasks with one class a row, and this is"):
        _prepare_all(task, Tuning(**given))


def _prepare_all(task: FittedTask, tuning: Tuning) -> None:
    targets = torch.zeros(4, task.n_outputs)
    loss_of(task, tuning, targets)
    weighed(_rows(targets), task, tuning)
    chances_of(_rows(targets), task, tuning)
