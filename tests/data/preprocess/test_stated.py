from __future__ import annotations

from pathlib import Path

import pytest

from graft.data.preprocess import stated as module
from graft.data.preprocess.stated import number, stated, stated_name
from graft.errors import WeightsError


def test_it_lies_alone_or_inside_a_processor(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"preprocessor_config\.json is missing"):
        stated(tmp_path, "feature_extractor")
    (tmp_path / "processor_config.json").write_text('{"feature_extractor": {"a": 1}}')
    assert stated(tmp_path, "feature_extractor") == {"a": 1}
    with pytest.raises(WeightsError, match="is missing"):
        stated(tmp_path, "image_processor")
    (tmp_path / "preprocessor_config.json").write_text('{"a": 2}')
    assert stated(tmp_path, "feature_extractor") == {"a": 2}


def test_damage_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "preprocessor_config.json"
    for content, said in (("{", "is damaged"), ("[" * 100_000, "is damaged"), ("[1]", "holds list")):
        file.write_text(content)
        with pytest.raises(WeightsError, match=said):
            stated(tmp_path, "x")
    monkeypatch.setattr(module, "_LARGEST", 1)
    with pytest.raises(WeightsError, match="is larger than"):
        stated(tmp_path, "x")


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"image_processor_type": "ViTImageProcessorFast"}, "ViTImageProcessor"),
        ({"image_processor_type": "BitImageProcessorPil"}, "BitImageProcessor"),
        ({"feature_extractor_type": "ViTFeatureExtractor"}, "ViTFeatureExtractor"),
        ({}, ""),
    ],
)
def test_names_of_all_times_are_one(values: dict, name: str) -> None:
    assert stated_name(values) == name


def test_numbers_are_numbers() -> None:
    assert number({}, "a", 3) == number({"a": None}, "a", 3) == 3
    assert number({"a": 0.5}, "a", 3) == 0.5
    for wrong in (0, -1, True, "4", float("nan"), 1e7):
        with pytest.raises(WeightsError, match="states a as"):
            number({"a": wrong}, "a", 3)
