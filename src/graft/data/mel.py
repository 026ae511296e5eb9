"""Sound as the ear sorts it: power in bands that are narrow below and wide above, moment by moment."""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt
import scipy.fft

from graft.contracts import Sound
from graft.data.sounds import resampled

__all__ = ["SILENCE", "mel_bands", "mel_decibels"]

SILENCE = -100.0
"""Decibels below which nothing is told apart."""

_FRAMES = 4096
"""Moments that are transformed at a time: memory does not grow with the clip."""

Floats = npt.NDArray[np.float32]


def mel_decibels(sound: Sound, rate: int, window: int, hop: int, bands: int) -> Floats:
    """Power in mel bands, in decibels: ``(frames, bands)``, the lowest band first.

    Moments are ``hop`` samples apart, the first is centred on the first sample, and there is
    silence before and after the clip: ``1 + t // hop`` frames of ``t`` samples at ``rate``.

    Parameters
    ----------
    rate
        Samples a second; the sound is resampled to it.
    window, hop
        Samples in a moment (below a Hann window), and from one to the next.
    bands
        Number of bands from 0 to ``rate / 2`` Hz.

    Examples
    --------
    >>> mel_decibels(Sound(np.zeros(16000, np.float32), 16000), 16000, 1024, 160, 64).shape
    (101, 64)
    """
    samples = np.pad(resampled(sound, rate).samples, (window // 2, window - window // 2))
    moments = np.lib.stride_tricks.sliding_window_view(samples, window)[::hop]
    moments = moments[: 1 + (len(samples) - window) // hop]
    shape, bank = _hann(window), mel_bands(rate, window, bands)
    power = np.empty((len(moments), bands), np.float32)
    for start in range(0, len(moments), _FRAMES):
        waves = scipy.fft.rfft(moments[start : start + _FRAMES] * shape)
        power[start : start + _FRAMES] = (waves.real**2 + waves.imag**2) @ bank
    held: Floats = np.maximum(10 * np.log10(np.maximum(power, np.float32(1e-20))), np.float32(SILENCE))
    return held


@functools.cache
def mel_bands(rate: int, window: int, bands: int) -> Floats:
    """Weights ``(window // 2 + 1, bands)`` that gather frequencies into bands of equal area.

    The bands are triangles whose corners lie evenly on Slaney's mel scale: linear up to 1000 Hz,
    logarithmic from there (Auditory Toolbox, 1998).
    """
    tops = np.linspace(0, _to_mel(np.array(rate / 2)), bands + 2)
    corners = _to_hertz(tops)
    bins = np.linspace(0, rate / 2, window // 2 + 1)
    rising = (bins[:, None] - corners[:-2]) / np.diff(corners)[:-1]
    falling = (corners[2:] - bins[:, None]) / np.diff(corners)[1:]
    weights = np.maximum(0, np.minimum(rising, falling)) * (2 / (corners[2:] - corners[:-2]))
    held = weights.astype(np.float32)
    held.setflags(write=False)
    return held


_LINEAR, _BREAK = 200 / 3, 1000.0
_STEP = np.log(6.4) / 27


def _to_mel(hertz: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    above = _BREAK / _LINEAR + np.log(np.maximum(hertz, _BREAK) / _BREAK) / _STEP
    return np.where(hertz < _BREAK, hertz / _LINEAR, above)


def _to_hertz(mel: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.where(mel < _BREAK / _LINEAR, mel * _LINEAR, _BREAK * np.exp(_STEP * (mel - _BREAK / _LINEAR)))


@functools.cache
def _hann(window: int) -> Floats:
    held = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)).astype(np.float32)
    held.setflags(write=False)
    return held
