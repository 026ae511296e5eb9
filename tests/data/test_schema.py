"""Words as codes, and the way from one table's columns to another's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from graft.data.schema import Schema, Translation, coded, number_words
from graft.errors import DataError


@pytest.mark.parametrize(
    ("cells", "values", "words"),
    [
        (["b", "a", None, " b ", ""], [1, 0, np.nan, 1, np.nan], ("a", "b")),
        ([True, None, False], [1, np.nan, 0], None),
        (pd.Series([True, False]), [1, 0], None),
        (pd.array([3, None], dtype="Int64"), [3, np.nan], None),
        (pd.Categorical(["y", "x", "y"]), [1, 0, 1], ("x", "y")),
        (pd.Categorical([7, 8, 7]), [7, 8, 7], None),
        (["a", 1, None], [1, 0, np.nan], ("1", "a")),
        ([None, None], [np.nan, np.nan], None),
    ],
)
def test_cells_become_numbers_or_codes_of_words(cells: Any, values: list[float], words: Any) -> None:
    found, spoken = coded(cells)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.array(values, np.float32))
    assert spoken == words


def test_numbers_are_written_as_people_do() -> None:
    assert number_words(np.array([3, 0.5, np.nan, 3, -1], np.float32)) == ("-1", "0.5", "3")


def test_a_schema_comes_back_from_its_document() -> None:
    for schema in (Schema(None, (None, None)), Schema(("a", "b"), (None, ("x", "y")))):
        assert Schema.from_document(schema.document(), 2) == schema
    mixed = Schema(("a", "b"), (None, ("x", "y")))
    assert (mixed.width, mixed.numbers, mixed.classes) == (2, (0,), (1,))
    assert Schema(("a",), (None,)).document() == {"columns": ["a"]}
    with pytest.raises(DataError, match="2 columns came with 1 column names"):
        Schema(("a",), (None, None))


def test_rows_go_from_one_table_to_another() -> None:
    have = Schema(("town", "age", "floor"), (("Bonn", "Ulm"), None, None))
    want = Schema(("age", "town", "shoe", "floor"), (None, ("Aue", "Ulm"), None, ("1", "top")))
    turn = Translation(have, want)
    rows = np.array([[1, 30, 1], [0, np.nan, 2], [np.nan, 40, np.nan]], np.float32)
    found = turn(rows)
    np.testing.assert_array_equal(
        found, [[30, 1, np.nan, 0], [np.nan, np.nan, np.nan, np.nan], [40, np.nan, np.nan, np.nan]]
    )
    assert (turn.shared, turn.absent) == ((0, 1, 3), ("shoe",))
    assert turn.lost(rows, found) == (
        "1 cells of column 'town' are unknown ('Bonn') and count as missing.",
        "1 cells of column 'floor' are unknown ('2') and count as missing.",
    )
