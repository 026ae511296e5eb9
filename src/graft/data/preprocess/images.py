"""Images to batches of bytes: resize, crop, and for training a random crop and a flip.

The evaluation form is the one of timm and torchvision.  Only the part that the crop keeps is
resized, which is faster, and small for the longest of panoramas; rounding moves some
bytes by one, and hardly any by two.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from graft.errors import BundleError, RequestError

__all__ = ["ImagePreprocess"]

_INTERPOLATIONS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
_MODES = ("center", "squash", "border")
_FILE = "preprocess.json"

# Share of the area and aspect ratios of a training crop.  Inception's 0.08 suits hundreds of
# epochs; a transfer sees few, and must not miss the object in them.
_AREA = (0.3, 1.0)
_ASPECT = (3 / 4, 4 / 3)


@dataclass(frozen=True)
class ImagePreprocess:
    """From RGB images to uint8 batches ``(n, 3, h, w)``, channels last in memory.

    The module that takes the batch normalises it (``mean`` and ``std`` are kept here, with the
    rest of what belongs to the checkpoint): bytes are a quarter of what floats are to store and move.

    Parameters
    ----------
    size
        ``(h, w)`` in pixels.
    mean, std
        Of the three channels, on the scale [0, 1].
    interpolation
        ``bilinear``, ``bicubic`` or ``lanczos``.
    crop
        Share of the resized image's edge that is kept; above 1 (a few checkpoints) a black edge is added.
    mode
        ``center`` crops the middle; ``squash`` distorts to the size; ``border`` shows the whole
        image on a background.

    Raises
    ------
    RequestError
        For a value that cannot be.
    """

    size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str = "bicubic"
    crop: float = 0.875
    mode: str = "center"

    def __post_init__(self) -> None:
        if len(self.size) != 2 or min(self.size) < 1:
            raise RequestError(f"the image size is {self.size!r}; expected two numbers of pixels, (height, width).")
        if len(self.mean) != 3 or len(self.std) != 3 or not all(value > 0 for value in self.std):
            raise RequestError(
                f"mean {self.mean!r} and std {self.std!r} do not describe RGB; expected three numbers each."
            )
        if self.interpolation not in _INTERPOLATIONS:
            raise RequestError(
                f"interpolation is {self.interpolation!r}; expected one of {', '.join(_INTERPOLATIONS)}."
            )
        if self.mode not in _MODES:
            raise RequestError(f"the crop mode is {self.mode!r}; expected one of {', '.join(_MODES)}.")
        if not 0 < self.crop <= 2:
            raise RequestError(f"crop is {self.crop}; expected a share above 0 and at most 2.")

    def items(self, rows: Sequence[Image.Image], seeds: Sequence[int] | None = None) -> list[Tensor]:
        if seeds is None:
            return [_tensor(self._steady(image)) for image in rows]
        return [
            _tensor(self._varied(image, np.random.default_rng(seed))) for image, seed in zip(rows, seeds, strict=True)
        ]

    def cost(self, item: Tensor) -> int:
        return 1

    def collate(self, items: Sequence[Tensor]) -> Tensor:
        return torch.stack([item.permute(1, 2, 0) for item in items]).permute(0, 3, 1, 2)

    def files(self) -> dict[str, bytes]:
        return {_FILE: json.dumps({"kind": "image", **asdict(self)}, indent=1, sort_keys=True).encode()}

    def uncropped(self) -> ImagePreprocess:
        """The same for pictures whose edges matter as much as their middle: nothing is cropped away."""
        return replace(self, crop=1.0, mode="squash")

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> ImagePreprocess:
        """The preprocessing that ``files()`` described.

        Raises
        ------
        BundleError
            Where the description is missing or not one of an image preprocessing.
        """
        try:
            stated: dict[str, Any] = json.loads(files[_FILE])
            if stated.pop("kind") != "image":
                raise ValueError("it is of another kind")
            lists: dict[str, Any] = {key: tuple(stated.pop(key)) for key in ("size", "mean", "std")}
            return cls(**lists, **stated)
        except (KeyError, TypeError, ValueError) as exc:
            raise BundleError(
                f"{_FILE} does not describe an image preprocessing ({exc!r}); save or fetch the model again."
            ) from exc

    def _steady(self, image: Image.Image) -> Image.Image:
        """Resize as a whole and crop the middle, without resizing what is cropped away."""
        height, width = self.size
        tall, wide = self._resized(image.height, image.width)
        if self.mode == "border" or tall < height or wide < width:
            return self._framed(image, tall, wide)
        if self.mode == "squash":
            return _middle(image.resize((wide, tall), _INTERPOLATIONS[self.interpolation]), width, height)
        # Rows first, then columns, as Pillow does where both shrink alike; left to itself it would
        # choose by what the part costs, and round otherwise.
        for axis, (kept, whole, full) in enumerate(((width, wide, image.width), (height, tall, image.height))):
            first = round((whole - kept) / 2)
            box = [0.0, 0.0, float(image.width), float(image.height)]
            box[axis], box[axis + 2] = first * full / whole, min((first + kept) * full / whole, float(full))
            goal = (kept, image.height) if axis == 0 else (image.width, kept)
            image = image.resize(goal, _INTERPOLATIONS[self.interpolation], (box[0], box[1], box[2], box[3]))
        return image

    def _resized(self, tall: int, wide: int) -> tuple[int, int]:
        """Height and width of the whole image after resizing, by timm's rules."""
        goal = (math.floor(self.size[0] / self.crop), math.floor(self.size[1] / self.crop))
        if self.mode == "squash":
            return goal
        if self.mode == "center" and goal[0] == goal[1]:
            edge, short = goal[0], min(tall, wide)
            return (edge, int(edge * wide / short)) if tall <= wide else (int(edge * tall / short), edge)
        choose = max if self.mode == "border" else min
        ratio = choose(tall / goal[0], wide / goal[1])
        return max(round(tall / ratio), 1), max(round(wide / ratio), 1)

    def _framed(self, image: Image.Image, tall: int, wide: int) -> Image.Image:
        height, width = self.size
        resized = image.resize((wide, tall), _INTERPOLATIONS[self.interpolation])
        ground = tuple(round(255 * value) for value in self.mean) if self.mode == "border" else (0, 0, 0)
        frame = Image.new("RGB", (width, height), ground)
        # What is larger than the frame is cropped in its middle, what is smaller is put there.
        top = -round((tall - height) / 2) if tall > height else (height - tall) // 2
        left = -round((wide - width) / 2) if wide > width else (width - wide) // 2
        frame.paste(resized, (left, top))
        return frame

    def _varied(self, image: Image.Image, draw: np.random.Generator) -> Image.Image:
        """A random part of random aspect, mirrored half of the time (Szegedy et al., 2015)."""
        box = _random_box(image.width, image.height, draw)
        height, width = self.size
        part = image.resize((width, height), _INTERPOLATIONS[self.interpolation], box)
        return part.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if draw.random() < 0.5 else part


def _random_box(width: int, height: int, draw: np.random.Generator) -> tuple[int, int, int, int]:
    for _ in range(10):
        area = width * height * draw.uniform(*_AREA)
        aspect = math.exp(draw.uniform(math.log(_ASPECT[0]), math.log(_ASPECT[1])))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            left, top = int(draw.integers(width - w + 1)), int(draw.integers(height - h + 1))
            return left, top, left + w, top + h
    # No such part fits into a very long image: take the largest in its middle.
    w, h = min(width, max(round(height * _ASPECT[1]), 1)), min(height, max(round(width / _ASPECT[0]), 1))
    left, top = (width - w) // 2, (height - h) // 2
    return left, top, left + w, top + h


def _middle(image: Image.Image, width: int, height: int) -> Image.Image:
    left, top = round((image.width - width) / 2), round((image.height - height) / 2)
    return image.crop((left, top, left + width, top + height))


def _tensor(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)
