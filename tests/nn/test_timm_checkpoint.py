from __future__ import annotations

import logging
from typing import Any

import pytest

from graft.errors import RequestError, WeightsError
from graft.nn.timm_checkpoint import describes, resolve


def test_a_name_gets_the_tag_that_timm_takes():
    checkpoint = resolve("vit_small_patch14_dinov2")
    assert checkpoint.spec == "timm/vit_small_patch14_dinov2.lvd142m"
    assert checkpoint.repository == "timm/vit_small_patch14_dinov2.lvd142m"
    assert checkpoint.images.size == (518, 518)
    assert checkpoint.place is None


def test_weights_from_the_web_have_a_place_in_torchs_cache(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TORCH_HOME", "/somewhere")
    assert str(resolve("gcvit_tiny").place) == "/somewhere/hub/checkpoints/gcvit_tiny_224_nvidia-ac783954.pth"


@pytest.mark.parametrize("name", ["hf-hub:someone", "hf-hub:a/b/c", "hf-hub:a/b@../c d", "s3:a/b"])
def test_what_names_no_repository(name: str):
    with pytest.raises(RequestError, match="write timm/"):
        resolve(name)


def test_old_and_new_configurations_are_read_alike():
    facts: dict[str, Any] = {"input_size": [3, 96, 96], "mean": [0.5, 0.5, 0.5], "num_classes": 3}
    old = describes({"architecture": "vit_tiny_patch16_224", **facts}, "it")
    new = describes({"architecture": "vit_tiny_patch16_224", "num_classes": 3, "pretrained_cfg": facts}, "it")
    assert old == new
    name, options, config = new
    assert name == "timm/vit_tiny_patch16_224"
    assert options == {"num_classes": 3, "img_size": (96, 96)}
    assert config["mean"] == (0.5, 0.5, 0.5)
    assert not {"url", "file", "hf_hub_id"} & {key for key, value in config.items() if value}


def test_a_size_that_the_network_was_built_with_is_its_size():
    stated = {"architecture": "vit_tiny_patch16_224", "model_args": {"img_size": 64, "in_chans": 3}}
    assert describes(stated, "it")[1]["img_size"] == (64, 64)
    with pytest.raises(WeightsError, match="input_size"):
        describes({**stated, "model_args": {"img_size": "all"}}, "it")


def test_timms_logger_is_left_as_it_was():
    assert not logging.getLogger("timm.models._builder").filters
