"""Images as a checkpoint of transformers expects them, from its ``preprocessor_config.json``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from graft.data.preprocess.images import ImagePreprocess
from graft.data.preprocess.stated import FILES, number, stated, stated_name
from graft.errors import RequestError, WeightsError

__all__ = ["HubImages"]

_HALF = (0.5, 0.5, 0.5)
_CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_FILTERS = {1: "lanczos", 2: "bilinear", 3: "bicubic"}
_WARPED = 384
"""From this size on ConvNeXt sees the whole image, distorted."""


@dataclass(frozen=True)
class _Usual:
    """What a kind of processor does where its file says nothing.

    ``square`` says what one number for a size means: both edges, or the shorter one.
    """

    size: int
    square: bool
    crop: int = 0
    resample: int = 3
    mean: tuple[float, ...] = _HALF
    std: tuple[float, ...] = _HALF


_PROCESSORS = {
    "Beit": _Usual(224, True),
    "Bit": _Usual(224, False, 224, mean=_CLIP[0], std=_CLIP[1]),
    "CLIP": _Usual(224, False, 224, mean=_CLIP[0], std=_CLIP[1]),
    "ConvNext": _Usual(384, False),
    "DINOv3ViT": _Usual(224, True, resample=2, mean=_IMAGENET[0], std=_IMAGENET[1]),
    "DeiT": _Usual(256, True, 224),
    "MobileNetV1": _Usual(256, False, 224, 2),
    "MobileNetV2": _Usual(256, False, 224, 2),
    "Siglip": _Usual(224, True),
    "ViT": _Usual(224, True, resample=2),
}
"""Processors of transformers that are known, by the first part of their class's name."""

_OF_KIND = {
    **dict.fromkeys(("beit", "data2vec-vision"), "Beit"),
    **dict.fromkeys(("dinov2", "dinov2_with_registers", "focalnet"), "Bit"),
    **dict.fromkeys(("convnext", "convnextv2", "regnet", "resnet"), "ConvNext"),
    **dict.fromkeys(("dinov3_vit", "dinov3_convnext"), "DINOv3ViT"),
    "clip_vision_model": "CLIP",
    "deit": "DeiT",
    "mobilenet_v1": "MobileNetV1",
    "mobilenet_v2": "MobileNetV2",
    "siglip_vision_model": "Siglip",
}


@dataclass(frozen=True)
class HubImages(ImagePreprocess):
    """From RGB images to uint8 batches, cropped as transformers does: an odd rest goes to the right and below."""

    def _steady(self, image: Image.Image) -> Image.Image:
        height, width = self.size
        tall, wide = self._resized(image.height, image.width)
        resized = image.resize((wide, tall), Image.Resampling[self.interpolation.upper()])
        # What is smaller than the crop lies in its middle, on black.
        left = (wide - width) // 2 if wide >= width else -((width - wide) // 2)
        top = (tall - height) // 2 if tall >= height else -((height - tall) // 2)
        return resized.crop((left, top, left + width, top + height))

    @classmethod
    def from_folder(cls, folder: Path, kind: str) -> HubImages:
        """The preprocessing of a checkpoint as transformers saves it.

        Parameters
        ----------
        kind
            The network's ``model_type``, which decides where the file does not name its processor.

        Raises
        ------
        WeightsError
            Where it is missing, damaged, or of a processor that is not known.
        """
        values = stated(folder, "image_processor")
        name = stated_name(values).removesuffix("ImageProcessor").removesuffix("FeatureExtractor")
        name = name or _OF_KIND.get(kind, "ViT")
        if name not in _PROCESSORS:
            raise WeightsError(
                f"{FILES[0]} asks for the processor {name!r}; Graft knows those of {', '.join(_PROCESSORS)}."
            )
        usual = _PROCESSORS[name]
        mean, std = _statistics(values, usual)
        resample = values.get("resample", usual.resample)
        if resample not in _FILTERS:
            raise WeightsError(
                f"{FILES[0]} resizes with filter {resample!r}; Graft knows {', '.join(map(str, _FILTERS.values()))}."
            )
        try:
            size, crop, mode = _frame(values, usual, name == "ConvNext")
            return cls(size, mean, std, _FILTERS[resample], crop, mode)
        except RequestError as exc:
            raise WeightsError(f"{FILES[0]} describes no images that can be made: {exc}") from exc


def _statistics(values: Mapping[str, Any], usual: _Usual) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and width on the scale [0, 1], whatever scale the checkpoint counts on."""
    factor = number(dict(values), "rescale_factor", 1 / 255) if values.get("do_rescale", True) else 1.0
    if not values.get("do_normalize", True):
        return (0.0,) * 3, (1 / (255 * factor),) * 3
    found = []
    for name, own in (("image_mean", usual.mean), ("image_std", usual.std)):
        value = values.get(name) or own
        value = [value] * 3 if isinstance(value, int | float) else value
        listed = list(value) if isinstance(value, list | tuple) else []
        if len(listed) != 3 or not all(isinstance(each, int | float) and math.isfinite(each) for each in listed):
            raise WeightsError(f"{FILES[0]} states {name} as {value!r}; expected three numbers. Fetch it again.")
        found.append(tuple(each / (255 * factor) for each in listed))
    return found[0], found[1]


def _frame(values: Mapping[str, Any], usual: _Usual, convnext: bool) -> tuple[tuple[int, int], float, str]:
    """Size, share that the crop keeps, and mode."""
    resized = _edges(values.get("size"), usual.size, usual.square)
    kept = None
    if values.get("do_center_crop", bool(usual.crop)):
        kept = _edges(values.get("crop_size"), usual.crop or usual.size, True)
    if not values.get("do_resize", True):
        raise WeightsError(
            f"{FILES[0]} leaves images as large as they are; Graft makes batches of one size. "
            'Write the size into it: "do_resize": true, "size": {"height": 224, "width": 224}.'
        )
    if isinstance(resized, tuple):
        kept = kept if isinstance(kept, tuple) else resized
        return kept, _share(kept[0], resized[0]), "squash"
    if convnext and resized >= _WARPED:
        return (resized, resized), 1.0, "squash"
    if convnext:
        return (resized, resized), _share(resized, int(resized / number(dict(values), "crop_pct", 224 / 256))), "center"
    kept = kept if isinstance(kept, tuple) else (resized, resized)
    return kept, _share(kept[0], resized), "center"


def _edges(size: Any, usual: int, square: bool) -> tuple[int, int] | int:
    """``(h, w)``, or the length of the shorter edge."""
    if size is None:
        size = usual
    if isinstance(size, Mapping):
        found = [size.get(name) for name in ("shortest_edge", "height", "width")]
        size = found[0] if found[0] is not None else found[1:]
        square = False
    edges = list(size) if isinstance(size, list | tuple) else [size]
    if len(edges) not in (1, 2) or not all(isinstance(edge, int) and 0 < edge < 65_536 for edge in edges):
        raise WeightsError(f"{FILES[0]} states a size of {size!r}; expected pixels. Fetch it again.")
    if len(edges) == 2:
        return edges[0], edges[1]
    return (edges[0], edges[0]) if square else edges[0]


def _share(kept: int, edge: int) -> float:
    """``kept / edge``, but such that ``⌊kept / share⌋`` is ``edge`` again, which rounding could prevent."""
    share = kept / edge
    return share if math.floor(kept / share) == edge else kept / (edge + 0.5)
