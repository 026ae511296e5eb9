from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from graft.contracts import Request
from graft.data.examples import ImageExamples
from graft.data.readers.image_folder import ImageFolder
from graft.data.readers.table_folder import TableFolder
from graft.errors import DataError, UnknownNameError

TRAIN = "text,label\na long one,x\na short one,y\n"
TEST = "text,label\nanother one,x\n"


def test_names_of_files_are_the_split(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text(TRAIN)
    (tmp_path / "dev.jsonl").write_text('{"text": "third", "label": "y"}\n')
    (tmp_path / "Test.tsv").write_text(TEST.replace(",", "\t"))
    assert TableFolder().accepts(str(tmp_path))
    assert not ImageFolder().accepts(tmp_path)
    data = TableFolder().read(str(tmp_path), Request())
    assert data.given is not None
    assert data.labels is not None
    assert data.given.tolist() == ["train", "train", "valid", "test"]
    assert data.labels.tolist() == ["x", "y", "y", "x"]
    assert [data.examples.name(row) for row in (1, 3)] == ["train.csv row 2", "Test.tsv row 1"]
    assert data.origin == f"{tmp_path}/"
    assert len(data.notes) == len(set(data.notes))


def test_a_test_table_may_lack_labels(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text(TRAIN)
    (tmp_path / "test.csv").write_text("text\nwho knows\n")
    data = TableFolder().read(tmp_path, Request())
    assert data.labels is not None
    assert data.labels.tolist() == ["x", "y", None]


def test_every_part_is_read_by_the_columns_of_the_first(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text(
        "aa,bb\nthis is a text,x\nthis is one more,y\nand so is this,x\nand this one,y\n"
    )
    (tmp_path / "test.csv").write_text("aa,bb\nshort,x\n")
    data = TableFolder().read(tmp_path, Request())
    assert list(data.examples)[-1] == "short"
    (tmp_path / "test.csv").write_text("other,bb\nshort,x\n")
    with pytest.raises(UnknownNameError, match="'aa'"):
        TableFolder().read(tmp_path, Request())


def test_labels_are_words_where_a_part_has_words(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("text,label\na b c,0\nb c d,unknown\nc d e,\n")
    (tmp_path / "test.csv").write_text("text,label\nd e f,0\n")
    data = TableFolder().read(tmp_path, Request())
    assert data.labels is not None
    assert data.labels.tolist() == ["0", "unknown", None, "0"]


def test_groups_of_every_part_are_read(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("text,label,who\na b c,x,1\nb c d,y,2\n")
    (tmp_path / "test.csv").write_text("text,label,who\nc d e,x,3\n")
    data = TableFolder().read(tmp_path, Request(group_by="who"))
    assert data.groups is not None
    assert data.groups.tolist() == ["1", "2", "3"]


def test_image_paths_start_from_the_folder(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (3, 2)).save(tmp_path / "pictures/a.png")
    (tmp_path / "train.csv").write_text("path,label\npictures/a.png,x\npictures/b.png,y\n")
    data = TableFolder().read(tmp_path, Request())
    assert isinstance(data.examples, ImageExamples)
    assert data.examples[0].size == (3, 2)


def test_two_tables_for_one_part_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "val.csv").write_text(TRAIN)
    (tmp_path / "dev.csv").write_text(TRAIN)
    with pytest.raises(DataError, match=r"dev\.csv, val\.csv"):
        TableFolder().read(tmp_path, Request())


@pytest.mark.parametrize("other", ["absent", "notes.txt", ["a"]])
def test_other_data_are_not_accepted(other: object, tmp_path: Path) -> None:
    assert not TableFolder().accepts(other)
    assert not TableFolder().accepts(tmp_path)


def test_parts_may_lack_confidences_and_probabilities(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("text,cat,dog,sure\na long one,0.6,0.4,0.5\na short one,0.1,0.9,1\n")
    (tmp_path / "test.csv").write_text("text,cat,dog\nanother one,1,0\n")
    data = TableFolder().read(tmp_path, Request(target=("cat", "dog"), confidence="sure", task="classification"))
    assert data.labels is not None
    assert [label.likeliest for label in data.labels] == ["cat", "dog", "cat"]
    assert data.weights is not None
    assert data.weights.tolist() == [0.5, 1, 1]
    (tmp_path / "test.csv").write_text("text,cat\nanother one,1\n")
    data = TableFolder().read(tmp_path, Request(target=("cat", "dog")))
    assert data.labels is not None
    assert data.labels[-1] is None
