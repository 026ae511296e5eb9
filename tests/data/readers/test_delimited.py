from __future__ import annotations

from pathlib import Path

import pytest

from graft.contracts import Request
from graft.data.examples import TableExamples
from graft.data.readers.delimited import Delimited
from graft.errors import DataError


def test_a_header_without_rows_has_zero_rows(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("text,label\n")
    with pytest.raises(DataError, match="0 rows"):
        Delimited().read(tmp_path / "t.csv", Request())


def test_the_encoding_is_a_note(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes("text,label\nnaïve é,x\nb,y\n".encode("latin-1"))
    data = Delimited().read(tmp_path / "t.csv", Request())
    assert any("Latin-1" in note for note in data.notes)


def _real(name: str) -> Path:
    path = Path(__file__).resolve().parents[3] / "../shared/data" / name
    if not path.exists():
        pytest.skip(f"{name} is not on this machine")
    return path


def test_banking77_is_read_whole() -> None:
    data = Delimited().read(_real("text/banking77/train.csv"), Request())
    assert len(data.examples) == 10_003
    assert data.labels is not None
    assert len(set(data.labels)) == 77
    assert data.examples[0] == "I am still waiting on my card?"


@pytest.mark.parametrize(
    ("name", "target", "numbers", "words"),
    [
        ("fetch_california_housing.csv", None, 8, []),
        ("diamonds_TrainingPackt.csv", "price", 6, [5, 7, 8]),
        ("adultos.csv", "ABOVE50K", 6, [9, 16, 7, 15, 6, 5, 2, 42]),
        ("melb_data.csv", "Price", 12, [314, 3, 5, 268, 58, 33, 8]),
    ],
)
def test_real_tables(name: str, target: str | None, numbers: int, words: list[int]) -> None:
    data = Delimited().read(_real(f"tables/{name}"), Request(target=target))
    assert isinstance(data.examples, TableExamples)
    schema = data.examples.schema
    assert len(schema.numbers) == numbers
    assert [len(schema.words[place] or ()) for place in schema.classes] == words
    assert data.examples[0].shape == (numbers + len(words),)
    assert not words or all(word == word.strip() for place in schema.classes for word in schema.words[place] or ())


def test_a_real_table_without_a_header_is_refused() -> None:
    with pytest.raises(DataError, match="only numbers"):
        Delimited().read(_real("tables/cleveland.csv"), Request())
