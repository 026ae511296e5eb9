"""Class by class and group by group, against scikit-learn."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from graft.data.cells import objects
from graft.evaluate.breakdown import Breakdown, breakdown
from graft.tasks.classification import Classification
from graft.tasks.multilabel import Multilabel
from graft.tasks.regression import Regression

TASK = Classification().start(np.array(["a", "b", "c", "d"]))


def rows(n: int = 200, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    targets = random.integers(3, size=n)  # no row of d
    return random.normal(size=(n, 4)) + np.eye(4)[targets] - 4 * np.eye(4)[3], targets


def test_classes_are_those_of_scikit_learn() -> None:
    outputs, targets = rows()
    found = breakdown(TASK, outputs, targets)
    wanted = precision_recall_fscore_support(targets, outputs.argmax(axis=1), labels=range(3))
    for place, each in enumerate(found.classes[:3]):
        assert each.rows == wanted[3][place]
        for part, value in zip((each.precision, each.recall, each.f1), wanted[:3], strict=False):
            assert part is not None
            assert part.value == pytest.approx(value[place])
            assert part.low < part.value < part.high
    nothing = found.classes[3]
    assert (nothing.name, nothing.rows, nothing.recall) == ("d", 0, None)
    assert found.confusion.tolist() == confusion_matrix(targets, outputs.argmax(axis=1), labels=range(4)).tolist()
    values = [each.f1.value for each in found.worst() if each.f1 is not None]
    assert values == sorted(values)
    assert len(values) == 3


def test_the_interval_of_f1_holds_as_often_as_it_says() -> None:
    true = breakdown(TASK, *rows(200_000)).classes[0].f1
    assert true is not None
    held = 0
    for seed in range(1, 301):
        found = breakdown(TASK, *rows(60, seed)).classes[0].f1
        assert found is not None
        held += int(found.low <= true.value <= found.high)
    assert 0.92 <= held / 300 <= 0.98


def test_several_labels_a_row_have_classes_and_no_confusion() -> None:
    random = np.random.default_rng(0)
    truth = (random.random((150, 3)) < 0.4).astype(np.float32)
    outputs = random.normal(size=(150, 3)) + truth
    task = Multilabel().start(objects([("x",), ("y", "z"), ()]))
    found = breakdown(task, outputs, truth)
    wanted = precision_recall_fscore_support(truth, outputs > 0)
    assert [each.f1.value for each in found.classes if each.f1] == pytest.approx(wanted[2].tolist())
    assert found.confused == ()


def test_numbers_have_groups_alone() -> None:
    random = np.random.default_rng(0)
    values = random.normal(size=(90, 1))
    task = Regression(metric="mae").start(values[:, 0])
    noise = np.repeat([0.1, 2.0, 0.5], 30)[:, None] * random.normal(size=(90, 1))
    found = breakdown(task, values + noise, values, groups=objects(["p", "q", "r"] * 30)[np.argsort([0, 1, 2] * 30)])
    assert found.classes == ()
    assert len(found.groups) == 3
    worst = [each.score.value for each in found.groups]
    assert worst == sorted(worst, reverse=True), "of an error the largest is the worst"


def test_the_worst_group_comes_first_and_small_ones_are_counted() -> None:
    outputs, targets = rows(206)
    names = np.array(["good"] * 100 + ["bad"] * 100 + ["few"] * 4 + [""] * 2, dtype=object)
    outputs[100:200] = -outputs[100:200]
    found = breakdown(TASK, outputs, targets, groups=names)
    assert [each.name for each in found.groups] == ["bad", "good"]
    assert (found.groups_measured, found.groups_too_small) == (2, 1)
    assert found.groups[0].rows == 100
    right = (outputs.argmax(axis=1) == targets)[100:200].mean()
    assert found.groups[0].score.value == pytest.approx(right)
    many = breakdown(TASK, *rows(1000), groups=np.array([f"g{row % 100}" for row in range(1000)], dtype=object))
    assert len(many.groups) == 20
    assert many.groups_measured == 100


def test_rows_that_were_measured_twice_count_once() -> None:
    outputs, targets = rows(100)
    names = np.array([f"g{row % 4}" for row in range(100)], dtype=object)
    once = breakdown(TASK, outputs, targets, groups=names)
    copies = np.tile(np.arange(100), 2)
    again = [np.concatenate([each, each]) for each in (outputs, targets, names)]
    twice = breakdown(TASK, again[0], again[1], groups=again[2], copies=copies)
    assert [each.rows for each in twice.classes] == [each.rows for each in once.classes]
    assert [each.rows for each in twice.groups] == [each.rows for each in once.groups]
    assert twice.groups[0].score.low == pytest.approx(once.groups[0].score.low, abs=0.05)
    assert twice.confusion.sum() == 200


def test_it_comes_back_from_json() -> None:
    outputs, targets = rows()
    found = breakdown(TASK, outputs, targets, groups=np.array(["g", "h"] * 100, dtype=object))
    assert Breakdown.from_document(json.loads(json.dumps(found.document()))) == found
