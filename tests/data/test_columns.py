from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from graft.contracts import Request
from graft.data.columns import choose, describe
from graft.errors import DataError


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        ([1, 2, None], "number"),
        (pd.array([1, None], dtype="Int64"), "number"),
        (pd.Series([1, 2.5], dtype=object), "number"),
        (["a", "b"], "words"),
        ([True, False], "words"),
        (pd.Categorical(["a", "b"]), "words"),
        (["a.png", "b.jpg", "c"], "path"),
        ([["a"], []], "list"),
        ([None, np.nan], "empty"),
        ([pd.Timestamp("2020-01-01")], "other"),
        (["a", 1], "other"),
    ],
)
def test_what_a_column_holds(cells: Any, kind: str) -> None:
    column = describe("c", pd.Series(cells))
    assert column.kind == kind
    assert column.name == "c"


def test_a_picture_column_is_said_to_be_one() -> None:
    assert describe("c", pd.Series([None, None], dtype=object), picture=True).kind == "picture"


def test_counts() -> None:
    column = describe("c", pd.Series(["a b", "a b", "c", None]))
    assert (column.filled, column.distinct, column.length, column.words) == (3, 2, 7 / 3, 5 / 3)
    assert not column.prose


def test_columns_with_another_use_are_not_chosen() -> None:
    columns = [
        describe("text", pd.Series(["a b c d e f g h", "b", "c", "d"])),
        describe("label", pd.Series(["x", "y"] * 2)),
        describe("class", pd.Series(["x", "y"] * 2)),
    ]
    with pytest.raises(DataError, match="'label', 'class'"):
        choose(columns, Request(), "t.csv")
    choice = choose(columns, Request(), "t.csv", taken=["class"])
    assert (choice.input, choice.target) == ("text", "label")
    assert choose(columns, Request(), "t.csv", labels_given=True).target is None
