"""Sounds, decoded when their row is asked for."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from graft.contracts import Array, Sound
from graft.data.examples.views import Views, key
from graft.data.files import read_row_file
from graft.data.sounds import check_sound, open_sound
from graft.errors import BadRowsError

__all__ = ["AudioExamples", "Recording"]

Recording = str | Path | bytes | Sound | tuple[Array, int]
"""What one sound may be given as: a path, an encoded file, a ``Sound``, samples with their rate."""


class AudioExamples(Views):
    """Sounds; each is read and decoded when its row is asked for.

    Parameters
    ----------
    sounds
        Paths, encoded files (``bytes``), ``Sound`` objects or ``(samples, rate)``, mixed at will.
    names
        Where each comes from; the default is its path, else its number.
    root
        The folder that relative paths start from.
    origin
        What was read, for a person.

    Examples
    --------
    >>> AudioExamples([(np.zeros(800, np.int16), 8000)])[0].rate
    8000
    """

    modality = "audio"

    def __init__(
        self,
        sounds: Sequence[Recording],
        names: Sequence[str] | None = None,
        root: str | Path | None = None,
        origin: str = "sounds",
    ) -> None:
        super().__init__(len(sounds), names, origin)
        self._sounds = sounds
        self._root = "" if root is None else str(root)

    def __getitem__(self, row: int) -> Sound:
        stored = int(self._rows[row])
        try:
            return open_sound(self._source(stored))
        except ValueError as exc:
            raise BadRowsError([(self._name(stored), str(exc))]) from exc

    def _source(self, stored: int) -> str | bytes | Sound | tuple[Array, int]:
        sound = self._sounds[stored]
        if isinstance(sound, str | Path):
            if not str(sound):
                raise ValueError("no path is given")
            return os.path.join(self._root, sound)
        return sound

    def _name(self, stored: int) -> str:
        sound = self._sounds[stored] if self._names is None else ""
        return str(sound) if isinstance(sound, str | Path) and str(sound) else super()._name(stored)

    def _digest(self, stored: int) -> npt.NDArray[np.uint8]:
        sound = self._source(stored)
        if isinstance(sound, str):
            return key(read_row_file(sound))
        if isinstance(sound, bytes):
            return key(sound)
        samples, rate = (sound.samples, sound.rate) if isinstance(sound, Sound) else sound
        samples = np.asarray(samples)
        return key(f"{rate} {samples.dtype} {samples.shape} ".encode(), samples.tobytes())

    def _check(self, stored: int) -> str | None:
        try:
            sound = self._source(stored)
            if isinstance(sound, str | bytes):
                raw = read_row_file(sound) if isinstance(sound, str) else sound
                self._remember(stored, key(raw))
                return check_sound(raw)
            self._remember(stored, self._digest(stored))
            open_sound(sound)
        except ValueError as exc:
            return str(exc)
        return None
