from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from graft.data.tables import read_delimited, read_jsonl, read_parquet, read_table
from graft.errors import DataError


def table(tmp_path: Path, text: str | bytes, name: str = "t.csv") -> tuple[dict[str, list[Any]], tuple[str, ...]]:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    read = read_table(path)
    frame = read.frame.astype(object)
    return {name: [None if pd.isna(cell) else cell for cell in frame[name]] for name in frame}, read.notes


@pytest.mark.parametrize("mark", [",", ";", "\t"])
@pytest.mark.parametrize("name", ["t.csv", "t.tsv"])
def test_the_delimiter_is_found(tmp_path: Path, mark: str, name: str) -> None:
    text = f'text{mark}label\n"a{mark} b"{mark}x\nc{mark}y\n'
    assert table(tmp_path, text, name)[0] == {"text": [f"a{mark} b", "c"], "label": ["x", "y"]}


def test_a_comma_in_prose_is_no_delimiter(tmp_path: Path) -> None:
    assert list(table(tmp_path, "text;label\na, b, c;x\nd;y\n")[0]) == ["text", "label"]


def test_a_single_column_is_a_table(tmp_path: Path) -> None:
    assert table(tmp_path, "text\na b\nc\n")[0] == {"text": ["a b", "c"]}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le-bom"])
def test_encodings_are_found(tmp_path: Path, encoding: str) -> None:
    text = "text,label\r\nnaïve 語,x\r\n"
    raw = b"\xff\xfe" + text.encode("utf-16-le") if encoding == "utf-16-le-bom" else text.encode(encoding)
    assert table(tmp_path, raw) == ({"text": ["naïve 語"], "label": ["x"]}, ())


def test_latin_1_is_read_and_said(tmp_path: Path) -> None:
    columns, notes = table(tmp_path, "text,label\nnaïve,x\n".encode("latin-1"))
    assert columns["text"] == ["naïve"]
    assert "Latin-1" in notes[0]


def test_line_breaks_inside_quotes_belong_to_the_cell(tmp_path: Path) -> None:
    assert table(tmp_path, 'text,label\n"a\nb",x\n"c ""d""",y\n')[0]["text"] == ["a\nb", 'c "d"']


def test_numbers_are_numbers_and_codes_are_words(tmp_path: Path) -> None:
    columns, _ = table(tmp_path, "a,b,c,d,e\n1,1.5,007,x,\n,2,010,1,\n")
    assert columns == {"a": [1, None], "b": [1.5, 2.0], "c": ["007", "010"], "d": ["x", "1"], "e": [None, None]}
    assert isinstance(columns["a"][0], int)


def test_a_decimal_comma_is_read_beside_semicolons(tmp_path: Path) -> None:
    assert table(tmp_path, "a;b\n1,5;x\n2;y\n")[0]["a"] == [1.5, 2.0]


def test_marks_for_nothing(tmp_path: Path) -> None:
    assert table(tmp_path, "a,b\nNaN,x\nNA,x\nNone,x\n")[0]["a"] == [None, None, "None"]


def test_a_column_that_counts_rows_is_left_out_and_said(tmp_path: Path) -> None:
    columns, notes = table(tmp_path, ",text\n0,a\n1,b\n")
    assert list(columns) == ["text"]
    assert "counts the rows" in notes[0]
    assert list(table(tmp_path, ",text\n5,a\n1,b\n")[0]) == ["column 1", "text"]


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "is empty"),
        (b" \n\n", "is empty"),
        (b"a,b\n1,2\n1,2,3\n", "line 3"),
        (b'a,b\n"1,2\n', "double quotes"),
        (b"a,a\nx,y\n", "more than one column named 'a'"),
        (b"63.0,1.0,x\x00\n", "NUL bytes"),
        (b"63,145,2.3\n67,160,1.5\n", "only numbers"),
    ],
)
def test_damaged_tables_say_what_is_wrong(tmp_path: Path, raw: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        table(tmp_path, raw)


def test_columns_may_be_named_by_counting(tmp_path: Path) -> None:
    assert table(tmp_path, "0,1\n5,6\n")[0] == {"0": [5], "1": [6]}


def test_a_missing_table_is_missing(tmp_path: Path) -> None:
    for read in (read_delimited, read_parquet, read_jsonl):
        with pytest.raises(DataError, match="there is no file"):
            read(tmp_path / "absent")


def test_parquet_keeps_types(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"n": [1, None], "w": ["1", "x"], "l": [["a"], []]}), path)
    frame = read_table(path).frame
    assert frame["n"][0] == 1
    assert pd.isna(frame["n"][1])
    assert frame["w"].tolist() == ["1", "x"]
    assert [list(cell) for cell in frame["l"]] == [["a"], []]


def test_damaged_parquet_says_so(tmp_path: Path) -> None:
    (tmp_path / "t.parquet").write_bytes(b"PAR1 nonsense")
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        read_parquet(tmp_path / "t.parquet")


def test_jsonl_keeps_types_and_fills_what_is_absent(tmp_path: Path) -> None:
    lines = [{"text": "1", "label": 1}, {"text": "b"}, {"label": 2, "text": "c", "more": [1]}]
    columns, _ = table(tmp_path, "\n\n".join(map(json.dumps, lines)), "t.jsonl")
    assert columns == {"text": ["1", "b", "c"], "label": [1, None, 2], "more": [None, None, [1]]}


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "is empty"),
        (b'{"a": 1}\n{"a": \n', "line 2 is not JSON"),
        (b"[1]\n", "line 1 is a JSON list"),
        (b"[" * 100_000, "line 1 is not JSON"),
        (b'{"a": "\xff"}\n', "not UTF-8"),
    ],
)
def test_damaged_jsonl_names_the_line(tmp_path: Path, raw: bytes, message: str) -> None:
    (tmp_path / "t.jsonl").write_bytes(raw)
    with pytest.raises(DataError, match=message):
        read_jsonl(tmp_path / "t.jsonl")
