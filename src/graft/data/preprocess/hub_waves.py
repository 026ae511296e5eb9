"""Sounds as a network expects them that listens to samples, such as wav2vec 2.0, HuBERT and WavLM."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch

from graft.contracts import Batch, Sound
from graft.data.preprocess.stated import number, stated
from graft.data.sounds import resampled
from graft.errors import BundleError, RequestError

__all__ = ["HubWaves", "excerpt"]

_FILE = "preprocess.json"
_KERNELS, _STRIDES = (10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2)
"""wav2vec 2.0's convolutions, which nearly all of its kin share."""


class HubWaves:
    """From sounds to samples ``(n, t)`` and their lengths ``(n,)``.

    Parameters
    ----------
    rate
        Samples a second that the network expects; other sounds are resampled.
    normalise
        Whether every clip is brought to mean 0 and variance 1.
    seconds
        What is kept of a clip: its start, or for training a part of it drawn by the row's seed.
    shortest
        Samples that the network needs for one answer; shorter clips end in silence.
    stride
        Samples from one answer of the network to the next.

    Attributes
    ----------
    truncated
        How many of the sounds shaped so far were longer than ``seconds``.

    Raises
    ------
    RequestError
        Where less is kept than the network needs.
    """

    def __init__(
        self, rate: int, normalise: bool = True, seconds: float = 30.0, shortest: int = 400, stride: int = 320
    ) -> None:
        if not shortest / rate <= seconds < math.inf:
            raise RequestError(f"seconds is {seconds!r}; the network needs {shortest / rate:.3g} s at least.")
        self.rate = rate
        self.normalise = normalise
        self.seconds = seconds
        self.shortest = shortest
        self.stride = stride
        self.truncated = 0
        self._lock = threading.Lock()

    def items(self, rows: Sequence[Sound], seeds: Sequence[int] | None = None) -> list[npt.NDArray[np.float32]]:
        most = int(self.seconds * self.rate)
        found = [resampled(row, self.rate).samples for row in rows]
        long = sum(len(samples) > most for samples in found)
        if long:
            with self._lock:
                self.truncated += long
        drawn = [None] * len(found) if seeds is None else list(seeds)
        return [self._shaped(excerpt(samples, most, seed)) for samples, seed in zip(found, drawn, strict=True)]

    def cost(self, item: npt.NDArray[np.float32]) -> int:
        return max(1, len(item) // self.stride)

    def collate(self, items: Sequence[npt.NDArray[np.float32]]) -> Batch:
        lengths = np.array([len(item) for item in items], np.int64)
        values = np.zeros((len(items), int(lengths.max(initial=self.shortest))), np.float32)
        for row, item in zip(values, items, strict=True):
            row[: len(item)] = item
        return {"input_values": torch.from_numpy(values), "lengths": torch.from_numpy(lengths)}

    def notes(self) -> tuple[str, ...]:
        """What happened to the rows so far that a person should know, a sentence each."""
        if not self.truncated:
            return ()
        return (f"{self.truncated} sounds are longer than {self.seconds:g} s; the rest of them is not heard.",)

    def files(self) -> dict[str, bytes]:
        values = {name: getattr(self, name) for name in ("rate", "normalise", "seconds", "shortest", "stride")}
        return {_FILE: json.dumps({"kind": "waves", **values}, indent=1, sort_keys=True).encode()}

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> Self:
        """The preprocessing that ``files()`` described.

        Raises
        ------
        BundleError
            Where the description is missing, or not one of samples.
        """
        try:
            values = json.loads(files[_FILE])
            if values.pop("kind") != "waves":
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
            The network's cleaned configuration, which states its convolutions.

        Raises
        ------
        WeightsError
            Where it is missing or damaged.
        """
        values = stated(folder, "feature_extractor")
        kernels, strides = config.get("conv_kernel") or _KERNELS, config.get("conv_stride") or _STRIDES
        shortest = 1
        for kernel, stride in zip(reversed(kernels), reversed(strides), strict=False):
            shortest = (shortest - 1) * stride + kernel
        rate = int(number(values, "sampling_rate", 16000))
        return cls(rate, bool(values.get("do_normalize", True)), seconds, shortest, max(1, math.prod(strides)))

    def _shaped(self, samples: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        if self.normalise:
            samples = (samples - samples.mean()) / np.sqrt(samples.var() + np.float32(1e-7))
        return np.pad(samples, (0, max(0, self.shortest - len(samples))))

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return type(self)(self.rate, self.normalise, self.seconds, self.shortest, self.stride)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.rate, self.normalise, self.seconds, self.shortest, self.stride)


def excerpt(samples: npt.NDArray[np.float32], most: int, seed: int | None = None) -> npt.NDArray[np.float32]:
    """At most ``most`` samples ``(t,)``: the first ones, or those from a place that ``seed`` draws."""
    spare = len(samples) - most
    start = 0 if seed is None or spare <= 0 else int(np.random.default_rng(seed).integers(spare + 1))
    return samples[start : start + most]
