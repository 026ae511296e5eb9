"""The tree of errors: exit codes, messages, nearest names."""

from __future__ import annotations

import inspect

import pytest

from graft import errors
from graft.errors import BadRowsError, DataError, GraftError, RequestError, UnknownNameError, WeightsError


@pytest.mark.parametrize("name", errors.__all__)
def test_the_tree_drawn_at_the_top_is_the_tree(name: str) -> None:
    error = getattr(errors, name)
    assert issubclass(error, GraftError)
    rows = [line for line in (errors.__doc__ or "").splitlines() if name in line.split()]
    assert len(rows) == 1
    if error is GraftError:
        return
    drawn = rows[0].split(name)[1].split()[0]
    assert drawn == str(error.exit_code)
    parent = error.__mro__[1]
    indent = next(line for line in (errors.__doc__ or "").splitlines() if parent.__name__ in line.split())
    assert len(rows[0].split(name)[0]) > len(indent.split(parent.__name__)[0])


def test_who_catches_value_errors_catches_bad_input() -> None:
    for error in (DataError, RequestError, WeightsError):
        assert issubclass(error, ValueError)


def test_every_class_says_what_it_is_for() -> None:
    assert all(inspect.getdoc(getattr(errors, name)) for name in errors.__all__)


def test_bad_rows_are_counted_and_listed() -> None:
    one = BadRowsError([("cats/1.jpg", "truncated")], skippable=True)
    assert one.rows == (("cats/1.jpg", "truncated"),)
    assert str(one).startswith("1 row cannot be read:\n  cats/1.jpg: truncated\n")
    assert "--on-bad-row skip" in str(one)
    many = BadRowsError([(f"{place}.jpg", "empty") for place in range(13)])
    assert str(many).startswith("13 rows")
    assert "9.jpg" in str(many)
    assert "10.jpg" not in str(many)
    assert "and 3 more" in str(many)


def test_an_unknown_name_suggests_the_nearest() -> None:
    error = UnknownNameError("strategy", "linear_prob", ["scratch", "linear_probe"])
    assert str(error) == (
        "there is no strategy 'linear_prob'. Did you mean linear_probe? Known: linear_probe, scratch."
    )
    assert error.known == ("linear_probe", "scratch")


def test_an_unknown_name_far_from_all_lists_them_only() -> None:
    assert "Did you mean" not in str(UnknownNameError("source", "zzz", ["minilm"]))
    assert str(UnknownNameError("source", "x", [])).endswith("Known: none.")
    long = str(UnknownNameError("column", "x", [f"column{place:02}" for place in range(30)]))
    assert "column19, …" in long
    assert "column20" not in long
