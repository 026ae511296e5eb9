from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from graft.data.cells import objects
from graft.evaluate.labels import look, own, strangers, too_many
from graft.tasks.classification import Classification
from graft.tasks.multilabel import Multilabel
from graft.tasks.regression import Regression

TASKS = (Classification, Multilabel, Regression)


@pytest.mark.parametrize(
    ("labels", "task", "why"),
    [
        (objects([f"c{i % 77}" for i in range(500)]), Classification, "the labels are 77 distinct strings"),
        (np.array(["a", "b"]), Classification, "the labels are 2 distinct strings"),
        (np.array([True, False]), Classification, "the labels are 2 distinct truth values"),
        (np.array([0, 1, 2] * 9), Classification, "the labels are 3 distinct whole numbers"),
        (np.array([0.0, 1.0] * 9), Classification, "the labels are 2 distinct whole numbers"),
        (np.arange(500).repeat(20), Classification, "the labels are 500 distinct whole numbers"),
        (np.arange(40), Regression, "the labels are 40 distinct numbers in 40 rows"),
        (objects([3.5, 1, 2]), Regression, "the labels are 3 distinct numbers, some with a fraction"),
        (np.array([[0.5, 2.0], [3.0, 4.0]]), Regression, "each row has 2 numbers"),
        (objects([("a",), (), ("a", "b")]), Multilabel, "a row carries several labels, 2 distinct ones in all"),
        (objects([["a"], {"b"}]), Multilabel, "a row carries several labels, 2 distinct ones in all"),
    ],
)
def test_exactly_one_task_claims_labels(labels: Any, task: type, why: str) -> None:
    claims = {each: each.claims(labels) for each in TASKS}
    assert {each for each, reason in claims.items() if reason is not None} == {task}
    assert claims[task] == why


@pytest.mark.parametrize(
    ("labels", "why"),
    [
        (objects(["a", 1]), "of type int, str"),
        (objects([("a",), "b"]), "of type str, tuple"),
        (objects([]), "of type none"),
        (np.array([[0, 1], [1, 0]]), "zeros and ones"),
        (np.array([["a", "b"]]), "a matrix of <U1"),
    ],
)
def test_no_task_claims_what_is_unclear(labels: Any, why: str) -> None:
    assert all(task.claims(labels) is None for task in TASKS)
    assert why in look(labels).reason


def test_labels_become_plain_python() -> None:
    for label in (np.str_("a"), np.int64(1), np.float32(0.5), np.bool_(True), "a", ("a",)):
        assert type(own(label)) in (str, int, float, bool, tuple)


def test_strange_labels_are_counted_and_the_nearest_is_named() -> None:
    said = strangers(["dgo", "dgo", "zzz"], ("cat", "dog"))
    assert said == (
        "labels that are not known: 'dgo' (2 rows; did you mean 'dog'?), 'zzz' (1 row). Known are 'cat', 'dog'."
    )
    many = strangers(map(str, range(100, 108)), range(30))
    assert "and 3 more" in many
    assert many.endswith("19, ….")


def test_many_distinct_numbers_are_a_scale() -> None:
    assert too_many(21, 100)
    assert not too_many(20, 20)
    assert not too_many(100, 2000)
