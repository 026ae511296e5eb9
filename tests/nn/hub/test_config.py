from __future__ import annotations

from pathlib import Path

import pytest

from graft.errors import UnknownNameError, WeightsError
from graft.nn.hub import config as hub_config
from graft.nn.hub.config import MODALITIES, classes, clean, modality_of, read_json

TINY = {
    "model_type": "bert",
    "vocab_size": 20,
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 8,
}


def test_what_could_name_code_is_dropped_at_any_depth() -> None:
    hostile = {
        **TINY,
        "_attn_implementation_internal": "stranger/kernel",
        "_name_or_path": "x",
        "attn_implementation": "stranger/kernel",
        "experts_implementation": "stranger/kernel",
        "auto_map": {"AutoModel": "evil.Model"},
        "trust_remote_code": True,
        "use_kernels": True,
        "quantization_config": {"quant_method": "x"},
        "fusion_config": {"x": True},
        "custom_pipelines": {"a": 1},
        "torch_dtype": "float16",
        "return_dict": False,
        "text_config": {"_attn_implementation": "x", "trust_remote_code": True, "hidden_size": 3},
        "listed": [{"auto_map": 1, "kept": 2}],
    }
    assert clean(hostile) == {**TINY, "text_config": {"hidden_size": 3}, "listed": [{"kept": 2}]}


def test_encoders_stay_encoders() -> None:
    assert clean({**TINY, "is_decoder": True, "add_cross_attention": True})["is_decoder"] is False


def test_sizes_that_sound_like_code_are_kept() -> None:
    config = {"model_type": "wav2vec2", "conv_kernel": [10, 3], "tdnn_kernel": [5], "mask_time_prob": 0.05}
    assert clean(config) == {**config, "mask_time_prob": 0.0}


@pytest.mark.parametrize("kind", ["t5", None, "bret", ["bert"]])
def test_other_architectures_are_refused_with_those_that_are_built(kind: object) -> None:
    with pytest.raises(UnknownNameError, match="encoder that Graft builds") as caught:
        clean({**TINY, "model_type": kind})
    assert set(caught.value.known) > {"bert", "llama", "vit", "clip", "wav2vec2"}


@pytest.mark.parametrize(
    ("kind", "modality"),
    [("bert", "text"), ("qwen3", "text"), ("dinov2", "image"), ("siglip", "image"), ("whisper", "audio")],
)
def test_the_kind_says_what_is_read(kind: str, modality: str) -> None:
    assert modality_of({"model_type": kind}) == modality


def test_a_kind_reads_one_thing() -> None:
    assert len(frozenset().union(*MODALITIES.values())) == sum(len(kinds) for kinds in MODALITIES.values())


def test_of_two_towers_the_one_for_images_is_taken() -> None:
    config = {
        "model_type": "clip",
        "architectures": ["CLIPForImageClassification"],
        "id2label": {"0": "a"},
        "projection_dim": 4,
        "text_config": {"hidden_size": 99},
        "vision_config": {"model_type": "clip_vision_model", "hidden_size": 8, "id2label": {"0": "x", "1": "y"}},
    }
    assert clean(config) == {
        "model_type": "clip_vision_model",
        "architectures": ["CLIPForImageClassification"],
        "id2label": {"0": "a"},
        "hidden_size": 8,
    }
    with pytest.raises(WeightsError, match="vision_config is 3"):
        clean({**config, "vision_config": 3})


def test_a_classifier_is_known_by_its_class() -> None:
    labels = {"architectures": ["ViTForImageClassification"], "id2label": {"0": "a", "1": "b", "2": "c"}}
    assert classes(labels, "ForImageClassification") == 3
    assert classes(labels, "ForSequenceClassification") == 0
    assert classes({"architectures": ["XForImageClassification"], "num_labels": 5}, "ForImageClassification") == 5
    assert classes({"architectures": ["XForImageClassification"]}, "ForImageClassification") == 2
    assert classes({"architectures": "ViTForImageClassification"}, "ForImageClassification") == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("hidden_size", 65_537),
        ("num_hidden_layers", 1_001),
        ("vocab_size", 10_000_001),
        ("intermediate_size", 1_000_001),
        ("max_position_embeddings", 1e6),
        ("num_attention_heads", True),
        ("n_embd", "large"),
        ("depths", [2, 2, 100_000]),
        ("conv_dim", [512, None]),
    ],
)
def test_absurd_sizes_are_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(WeightsError, match=f"{name} is .*; expected a whole number up to"):
        clean({**TINY, name: value})


def test_files_are_read_or_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "config.json"
    with pytest.raises(WeightsError, match="is missing"):
        read_json(file)
    file.write_text('{"a": 1}')
    assert read_json(file) == {"a": 1}
    file.write_text("[1]")
    with pytest.raises(WeightsError, match="holds list"):
        read_json(file)
    for damaged in ("{", "[" * 100_000):
        file.write_text(damaged)
        with pytest.raises(WeightsError, match="is damaged"):
            read_json(file)
    monkeypatch.setattr(hub_config, "_LARGEST", 3)
    with pytest.raises(WeightsError, match="no configuration"):
        read_json(file)
