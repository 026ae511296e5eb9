from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers
from PIL import Image

from graft.data.preprocess.hub_images import HubImages
from graft.errors import WeightsError

KINDS = {
    "Beit": "beit",
    "Bit": "dinov2",
    "CLIP": "clip_vision_model",
    "ConvNext": "convnext",
    "DINOv3ViT": "dinov3_vit",
    "DeiT": "deit",
    "MobileNetV1": "mobilenet_v1",
    "MobileNetV2": "mobilenet_v2",
    "Siglip": "siglip_vision_model",
    "ViT": "vit",
}
SHAPES = [(64, 64), (91, 47), (40, 133), (301, 200)]


def picture(width: int, height: int) -> Image.Image:
    """Smooth shapes and some noise, as photographs have."""
    draw = np.random.default_rng(width * height)
    x, y = np.meshgrid(np.linspace(0, 7, width), np.linspace(0, 5, height))
    waves = np.stack([np.sin(x + y), np.cos(x * 1.7), np.sin(y * 2.3 - x)], axis=2)
    return Image.fromarray(np.clip(128 + 90 * waves + draw.normal(0, 6, waves.shape), 0, 255).astype(np.uint8))


def levels(held: HubImages, image: Image.Image) -> np.ndarray:
    """Normalised pixels in units of the bytes that they were made of."""
    pixels = held.collate(held.items([image]))[0].numpy().astype(np.float64)
    return (pixels / 255 - np.array(held.mean)[:, None, None]) / np.array(held.std)[:, None, None]


def check(processor: Any, folder: Path, kind: str = "vit") -> HubImages:
    """Equal to what transformers makes, up to two grey levels where resampling rounds otherwise."""
    processor.save_pretrained(folder)
    held = HubImages.from_folder(folder, kind)
    for shape in SHAPES:
        image = picture(*shape)
        theirs = np.asarray(processor(images=image, return_tensors="np")["pixel_values"][0])
        ours = levels(held, image)
        assert ours.shape == theirs.shape
        apart = np.abs(ours - theirs) * np.array(held.std)[:, None, None] * 255
        assert apart.max() <= 2.01
        assert apart.mean() < 0.5
    return held


@pytest.mark.parametrize("name", KINDS)
def test_it_does_what_the_checkpoints_own_processor_does(name: str, tmp_path: Path) -> None:
    check(getattr(transformers, f"{name}ImageProcessor")(), tmp_path)


@pytest.mark.parametrize("name", KINDS)
def test_what_a_file_does_not_say_is_as_its_processor_has_it(name: str, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    getattr(transformers, f"{name}ImageProcessor")().save_pretrained(whole)
    (tmp_path / "preprocessor_config.json").write_text(
        json.dumps({"image_processor_type": f"{name}ImageProcessorFast"})
    )
    assert HubImages.from_folder(tmp_path, "vit") == HubImages.from_folder(whole, "vit")
    if not name.startswith("MobileNet"):
        (tmp_path / "preprocessor_config.json").write_text("{}")
        assert HubImages.from_folder(tmp_path, KINDS[name]) == HubImages.from_folder(whole, "vit")


@pytest.mark.parametrize(
    "options",
    [
        {"size": {"shortest_edge": 256}, "crop_size": {"height": 224, "width": 224}},
        {"size": {"shortest_edge": 37}, "crop_size": {"height": 32, "width": 32}, "resample": 2},
        {"size": {"shortest_edge": 32}, "crop_size": {"height": 48, "width": 48}},
        {"size": {"height": 40, "width": 56}, "do_center_crop": False},
        {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}, "do_normalize": False},
        {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}, "rescale_factor": 1 / 127.5},
    ],
)
def test_options_of_a_processor_are_followed(options: dict[str, Any], tmp_path: Path) -> None:
    check(transformers.CLIPImageProcessor(**options), tmp_path)


@pytest.mark.parametrize("edge", [224, 384])
def test_convnext_crops_small_images_and_warps_large_ones(edge: int, tmp_path: Path) -> None:
    held = check(transformers.ConvNextImageProcessor(size={"shortest_edge": edge}), tmp_path)
    assert (held.size, held.mode) == ((edge, edge), "center" if edge < 384 else "squash")


def test_one_number_for_a_size_means_what_it_meant(tmp_path: Path) -> None:
    def read(**values: Any) -> HubImages:
        (tmp_path / "preprocessor_config.json").write_text(json.dumps(values))
        return HubImages.from_folder(tmp_path, "vit")

    square = read(feature_extractor_type="ViTFeatureExtractor", size=96)
    assert (square.size, square.mode) == ((96, 96), "squash")
    edge = read(feature_extractor_type="CLIPFeatureExtractor", size=96, crop_size=64)
    assert (edge.size, edge.mode, edge.crop) == ((64, 64), "center", pytest.approx(2 / 3))


def test_it_is_found_inside_a_processor(tmp_path: Path) -> None:
    inner = {"image_processor_type": "ViTImageProcessor", "size": {"height": 20, "width": 24}}
    (tmp_path / "processor_config.json").write_text(json.dumps({"image_processor": inner}))
    assert HubImages.from_folder(tmp_path, "vit").size == (20, 24)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"image_processor_type": "EvilProcessor"}, "asks for the processor 'EvilProcessor'"),
        ({"resample": 0}, "resizes with filter 0"),
        ({"do_resize": False}, "leaves images as large as they are"),
        ({"size": {"height": "big", "width": 3}}, "states a size"),
        ({"size": [1, 2, 3]}, "states a size"),
        ({"image_mean": [1, 2]}, "states image_mean"),
        ({"image_std": "wide"}, "states image_std"),
        ({"image_std": [0.5, 0, 0.5]}, "describes no images"),
        ({"rescale_factor": 0}, "states rescale_factor as 0"),
    ],
)
def test_what_cannot_be_is_refused(values: dict[str, Any], said: str, tmp_path: Path) -> None:
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(values))
    with pytest.raises(WeightsError, match=said):
        HubImages.from_folder(tmp_path, "vit")


def test_it_survives_its_files() -> None:
    held = HubImages((20, 24), (0.1, 0.2, 0.3), (0.5, 0.6, 0.7), "bilinear", 0.9, "squash")
    again = HubImages.from_files(held.files())
    assert again == held
    assert type(again) is HubImages
