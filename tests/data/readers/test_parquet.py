from __future__ import annotations

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from graft.contracts import Request
from graft.data.readers.parquet import Parquet
from graft.errors import DataError


def test_lists_are_several_labels(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["a b", "c"], "tags": [["x"], ["x", "y"]]}), tmp_path / "t.parquet")
    data = Parquet().read(tmp_path / "t.parquet", Request())
    assert data.labels is not None
    assert data.labels.tolist() == [("x",), ("x", "y")]


def test_images_inside_the_table_are_read(tmp_path: Path) -> None:
    cells = []
    for number in range(3):
        buffer = io.BytesIO()
        Image.new("RGB", (3, 2), (number, 0, 0)).save(buffer, "PNG")
        cells.append({"bytes": buffer.getvalue(), "path": None})
    pq.write_table(pa.table({"image": cells, "label": ["x", "y", "x"]}), tmp_path / "t.parquet")
    data = Parquet().read(tmp_path / "t.parquet", Request())
    assert [data.examples[row].getpixel((0, 0))[0] for row in range(3)] == [0, 1, 2]


def test_a_damaged_file_says_so(tmp_path: Path) -> None:
    (tmp_path / "t.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        Parquet().read(tmp_path / "t.parquet", Request())
