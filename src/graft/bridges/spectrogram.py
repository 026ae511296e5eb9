"""Sounds as pictures."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from PIL import Image

from graft.contracts import Bridge, Sound
from graft.data.mel import SILENCE, mel_decibels
from graft.data.sounds import resampled
from graft.errors import RequestError

__all__ = ["Spectrogram"]


class Spectrogram(Bridge):
    """Turns a sound into a picture: time from left to right, frequency from bottom to top, power as brightness.

    The picture is square, ``n_mels`` pixels wide and high, whatever the length of the clip: a source
    of images then sees all of it.  Without ``seconds`` the whole clip is squeezed or stretched to
    that width, so a short and a long clip are drawn at different speeds.  With ``seconds`` all are
    drawn at one speed: a shorter clip is followed by silence, and of a longer one the middle is
    kept.

    Parameters
    ----------
    n_mels
        Mel bands, one a row of pixels.
    window, hop
        Samples that one moment spans, and from one moment to the next.
    rate
        Samples a second; sounds are resampled to it, and what lies above half of it is lost.
    seconds
        How much of every clip is drawn; ``None`` draws each clip whole.
    decibels
        What lies this far below the clip's loudest moment, or further, is black.

    Examples
    --------
    >>> Spectrogram().convert(Sound(np.zeros(8000, np.float32), 8000)).size
    (128, 128)
    """

    takes: ClassVar[str] = "audio"
    gives: ClassVar[str] = "image"

    def __init__(
        self,
        n_mels: int = 128,
        window: int = 1024,
        hop: int = 160,
        rate: int = 16000,
        seconds: float | None = None,
        decibels: float = 80.0,
    ) -> None:
        self.n_mels = n_mels
        self.window = window
        self.hop = hop
        self.rate = rate
        self.seconds = seconds
        self.decibels = decibels

    def convert(self, row: Sound) -> Image.Image:
        """One sound → one RGB picture; raises ``RequestError`` for parameters that cannot be."""
        self._check()
        held = mel_decibels(self._cut(resampled(row, self.rate)), self.rate, self.window, self.hop, self.n_mels)
        top = float(held.max())
        if top <= SILENCE:  # in silence nothing is loudest
            held[:] = top - self.decibels
        bright = np.clip((held - top) / self.decibels + 1, 0, 1) * 255
        picture = Image.fromarray(np.round(bright.T[::-1]).astype(np.uint8))
        return picture.resize((self.n_mels, self.n_mels), Image.Resampling.BILINEAR).convert("RGB")

    def _cut(self, sound: Sound) -> Sound:
        if self.seconds is None:
            return sound
        wanted, have = max(1, round(self.seconds * self.rate)), len(sound.samples)
        if have <= wanted:
            return Sound(np.pad(sound.samples, (0, wanted - have)), self.rate)
        start = (have - wanted) // 2
        return Sound(sound.samples[start : start + wanted], self.rate)

    def _check(self) -> None:
        whole = {"n_mels": (8, 1024), "window": (16, 16384), "hop": (1, self.window), "rate": (500, 384_000)}
        for name, (low, high) in whole.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                raise RequestError(
                    f"the {name} of a spectrogram is {value!r}; expected a whole number {low} to {high}."
                )
        for name in ("seconds", "decibels"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int | float) or not 0 < value <= 600):
                raise RequestError(f"the {name} of a spectrogram is {value!r}; expected a number above 0, at most 600.")
