from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForImageClassification,
    BeitForMaskedImageModeling,
    DeiTForImageClassificationWithTeacher,
)

from graft.contracts import Backbone
from graft.errors import RequestError, WeightsError
from graft.nn.architectures import Images
from graft.nn.hub.config import clean, read_json
from graft.nn.hub.images import image_backbone
from graft.nn.hub.maps import image_maps
from graft.nn.initialise import fresh

VIT = {
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 12,
    "image_size": 32,
    "patch_size": 8,
    "num_labels": 3,
}
SWIN = {"embed_dim": 4, "depths": [1, 2], "num_heads": [1, 2], "window_size": 2, "image_size": 32, "patch_size": 4}
SWIN |= {"num_labels": 3}
CONV = {"hidden_sizes": [4, 8], "depths": [1, 1], "num_stages": 2, "num_labels": 3}
RESNET = {"embedding_size": 4, "hidden_sizes": [4, 8], "depths": [1, 1], "layer_type": "basic", "num_labels": 3}
TEXT = {"vocab_size": 9, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
TOWERS = {
    "vision_config": {name: value for name, value in VIT.items() if name != "num_labels"},
    "text_config": TEXT,
    "num_labels": 3,
}
KINDS: dict[str, dict[str, Any]] = {
    "beit": VIT,
    "clip": TOWERS,
    "convnext": CONV,
    "convnextv2": CONV,
    "data2vec-vision": VIT,
    "deit": VIT,
    "dinov2": VIT,
    "dinov2_with_registers": VIT,
    "focalnet": {"embed_dim": 4, "depths": [1, 1], "focal_levels": [2, 2], "focal_windows": [3, 3], "num_labels": 3},
    "regnet": {**RESNET, "groups_width": 4, "layer_type": "y"},
    "resnet": RESNET,
    "siglip": TOWERS,
    "swin": SWIN,
    "swinv2": SWIN,
    "vit": VIT,
    "vit_msn": VIT,
}
FEATURES_ALONE = {"dinov3_convnext": {"hidden_sizes": [4, 4, 8, 8], "depths": [1, 1, 1, 1]}, "dinov3_vit": VIT}
FIRST = ("deit", "vit", "vit_msn")
OTHERWISE = ("clip", "dinov2", "dinov2_with_registers", "siglip")
IMAGES = Images((32, 32), (0.5, 0.4, 0.3), (0.2, 0.3, 0.4))
BYTES = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
PIXELS = (BYTES / 255 - torch.tensor(IMAGES.mean).view(3, 1, 1)) / torch.tensor(IMAGES.std).view(3, 1, 1)


class Sized:
    size = IMAGES.size

    def files(self) -> dict[str, bytes]:
        return {"preprocess.json": b"{}"}


def drawn(whole: Any, folder: Path) -> Any:
    generator = torch.Generator().manual_seed(0)
    for value in whole.parameters():
        torch.nn.init.normal_(value, std=0.3, generator=generator)
    whole.eval().save_pretrained(folder)
    return whole


def build(folder: Path, images: Images = IMAGES, **named: Any) -> Backbone:
    config = clean(read_json(folder / "config.json"))
    return image_backbone(config, Sized(), images, name="toy", folder=folder, **named)


def close(given: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(given, expected, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", [*KINDS, *FEATURES_ALONE])
@torch.no_grad()
def test_features_are_those_of_transformers(kind: str, tmp_path: Path) -> None:
    stated = {**KINDS, **FEATURES_ALONE}[kind]
    whole = drawn(AutoModel.from_config(AutoConfig.for_model(kind, **stated)), tmp_path)
    held = build(tmp_path)
    features = held.module.eval()(BYTES)
    given = (whole.vision_model if kind in ("clip", "siglip") else whole)(PIXELS)
    if kind == "data2vec-vision":  # whose plain checkpoints have no pooler
        close(features, given.last_hidden_state[:, 1:].mean(1))
    else:
        close(features, given.last_hidden_state[:, 0] if kind in FIRST else given.pooler_output.flatten(1))
    assert features.shape == (2, held.dim)
    assert (held.head, held.outputs, held.card.outputs, held.card.modality) == (None, None, 0, "image")


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_a_classifier_gives_its_own_outputs(kind: str, tmp_path: Path) -> None:
    config = AutoConfig.for_model(kind, **KINDS[kind], architectures=[])
    whole = drawn(AutoModelForImageClassification.from_config(config), tmp_path)
    held = build(tmp_path)
    assert (held.head is None) == (kind in OTHERWISE) == (held.outputs is not None)
    features = held.module.eval()(BYTES)
    close(held.head.eval()(features) if held.head else held.outputs.eval()(BYTES), whole(PIXELS).logits)
    assert held.card.outputs == 3
    names = [name for name, _ in held.module.named_parameters()]
    assert all(name.startswith(held.stages) for name in names)
    again = image_backbone(json.loads(held.files["encoder.json"])["config"], Sized(), IMAGES, name="toy")
    again.module.load_state_dict(held.module.state_dict(), strict=True)
    # not to the bit: weights that lie elsewhere in memory may be added up in another order
    torch.testing.assert_close(again.module.eval()(BYTES), features, atol=1e-6, rtol=1e-6)
    assert (again.dim, again.stages, dict(again.files)) == (held.dim, held.stages, dict(held.files))


@torch.no_grad()
def test_two_classifiers_are_averaged(tmp_path: Path) -> None:
    whole = drawn(DeiTForImageClassificationWithTeacher(AutoConfig.for_model("deit", **VIT)), tmp_path)
    held = build(tmp_path)
    close(held.outputs.eval()(BYTES), whole(PIXELS).logits)
    assert held.head is None


@torch.no_grad()
def test_what_guessed_patches_gives_their_mean(tmp_path: Path) -> None:
    whole = drawn(BeitForMaskedImageModeling(AutoConfig.for_model("beit", **VIT)), tmp_path)
    held = build(tmp_path)
    close(held.module.eval()(BYTES), whole.beit(PIXELS).last_hidden_state[:, 1:].mean(1))
    assert held.card.notes == ("left out of the checkpoint: layernorm, lm_head",)


@torch.no_grad()
def test_images_of_another_size_stretch_the_positions(tmp_path: Path) -> None:
    whole = drawn(AutoModelForImageClassification.from_config(AutoConfig.for_model("vit", **VIT)), tmp_path)
    held = build(tmp_path, Images((48, 40), IMAGES.mean, IMAGES.std))
    larger = torch.nn.functional.interpolate(BYTES.float(), (48, 40)).byte()
    pixels = (larger / 255 - torch.tensor(IMAGES.mean).view(3, 1, 1)) / torch.tensor(IMAGES.std).view(3, 1, 1)
    close(held.head(held.module.eval()(larger)), whole(pixels, interpolate_pos_encoding=True).logits)


@pytest.mark.parametrize("kind", ["vit", "resnet"])
def test_it_trains_and_starts_again(kind: str, tmp_path: Path) -> None:
    drawn(AutoModel.from_config(AutoConfig.for_model(kind, **KINDS[kind])), tmp_path)
    held = build(tmp_path)
    held.module(BYTES).sum().backward()
    assert all(value.grad is not None for value in held.module.parameters())
    untrained = build(tmp_path, weights=False)
    assert (untrained.card.pretraining, untrained.card.revision, untrained.fingerprint) == ("none", None, None)
    reset = fresh(held.module, 0).state_dict()
    assert all(torch.equal(value, reset[name]) for name, value in untrained.module.state_dict().items())


@pytest.mark.parametrize(
    ("kind", "channels", "strides"),
    [("convnext", (4, 8), (4, 8)), ("resnet", (4, 8), (4, 8)), ("swin", (8,), (8,)), ("vit", (8,), (8,))],
)
@torch.no_grad()
def test_maps_keep_places_apart(kind: str, channels: tuple[int, ...], strides: tuple[int, ...], tmp_path: Path) -> None:
    whole = drawn(AutoModel.from_config(AutoConfig.for_model(kind, **KINDS[kind])), tmp_path)
    held = image_maps(build(tmp_path))
    assert (held.channels, held.strides) == (channels, strides)
    maps = held.module.eval()(BYTES)
    assert [each.shape for each in maps] == [
        (2, depth, 32 // stride, 32 // stride) for depth, stride in zip(channels, strides, strict=True)
    ]
    last = whole(PIXELS).last_hidden_state
    if kind == "vit":
        close(maps[-1], last[:, 1:].transpose(1, 2).reshape(2, 8, 4, 4))
    elif kind != "swin":
        close(maps[-1], last)
    held.module.init_weights()


def test_a_network_without_maps_says_so(tmp_path: Path) -> None:
    drawn(AutoModel.from_config(AutoConfig.for_model("dinov3_convnext", **FEATURES_ALONE["dinov3_convnext"])), tmp_path)
    with pytest.raises(RequestError, match="takes no feature maps"):
        image_maps(build(tmp_path))


def test_only_colour_images_are_read(tmp_path: Path) -> None:
    drawn(AutoModel.from_config(AutoConfig.for_model("vit", **{**VIT, "num_channels": 4})), tmp_path)
    with pytest.raises(WeightsError, match="images of 4 channels"):
        build(tmp_path)
