from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from graft.contracts import Soft
from graft.data.divided import divided, in_columns
from graft.errors import DataError


def test_columns_are_the_classes() -> None:
    labels, notes = in_columns(np.array([[0.7, 0.3], [0.0, 1.0]]), ["cat", "dog"])
    assert labels == [Soft((("cat", 0.7), ("dog", 0.3))), Soft((("cat", 0.0), ("dog", 1.0)))]
    assert [label.likeliest for label in labels] == ["cat", "dog"]
    assert notes == ()


def test_a_row_of_nothing_has_no_label() -> None:
    assert in_columns(np.array([[np.nan, np.nan], [0.5, 0.5]]), [0, 1])[0][0] is None
    assert divided([None, {"a": 1.0}, "b"])[0] == [None, Soft((("a", 1.0),)), "b"]


def test_a_class_without_a_number_is_left_out() -> None:
    assert divided([{"a": 0.25, "b": None, "c": 0.75}])[0] == [Soft((("a", 0.25), ("c", 0.75)))]


def test_rounding_is_made_up_for_and_told() -> None:
    labels, notes = divided([{"a": 0.333, "b": 0.333, "c": 0.333}, {"a": 0.5, "b": 0.5}])
    assert sum(share for _, share in labels[0].shares) == pytest.approx(1, abs=1e-12)
    assert len(notes) == 1
    assert "within 0.001" in notes[0]
    thirds = np.full((1, 3), 1 / 3, dtype=np.float32)
    assert in_columns(thirds, "abc")[1] == ()


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"a": 0.4, "b": 0.3}, r"row 2: 0\.4 \+ 0\.3 = 0\.7"),
        ({"a": 1.4, "b": -0.4}, r"row 2: 1\.4 \+ -0\.4 are not all 0 or more"),
        ({"a": float("inf"), "b": 0.0}, "row 2: inf"),
        ({"a": "much"}, "row 2: 'much' is no number"),
        ({"a": None}, "row 2: no class has a probability"),
        ({}, "row 2: no class"),
        (dict.fromkeys("abcdefgh", 0.5), r"\+ … = 4"),
    ],
)
def test_what_is_no_probability_is_named(row: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError, match=said) as caught:
        divided([{"a": 1.0}, row])
    assert "add up to 1" in str(caught.value)


def test_only_the_first_faults_are_listed() -> None:
    with pytest.raises(DataError, match=r"30 rows are no probabilities[\s\S]*and 20 more"):
        in_columns(np.full((30, 2), 0.7), ["a", "b"])
