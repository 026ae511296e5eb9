"""Images, decoded when their row is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from graft.contracts import Array
from graft.data.examples.given import Given
from graft.data.examples.views import Views, key
from graft.data.images import check_image, open_image
from graft.errors import BadRowsError

__all__ = ["ImageExamples", "Picture"]

Picture = str | Path | bytes | Image.Image | Array
"""What one image may be given as: a path, an encoded file, a Pillow image, a uint8 array."""


class ImageExamples(Views):
    """Images; each is read and decoded when its row is asked for.

    Parameters
    ----------
    images
        Paths, encoded files (``bytes``), Pillow images or uint8 arrays ``(h, w, 3)``, mixed at will.
    names
        Where each comes from; the default is its path, else its number.
    root
        The folder that relative paths start from.
    origin
        What was read, for a person.
    """

    modality = "image"

    def __init__(
        self,
        images: Sequence[Picture],
        names: Sequence[str] | None = None,
        root: str | Path | None = None,
        origin: str = "images",
    ) -> None:
        super().__init__(len(images), names, origin)
        self._given = Given(images, root, open_image, check_image, _digest)

    def __getitem__(self, row: int) -> Image.Image:
        stored = int(self._rows[row])
        try:
            found: Image.Image = self._given.open(stored)
        except ValueError as exc:
            raise BadRowsError([(self._name(stored), str(exc))]) from exc
        return found

    def _name(self, stored: int) -> str:
        path = self._given.path(stored) if self._names is None else None
        return path or super()._name(stored)

    def _digest(self, stored: int) -> npt.NDArray[np.uint8]:
        return self._given.key(stored)

    def _check(self, stored: int) -> str | None:
        found, fault = self._given.check(stored)
        if found is not None:
            self._remember(stored, found)
        return fault


def _digest(image: Image.Image | Array) -> npt.NDArray[np.uint8]:
    if isinstance(image, Image.Image):
        # What is seen: the pixels' bytes alone lack the palette and the orientation.
        seen = open_image(image)
        return key(f"{seen.size} ".encode(), seen.tobytes())
    return key(f"{image.dtype} {image.shape} ".encode(), image.tobytes())
