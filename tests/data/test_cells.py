from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from graft.contracts import Request
from graft.data.cells import label_kind, objects, plain, read_labels


@pytest.mark.parametrize("nothing", [None, float("nan"), np.nan, pd.NA, pd.NaT, "", "  \t"])
def test_nothing_is_no_label(nothing: Any) -> None:
    assert plain(nothing) is None


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        (np.int64(3), 3),
        (np.float32(0.5), 0.5),
        (np.str_("a"), "a"),
        (True, True),
        (" a ", " a "),
        ("None", "None"),
        (["b", "a", "b", None], ("b", "a")),
        (np.array([1, 2]), ("1", "2")),
        ({"b", "a"}, ("a", "b")),
        ([], ()),
        (pd.Timestamp("2020-01-01"), "2020-01-01 00:00:00"),
    ],
)
def test_cells_become_plain_values(cell: Any, expected: Any) -> None:
    assert plain(cell) == expected
    assert type(plain(cell)) is type(expected)


def test_objects_keep_tuples_whole() -> None:
    assert objects([("a", "b"), ("c", "d")]).shape == (2,)


def read(cells: list[Any], **request: Any) -> tuple[list[Any], tuple[str, ...]]:
    labels, notes = read_labels(cells, Request(**request))
    return labels.tolist(), notes


def test_labels_stay_the_users_own_words() -> None:
    assert read(["yes ", 1, 2.5, None]) == (["yes ", 1, 2.5, None], ())


def test_lists_are_several_labels() -> None:
    assert read([["a", "b"], [], None, "c"]) == ([("a", "b"), (), None, ("c",)], ())


def test_a_delimiter_that_is_given_is_used() -> None:
    assert read(["a+b", "b", "", "a+ +a"], delimiter="+")[0] == [("a", "b"), ("b",), None, ("a",)]


@pytest.mark.parametrize("mark", ["|", ";", ","])
def test_multilabel_finds_the_delimiter_and_says_so(mark: str) -> None:
    labels, notes = read([f"a{mark} b", "c"], task="multilabel")
    assert labels == [("a", "b"), ("c",)]
    assert "--delimiter" in notes[0]


def test_multilabel_without_a_delimiter_has_one_label_a_cell() -> None:
    assert read(["a b", 3], task="multilabel") == ([("a b",), ("3",)], ())


def test_delimiters_in_most_cells_are_taken_for_several_labels() -> None:
    labels, notes = read(["a|b", "b | c", "c"])
    assert labels == [("a", "b"), ("b", "c"), ("c",)]
    assert "--task classification" in notes[0]
    assert read(["a|b", "b", "c"])[0] == ["a|b", "b", "c"]
    assert read(["a,b", "b,c"])[0] == ["a,b", "b,c"]
    assert read(["a|b", "b|c"], task="classification")[0] == ["a|b", "b|c"]


@pytest.mark.parametrize(
    ("labels", "kind"),
    [
        (["a", "b", None], "classes"),
        ([0, 1, 1], "classes"),
        ([1.0, 2.0, 2.0], "classes"),
        ([True, False], "classes"),
        ([0.5, 1.0], "values"),
        (list(range(21)) * 19, "values"),
        (list(range(21)) * 20, "classes"),
        (list(range(20)), "classes"),
        ([1, "a"], "classes"),
        ([("a",), ()], "sets"),
        ([None], "classes"),
    ],
)
def test_kinds_of_labels(labels: list[Any], kind: str) -> None:
    assert label_kind(labels) == kind
