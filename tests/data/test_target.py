"""Columns and their roles (columns.py, target.py)."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from graft.contracts import Request, Soft, Sound, TargetData
from graft.data.cells import objects
from graft.data.examples import AudioExamples, ImageExamples, TableExamples, TextExamples
from graft.data.schema import Schema
from graft.data.target import Table, end_to_end, of_one_type, split_word, to_target
from graft.errors import DataError, UnknownNameError

PROSE = [f"this is sentence number {word}" for word in ("one", "two", "three", "four")]
OTHER = [f"that was line number {word} of it" for word in ("one", "two", "three", "four")]
CLASSES = ["x", "y", "x", "y"]


def read(columns: dict[str, Any], root: Path | None = None, labels: Any = None, **request: Any) -> TargetData:
    return to_target(Table(pd.DataFrame(columns), "t.csv", root, labels), Request(**request))


def texts(data: TargetData) -> list[str]:
    assert isinstance(data.examples, TextExamples)
    return list(data.examples)


@pytest.mark.parametrize("text", ["text", "Sentence", "review", "content", "message", "question", "docstring"])
@pytest.mark.parametrize("label", ["label", "Target", "class", "y", "category", "intent"])
def test_columns_are_known_by_their_names(text: str, label: str) -> None:
    data = read({"zz": OTHER, text: PROSE, label: CLASSES, "more": [1, 1, 2, 2]})
    assert texts(data) == PROSE
    assert data.labels is not None
    assert data.labels.tolist() == CLASSES
    assert any(repr(text) in note and "--input" in note for note in data.notes)
    assert any(repr(label) in note and "--target" in note for note in data.notes)


def test_columns_are_known_by_their_content() -> None:
    data = read({"aa": CLASSES, "bb": PROSE})
    assert texts(data) == PROSE
    assert data.labels is not None
    assert data.labels.tolist() == CLASSES
    assert any("--target" in note and "content" in note for note in data.notes)
    assert any("--input" in note and "content" in note for note in data.notes)


def test_options_override_guesses_and_leave_no_note() -> None:
    data = read({"text": PROSE, "other": OTHER, "label": CLASSES, "b": [1, 2, 1, 2]}, input="other", target="b")
    assert texts(data) == OTHER
    assert data.labels is not None
    assert data.labels.tolist() == [1, 2, 1, 2]
    assert data.notes == ()


@pytest.mark.parametrize(
    ("columns", "named", "option"),
    [
        ({"text": PROSE, "review": OTHER, "label": CLASSES}, "'text', 'review'", "--input"),
        ({"aa": PROSE, "bb": OTHER, "label": CLASSES}, "'aa', 'bb'", "--input"),
        ({"image": ["a.png"] * 4, "text": PROSE, "label": CLASSES}, "'image', 'text'", "--input"),
        ({"text": PROSE, "label": CLASSES, "target": CLASSES}, "'label', 'target'", "--target"),
        ({"text": PROSE, "aa": CLASSES, "bb": CLASSES}, "'aa', 'bb'", "--target"),
    ],
)
def test_a_tie_is_an_error_that_names_columns_and_option(columns: dict[str, Any], named: str, option: str) -> None:
    with pytest.raises(DataError, match=f"{named} could each be.*{option}"):
        read(columns)


def test_better_names_win_over_weaker_ones() -> None:
    data = read({"title": OTHER, "text": PROSE, "category": ["u", "u", "v", "v"], "label": CLASSES})
    assert texts(data) == PROSE
    assert data.labels is not None
    assert data.labels.tolist() == CLASSES


@pytest.mark.parametrize("option", ["target", "input", "group_by"])
def test_an_unknown_column_suggests_the_nearest(option: str) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean label"):
        read({"text": PROSE, "label": CLASSES}, **{option: "lable"})


def test_no_label_is_an_error_with_a_remedy() -> None:
    with pytest.raises(DataError, match="--target"):
        read({"text": PROSE, "when": [pd.Timestamp("2020-01-01")] * 4})


@pytest.mark.parametrize("columns", [{"label": CLASSES}, {"label": CLASSES, "id": [7, 8, 9, 10]}])
def test_no_input_is_an_error_with_a_remedy(columns: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="--input"):
        read(columns)


def test_zero_rows_are_an_error() -> None:
    with pytest.raises(DataError, match=r"t\.csv has 0 rows"):
        read({"text": [], "label": []})


def test_columns_of_one_name_are_an_error() -> None:
    frame = pd.DataFrame([["a", "b"]], columns=["text", "text"])
    with pytest.raises(DataError, match="more than one column named 'text'"):
        to_target(Table(frame), Request())


@pytest.mark.parametrize("column", [[1, 2, 3, 4], [1.5, 2.5, None, 1.0]])
def test_a_text_column_of_numbers_is_an_error(column: list[float]) -> None:
    with pytest.raises(DataError, match=r"'text' of t\.csv holds numbers"):
        read({"text": column, "label": CLASSES})
    with pytest.raises(DataError, match=r"'aa' of t\.csv holds numbers"):
        read({"aa": column, "label": CLASSES}, input="aa")


def test_numbers_as_words_are_no_texts_either() -> None:
    with pytest.raises(DataError, match=r"'text' of t\.csv holds numbers"):
        read({"text": ["007", "008", "1", "2"], "label": CLASSES})


def test_an_input_cannot_be_the_label_too() -> None:
    with pytest.raises(DataError, match=r"'text' of t\.csv cannot be the input and the label"):
        read({"text": PROSE, "label": CLASSES}, input="text", target="text")


def test_rows_without_a_label_are_unlabelled_and_integers_stay_integers() -> None:
    data = read({"text": PROSE, "label": pd.array([1, None, 2, 1], dtype="Int64")})
    assert data.labels is not None
    assert data.labels.tolist() == [1, None, 2, 1]
    assert all(type(label) is int for label in data.labels if label is not None)


def test_a_missing_text_is_empty_and_found_by_its_check() -> None:
    data = read({"text": [*PROSE[:3], None], "label": CLASSES})
    assert texts(data)[3] == ""
    assert isinstance(data.examples, TextExamples)
    assert data.examples.check(3) == "the text is empty"


def test_labels_are_not_needed_to_predict() -> None:
    assert read({"text": PROSE, "when": [pd.Timestamp("2020-01-01")] * 4}, labelled=False).labels is None
    assert read({"text": PROSE, "aa": CLASSES}, labelled=False).labels is None
    assert read({"text": PROSE}, labelled=False, target="label").labels is None
    data = read({"text": PROSE, "label": CLASSES}, labelled=False)
    assert data.labels is not None
    assert data.labels.tolist() == CLASSES
    assert texts(read({"text": PROSE, "label": CLASSES, "class": CLASSES}, labelled=False)) == PROSE


def test_short_texts_are_texts_where_nothing_else_is() -> None:
    assert texts(read({"aa": ["Ann", "Bo", "Cy", "Di"], "label": CLASSES})) == ["Ann", "Bo", "Cy", "Di"]


def test_numbers_alone_are_a_table() -> None:
    data = read(
        {"id": [9, 8, 7, 6], "a": [1, 2, 3, None], "b": [0.5, 1, 1, 2], "label": CLASSES, "who": list("pqrs")},
        group_by="who",
    )
    assert isinstance(data.examples, TableExamples)
    assert data.examples.columns == ("a", "b")
    assert data.examples[1].tolist() == [2, 1]
    assert np.isnan(data.examples[3][0])
    assert data.examples.name(2) == "t.csv row 3"
    assert data.groups is not None
    assert data.groups.tolist() == list("pqrs")
    assert any("'id'" in note for note in data.notes)


def test_beside_x_and_z_y_is_a_coordinate() -> None:
    columns = {"x": [1.5, 2, 3, 4], "y": [1, 2, 3, 4.5], "z": [1, 2.5, 3, 4], "kind": CLASSES}
    data = read(columns)
    assert isinstance(data.examples, TableExamples)
    assert data.examples.columns == ("x", "y", "z")


def test_a_number_beside_a_text_is_its_label() -> None:
    data = read({"text": PROSE, "price": [1.5, 2.5, 3.5, 4.5]})
    assert data.labels is not None
    assert data.labels.tolist() == [1.5, 2.5, 3.5, 4.5]


def test_lists_are_several_labels() -> None:
    data = read({"text": PROSE, "aa": [["x"], ["x", "y"], [], ["y"]]})
    assert data.labels is not None
    assert data.labels.tolist() == [("x",), ("x", "y"), (), ("y",)]


def test_groups_are_strings_and_absent_ones_are_empty() -> None:
    data = read({"text": PROSE, "label": CLASSES, "who": pd.array([1, 1, None, 2], dtype="Int64")}, group_by="who")
    assert data.groups is not None
    assert data.groups.tolist() == ["1", "1", "", "2"]


@pytest.mark.parametrize("name", ["split", "Subset"])
def test_a_column_states_the_split(name: str) -> None:
    data = read({"text": PROSE, "label": CLASSES, name: ["Train", "dev", "test", None]})
    assert data.given is not None
    assert data.given.tolist() == ["train", "valid", "test", ""]
    assert any("states the split" in note for note in data.notes)


def test_a_column_of_other_words_is_no_split() -> None:
    assert read({"text": PROSE, "label": CLASSES, "split": ["a", "train", "b", "a"]}).given is None


@pytest.mark.parametrize("name", ["image", "path", "file", "filename", "image_path", "unheard_of"])
def test_image_paths_are_known(name: str, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    Image.new("RGB", (3, 2)).save(tmp_path / "sub/a.PNG")
    data = read({name: ["sub/a.PNG", "b.jpg", str(tmp_path / "sub/a.PNG"), None], "label": CLASSES}, tmp_path)
    assert isinstance(data.examples, ImageExamples)
    assert data.examples[0].size == data.examples[2].size == (3, 2)
    assert [data.examples.name(row) for row in (1, 3)] == ["b.jpg", "t.csv row 4"]
    assert data.examples.check(3) == "no path is given"


def test_a_path_column_of_other_files_is_no_image() -> None:
    assert texts(read({"path": ["a.py", "b.py", "c.py", "d.py"], "text": PROSE, "label": CLASSES})) == PROSE


@pytest.mark.parametrize(
    "path", ["../a.png", "x/../../a.png", "/etc/a.png", "https://example.org/a.png", "file:///a.png"]
)
def test_image_paths_stay_under_the_tables_folder(path: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"row 2: .*a\.png"):
        read({"image": ["ok.png", path, "b.png", "c.png"], "label": CLASSES}, tmp_path)


def test_many_bad_paths_are_counted(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"12 paths(.|\n)*and 2 more"):
        read({"image": ["../a.png"] * 12, "label": ["x", "y"] * 6}, tmp_path)


def test_image_cells_are_images() -> None:
    pixels = np.zeros((4, 5, 3), np.uint8)
    raw = {"bytes": (Path(__file__).parent / "absent").name.encode(), "path": None}
    for cell in (Image.fromarray(pixels), pixels):
        data = read({"anything": [cell, None, cell, cell], "label": CLASSES})
        assert isinstance(data.examples, ImageExamples)
        assert data.examples[0].size == (5, 4)
        assert data.examples.check(1) is not None
        assert data.examples.name(1) == "t.csv row 2"
    assert isinstance(read({"image": [raw] * 4, "label": CLASSES}).examples, ImageExamples)


def test_labels_may_come_apart() -> None:
    data = read({"text": PROSE}, labels=[3, 4, 3, 4])
    assert data.labels is not None
    assert data.labels.tolist() == [3, 4, 3, 4]
    with pytest.raises(DataError, match="4 rows came with 2 labels"):
        read({"text": PROSE}, labels=[1, 2])


def test_words_for_splits() -> None:
    assert [split_word(word) for word in ("TRAIN", "val", "validation", "dev", "test", "cats")] == [
        "train", "valid", "valid", "valid", "test", None,
    ]  # fmt: skip


def test_parts_become_one_dataset() -> None:
    first = read({"text": PROSE, "label": CLASSES, "who": CLASSES}, group_by="who")
    second = TargetData(TextExamples(["new"]), None)
    both = end_to_end([first, second], ["train", "test"], "both")
    assert both.labels is not None
    assert both.groups is not None
    assert both.given is not None
    assert both.labels.tolist() == [*CLASSES, None]
    assert both.groups.tolist() == [*CLASSES, ""]
    assert both.given.tolist() == ["train"] * 4 + ["test"]
    assert end_to_end([second, second], ["train", "test"], "both").labels is None


def test_a_column_that_turns_out_mixed_is_named() -> None:
    cells: list[Any] = [*range(3000), "a"]
    with pytest.raises(DataError, match=r"'aa' of t\.csv holds '.+', and numbers were expected"):
        read({"aa": pd.Series(cells, dtype=object), "label": ["x"] * 3000 + ["y"]})


def test_a_list_far_down_a_column_of_words_is_no_crash() -> None:
    cells: list[Any] = [f"number {row} it is" for row in range(3000)] + [["a"]]
    assert len(read({"text": pd.Series(cells, dtype=object), "label": ["x", "y", "y"] * 1000 + ["y"]}).examples) == 3001


def test_labels_of_several_files_are_words_where_some_are() -> None:
    assert of_one_type(objects([0, "unknown", None, 1])).tolist() == ["0", "unknown", None, "1"]
    assert of_one_type(objects([0, 1.5, None])).tolist() == [0, 1.5, None]
    assert of_one_type(objects([("a",), "b"])).tolist() == [("a",), "b"]


def wav(count: int = 300) -> bytes:
    soundfile = pytest.importorskip("soundfile", reason="soundfile, which decodes sounds, is not installed")
    buffer = io.BytesIO()
    soundfile.write(buffer, np.full(count, 0.25), 8000, format="WAV")
    return buffer.getvalue()


def test_a_column_of_sound_paths(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(wav())
    data = read({"recording": ["a.wav", "b.WAV", "", "c.flac"], "label": CLASSES}, tmp_path)
    assert isinstance(data.examples, AudioExamples)
    assert data.examples[0].samples.shape == (300,)
    assert data.examples.name(3) == "c.flac"
    assert data.examples.check(2) == "no path is given"
    with pytest.raises(DataError, match=r"row 1: \.\./a\.wav lies outside"):
        read({"recording": ["../a.wav", "b.wav", "c.wav", "d.wav"], "label": CLASSES}, tmp_path)


def test_cells_that_are_sounds() -> None:
    samples = np.zeros(300, np.float32)
    for cell in (Sound(samples, 8000), (samples, 8000), wav(), {"bytes": wav(), "path": None}):
        data = read({"b": [cell] * 4, "label": CLASSES})
        assert isinstance(data.examples, AudioExamples)
        assert data.examples[2].samples.shape == (300,)
    gap = read({"b": [wav(), None, wav(), wav()], "label": CLASSES}).examples
    assert isinstance(gap, AudioExamples)
    assert "not a sound" in str(gap.check(1))


def test_images_and_sounds_in_one_table_are_a_question() -> None:
    with pytest.raises(DataError, match="'photo', 'sound' could each be the image or sound; name one with --input"):
        read({"photo": ["a.png"] * 4, "sound": ["a.wav"] * 4, "label": CLASSES})


def many(**more: Any) -> dict[str, Any]:
    """A table of forty houses."""
    rows = range(40)
    return {
        "size": [50 + row for row in rows],
        "kind": [("house", "flat ", " house", "")[row % 4] for row in rows],
        "garden": [row % 3 == 0 for row in rows],
        "street": [f"Elm {row}" for row in rows],
        "house_id": [f"h{row}" for row in rows],
        "price": [1000.5 + row for row in rows],
        **more,
    }


def test_numbers_and_words_that_come_back_are_a_table() -> None:
    data = read(many(), target="price")
    assert isinstance(data.examples, TableExamples)
    assert data.examples.schema == Schema(("size", "kind", "garden"), (None, ("flat", "house"), None))
    np.testing.assert_array_equal([*data.examples][:4], [[50, 1, 1], [51, 0, 0], [52, 1, 0], [53, np.nan, 1]])
    (note,) = data.notes
    assert "'street', 'house_id'" in note
    assert "left out" in note


def test_words_alone_are_a_table_where_there_are_several() -> None:
    cap = ["flat", "round", "flat", "bell"] * 5
    data = read({"cap": cap, "smell": ["none", "foul"] * 10, "label": CLASSES * 5})
    assert isinstance(data.examples, TableExamples)
    assert data.examples.columns == ("cap", "smell")
    one = read({"cap": ["flat"], "smell": ["foul"]}, labelled=False)
    assert isinstance(one.examples, TableExamples)
    assert one.examples.schema.words == (("flat",), ("foul",))
    assert texts(read({"cap": cap, "label": CLASSES * 5})) == cap


def test_long_words_that_come_back_often_are_classes_and_no_text() -> None:
    told = ["no account at this bank", "all loans paid back duly"] * 40
    data = read({"history": told, "amount": range(80), "label": CLASSES * 20})
    assert isinstance(data.examples, TableExamples)
    assert data.examples.columns == ("history", "amount")


def test_a_few_rows_are_read_as_the_many_were() -> None:
    large = read(many(), target="price").examples
    small = read({name: cells[:3] for name, cells in many().items()}, target="price").examples
    assert isinstance(large, TableExamples)
    assert isinstance(small, TableExamples)
    assert small.columns == ("size",), "so few rows do not tell that words come back"
    alike = small.conform(large.schema)
    np.testing.assert_array_equal([*alike], [*large][:3])
    assert np.array_equal(alike.keys(), large.keys()[:3])
    assert not small.offers("price"), "a label is no feature"
    assert read(many(price=[1.5] * 40), labelled=False).examples.offers("price")  # type: ignore[attr-defined]


def test_parts_of_a_table_have_one_schema_and_say_what_is_lost() -> None:
    parts = [read(many(), target="price"), read(many(size=["?"] + ["9"] * 39), target="price")]
    both = end_to_end(parts, ["train", "test"], "both")
    assert isinstance(both.examples, TableExamples)
    assert both.examples.columns == ("size", "kind", "garden")
    assert both.examples[41][0] == 9
    assert any("1 cells of column 'size' are unknown ('?')" in note for note in both.notes)


def test_several_targets_are_probabilities_of_classes() -> None:
    shares = {"cat": [0.7, 0.2, 0.5, float("nan")], "dog": [0.3, 0.8, 0.5, float("nan")]}
    data = read({"text": PROSE, **shares, "label": CLASSES}, target=("cat", "dog"))
    assert texts(data) == PROSE
    assert data.labels is not None
    assert data.labels.tolist() == [
        Soft((("cat", 0.7), ("dog", 0.3))),
        Soft((("cat", 0.2), ("dog", 0.8))),
        Soft((("cat", 0.5), ("dog", 0.5))),
        None,
    ]
    table = read({"width": [1.5, 2.5, 3.5, 4.5], **shares}, target=("cat", "dog"))
    assert isinstance(table.examples, TableExamples)
    assert table.examples.columns == ("width",)
    marks = read({"text": PROSE, "sun": [1, 0, 1, 0], "sea": [0, 0, 1, 1]}, target=("sun", "sea"))
    assert marks.labels is not None
    assert marks.labels.tolist() == [("sun",), (), ("sun", "sea"), ("sea",)]
    unread = read({"text": PROSE, **shares}, target=("cat", "dog"), labelled=False)
    assert unread.labels is None


def test_several_targets_that_are_none_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="'cow'"):
        read({"text": PROSE, "cat": [1, 0, 1, 0]}, target=("cat", "cow"))
    with pytest.raises(DataError, match=r"column 'cat' of t\.csv holds '.+', and numbers were expected"):
        read({"text": PROSE, "cat": ["1", "x", "0", "1"], "dog": [0, 1, 1, 0]}, target=("cat", "dog"))
    with pytest.raises(DataError, match=r"row 2: 0\.5 \+ 0\.2 = 0\.7"):
        read({"text": PROSE, "cat": [0.5] * 4, "dog": [0.5, 0.2, 0.5, 0.5]}, target=("cat", "dog"))


def test_a_confidence_is_no_feature_and_no_label() -> None:
    sure = [1.0, 0.5, 0.0, 2.0]
    data = read({"width": [1.5, 2.5, 3.5, 4.5], "score": sure, "kind": CLASSES}, confidence="score", target="kind")
    assert isinstance(data.examples, TableExamples)
    assert data.examples.columns == ("width",)
    assert data.weights is not None
    assert data.weights.dtype == np.float64
    assert data.weights.tolist() == sure
    guessed = read({"text": PROSE, "score": sure, "kind": CLASSES}, confidence="score")
    assert guessed.labels is not None
    assert guessed.labels.tolist() == CLASSES
    without = read({"text": PROSE, "sure": [1.0, None, 1.0, 1.0], "label": ["x", None, "y", "x"]}, confidence="sure")
    assert without.weights is not None
    assert without.weights.tolist() == [1, 0, 1, 1]


@pytest.mark.parametrize(
    ("sure", "said"),
    [
        ([1, -1, 1, float("inf")], r"no number of 0 or more in 2 rows: row 2 \(-1.0\), row 4 \(inf\)"),
        ([1, None, 1, 1], r"1 rows: row 2 \(nan\)"),
        ([0, 0, 0, 0], "is 0 in every row"),
        (["a", "b", "c", "d"], "holds 'a', and numbers were expected"),
    ],
)
def test_a_confidence_is_a_number(sure: list[Any], said: str) -> None:
    with pytest.raises(DataError, match=said):
        read({"text": PROSE, "label": CLASSES, "sure": sure}, confidence="sure")


def test_an_unknown_confidence_is_an_error() -> None:
    with pytest.raises(UnknownNameError, match="'sur'"):
        read({"text": PROSE, "label": CLASSES, "sure": [1, 1, 1, 1]}, confidence="sur")


def test_parts_without_confidences_count_in_full() -> None:
    parts = [
        read({"text": PROSE, "label": CLASSES, "sure": [1, 0.5, 0, 2]}, confidence="sure"),
        read({"text": OTHER, "label": CLASSES}),
    ]
    whole = end_to_end(parts, ["train", "test"], "both")
    assert whole.weights is not None
    assert whole.weights.tolist() == [1, 0.5, 0, 2, 1, 1, 1, 1]
    assert end_to_end(parts[1:], ["train"], "one").weights is None
