from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data import create_transform

from graft.data.preprocess.images import ImagePreprocess
from graft.errors import BundleError, RequestError

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
DATA = Path(__file__).resolve().parents[3] / "../shared/data"
SHAPES = [(227, 227), (480, 640), (640, 480), (333, 500), (256, 256), (47, 33), (225, 224), (400, 100), (31, 600)]


def _smooth(height: int, width: int, seed: int = 0) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 256, (9, 11, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)


def _preprocess(**changes) -> ImagePreprocess:
    return ImagePreprocess(**({"size": (64, 64), "mean": MEAN, "std": STD} | changes))


def _timm(preprocess: ImagePreprocess):
    return create_transform(
        (3, *preprocess.size),
        is_training=False,
        interpolation=preprocess.interpolation,
        mean=preprocess.mean,
        std=preprocess.std,
        crop_pct=preprocess.crop,
        crop_mode=preprocess.mode,
        normalize=False,
    )


@pytest.mark.parametrize("mode", ["center", "squash", "border"])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear", "lanczos"])
@pytest.mark.parametrize(
    ("size", "crop"), [((224, 224), 0.875), ((224, 224), 1.0), ((160, 160), 0.95), ((96, 128), 0.9), ((64, 64), 1.15)]
)
def test_evaluation_form_is_timms(mode: str, interpolation: str, size: tuple[int, int], crop: float):
    preprocess = _preprocess(size=size, crop=crop, mode=mode, interpolation=interpolation)
    reference = _timm(preprocess)
    for seed, (height, width) in enumerate(SHAPES):
        image = _smooth(height, width, seed)
        (item,) = preprocess.items([image])
        difference = (item.int() - reference(image).int()).abs()
        assert item.shape == (3, *size)
        if mode != "center":
            assert not difference.any(), (height, width)
        assert difference.max() <= 2, (height, width)
        assert (difference > 1).float().mean() < 1e-3, (height, width)
        assert (difference > 0).float().mean() < 0.1, (height, width)


def test_evaluation_form_is_timms_on_photos():
    folder = DATA / "images" / "pacs_subset"
    if not folder.is_dir():
        pytest.skip("the PACS subset is not on this machine")
    preprocess = _preprocess(size=(224, 224))
    reference = _timm(preprocess)
    for path in sorted(folder.rglob("*.jpg"))[::120]:
        image = Image.open(path).convert("RGB")
        assert torch.equal(preprocess.items([image])[0], reference(image))


def test_an_extreme_panorama_needs_no_extreme_memory():
    (item,) = _preprocess(size=(224, 224)).items([_smooth(2, 60_000)])
    assert item.shape == (3, 224, 224)


def test_training_form_depends_on_the_seed_alone():
    preprocess, image = _preprocess(), _smooth(100, 140)
    first, other = preprocess.items([image, image], [1, 2])
    (again,) = preprocess.items([image], [1])
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.shape == (3, 64, 64)
    assert first.dtype == torch.uint8


def test_training_form_mirrors_half_of_the_time_and_keeps_a_good_part():
    ramp = np.broadcast_to(np.arange(200, dtype=np.uint8)[None, :, None], (200, 200, 3))
    image = Image.fromarray(np.ascontiguousarray(ramp))
    items = _preprocess().items([image] * 300, list(range(300)))
    rising = [bool(item[0, 32, 50] > item[0, 32, 10]) for item in items]
    assert 110 < sum(rising) < 190
    widths = [int(item[0, 32].max()) - int(item[0, 32].min()) for item in items]
    assert min(widths) > 200 * (0.3 * 3 / 4) ** 0.5 - 15


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (3, 2)])
def test_tiny_and_thin_images_pass(shape: tuple[int, int]):
    for mode in ("center", "squash", "border"):
        preprocess = _preprocess(mode=mode)
        assert preprocess.items([_smooth(*shape)])[0].shape == (3, 64, 64)
        assert preprocess.items([_smooth(*shape)], [0])[0].shape == (3, 64, 64)


def test_batches_are_bytes_with_channels_last():
    preprocess = _preprocess()
    items = preprocess.items([_smooth(70, 90, seed) for seed in range(3)])
    batch = preprocess.collate(items)
    assert batch.shape == (3, 3, 64, 64)
    assert batch.dtype == torch.uint8
    assert batch.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(batch[1], items[1])
    assert preprocess.cost(items[0]) == 1


def test_files_make_the_same_again():
    preprocess = _preprocess(size=(96, 128), interpolation="lanczos", crop=0.9, mode="border")
    again = ImagePreprocess.from_files(preprocess.files())
    assert again == preprocess
    assert again.files() == preprocess.files()


@pytest.mark.parametrize(
    "content",
    [None, b"{", b"[]", b'{"kind": "text"}', b'{"kind": "image", "size": [1, 1]}', b'{"kind": "image", "size": 3}'],
)
def test_damaged_files_are_named(content: bytes | None):
    with pytest.raises(BundleError, match=r"preprocess\.json"):
        ImagePreprocess.from_files({} if content is None else {"preprocess.json": content})


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"size": (0, 5)}, "image size"),
        ({"size": (5,)}, "image size"),
        ({"mean": (0.5,)}, "RGB"),
        ({"std": (0.5, 0.0, 0.5)}, "RGB"),
        ({"interpolation": "cubic"}, "bicubic"),
        ({"mode": "centre"}, "center"),
        ({"crop": 0.0}, "crop"),
        ({"crop": 2.5}, "crop"),
    ],
)
def test_values_that_cannot_be_are_refused(changes: dict, says: str):
    with pytest.raises(RequestError, match=says):
        _preprocess(**changes)
