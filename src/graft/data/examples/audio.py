"""Sounds, decoded when their row is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from graft.contracts import Array, Sound
from graft.data.examples.given import Given
from graft.data.examples.views import Views, key
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
        self._given = Given(sounds, root, open_sound, check_sound, _digest)

    def __getitem__(self, row: int) -> Sound:
        stored = int(self._rows[row])
        try:
            found: Sound = self._given.open(stored)
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


def _digest(sound: Sound | tuple[Array, int]) -> npt.NDArray[np.uint8]:
    samples, rate = (sound.samples, sound.rate) if isinstance(sound, Sound) else sound
    samples = np.asarray(samples)
    return key(f"{rate} {samples.dtype} {samples.shape} ".encode(), samples.tobytes())
