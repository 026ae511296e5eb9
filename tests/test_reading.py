"""One door for whatever the user holds."""

from __future__ import annotations

import numpy as np
import pytest

import graft
from graft.contracts import Request
from graft.data.examples.table import TableExamples
from graft.reading import audit, read, read_with_test, resolve_task
from graft.tasks.classification import Classification


def test_test_rows_given_apart_are_the_test_side() -> None:
    held = read_with_test((["a b", "c d"], ["x", "y"]), (["e f"], ["x"]), Request())
    assert held.given is not None
    assert list(held.given) == ["", "", "test"]
    assert [held.examples[row] for row in range(3)] == ["a b", "c d", "e f"]


def sold(rows: int) -> dict[str, list[object]]:
    """Of few rows each has a street of its own; of many the streets come back."""
    return {"price": list(range(rows)), "street": [f"street {row % 12}" for row in range(rows)]}


@pytest.mark.parametrize("beside", [True, False], ids=["given apart", "in the data"])
def test_what_stands_in_test_rows_does_not_choose_the_columns_that_are_learnt_from(beside: bool) -> None:
    train, test = ({**sold(rows), "label": ["low", "high"] * (rows // 2)} for rows in (12, 60))
    held = read_with_test(train, test, Request()) if beside else read({"train": train, "test": test})
    assert isinstance(held.examples, TableExamples)
    assert held.examples.columns == ("price",)
    assert len(held.examples) == 72


def test_test_rows_of_another_kind_or_without_labels_are_refused() -> None:
    with pytest.raises(graft.DataError, match="of one kind"):
        read_with_test((["a b"], ["x"]), (np.zeros((1, 2)), ["x"]), Request())
    with pytest.raises(graft.DataError, match="need labels"):
        read_with_test((["a b"], ["x"]), ["c d"], Request(labelled=False))


def test_a_task_is_given_named_or_claimed() -> None:
    labels = np.array(["x", "y"], dtype=object)
    given = Classification(metric="macro_f1")
    assert resolve_task(given, labels)[0] is given
    assert resolve_task("classification", labels, "log_loss")[0].metric == "log_loss"
    assert isinstance(resolve_task(None, labels)[0], Classification)
    with pytest.raises(graft.RequestError, match="task object itself"):
        resolve_task(given, labels, "accuracy")


def test_an_audit_names_contradictions() -> None:
    found = audit((["same words", "same words", "other words"], ["x", "y", "y"]))
    assert any("label" in sentence for sentence in found.sentences())
    assert read(["a", "b"], Request(labelled=False)).labels is None
