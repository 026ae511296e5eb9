"""What is printed for a person."""

from __future__ import annotations

import pytest

from graft.cli import tables
from graft.errors import RequestError


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
