"""What is printed for a person."""

from __future__ import annotations

import pytest

from graft.cli import tables
from graft.errors import RequestError
from graft.evaluate.intervals import Interval


@pytest.mark.parametrize(("text", "expected"), [("90", 90.0), ("90s", 90.0), ("2m", 120.0), ("1.5 h", 5400.0)])
def test_times_are_read(text: str, expected: float) -> None:
    assert tables.seconds(text) == expected


@pytest.mark.parametrize("text", ["", "soon", "-1s", "1d"])
def test_other_times_are_refused(text: str) -> None:
    with pytest.raises(RequestError, match="2m"):
        tables.seconds(text)


def test_a_cell_that_a_spreadsheet_would_run_is_made_inert() -> None:
    assert tables.cell("=1+1") == "'=1+1"
    assert tables.cell(("a", "b")) == "a|b"
    assert tables.cell(-1.5) == -1.5


def test_what_stands_in_brackets_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    """The terminal's own markup would swallow it."""
    nan = float("nan")
    tables.scores({"f1/[bold]": Interval(0.5, 0.25, 0.75), "auroc": Interval(nan, nan, nan)}, "[old] on new.csv")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "[old] on new.csv"
    assert lines[2].split() == ["f1/[bold]", "0.5000", "[0.2500,", "0.7500]"]
    assert lines[3].split() == ["AUROC", "–", "not", "defined", "on", "these", "rows"]
