"""Folders of images, one sub-folder a class."""

from __future__ import annotations

from typing import Any

from graft.contracts import Reader, Request, TargetData
from graft.data.class_folders import IMAGES, leading, may_be_classes, read_class_folders
from graft.data.examples import ImageExamples

__all__ = ["ImageFolder"]


class ImageFolder(Reader):
    """Reads a folder of images whose sub-folders are the classes.

    Above the classes there may be ``train``, ``valid`` and ``test`` (or the like), which then are
    the split.  Images outside of class folders are rows without a label.
    """

    def accepts(self, data: Any) -> bool:
        """Folders without tables that state a split, unless of sounds, and paths that look like a folder."""
        return may_be_classes(data) and leading(data) in (IMAGES, None)

    def read(self, data: Any, request: Request) -> TargetData:
        """Read it; raises as ``Reader.read`` does."""
        return read_class_folders(data, request, IMAGES, lambda paths, root: ImageExamples(paths, root=root))
