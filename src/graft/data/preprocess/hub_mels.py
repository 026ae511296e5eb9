"""Sounds as a network expects them that looks at log-mel spectrograms: AST and Whisper's encoder.

The numbers are those of the checkpoints' own feature extractors, up to rounding.
"""

from __future__ import annotations

import functools
import json
import math
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
import scipy.fft
import torch

from graft.contracts import Batch, Sound
from graft.data.mel import mel_bands
from graft.data.preprocess.hub_waves import excerpt
from graft.data.preprocess.stated import FILES, number, stated
from graft.data.sounds import resampled
from graft.errors import BundleError, RequestError, WeightsError

__all__ = ["HubMels", "kaldi_mels", "whisper_mels"]

_FILE = "preprocess.json"
_WINDOW, _HOP = 400, 160
"""Samples in a moment, and from one to the next: 25 ms and 10 ms at the one rate of both families."""
_RATE = 16000

Floats = npt.NDArray[np.float32]
Style = Literal["kaldi", "whisper"]


class HubMels:
    """From sounds to spectrograms: ``(n, frames, bands)`` for AST, with lengths ``(n, bands, frames)`` for Whisper.

    Parameters
    ----------
    style
        ``kaldi`` as AST reads it, ``whisper``.
    bands
        Mel bands.
    frames
        Moments that the network takes, 10 ms each; shorter clips end in silence.
    seconds
        What is kept of a clip, as far as the frames reach: its start, or for training a part of it
        drawn by the row's seed.
    mean, std
        Of AST's training data; unused by Whisper.

    Attributes
    ----------
    truncated
        How many of the sounds shaped so far were longer than what is kept.

    Raises
    ------
    RequestError
        Where nothing is kept.
    """

    def __init__(
        self, style: Style, bands: int, frames: int, seconds: float = 30.0, mean: float = 0.0, std: float = 0.5
    ) -> None:
        if not _WINDOW / _RATE <= seconds < math.inf:
            raise RequestError(f"seconds is {seconds!r}; the network needs {_WINDOW / _RATE:.3g} s at least.")
        self.style: Style = style
        self.bands = bands
        self.frames = frames
        self.seconds = seconds
        self.mean = mean
        self.std = std
        self.truncated = 0
        self._lock = threading.Lock()

    @property
    def most(self) -> int:
        """Samples that are kept of a clip."""
        reach = self.frames * _HOP + (_WINDOW - _HOP if self.style == "kaldi" else 0)
        return min(reach, int(self.seconds * _RATE))

    def items(self, rows: Sequence[Sound], seeds: Sequence[int] | None = None) -> list[tuple[Floats, int]]:
        found = [resampled(row, _RATE).samples for row in rows]
        long = sum(len(samples) > self.most for samples in found)
        if long:
            with self._lock:
                self.truncated += long
        drawn = [None] * len(found) if seeds is None else list(seeds)
        return [self._shaped(excerpt(samples, self.most, seed)) for samples, seed in zip(found, drawn, strict=True)]

    def cost(self, item: tuple[Floats, int]) -> int:
        return self.frames // 2

    def collate(self, items: Sequence[tuple[Floats, int]]) -> Batch:
        shape = (self.frames, self.bands) if self.style == "kaldi" else (self.bands, self.frames)
        values = torch.from_numpy(np.stack([mels for mels, _ in items]) if items else np.empty((0, *shape), np.float32))
        if self.style == "kaldi":
            return values
        return {"input_features": values, "lengths": torch.tensor([length for _, length in items])}

    def notes(self) -> tuple[str, ...]:
        """What happened to the rows so far that a person should know, a sentence each."""
        if not self.truncated:
            return ()
        return (f"{self.truncated} sounds are longer than {self.most / _RATE:.4g} s; the rest of them is not heard.",)

    def files(self) -> dict[str, bytes]:
        values = {name: getattr(self, name) for name in ("style", "bands", "frames", "seconds", "mean", "std")}
        return {_FILE: json.dumps({"kind": "mels", **values}, indent=1, sort_keys=True).encode()}

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> Self:
        """The preprocessing that ``files()`` described.

        Raises
        ------
        BundleError
            Where the description is missing, or not one of spectrograms.
        """
        try:
            values = json.loads(files[_FILE])
            if values.pop("kind") != "mels" or values["style"] not in ("kaldi", "whisper"):
                raise ValueError("it is of another kind")
            return cls(**values)
        except (KeyError, TypeError, ValueError, ArithmeticError, AttributeError) as exc:
            raise BundleError(f"{_FILE} is missing or damaged ({exc!r}); save or fetch the model again.") from exc

    @classmethod
    def from_folder(cls, folder: Path, config: Mapping[str, Any], seconds: float = 30.0) -> Self:
        """The preprocessing of a checkpoint as transformers saves it.

        Parameters
        ----------
        config
            The network's cleaned configuration, which states what it takes.

        Raises
        ------
        WeightsError
            Where it is missing, damaged, or does not make what the network takes.
        """
        values = stated(folder, "feature_extractor")
        whisper = config["model_type"] == "whisper"
        if whisper:
            bands = number(values, "feature_size", 80, 10_000)
            frames = number(values, "chunk_length", 30) * _RATE / _HOP
            taken = 2 * config.get("max_source_positions", 1500)
        else:
            bands = number(values, "num_mel_bins", 128, 10_000)
            frames = number(values, "max_length", 1024, 100_000)
            taken = config.get("max_length", 1024)
        fixed = {"sampling_rate": _RATE, **({"hop_length": _HOP, "n_fft": _WINDOW} if whisper else {})}
        odd = [f"{name} {values[name]!r}" for name, value in fixed.items() if values.get(name, value) != value]
        if odd or (bands, frames) != (config.get("num_mel_bins", 80 if whisper else 128), taken):
            raise WeightsError(
                f"{FILES[0]} describes spectrograms of {bands:g} bands, {frames:g} frames"
                + "".join(f", {each}" for each in odd)
                + "; the network in config.json takes others. Fetch both again."
            )
        mean, std = values.get("mean", -4.2677393), number(values, "std", 4.5689974)
        scaled = not whisper and bool(values.get("do_normalize", True)) and isinstance(mean, int | float)
        return cls(
            "whisper" if whisper else "kaldi",
            int(bands),
            int(frames),
            seconds,
            float(mean) if scaled else 0.0,
            float(std) if scaled else 0.5,
        )

    def _shaped(self, samples: Floats) -> tuple[Floats, int]:
        length = min(self.frames, -(-len(samples) // _HOP))
        if self.style == "whisper":
            return whisper_mels(samples, self.bands, self.frames), length
        mels = np.zeros((self.frames, self.bands), np.float32)
        heard = kaldi_mels(np.pad(samples, (0, max(0, _WINDOW - len(samples)))), self.bands)[: self.frames]
        mels[: len(heard)] = heard
        return (mels - np.float32(self.mean)) / np.float32(self.std * 2), length

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return type(self)(self.style, self.bands, self.frames, self.seconds, self.mean, self.std)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.style, self.bands, self.frames, self.seconds, self.mean, self.std)


def kaldi_mels(samples: Floats, bands: int) -> Floats:
    """Log power in mel bands as Kaldi computes it: ``(t,)`` at 16 kHz → ``(1 + (t - 400) // 160, bands)``.

    There are 400 samples at least.  Moments lie inside the sound, have no mean, and are emphasised
    by ``x[i] - 0.97 x[i - 1]``.
    """
    moments = np.lib.stride_tricks.sliding_window_view(samples.astype(np.float64), _WINDOW)[::_HOP]
    moments = moments - moments.mean(1, keepdims=True)
    before = np.concatenate([moments[:, :1], moments[:, :-1]], axis=1)
    waves = scipy.fft.rfft((moments - 0.97 * before) * np.hanning(_WINDOW), 512)
    power = (waves.real**2 + waves.imag**2) @ _kaldi_bank(bands)
    return np.asarray(np.log(np.maximum(power, 1.192092955078125e-07)), np.float32)


def whisper_mels(samples: Floats, bands: int, frames: int) -> Floats:
    """Log power in mel bands as Whisper reads it: 16 kHz samples ``(t,)`` → ``(bands, frames)``.

    What is missing to ``frames`` is silence, and is not transformed: its power is known.
    """
    heard = min(frames, -(-(len(samples) + _WINDOW // 2) // _HOP))
    whole = np.pad(samples.astype(np.float64), (0, frames * _HOP - len(samples)))
    # Moments that reach beyond the ends see them mirrored.
    around = np.pad(whole, _WINDOW // 2, mode="reflect")
    moments = np.lib.stride_tricks.sliding_window_view(around, _WINDOW)[::_HOP][:heard]
    waves = scipy.fft.rfft(moments * (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_WINDOW) / _WINDOW)))
    power = np.full((frames, bands), 1e-10)
    power[:heard] = np.maximum((waves.real**2 + waves.imag**2) @ mel_bands(_RATE, _WINDOW, bands), 1e-10)
    mels = np.log10(power)
    mels = np.maximum(mels, mels.max() - 8.0)
    return np.ascontiguousarray((mels.T + 4.0) / 4.0, np.float32)


@functools.cache
def _kaldi_bank(bands: int) -> npt.NDArray[np.float64]:
    """Weights ``(257, bands)``: triangles that are even on the mel scale of HTK, from 20 Hz up."""
    corners = np.linspace(_htk(20.0), _htk(_RATE / 2), bands + 2)
    bins = _htk(np.arange(257) * _RATE / 512)
    rising = (bins[:, None] - corners[:-2]) / np.diff(corners)[:-1]
    falling = (corners[2:] - bins[:, None]) / np.diff(corners)[1:]
    held: npt.NDArray[np.float64] = np.maximum(0, np.minimum(rising, falling))
    held.setflags(write=False)
    return held


def _htk(hertz: Any) -> Any:
    return 1127.0 * np.log(1.0 + hertz / 700.0)
