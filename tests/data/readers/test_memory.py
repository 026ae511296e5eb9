from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
from PIL import Image

from graft.contracts import Request, Soft, Sound, TargetData
from graft.data.readers.memory import Memory
from graft.errors import DataError, RequestError

TEXTS = ["this is the first", "and here the second", "then comes the third", "last of all the fourth"]
CLASSES = ["x", "y", "x", "y"]


def read(data: Any, **request: Any) -> TargetData:
    assert Memory().accepts(data)
    return Memory().read(data, Request(**request))


def labels(data: TargetData) -> list[Any]:
    assert data.labels is not None
    held: list[Any] = data.labels.tolist()
    return held


@pytest.mark.parametrize("kind", [list, tuple, np.array, pd.Series, lambda x: np.array(x, dtype=object)])
def test_texts(kind: Any) -> None:
    data = read(kind(TEXTS))
    assert data.examples.modality == "text"
    assert list(data.examples) == TEXTS
    assert data.labels is None
    assert data.examples.name(1) == "row 2"


@pytest.mark.parametrize("kind", [list, tuple, np.array, pd.Series, lambda x: np.array(x, dtype=object)])
def test_a_pair_brings_labels(kind: Any) -> None:
    data = read((TEXTS, kind(CLASSES)))
    assert labels(data) == CLASSES
    assert all(type(label) is str for label in labels(data))


def test_two_texts_are_no_pair() -> None:
    assert list(read(("one text", "two texts")).examples) == ["one text", "two texts"]


def test_numbers_as_labels_stay_plain() -> None:
    assert [type(label) for label in labels(read((TEXTS, np.array([1, 2, 1, 2]))))] == [int] * 4
    assert labels(read((TEXTS, torch.tensor([1.5, 2, 1, 2])))) == [1.5, 2, 1, 2]
    assert labels(read((TEXTS, [1, None, float("nan"), 2]))) == [1, None, None, 2]
    assert labels(read((TEXTS, np.array([[1], [2], [1], [2]])))) == [1, 2, 1, 2]


def test_rows_of_zero_and_one_are_several_labels() -> None:
    marks = np.array([[1, 0], [1, 1], [0, 0], [0, 1]])
    assert labels(read((TEXTS, marks))) == [("0",), ("0", "1"), (), ("1",)]
    assert labels(read((TEXTS, pd.DataFrame(marks, columns=["a", "b"]))))[1] == ("a", "b")


def test_rows_of_probabilities_are_divided_labels() -> None:
    shares = np.array([[0.5, 0.5], [0.9, 0.1], [0, 1], [1, 0]])
    assert labels(read((TEXTS, shares)))[1] == Soft(((0, 0.9), (1, 0.1)))
    assert labels(read((TEXTS, pd.DataFrame(shares, columns=["a", "b"]))))[2] == Soft((("a", 0.0), ("b", 1.0)))
    whole = np.eye(2)[[0, 1, 1, 0]]
    assert labels(read((TEXTS, whole), task="classification"))[3] == Soft(((0, 1.0), (1, 0.0)))
    cells = [{"a": 1.0}, {"a": 0.25, "b": 0.75}, None, "b"]
    assert labels(read((TEXTS, cells))) == [Soft((("a", 1.0),)), Soft((("a", 0.25), ("b", 0.75))), None, "b"]
    rounded = read((pd.DataFrame({"text": TEXTS}), np.full((4, 3), 0.3333)))
    assert any("divided by their sum" in note for note in rounded.notes)
    assert any("divided by their sum" in note for note in read((TEXTS, np.full((4, 3), 0.3333))).notes)


def test_other_shapes_of_labels_are_refused() -> None:
    with pytest.raises(DataError, match=r"labels of shape \(4, 2, 1\)"):
        read((TEXTS, np.full((4, 2, 1), 0.5)))
    with pytest.raises(DataError, match="4 rows are no probabilities"):
        read((TEXTS, np.full((4, 2), 3.5)))


def test_a_column_of_confidences_is_one_of_a_table() -> None:
    frame = pd.DataFrame({"text": TEXTS, "label": list("abab"), "sure": [1, 0.5, 0, 2]})
    weights = read(frame, confidence="sure").weights
    assert weights is not None
    assert weights.tolist() == [1, 0.5, 0, 2]
    with pytest.raises(RequestError, match="--confidence name columns"):
        read((TEXTS, list("abab")), confidence="sure")


@pytest.mark.parametrize("X", [TEXTS, pd.DataFrame({"text": TEXTS})])
def test_one_label_a_row(X: Any) -> None:
    with pytest.raises(DataError, match="4 rows came with 2 labels"):
        read((X, ["x", "y"]))


def test_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("RGB", (3, 2)).save(tmp_path / "a.png")
    given = [tmp_path / "a.png", tmp_path / "b.png"]
    for paths in (given, [str(path) for path in given], np.array([str(path) for path in given])):
        data = read(paths)
        assert data.examples.modality == "image"
        assert data.examples[0].size == (3, 2)
        assert data.examples.name(1) == str(tmp_path / "b.png")
    monkeypatch.chdir(tmp_path)
    assert read("a.png").examples[0].size == (3, 2)
    assert read(Path("a.png")).examples[0].size == (3, 2)
    with pytest.raises(DataError, match="none of these files exists"):
        read(["c.png", "d.png"])


def test_images() -> None:
    pixels = np.arange(2 * 4 * 5 * 3, dtype=np.uint8).reshape(2, 4, 5, 3)
    buffer = io.BytesIO()
    Image.fromarray(pixels[0]).save(buffer, "PNG")
    for images in (
        pixels,
        list(pixels),
        [Image.fromarray(each) for each in pixels],
        pixels[..., 0],
        [buffer.getvalue()],
    ):
        data = read(images)
        assert data.examples.modality == "image"
        assert data.examples[0].size == (5, 4)
    assert np.array_equal(np.asarray(read(pixels).examples[1]), pixels[1])


@pytest.mark.parametrize(
    "X",
    [
        np.eye(3),
        [[1, 0], [0, 1]],
        [(1.5, 2), (3, 4)],
        [np.zeros(2)],
        torch.eye(2),
        np.eye(2, dtype=object),
        np.eye(2, dtype=np.uint8),
    ],
)
def test_numbers_are_a_table(X: Any) -> None:
    data = read(X)
    assert data.examples.modality == "table"
    assert data.examples[0].dtype == np.float32


@pytest.mark.parametrize(
    ("X", "message"),
    [
        ([], "0 rows"),
        (np.zeros((0, 3)), "0 rows"),
        ([1, 2, 3], "row 1 is of type int"),
        (np.array([1, 2]), "row 1 is of type int"),
        (["a", 2], "row 2 is of type int"),
        (["a", None], "row 2 is nothing"),
        ([[1, 2], [1]], "not numbers of one length"),
        (np.zeros((2, 4, 4, 3)), "uint8"),
        (np.zeros((2, 3, 8, 8), np.uint8), "channels last"),
        (np.array([["a", "b"]], dtype=object), "DataFrame"),
        (scipy.sparse.eye(3), "sparse"),
        (np.array(3), "single value"),
        ([{1, 2}], "row 1 is of type set"),
    ],
)
def test_what_cannot_be_rows_says_why(X: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(X)


@pytest.mark.parametrize("option", ["target", "input", "group_by"])
def test_columns_have_no_meaning_for_lists(option: str) -> None:
    with pytest.raises(RequestError, match="name columns"):
        read(TEXTS, **{option: "x"})


@pytest.mark.parametrize("labelled", ["label", None])
def test_frames_are_read_as_tables_are(labelled: str | None) -> None:
    frame = pd.DataFrame({"text": TEXTS, "label": CLASSES, "who": [1, 1, 2, 2]}, index=[5, 3, 9, 1])
    data = read(frame, group_by="who", target=labelled)
    assert labels(data) == CLASSES
    assert data.groups is not None
    assert data.groups.tolist() == ["1", "1", "2", "2"]
    assert list(data.examples) == TEXTS


def test_a_frame_with_labels_apart() -> None:
    data = read((pd.DataFrame({"a": [1, 2, 3, 4], "b": [0, 0, 1, 1]}), pd.Series(CLASSES)))
    assert labels(data) == CLASSES
    assert data.examples[1].tolist() == [2, 0]


def test_records_and_columns_are_frames() -> None:
    records = [{"text": text, "label": label} for text, label in zip(TEXTS, CLASSES, strict=True)]
    assert labels(read(records)) == CLASSES
    assert labels(read({"text": TEXTS, "label": CLASSES})) == CLASSES


def test_a_mapping_of_parts_brings_the_split() -> None:
    data = read({"train": (TEXTS, CLASSES), "validation": (["one more text"], ["x"]), "test": ["unknown"]})
    assert data.given is not None
    assert data.given.tolist() == ["train"] * 4 + ["valid", "test"]
    assert labels(data) == [*CLASSES, "x", None]


def test_hub_datasets() -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])})
    held = datasets.Dataset.from_dict({"text": TEXTS, "label": [1, 0, -1, 1]}, features=features)
    data = read(held)
    assert list(data.examples) == TEXTS
    assert labels(data) == ["yes", "no", None, "yes"]
    both = read(datasets.DatasetDict({"train": held, "test": held.select([0])}))
    assert both.given is not None
    assert both.given.tolist() == ["train"] * 4 + ["test"]
    several = datasets.Features({"text": features["text"], "tags": datasets.Sequence(features["label"])})
    tagged = datasets.Dataset.from_dict({"text": TEXTS, "tags": [[1], [0, 1], [], [0]]}, features=several)
    assert labels(read(tagged, target="tags")) == [("yes",), ("no", "yes"), (), ("no",)]
    with pytest.raises(DataError, match="without streaming"):
        read(held.to_iterable_dataset())


def test_hub_images_are_read_when_asked_for() -> None:
    datasets = pytest.importorskip("datasets")
    images = [Image.new("RGB", (3, 2), (number, 0, 0)) for number in range(4)]
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["no", "yes"])})
    data = read(datasets.Dataset.from_dict({"image": images, "label": [0, 1, 0, 1]}, features=features))
    assert data.examples.modality == "image"
    assert [data.examples[row].getpixel((0, 0))[0] for row in range(4)] == [0, 1, 2, 3]
    assert labels(data) == ["no", "yes", "no", "yes"]
    assert len(np.unique(data.examples.keys(), axis=0)) == 4


@pytest.mark.parametrize("other", ["flowers", "a.csv", None, 3])
def test_other_data_are_not_accepted(other: Any) -> None:
    assert not Memory().accepts(other)


TONE = np.sin(np.arange(400) / 9).astype(np.float32)


def test_sounds() -> None:
    for rows in ([(TONE, 8000)] * 4, [Sound(TONE, 8000)] * 4, ((TONE, 8000), Sound(TONE, 8000))):
        data = read(rows)
        assert data.examples.modality == "audio"
        assert data.examples[1].rate == 8000
    assert labels(read(([(TONE, 8000)] * 4, CLASSES))) == CLASSES
    for one in (Sound(TONE, 8000), (TONE, 8000)):
        assert len(read(one).examples) == 1
    with pytest.raises(DataError, match=r"a sound \(samples, rate\)"):
        read([object()])


def wav() -> bytes:
    soundfile = pytest.importorskip("soundfile", reason="soundfile, which decodes sounds, is not installed")
    buffer = io.BytesIO()
    soundfile.write(buffer, TONE, 8000, format="WAV")
    return buffer.getvalue()


def test_sound_files(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.wav" for number in range(3)]
    for path in paths:
        path.write_bytes(wav())
    for rows in (paths, [*map(str, paths)], paths[0], str(paths[0]), [wav()] * 2):
        data = read(rows)
        assert data.examples.modality == "audio"
        assert data.examples[0].samples.shape == (400,)
    assert read([str(path) for path in paths]).examples.name(1) == str(paths[1])
    with pytest.raises(DataError, match="none of these files exists"):
        read(["a.wav", "b.wav"])


def test_hub_sounds_are_read_when_asked_for() -> None:
    datasets = pytest.importorskip("datasets")
    held = datasets.Dataset.from_dict({"audio": [{"bytes": wav(), "path": "a.wav"}] * 2, "label": ["x", "y"]})
    data = read(held.cast_column("audio", datasets.Audio()))
    assert data.examples.modality == "audio"
    assert data.examples[1].rate == 8000
    assert labels(data) == ["x", "y"]
