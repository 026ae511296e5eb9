"""Folders of sounds, one sub-folder a class."""

from __future__ import annotations

from typing import Any

from graft.contracts import Reader, Request, TargetData
from graft.data.class_folders import SOUNDS, leading, may_be_classes, read_class_folders
from graft.data.examples import AudioExamples

__all__ = ["AudioFolder"]


class AudioFolder(Reader):
    """Reads a folder of sound files whose sub-folders are the classes.

    WAV, FLAC, Ogg, MP3, AIFF and AU are read, of any rate, length and number of channels.  Above
    the classes there may be ``train``, ``valid`` and ``test`` (or the like), which then are the
    split.  Sounds outside of class folders are rows without a label.
    """

    def accepts(self, data: Any) -> bool:
        """Folders without tables that state a split, in which a sound is found before any image."""
        return may_be_classes(data) and leading(data) is SOUNDS

    def read(self, data: Any, request: Request) -> TargetData:
        """Read it; raises as ``Reader.read`` does."""
        return read_class_folders(data, request, SOUNDS, lambda paths, root: AudioExamples(paths, root=root))
