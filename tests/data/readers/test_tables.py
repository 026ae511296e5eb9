"""What the readers of single table files have in common."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from graft.contracts import Reader, Request
from graft.data.examples import ImageExamples
from graft.data.readers.delimited import Delimited
from graft.data.readers.jsonl import Jsonl
from graft.data.readers.parquet import Parquet
from graft.errors import DataError

READERS: list[tuple[type[Reader], str]] = [
    (Delimited, ".csv"),
    (Delimited, ".tsv"),
    (Jsonl, ".jsonl"),
    (Jsonl, ".ndjson"),
    (Parquet, ".parquet"),
]


def write(path: Path, columns: dict[str, list[object]]) -> Path:
    frame = pd.DataFrame(columns)
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    elif path.suffix in (".csv", ".tsv"):
        frame.to_csv(path, index=False, sep="," if path.suffix == ".csv" else "\t")
    else:
        path.write_text("\n".join(json.dumps(record) for record in frame.to_dict("records")))
    return path


@pytest.mark.parametrize(("reader", "suffix"), READERS)
def test_a_table_of_texts(reader: type[Reader], suffix: str, tmp_path: Path) -> None:
    path = write(tmp_path / f"t{suffix}", {"text": ["a, b", "c"], "label": ["x", "y"]})
    for given in (path, str(path)):
        assert reader().accepts(given)
        data = reader().read(given, Request())
        assert list(data.examples) == ["a, b", "c"]
        assert data.labels is not None
        assert data.labels.tolist() == ["x", "y"]
        assert data.examples.name(1) == f"t{suffix} row 2"
        assert data.origin == f"t{suffix}"


@pytest.mark.parametrize(("reader", "suffix"), READERS)
def test_a_table_of_image_paths(reader: type[Reader], suffix: str, tmp_path: Path) -> None:
    Image.new("RGB", (3, 2)).save(tmp_path / "a.png")
    data = reader().read(write(tmp_path / f"t{suffix}", {"file": ["a.png", "b.png"], "label": ["x", "y"]}), Request())
    assert isinstance(data.examples, ImageExamples)
    assert data.examples[0].size == (3, 2)
    assert data.examples.name(0) == "a.png"


@pytest.mark.parametrize(("reader", "suffix"), READERS)
def test_paths_outside_of_the_folder_are_refused(reader: type[Reader], suffix: str, tmp_path: Path) -> None:
    path = write(tmp_path / f"t{suffix}", {"file": ["../a.png", "b.png"], "label": ["x", "y"]})
    with pytest.raises(DataError, match="outside"):
        reader().read(path, Request())


@pytest.mark.parametrize(("reader", "suffix"), READERS)
def test_what_is_missing_is_said(reader: type[Reader], suffix: str, tmp_path: Path) -> None:
    assert reader().accepts(tmp_path / f"absent{suffix.upper()}")
    with pytest.raises(DataError, match=f"there is no file .*absent{suffix}"):
        reader().read(tmp_path / f"absent{suffix}", Request())


@pytest.mark.parametrize(("reader", "suffix"), READERS)
def test_other_data_are_not_accepted(reader: type[Reader], suffix: str, tmp_path: Path) -> None:
    for other in (tmp_path, "x.txt", ["a"], None, pd.DataFrame()):
        assert not reader().accepts(other)
