"""Pixels themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from graft.contracts import Backbone, Card, Source
from graft.data.preprocess.images import ImagePreprocess
from graft.errors import RequestError
from graft.storage import digest

__all__ = ["Pixels"]


class _Flat(nn.Module):
    """uint8 images ``(n, 3, h, w)`` → ``(n, 3·h·w)`` in [-1, 1]."""

    def forward(self, images: Tensor) -> Tensor:
        return (images.to(torch.float32) / 127.5 - 1).flatten(1)


class Pixels(Source):
    """The pixels of a small copy of the image: features that never learnt, a control for images.

    Parameters
    ----------
    size
        Edge of the copy in pixels; the features are ``3·size²`` numbers.

    Examples
    --------
    >>> Pixels(size=8).load().dim
    192
    """

    modality: ClassVar[str] = "image"
    pretrained: ClassVar[bool] = False

    def __init__(self, size: int = 32) -> None:
        self.size = size

    def load(self, weights: bool = True) -> Backbone:
        if not isinstance(self.size, int) or not 1 <= self.size <= 512:
            raise RequestError(f"the size of pixels is {self.size!r}; expected a whole number from 1 to 512.")
        half = (0.5, 0.5, 0.5)
        return self._backbone(ImagePreprocess((self.size, self.size), half, half, "bilinear", crop=1.0, mode="squash"))

    def rebuild(self, files: Mapping[str, bytes]) -> Backbone:
        return self._backbone(ImagePreprocess.from_files(files))

    @classmethod
    def local(cls) -> tuple[str, ...]:
        return ("pixels",)

    def _backbone(self, preprocess: ImagePreprocess) -> Backbone:
        files = preprocess.files()
        return Backbone(
            module=_Flat(),
            dim=3 * preprocess.size[0] * preprocess.size[1],
            preprocess=preprocess,
            stages=(),
            card=Card("pixels", "image", parameters=0, bytes=0, pretraining="none"),
            files=files,
            fingerprint=digest("pixels", *files.values()),
        )
