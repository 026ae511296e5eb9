from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from graft.data.examples import ImageExamples, TableExamples, TextExamples, join
from graft.data.examples import given as module
from graft.data.schema import Schema
from graft.errors import BadRowsError, DataError


def blake(raw: bytes) -> list[int]:
    return list(hashlib.blake2b(raw, digest_size=16).digest())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(4):
        Image.new("RGB", (6, 5), (number * 10, 0, 0)).save(tmp_path / f"{number}.png")
    return tmp_path


def test_texts() -> None:
    held = TextExamples(["a", "bé", "a"], origin="train.csv")
    assert (len(held), held[1], held.modality) == (3, "bé", "text")
    assert held.name(2) == "train.csv row 3"
    assert held.keys().tolist() == [blake(b"a"), blake("bé".encode()), blake(b"a")]
    assert TextExamples(["a"], names=["here"]).name(0) == "here"


def test_a_lone_surrogate_has_a_key() -> None:
    assert len(np.unique(TextExamples(["\ud800", "\ud801"]).keys(), axis=0)) == 2


def test_examples_end_where_they_end() -> None:
    assert list(TextExamples(["a", "b"])) == ["a", "b"]


@pytest.mark.parametrize("bad", [3, None, b"raw", float("nan")])
def test_what_is_no_text_is_named(bad: Any) -> None:
    with pytest.raises(DataError, match=r"x row 2 is of type"):
        TextExamples(["a", bad], origin="x")


def test_one_name_a_row() -> None:
    with pytest.raises(DataError, match="2 rows came with 1 names"):
        TextExamples(["a", "b"], names=["x"])


def test_views_share_order_names_and_keys() -> None:
    whole = TextExamples(list("abcde"), origin="x")
    view = whole.take(np.array([4, 2, 0])).take(np.array([1, 0]))
    assert list(view) == ["c", "e"]
    assert view.name(0) == "x row 3"
    assert view.keys().tolist() == [blake(b"c"), blake(b"e")]


def test_digests_are_computed_once_for_all_views(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[str] = []
    real = module.read_row_file
    monkeypatch.setattr(module, "read_row_file", lambda path: reads.append(path) or real(path))
    held = ImageExamples([f"{n}.png" for n in range(4)], root=folder)
    view = held.take(np.array([1, 2]))
    view.keys()
    assert len(reads) == 2
    held.keys()
    view.take(np.array([0])).keys()
    assert sorted(reads) == sorted(str(folder / f"{n}.png") for n in range(4))


def test_a_check_reads_once_and_keeps_the_digest(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[str] = []
    real = module.read_row_file
    monkeypatch.setattr(module, "read_row_file", lambda path: reads.append(path) or real(path))
    held = ImageExamples(["0.png"], root=folder)
    assert held.check(0) is None
    assert held.keys().tolist() == [blake((folder / "0.png").read_bytes())]
    assert len(reads) == 1


def test_images_are_read_when_they_are_asked_for(folder: Path) -> None:
    held = ImageExamples(["0.png", Path("absent.png")], root=folder)
    assert (held[0].size, held[0].mode, held.modality) == ((6, 5), "RGB", "image")
    assert held.name(1) == "absent.png"
    with pytest.raises(BadRowsError, match=r"absent\.png: there is no such file"):
        held[1]
    with pytest.raises(BadRowsError, match=r"absent\.png"):
        held.keys()
    assert held.check(1) == "there is no such file"


def test_a_row_without_a_path_says_so() -> None:
    held = ImageExamples([""], origin="t.csv")
    assert held.check(0) == "no path is given"
    with pytest.raises(BadRowsError, match=r"t\.csv row 1: no path is given"):
        held[0]


def test_a_truncated_image_is_found_and_named(folder: Path) -> None:
    raw = (folder / "0.png").read_bytes()
    (folder / "0.png").write_bytes(raw[:-30])
    held = ImageExamples(["0.png"], root=folder)
    assert held.check(0) is not None
    with pytest.raises(BadRowsError, match=r"0\.png"):
        held[0]


def test_images_of_any_kind(folder: Path) -> None:
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    raw = (folder / "1.png").read_bytes()
    held = ImageExamples([pixels, Image.fromarray(pixels), raw, pixels.reshape(4, 2, 3)])
    assert [held[row].size for row in range(4)] == [(4, 2), (4, 2), (6, 5), (2, 4)]
    assert [held.check(row) for row in range(4)] == [None] * 4
    assert len(np.unique(held.keys(), axis=0)) == 4
    assert held.keys()[2].tolist() == blake(raw)
    assert held.name(2) == "images row 3"


def test_keys_of_pillow_images_are_of_what_is_seen() -> None:
    pixels = np.arange(36, dtype=np.uint8).reshape(3, 4, 3)
    plain, turned = Image.fromarray(pixels), Image.fromarray(pixels)
    turned.getexif()[0x0112] = 3
    red, blue = (Image.new("P", (4, 3)) for _ in range(2))
    red.putpalette([255, 0, 0])
    blue.putpalette([0, 0, 255])
    seen = Image.fromarray(np.ascontiguousarray(pixels[::-1, ::-1]))
    keys = ImageExamples([plain, turned, red, blue, seen]).keys()
    assert len(np.unique(keys, axis=0)) == 4
    assert np.array_equal(keys[1], keys[4])


def test_an_array_that_is_no_image_is_found() -> None:
    assert "uint8" in (ImageExamples([np.zeros((2, 2, 3))]).check(0) or "")


def test_tables() -> None:
    held = TableExamples(np.array([[1, 2], [1, 2], [3, np.nan]]), columns=["a", "b"], origin="t.csv")
    assert held[0].dtype == np.float32
    assert held[0].tolist() == [1, 2]
    assert (held.modality, held.columns, held.name(2)) == ("table", ("a", "b"), "t.csv row 3")
    keys = held.keys()
    assert np.array_equal(keys[0], keys[1])
    assert not np.array_equal(keys[0], keys[2])
    assert held.check(2) is None
    assert "infinite" in (TableExamples(np.array([[np.inf]])).check(0) or "")


@pytest.mark.parametrize("values", [np.zeros(3), np.zeros((2, 2, 2)), np.array([["a"]]), np.zeros((2, 2), object)])
def test_what_is_no_table_is_refused(values: np.ndarray) -> None:
    with pytest.raises(DataError, match="rows and columns"):
        TableExamples(values)


def test_one_name_a_column() -> None:
    with pytest.raises(DataError, match="1 column names"):
        TableExamples(np.zeros((2, 2)), columns=["a"])


def test_joined_examples_keep_names_and_keys(folder: Path) -> None:
    first, second = TextExamples(["a", "b"], origin="x"), TextExamples(["c", ""], origin="y")
    both = join([first, second])
    assert list(both) == ["a", "b", "c", ""]
    assert both.modality == "text"
    assert np.array_equal(both.keys(), np.concatenate([first.keys(), second.keys()]))
    part = both.take(np.array([3, 0, 2])).take(np.array([0, 2]))
    assert [part.name(row) for row in range(2)] == ["y row 2", "y row 1"]
    assert np.array_equal(part.keys(), both.keys()[[3, 2]])
    assert [part.check(row) for row in range(2)] == ["the text is empty", None]
    assert join([first]) is first


def test_only_like_is_joined() -> None:
    with pytest.raises(DataError, match="text and table"):
        join([TextExamples(["a"]), TableExamples(np.zeros((1, 1)))])
    with pytest.raises(DataError, match=r"different columns \(b, c\)"):
        join([TableExamples(np.zeros((1, 2)), columns=list("ab")), TableExamples(np.zeros((1, 2)), columns=list("ac"))])
    with pytest.raises(DataError, match=r"different columns \(2 and 3 of them\)"):
        join([TableExamples(np.zeros((1, 2))), TableExamples(np.zeros((1, 3)))])


def test_joined_tables_are_one_table() -> None:
    both = join([TableExamples(np.zeros((1, 2))), TableExamples(np.ones((2, 2)))])
    assert [row.tolist() for row in both] == [[0, 0], [1, 1], [1, 1]]
    first = TableExamples(np.array([[1, 2], [3, 4]]), columns=["a", "b"], origin="one").take(np.array([1]))
    named = join([first, TableExamples(np.array([[6, 5]]), columns=["b", "a"], origin="two")])
    assert isinstance(named, TableExamples)
    assert named.columns == ("a", "b")
    assert [row.tolist() for row in named] == [[3, 4], [5, 6]]
    assert [named.name(row) for row in range(2)] == ["one row 2", "two row 1"]
    assert np.array_equal(named.keys()[0], first.keys()[0])


def numbers(*names: str) -> Schema:
    return Schema(names, (None,) * len(names))


def test_columns_are_found_by_name() -> None:
    held = TableExamples(np.array([[1, 2, 3], [4, 5, 6]]), columns=["b", "group", "a"], origin="t.csv")
    straight = TableExamples(np.array([[3, 1], [6, 4]]), columns=["a", "b"])
    held.keys()
    chosen = held.take(np.array([1, 0])).conform(numbers("a", "b"))
    assert chosen.columns == ("a", "b")
    assert [row.tolist() for row in chosen] == [[6, 4], [3, 1]]
    assert chosen.name(0) == "t.csv row 2"
    assert np.array_equal(chosen.keys(), straight.keys()[::-1])
    assert held[0].tolist() == [1, 2, 3], "the table itself keeps its columns"
    assert straight.conform(numbers("a", "b")) is straight
    with pytest.raises(DataError, match="no column c, d; its columns are b, group, a"):
        held.conform(numbers("a", "c", "d"))


def test_columns_without_names_count_by_their_place() -> None:
    held = TableExamples(np.array([[1, 2]]))
    assert held.columns is None
    assert held.conform(numbers("a", "b"))[0].tolist() == [1, 2]
    with pytest.raises(DataError, match="2 columns without names was given; the 3 columns a, b, c"):
        held.conform(numbers("a", "b", "c"))
    with pytest.raises(DataError, match="a table of 2 columns was given; 1 columns were"):
        TableExamples(np.zeros((1, 2)), columns=["a", "b"]).conform(Schema(None, (None,)))


PEOPLE = Schema(("age", "town"), (None, ("Bonn", "Ulm")))


def test_equal_rows_have_equal_keys_however_their_words_are_numbered() -> None:
    one = TableExamples(np.array([[3, 0], [3, 1], [4, np.nan]]), columns=["age", "town"], words=[None, ["Bonn", "Ulm"]])
    other = TableExamples(np.array([[3, 2], [3, 0]]), columns=["age", "town"], words=[None, ["Ulm", "Rom", "Bonn"]])
    assert np.array_equal(one.keys()[:2], other.keys())
    assert len(np.unique(one.keys(), axis=0)) == 3
    assert one.schema == PEOPLE


def test_words_keep_their_meaning_in_another_table_and_unknown_ones_are_told() -> None:
    held = TableExamples(
        np.array([[0, 30], [1, 31], [2, np.nan], [np.nan, 5]]),
        columns=["town", "age"],
        words=[["Oslo", "Rom", "Ulm"], None],
    )
    found = held.conform(PEOPLE)
    np.testing.assert_array_equal([*found], [[30, np.nan], [31, np.nan], [np.nan, 1], [5, np.nan]])
    assert found.notes == ("2 cells of column 'town' are unknown ('Oslo', 'Rom') and count as missing.",)
    assert held.take(np.array([2])).conform(PEOPLE).notes == ()


def test_numbers_and_words_of_one_name_meet() -> None:
    floors = Schema(("floor",), (("1", "2", "ground"),))
    found = TableExamples(np.array([[1], [2], [3], [np.nan]]), columns=["floor"]).conform(floors)
    np.testing.assert_array_equal([*found], [[0], [1], [np.nan], [np.nan]])
    assert found.notes == ("1 cells of column 'floor' are unknown ('3') and count as missing.",)
    back = TableExamples(np.array([[0], [2]]), columns=["floor"], words=[["1", "2", "ground"]]).conform(
        numbers("floor")
    )
    np.testing.assert_array_equal([*back], [[1], [np.nan]])


def test_some_columns_may_be_missing_but_not_all() -> None:
    held = TableExamples(np.array([[7.0]]), columns=["age"])
    found = held.conform(PEOPLE, partly=True)
    np.testing.assert_array_equal(found[0], [7, np.nan])
    assert found.notes == ("the table has no column town; these count as missing.",)
    for partly, columns in ((False, ["age"]), (True, ["shoe"])):
        with pytest.raises(DataError, match="no column"):
            TableExamples(np.array([[7.0]]), columns=columns).conform(PEOPLE, partly=partly)


def test_columns_beside_the_features_are_found_where_they_are_wanted() -> None:
    held = TableExamples(np.array([[7.0], [8.0]]), columns=["age"], beside={"town": ["Ulm", None], "id": [1, 2]})
    assert held.columns == ("age",)
    np.testing.assert_array_equal([*held.take(np.array([1, 0])).conform(PEOPLE)], [[8, np.nan], [7, 1]])


def test_joined_tables_know_the_words_of_all() -> None:
    one = TableExamples(np.array([[3, 0], [3, 1]]), columns=["age", "town"], words=[None, ["Bonn", "Ulm"]])
    other = TableExamples(np.array([[0, 4]]), columns=["town", "age"], words=[["Aue"], None])
    both = join([one, other])
    assert isinstance(both, TableExamples)
    assert both.schema == Schema(("age", "town"), (None, ("Aue", "Bonn", "Ulm")))
    assert [row.tolist() for row in both] == [[3, 1], [3, 2], [4, 0]]
    assert np.array_equal(both.keys()[:2], one.keys())
    few = TableExamples(np.array([[4.0]]), columns=["age"], beside={"town": ["Bonn"]})
    assert join([few, one])[0].tolist() == [4, 0], "the larger table says what is a feature"
    floors = TableExamples(np.array([[0], [1]]), columns=["floor"], words=[["1", "ground"]])
    higher = join([floors, TableExamples(np.array([[5]]), columns=["floor"])])
    assert isinstance(higher, TableExamples)
    assert higher.schema.words == (("1", "5", "ground"),)
    low = join([TableExamples(np.array([[5], [6]]), columns=["floor"]), floors.take(np.array([1]))])
    assert isinstance(low, TableExamples)
    assert low.notes == ("1 cells of column 'floor' are unknown ('ground') and count as missing.",)
