"""A checkpoint's own preprocessing with another training form: more varied, or not varied at all."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from graft.contracts import Preprocess
from graft.data.preprocess.wrapping import Wrapping
from graft.errors import RequestError

__all__ = ["OPERATIONS", "Augmented", "Plain", "vary"]

OPERATIONS = (
    "identity", "shear_x", "shear_y", "translate_x", "translate_y", "rotate", "brightness", "colour", "contrast",
    "sharpness", "posterize", "solarize", "auto_contrast", "equalize",
)  # fmt: skip
"""What RandAugment draws from."""

_STRONGEST = 30.0
_SIGNED = OPERATIONS[1:10]
_GREY = [128.0] * 3
"""Shown where an image was moved away."""
_OWN = 0x52616E64
"""Keeps these draws apart from those of the wrapped preprocessing, which start from the same seed."""


class Plain(Wrapping):
    """The training form is the evaluation form: nothing is drawn."""

    def items(self, rows: Sequence[Any], seeds: Sequence[int] | None = None) -> list[Any]:
        return self.inner.items(rows)


class Augmented(Wrapping):
    """RandAugment after the training form of images: operations drawn by the row's seed, all of one strength.

    Parameters
    ----------
    inner
        The checkpoint's own preprocessing; its items are uint8 images ``(3, h, w)``.
    magnitude
        How strong, from 0 (hardly at all) to 30.
    operations
        How many a row.

    Raises
    ------
    RequestError
        For a strength or number that cannot be, and for rows that are no images.

    References
    ----------
    Cubuk, Zoph, Shlens and Le, RandAugment: practical automated data augmentation with a reduced search
    space, NeurIPS 2020.
    """

    def __init__(self, inner: Preprocess, magnitude: float = 9.0, operations: int = 2) -> None:
        if not 0 <= magnitude <= _STRONGEST:
            raise RequestError(f"rand_augment has a magnitude of {magnitude}; expected a number from 0 to 30.")
        if operations < 1:
            raise RequestError(f"rand_augment has {operations} operations a row; expected at least 1.")
        super().__init__(inner)
        self.magnitude = magnitude
        self.operations = operations

    def items(self, rows: Sequence[Any], seeds: Sequence[int] | None = None) -> list[Any]:
        items = self.inner.items(rows, seeds)
        if seeds is None:
            return items
        return [self._varied(item, seed) for item, seed in zip(items, seeds, strict=True)]

    def _varied(self, item: Any, seed: int) -> Tensor:
        if not isinstance(item, Tensor) or item.dtype != torch.uint8 or item.ndim != 3 or len(item) != 3:
            raise RequestError("rand_augment varies images, and this source makes none of the rows; leave it at 0.")
        draw = np.random.default_rng((seed, _OWN))
        image: Tensor = item
        for _ in range(self.operations):
            name = OPERATIONS[int(draw.integers(len(OPERATIONS)))]
            sign = -1.0 if name in _SIGNED and draw.random() < 0.5 else 1.0
            image = vary(image, name, self.magnitude, sign)
        return image


def vary(image: Tensor, name: str, magnitude: float, sign: float = 1.0) -> Tensor:
    """One operation of RandAugment on a uint8 image ``(3, h, w)``.

    Parameters
    ----------
    name
        One of ``OPERATIONS``.
    magnitude
        From 0 to 30.
    sign
        To which side, for operations that have two.
    """
    from torchvision.transforms.v2 import functional

    share = magnitude / _STRONGEST
    if name in ("shear_x", "shear_y", "translate_x", "translate_y", "rotate"):
        return _moved(image, name, share, sign)
    if name in ("brightness", "colour", "contrast", "sharpness"):
        adjust = {
            "brightness": functional.adjust_brightness,
            "colour": functional.adjust_saturation,
            "contrast": functional.adjust_contrast,
            "sharpness": functional.adjust_sharpness,
        }[name]
        changed: Tensor = adjust(image, 1.0 + sign * 0.9 * share)
        return changed
    table: dict[str, Callable[[], Tensor]] = {
        "identity": lambda: image,
        "posterize": lambda: functional.posterize(image, round(8 - 4 * share)),
        "solarize": lambda: functional.solarize(image, 255.0 * (1 - share)),
        "auto_contrast": lambda: functional.autocontrast(image),
        "equalize": lambda: functional.equalize(image),
    }
    return table[name]()


def _moved(image: Tensor, name: str, share: float, sign: float) -> Tensor:
    from torchvision.transforms.v2 import InterpolationMode, functional

    smooth = InterpolationMode.BILINEAR
    if name == "rotate":
        turned: Tensor = functional.rotate(image, sign * 30.0 * share, interpolation=smooth, fill=_GREY)
        return turned
    across, down = (name.endswith(axis) for axis in ("_x", "_y"))
    far, lean = 0, 0.0
    if name.startswith("translate"):
        far = int(sign * share * 150 / 331 * image.shape[-1 if across else -2])
    else:
        lean = math.degrees(math.atan(sign * 0.3 * share))
    moved: Tensor = functional.affine(
        image,
        angle=0.0,
        translate=[far * across, far * down],
        scale=1.0,
        shear=[lean * across, lean * down],
        interpolation=smooth,
        fill=_GREY,
        center=[0.0, 0.0] if lean else None,
    )
    return moved
