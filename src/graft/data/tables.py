"""Table files → frames whose cells say what the file says: nothing evaluated, nothing renamed in silence."""

from __future__ import annotations

import codecs
import csv
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from graft.data.files import existing_file, reading
from graft.errors import DataError

__all__ = ["TABLE_SUFFIXES", "TableFile", "read_delimited", "read_jsonl", "read_parquet", "read_table"]

_SAMPLE = 256 * 1024
_EMPTY = ("", "NaN", "nan", "NA", "N/A", "n/a", "<NA>", "#N/A", "null", "NULL")
"""Cells that hold nothing.  The word None is left alone: it is a name for a class."""
_INTEGER = re.compile(r"[+-]?(0|[1-9]\d{0,17})")
_NULLABLE = {
    **{kind: pd.Int64Dtype() for kind in (pa.int8(), pa.int16(), pa.int32(), pa.int64())},
    **{kind: pd.Int64Dtype() for kind in (pa.uint8(), pa.uint16(), pa.uint32())},
}


@dataclass(frozen=True)
class TableFile:
    """A table file as it was read, and what had to be guessed for it."""

    frame: pd.DataFrame
    notes: tuple[str, ...] = ()


def read_table(path: Path) -> TableFile:
    """Read a table by its suffix; see the functions for each."""
    readers = {".csv": read_delimited, ".tsv": read_delimited, ".parquet": read_parquet}
    return readers.get(path.suffix.lower(), read_jsonl)(path)


TABLE_SUFFIXES = (".csv", ".tsv", ".parquet", ".jsonl", ".ndjson")
"""What :func:`read_table` takes."""


def read_delimited(path: Path) -> TableFile:
    """Read columns separated by comma, semicolon or tab; the first line names them.

    Numbers become numbers where every cell of a column is one; codes such as ``007`` stay words.

    Raises
    ------
    DataError
        For an empty, ragged, binary or header-less file.
    """
    existing_file(path)
    with reading(path):
        encoding, notes = _encoding(path)
        with open(path, encoding=encoding, newline="") as file:
            sample = file.read(_SAMPLE)
    if not sample.strip():
        raise DataError(f"{path} is empty; a line of column names and a line a row were expected.")
    delimiter = _delimiter(sample, "\t" if path.suffix.lower() == ".tsv" else ",")
    try:
        with reading(path):
            cells = pd.read_csv(
                path,
                sep=delimiter,
                header=None,
                dtype=str,
                encoding=encoding,
                keep_default_na=False,
                na_values=list(_EMPTY),
            )
    except (pd.errors.ParserError, pd.errors.EmptyDataError, csv.Error) as exc:
        reason = str(exc).strip().removeprefix("Error tokenizing data. C error: ")
        raise DataError(
            f"{path} cannot be read as a table with {delimiter!r} between columns: {reason}. "
            "Put cells that hold the delimiter or a line break into double quotes."
        ) from exc
    header = ["" if pd.isna(name) else str(name).strip() for name in cells.iloc[0]]
    frame = cells.iloc[1:].reset_index(drop=True)
    frame.columns = pd.Index(_column_names(header, path))
    if "" in header and _counts_up(frame.iloc[:, header.index("")]):
        frame = frame.drop(columns=frame.columns[header.index("")])
        notes += ("the column without a name counts the rows and was left out.",)
    typed = {name: _typed(frame[name], delimiter == ";") for name in frame.columns}
    return TableFile(pd.DataFrame(typed, index=frame.index), notes)


def read_parquet(path: Path) -> TableFile:
    """Read a Parquet file.

    Raises
    ------
    DataError
        Where it is damaged or no Parquet file.
    """
    existing_file(path)
    try:
        with reading(path):
            table = pq.read_table(path)
        frame = table.to_pandas(types_mapper=_NULLABLE.get, ignore_metadata=True)
    except (pa.ArrowException, ValueError, NotImplementedError) as exc:
        raise DataError(f"{path} cannot be read as Parquet: {str(exc).splitlines()[0]}. Write it again.") from exc
    frame.columns = pd.Index(_distinct([str(name) for name in frame.columns], path))
    return TableFile(frame)


def read_jsonl(path: Path) -> TableFile:
    """Read one JSON object a line; its names are the columns.

    Raises
    ------
    DataError
        For a line that is no JSON object; its number is named.
    """
    existing_file(path)
    columns: dict[str, list[Any]] = {}
    count = 0
    try:
        with reading(path), open(path, encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                record = _record(line, path, number)
                for name in record:
                    columns.setdefault(name, [None] * count)
                for name, cells in columns.items():
                    cells.append(record.get(name))
                count += 1
    except UnicodeDecodeError as exc:
        raise DataError(f"{path} is not UTF-8 near byte {exc.start}; save it as UTF-8.") from exc
    if not count:
        raise DataError(f"{path} is empty; one JSON object a line was expected.")
    frame = pd.DataFrame({name: pd.Series(columns[name], dtype=object) for name in columns})
    return TableFile(frame.infer_objects())


def _record(line: str, path: Path, number: int) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as exc:
        raise DataError(f"{path}, line {number} is not JSON: {exc}. One object a line was expected.") from exc
    if not isinstance(record, dict):
        raise DataError(
            f"{path}, line {number} is a JSON {type(record).__name__}; an object such as "
            '{"text": "…", "label": "…"} was expected on each line.'
        )
    return record


def _encoding(path: Path) -> tuple[str, tuple[str, ...]]:
    """The encoding by its byte-order mark, else UTF-8 where the whole file is, else Latin-1."""
    with open(path, "rb") as file:
        start = file.read(4)
        if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return "utf-16", ()
        file.seek(0)
        decoder = codecs.getincrementaldecoder("utf-8")()
        note: tuple[str, ...] = ()
        while chunk := file.read(2**20):
            if b"\0" in chunk:
                raise DataError(f"{path} holds NUL bytes: it is not a text table. Save it as CSV in UTF-8.")
            if not note:
                try:
                    decoder.decode(chunk)
                except UnicodeDecodeError:
                    note = (
                        f"{path.name} is not UTF-8 and was read as Latin-1; save it as UTF-8 if letters look wrong.",
                    )
    return ("latin-1", note) if note else ("utf-8-sig", ())


def _delimiter(sample: str, default: str) -> str:
    """The mark that cuts most of the sample's records into the same number of columns, more than one."""
    best, choice = (0.0, 0), default
    lines = sample.splitlines(keepends=True)
    whole = lines[:-1] if len(sample) >= _SAMPLE and len(lines) > 1 else lines
    for mark in dict.fromkeys((default, ",", ";", "\t")):
        try:
            widths = Counter(len(record) for record in csv.reader(whole[:200], delimiter=mark) if record)
        except csv.Error:
            continue
        width, often = widths.most_common(1)[0] if widths else (1, 0)
        fit = (often / widths.total() if widths else 0.0, width)
        if width > 1 and fit > best:
            best, choice = fit, mark
    return choice


def _column_names(header: Sequence[str], path: Path) -> list[str]:
    named = [name for name in header if name]
    counting = [str(place) for place in range(len(named))]
    if named and named != counting and all(_is_number(name) for name in named):
        raise DataError(
            f"the first line of {path} holds only numbers ({', '.join(named[:4])}, …), so its columns have no names; "
            "put a line of names above it."
        )
    return _distinct([name or f"column {place}" for place, name in enumerate(header, start=1)], path)


def _distinct(names: list[str], path: Path) -> list[str]:
    twice = sorted(name for name, often in Counter(names).items() if often > 1)
    if twice:
        raise DataError(f"{path} has more than one column named {', '.join(map(repr, twice))}; rename them.")
    return names


def _counts_up(cells: pd.Series[Any]) -> bool:
    return cells.tolist() in ([str(i) for i in range(len(cells))], [str(i + 1) for i in range(len(cells))])


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _typed(cells: pd.Series[Any], decimal_comma: bool) -> pd.Series[Any]:
    """Cells as integers or floats where every one is a number as people write it; else the words."""
    known = cells.dropna().str.strip()
    if not len(known):
        return cells
    if all(_INTEGER.fullmatch(word) for word in known):
        return cells.str.strip().astype("Int64")
    if decimal_comma and all(re.fullmatch(r"[+-]?\d+(,\d+)?", word) for word in known):
        return cells.str.strip().str.replace(",", ".").astype("Float64")
    # A code such as 007 is a name, although it could be read as a number.
    if any(re.match(r"[+-]?0\d", word) or "_" in word for word in known):
        return cells
    if not all(_is_number(word) for word in known):
        return cells
    numbers = cells.str.strip().astype(object).map(lambda word: np.nan if pd.isna(word) else float(word))
    return numbers.astype(np.float64).astype("Float64")
