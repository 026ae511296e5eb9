from __future__ import annotations

from pathlib import Path

import pytest

from graft.contracts import Request
from graft.data.readers.jsonl import Jsonl
from graft.errors import DataError


def test_lists_are_several_labels(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text('{"text": "a b", "tags": ["x"]}\n{"text": "c", "tags": ["x", "y"]}\n{"text": "d"}\n')
    data = Jsonl().read(path, Request())
    assert data.labels is not None
    assert data.labels.tolist() == [("x",), ("x", "y"), None]


def test_a_bad_line_is_named(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text('{"text": "a b"}\n{oops\n')
    with pytest.raises(DataError, match="line 2 is not JSON"):
        Jsonl().read(tmp_path / "t.jsonl", Request())
