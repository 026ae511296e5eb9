from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from graft.errors import WeightsError
from graft.nn.hub.folder import hold, tensors, weights_in


def weights(folder: Path, name: str = "model.safetensors", value: float = 1.0) -> Path:
    save_file({name: torch.full((2,), value)}, folder / name)
    return folder / name


def test_shards_are_read_as_one(tmp_path: Path) -> None:
    places = {"a": "model-1.safetensors", "b": "../../model-2.safetensors"}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    files = [weights(tmp_path, f"model-{part}.safetensors") for part in (1, 2)]
    assert weights_in(tmp_path) == tuple(files)
    assert set(tensors(files)) == {"model-1.safetensors", "model-2.safetensors"}


def test_pickles_are_refused_with_the_way_to_convert_them(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").touch()
    with pytest.raises(WeightsError, match=r"only pytorch_model\.bin, which can run code.*save_pretrained"):
        weights_in(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(WeightsError, match="for no weight"):
        weights_in(tmp_path)


def test_weights_are_named_by_their_content(tmp_path: Path) -> None:
    file = weights(tmp_path)
    held = hold(tmp_path, [file])
    assert held.facts()["revision"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert held.facts()["bytes"] == file.stat().st_size
    assert hold(tmp_path, [file], "v1").facts(["head"]) == {
        "revision": "v1",
        "bytes": file.stat().st_size,
        "notes": ("left out of the checkpoint: head",),
    }
    same, other = held.fingerprint({"a": b"1"}), held.fingerprint({"a": b"2"})
    assert same == hold(tmp_path, [file]).fingerprint({"a": b"1"}) != other
    weights(tmp_path, value=2.0)
    assert hold(tmp_path, [file]).fingerprint({"a": b"1"}) != same


def test_the_hubs_own_name_of_a_file_is_believed(tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    name = "ab" * 32
    weights(tmp_path / "blobs").rename(tmp_path / "blobs" / name)
    (tmp_path / "model.safetensors").symlink_to(tmp_path / "blobs" / name)
    assert hold(tmp_path, weights_in(tmp_path)).facts()["revision"] == name


@pytest.mark.parametrize(
    ("head", "licence", "data"),
    [
        ("license: apache-2.0\ndatasets:\n- s2orc\n- ms_marco\ntags:\n- x", "apache-2.0", "s2orc, ms_marco"),
        ("license: 'mit'\ndatasets: [imagenet-1k, \"imagenet-21k\"]", "mit", "imagenet-1k, imagenet-21k"),
        ("license: other\nlicense_name: llama3\n", "llama3", None),
        ("license:\n- mit\ndatasets:\n  - a\n  - b\n  - c\n  - d\n  - e\n  - f\n  - g", "mit", "a, b, c, d, e, f, …"),
        ("language: en", None, None),
        ("datasets:\nlicense: ", None, None),
    ],
)
def test_the_model_card_says_where_it_comes_from(
    tmp_path: Path, head: str, licence: str | None, data: str | None
) -> None:
    (tmp_path / "README.md").write_text(f"---\n{head}\n---\nlicense: none of this")
    facts = hold(tmp_path, [weights(tmp_path)]).facts()
    assert (facts.get("licence"), facts.get("pretraining")) == (licence, data)


def test_a_card_without_a_head_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("license: mit")
    assert "licence" not in hold(tmp_path, [weights(tmp_path)]).facts()
