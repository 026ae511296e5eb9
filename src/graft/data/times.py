"""A column of numbers or dates → when each row was seen."""

from __future__ import annotations

import datetime
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from graft.errors import DataError

__all__ = ["read_times"]

_DAYS = ("%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%Y/%m/%d", "%d-%m-%Y", "%m-%d-%Y")
_HOURS = ("", " %H:%M", " %H:%M:%S")
_WORDS = {"%d": "day", "%m": "month", "%Y": "year", "%H": "hour", "%M": "minute", "%S": "second"}


def read_times(cells: pd.Series[Any], origin: str) -> tuple[npt.NDArray[np.float64], tuple[str, ...]]:
    """``(n,)`` numbers as they are, or dates in seconds since 1970, and what was made of them; an empty cell is NaN.

    Dates without a zone count as UTC.  Beside ISO 8601 (``2024-05-31``) some usual ways of writing
    are read, where only one of them fits every cell.

    Raises
    ------
    DataError
        For cells that are neither, or that may be read in two ways.
    """
    known = cells.dropna()
    known = known[known.map(lambda cell: not (isinstance(cell, str) and not cell.strip()))]
    times = np.full(len(cells), np.nan)
    if not len(known):
        raise DataError(f"column {cells.name!r} of {origin} is empty, so rows have no order in time.")
    values, notes = _values(known, origin)
    times[cells.index.get_indexer(known.index)] = values
    if not np.isfinite(times[~np.isnan(times)]).all():
        raise DataError(f"column {cells.name!r} of {origin} holds an infinite number; no row was seen then.")
    return times, notes


def _values(known: pd.Series[Any], origin: str) -> tuple[Any, tuple[str, ...]]:
    if pd.api.types.is_bool_dtype(known.dtype) or all(isinstance(cell, bool | np.bool_) for cell in known):
        raise DataError(f"column {known.name!r} of {origin} holds truth values; numbers or dates were expected.")
    if pd.api.types.is_numeric_dtype(known.dtype) or all(isinstance(cell, int | float | np.number) for cell in known):
        return known.to_numpy(np.float64), ()
    if pd.api.types.is_datetime64_any_dtype(known.dtype) or all(isinstance(cell, datetime.date) for cell in known):
        return _seconds(pd.to_datetime(known, utc=True)), ()
    words = known.astype(str).str.strip()
    found = pd.to_datetime(words, format="ISO8601", utc=True, errors="coerce")
    if found.notna().all():
        return _seconds(found), ()
    ways = [day + hour for day, hour in product(_DAYS, _HOURS)]
    read = {way: pd.to_datetime(words, format=way, utc=True, errors="coerce") for way in ways}
    fits = [way for way in ways if read[way].notna().all()]
    shown = ", ".join(map(repr, words.iloc[:3]))
    if len(fits) > 1:
        raise DataError(
            f"column {known.name!r} of {origin} ({shown}, …) may be {_spelt(fits[0])} or {_spelt(fits[1])}; "
            "write dates as 2024-05-31."
        )
    if not fits:
        odd = words[found.isna()].iloc[:3]
        raise DataError(
            f"column {known.name!r} of {origin} holds what is neither a number nor a date: "
            f"{', '.join(map(repr, odd))}; write dates as 2024-05-31, or 2024-05-31T14:30."
        )
    return _seconds(read[fits[0]]), (f"dates of column {known.name!r} ({shown}, …) are read as {_spelt(fits[0])}.",)


def _seconds(dates: pd.Series[Any]) -> Any:
    return ((dates - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(seconds=1)).to_numpy(np.float64)


def _spelt(way: str) -> str:
    for mark, word in _WORDS.items():
        way = way.replace(mark, word)
    return way
