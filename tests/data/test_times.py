"""When rows were seen: numbers, dates as people write them, and what is neither."""

from __future__ import annotations

import datetime

import numpy as np
import pandas as pd
import pytest

from graft.data.times import read_times
from graft.errors import DataError

DAY = 86400.0


def times(cells: list[object], dtype: str | None = None) -> list[float]:
    return read_times(pd.Series(cells, name="when", dtype=dtype), "t.csv")[0].tolist()


def test_numbers_stay_as_they_are() -> None:
    assert times([3, 1, 2]) == [3.0, 1.0, 2.0]
    found = times([2.5, None, 1.0])
    assert found[0] == 2.5
    assert np.isnan(found[1])
    assert times([2020, 2019], "Int64") == [2020.0, 2019.0]


@pytest.mark.parametrize(
    "cells",
    [
        ["1970-01-01", "1970-01-03"],
        ["1970-01-01T00:00:00Z", "1970-01-03 00:00"],
        ["1970-01-01T02:00:00+02:00", "1970-01-03"],
        [datetime.date(1970, 1, 1), datetime.date(1970, 1, 3)],
        [pd.Timestamp("1970-01-01"), pd.Timestamp("1970-01-03")],
        ["1.1.1970", "3.1.1970"],
        ["1970/01/01", "1970/01/03"],
    ],
)
def test_dates_are_seconds(cells: list[object]) -> None:
    assert times(cells) == [0.0, 2 * DAY]


def test_one_way_of_reading_is_taken_and_told() -> None:
    cells = pd.Series(["01/02/2024", "25/02/2024"], name="when")
    found, notes = read_times(cells, "t.csv")
    assert found[1] - found[0] == 24 * DAY
    assert "day/month/year" in notes[0]
    assert times(["02/01/2024 10:30", "02/25/2024 11:30"])[1] > 0


def test_a_date_that_may_be_two_is_refused() -> None:
    with pytest.raises(DataError, match=r"may be day/month/year or month/day/year; write dates as 2024-05-31"):
        times(["01/02/2024", "03/04/2024"])


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (["soon", "2024-01-01"], "neither a number nor a date: 'soon'"),
        ([True, False], "holds truth values"),
        ([None, None], "is empty"),
        (["", " "], "is empty"),
        ([1.0, float("inf")], "infinite"),
    ],
)
def test_what_is_no_time_is_refused(cells: list[object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        times(cells)
