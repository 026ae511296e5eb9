"""What fine-tuning learns rows by."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
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
from graft.tuning.losses import chances_of, check_suits, loss_of, weighed

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
        assert torch.equal(loss_of(task, Tuning(), _rows(targets))(outputs, targets, None), expected)


@pytest.mark.parametrize(("name", "rows"), [("gce", gce), ("sce", sce), ("focal", focal)])
def test_a_loss_by_name(name: Any, rows: Any) -> None:
    outputs, weights = _outputs(8), torch.arange(8.0, dtype=torch.float64)
    found = loss_of(CLASSES, Tuning(loss=name), _rows(TARGETS))(outputs, TARGETS, weights)
    torch.testing.assert_close(found, (weights * rows(outputs, TARGETS)).sum() / weights.sum())


def test_smoothed_labels() -> None:
    outputs = _outputs(8)
    found = loss_of(CLASSES, Tuning(label_smoothing=0.2), _rows(TARGETS))(outputs, TARGETS, None)
    torch.testing.assert_close(found, cross_entropy(outputs, TARGETS, label_smoothing=0.2), check_dtype=False)


def test_labels_that_each_apply_or_not() -> None:
    outputs = _outputs(4)
    found = loss_of(LABELS, Tuning(loss="focal"), _rows(SETS))(outputs, SETS, None)
    torch.testing.assert_close(found, sigmoid_focal(outputs, SETS).mean())
    rare = loss_of(LABELS, Tuning(class_weights=True), _rows(SETS))(outputs, SETS, None)
    weight = torch.tensor([1 / 3, 3.0, 1.0])
    expected = binary_cross_entropy_with_logits(outputs, SETS.double(), pos_weight=weight)
    torch.testing.assert_close(rare, expected, check_dtype=False)


def test_of_labels_nothing_that_was_asked_for_is_left_out() -> None:
    with pytest.raises(RequestError, match="loss=gce is for tasks with one class a row"):
        check_suits(LABELS, Tuning(loss="gce", class_weights=True))
    with pytest.raises(RequestError, match=r"loss=focal and class_weights .* do not go together"):
        check_suits(LABELS, Tuning(loss="focal", class_weights=True))


@pytest.mark.parametrize("name", ["gce", "sce", "focal"])
def test_the_task_s_own_smoothing_goes_with_a_loss_by_name(name: Any) -> None:
    smooth: FittedTask = Classification(label_smoothing=0.2).start(np.array(["a", "b", "c"], dtype=object))
    outputs = _outputs(8).requires_grad_()
    found, expected = (
        loss_of(task, tuning, _rows(TARGETS))(outputs, TARGETS, None)
        for task, tuning in (
            (smooth, Tuning(loss=name)),
            (CLASSES, Tuning(loss=name, label_smoothing=0.2)),
        )
    )
    torch.testing.assert_close(found, expected)
    plain = loss_of(CLASSES, Tuning(loss=name), _rows(TARGETS))(outputs, TARGETS, None)
    assert not torch.allclose(found, plain)
    torch.testing.assert_close(*(torch.autograd.grad(each, outputs)[0] for each in (found, expected)))


def test_labels_are_smoothed_once() -> None:
    smooth: FittedTask = Classification(label_smoothing=0.2).start(np.array(["a", "b", "c"], dtype=object))
    with pytest.raises(RequestError, match=r"label_smoothing is 0.1 in tuning and 0.2 in the task"):
        check_suits(smooth, Tuning(label_smoothing=0.1))
    check_suits(smooth, Tuning(loss="gce"))


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


def test_classes_count_alike_by_what_their_rows_weigh() -> None:
    own = torch.tensor([0.5, 2.0, 0.0, 1.0, 1.0, 0.25, 3.0, 0.0])
    rows = weighed(_rows(TARGETS, own), CLASSES, Tuning(class_weights=True))
    assert rows.weights is not None
    expected = compute_class_weight("balanced", classes=np.arange(3), y=TARGETS.numpy(), sample_weight=own.numpy())
    assert np.allclose(rows.weights, expected[TARGETS] * own.numpy())
    sums = torch.zeros(3).index_add_(0, TARGETS, rows.weights)
    assert torch.allclose(sums, sums[0].expand(3))


def test_labels_count_by_what_their_rows_weigh() -> None:
    counted = loss_of(LABELS, Tuning(class_weights=True), _rows(SETS, torch.tensor([0.0, 1.0, 0.5, 0.5])))
    repeated = loss_of(LABELS, Tuning(class_weights=True), _rows(SETS[[1, 1, 2, 3]]))
    outputs = _outputs(4)
    torch.testing.assert_close(counted(outputs, SETS, None), repeated(outputs, SETS, None))


def test_rows_that_weigh_nothing_are_not_drawn_and_do_not_count_for_their_class() -> None:
    own = torch.tensor([0.5, 2.0, 0.0, 1.0, 1.0, 0.25, 3.0, 0.0])
    chances = chances_of(_rows(TARGETS, own), CLASSES, Tuning(balanced=True))
    assert chances is not None
    assert (chances[own.numpy() == 0] == 0).all()
    assert np.allclose(np.bincount(TARGETS.numpy(), chances), chances.sum() / 3)
    assert chances[0] == chances[1], "what a row weighs counts in the loss, not in how often it comes"


def test_rows_that_all_weigh_nothing_are_refused() -> None:
    with pytest.raises(RequestError, match="every row weighs 0"):
        weighed(_rows(TARGETS, torch.zeros(8)), CLASSES, Tuning())


def test_rows_of_all_classes_are_drawn_alike_often() -> None:
    chances = chances_of(_rows(TARGETS), CLASSES, Tuning(balanced=True))
    assert chances is not None
    assert np.allclose(np.bincount(TARGETS.numpy(), chances), chances.sum() / 3)
    assert chances_of(_rows(TARGETS), CLASSES, Tuning()) is None


@pytest.mark.parametrize("task", [LABELS, NUMBERS], ids=["labels", "numbers"])
@pytest.mark.parametrize(
    "given",
    [
        *({"loss": "gce"}, {"loss": "sce"}, {"label_smoothing": 0.1}, {"balanced": True}, {"class_weights": True}),
        {"head": "prototypes"},
    ],
)
def test_what_is_for_classes_alone_says_so(task: FittedTask, given: dict[str, Any]) -> None:
    if task is LABELS and "class_weights" in given:
        pytest.skip("labels have weights of their own")
    with pytest.raises(RequestError, match=f"{next(iter(given))}.* is for tasks with one class a row, and this is"):
        check_suits(task, Tuning(**given))


def test_all_that_does_not_suit_is_said_at_once() -> None:
    with pytest.raises(RequestError, match=r"label_smoothing is for .*; loss=sce is for .*; balanced is for"):
        check_suits(NUMBERS, Tuning(label_smoothing=0.1, loss="sce", balanced=True))
