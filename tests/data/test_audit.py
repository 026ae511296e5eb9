from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from graft.contracts import Soft, TargetData
from graft.data.audit import audit, drop
from graft.data.cells import objects
from graft.data.examples import ImageExamples, TableExamples, TextExamples
from graft.data.examples import given as module
from graft.errors import DataError


def data(texts: list[str], labels: list[Any] | None = None, given: list[str] | None = None) -> TargetData:
    return TargetData(
        TextExamples(texts, origin="t.csv"),
        None if labels is None else objects(labels),
        given=None if given is None else objects(given),
    )


def test_sound_data_have_no_findings() -> None:
    found = audit(data(["a", "b", "c", "d"], ["x", "x", "y", "y"]))
    assert found.sentences() == ()
    assert found.classes == (("x", 2), ("y", 2))
    assert found.document()["classes"] == [{"label": "x", "rows": 2}, {"label": "y", "rows": 2}]


def test_duplicates_conflicts_and_leaks() -> None:
    found = audit(
        data(
            ["a", "b", "a", "c", "b", "c", "a"],
            ["x", "x", "x", "y", "y", None, "x"],
            ["train", "train", "train", "train", "test", "test", "train"],
        )
    )
    assert found.duplicates == ((0, 2, 6), (1, 4), (3, 5))
    assert found.conflicts == ((1, 4),)
    assert found.leaks == ((1, 4), (3, 5))
    assert found.unlabelled == 1
    assert found.sentences() == (
        "4 exact duplicates",
        "1 set of equal rows with different labels, such as t.csv row 2 and t.csv row 5",
        "2 sets of equal rows on both sides of the split, such as t.csv row 2 and t.csv row 5",
        "1 row without a label",
    )
    document = json.loads(json.dumps(found.document()))
    assert document["conflicts"] == [["t.csv row 2", "t.csv row 5"]]
    assert document["unlabelled"] == 1


def test_several_labels_are_compared_as_sets_and_counted_each() -> None:
    found = audit(data(["a", "a", "b", "b"], [("x", "y"), ("y", "x"), ("x",), ()]))
    assert found.conflicts == ((2, 3),)
    assert found.classes == (("x", 3), ("y", 2))


def test_numbers_have_no_classes() -> None:
    assert audit(data(["a", "b"], [0.5, 1.5])).classes == ()


def test_classes_with_one_row_are_named() -> None:
    found = audit(data(["a", "b", "c"], ["x", "x", "y"]))
    assert found.singles == ("y",)
    assert found.sentences() == ("1 of 2 classes with a single row (y)",)


def test_unreadable_rows_are_listed_and_the_rest_is_still_compared(tmp_path: Path) -> None:
    Image.new("RGB", (40, 30), "red").save(tmp_path / "a.jpg")
    raw = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "b.jpg").write_bytes(raw)
    (tmp_path / "cut.jpg").write_bytes(raw[: len(raw) // 2])
    (tmp_path / "page.jpg").write_text("<html>")
    paths = ["a.jpg", "cut.jpg", "absent.jpg", "b.jpg", "page.jpg"]
    held = TargetData(ImageExamples(paths, root=tmp_path), objects(["x", "x", "y", "y", "y"]))
    found = audit(held, threads=3)
    assert [row for row, _, _ in found.unreadable] == [1, 2, 4]
    assert [name for _, name, _ in found.unreadable] == ["cut.jpg", "absent.jpg", "page.jpg"]
    assert found.conflicts == ((0, 3),)
    assert found.sentences()[0] == f"3 rows cannot be read, such as cut.jpg ({found.unreadable[0][2]})"
    assert found.document()["unreadable"][1] == {"name": "absent.jpg", "reason": "there is no such file"}
    kept = drop(held, [row for row, _, _ in found.unreadable])
    assert [kept.examples.name(row) for row in range(2)] == ["a.jpg", "b.jpg"]


def test_each_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[str] = []
    real = module.read_row_file
    monkeypatch.setattr(module, "read_row_file", lambda path: reads.append(path) or real(path))
    for number in range(5):
        Image.new("RGB", (3, 2), (number, 0, 0)).save(tmp_path / f"{number}.png")
    held = TargetData(ImageExamples([f"{number}.png" for number in range(5)], root=tmp_path), None)
    audit(held, threads=2)
    held.examples.keys()
    assert len(reads) == 5


def test_empty_texts_and_infinite_numbers_cannot_be_used() -> None:
    assert audit(data(["a", " "])).unreadable == ((1, "t.csv row 2", "the text is empty"),)
    assert len(audit(TargetData(TableExamples(np.array([[1.0], [np.inf]])), None)).unreadable) == 1


def test_foreign_examples_are_read() -> None:
    class Foreign:
        modality = "text"

        def __len__(self) -> int:
            return 2

        def __getitem__(self, row: int) -> str:
            if row:
                raise DataError("it is gone")
            return "a"

        def name(self, row: int) -> str:
            return f"row {row}"

        def keys(self) -> np.ndarray:
            return np.zeros((1, 16), np.uint8)

        def take(self, rows: np.ndarray) -> Foreign:
            return self

    assert audit(TargetData(Foreign(), None)).unreadable == ((1, "row 1", "it is gone"),)


def test_progress_counts_every_row() -> None:
    class Counts:
        done = 0

        @contextmanager
        def step(self, label: str, total: int) -> Any:
            self.total = total

            def advance(done: int = 1) -> None:
                self.done += done

            yield advance

    counts = Counts()
    audit(data([f"{number}" for number in range(200)]), progress=counts)
    assert (counts.done, counts.total) == (200, 200)


def test_what_is_dropped_is_said() -> None:
    held = TargetData(
        TextExamples(list("abc")), objects(["x", "y", None]), objects(["1", "2", "3"]), objects(["train", "test", ""])
    )
    left = drop(held, np.array([1]))
    assert list(left.examples) == ["a", "c"]
    assert left.labels is not None
    assert left.groups is not None
    assert left.given is not None
    assert (left.labels.tolist(), left.groups.tolist(), left.given.tolist()) == (["x", None], ["1", "3"], ["train", ""])
    assert left.notes == ("1 of 3 rows left out as unusable.",)
    assert drop(held, []) is held
    assert drop(TargetData(TextExamples(["a", "b"]), None), [0]).labels is None


def test_dropping_everything_is_an_error() -> None:
    with pytest.raises(DataError, match="none of the 2 rows"):
        drop(data(["a", "b"]), [0, 1])


def test_divided_labels_count_as_their_likeliest_class() -> None:
    soft = [Soft((("x", share), ("y", 1 - share))) for share in (0.9, 0.6, 0.2, 0.7)]
    found = audit(data(["a", "a", "a", "b"], soft))
    assert found.classes == (("x", 3), ("y", 1))
    assert found.conflicts == ((0, 1, 2),)
    json.dumps(found.document())
    assert audit(data(["a", "a"], soft[:2])).conflicts == ()


def test_what_is_dropped_takes_its_confidence_along() -> None:
    held = replace(data(["a", "b", "c"], ["x", "y", "x"]), weights=np.array([1.0, 2.0, 3.0]))
    kept = drop(held, [1]).weights
    assert kept is not None
    assert kept.tolist() == [1.0, 3.0]
