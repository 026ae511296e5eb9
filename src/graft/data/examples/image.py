"""Images, decoded when their row is asked for."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from graft.contracts import Array
from graft.data.examples.views import Views, key
from graft.data.files import read_row_file
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
        self._images = images
        self._root = "" if root is None else str(root)

    def __getitem__(self, row: int) -> Image.Image:
        stored = int(self._rows[row])
        try:
            return open_image(self._source(stored))
        except ValueError as exc:
            raise BadRowsError([(self._name(stored), str(exc))]) from exc

    def _source(self, stored: int) -> str | bytes | Image.Image | Array:
        image = self._images[stored]
        if isinstance(image, str | Path):
            if not str(image):
                raise ValueError("no path is given")
            return os.path.join(self._root, image)
        return image

    def _name(self, stored: int) -> str:
        image = self._images[stored] if self._names is None else ""
        return str(image) if isinstance(image, str | Path) and str(image) else super()._name(stored)

    def _digest(self, stored: int) -> npt.NDArray[np.uint8]:
        image = self._source(stored)
        if isinstance(image, str):
            return key(read_row_file(image))
        if isinstance(image, bytes):
            return key(image)
        if isinstance(image, Image.Image):
            # What is seen: the pixels' bytes alone lack the palette and the orientation.
            seen = open_image(image)
            return key(f"{seen.size} ".encode(), seen.tobytes())
        return key(f"{image.dtype} {image.shape} ".encode(), image.tobytes())

    def _check(self, stored: int) -> str | None:
        try:
            image = self._source(stored)
            if isinstance(image, str | bytes):
                raw = read_row_file(image) if isinstance(image, str) else image
                self._remember(stored, key(raw))
                return check_image(raw)
            self._remember(stored, self._digest(stored))
            open_image(image)
        except ValueError as exc:
            return str(exc)
        return None
