"""Loudness by frequency, averaged over time."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from graft.contracts import Array, Backbone, Card, Sound, Source
from graft.data.mel import mel_decibels
from graft.errors import BundleError, RequestError
from graft.storage import digest

__all__ = ["Mels"]

_FILE = "mels.json"
_WINDOW, _HOP = 0.064, 0.016
"""Seconds that a moment spans, and from one to the next."""
_MIDDLE, _SPREAD = 50.0, 50.0
"""Takes decibels, which lie between -100 and about 30, to numbers around 0."""


@dataclass(frozen=True)
class _MelPreprocess:
    """From sounds to ``(2 · bands,)``: mean and deviation over time of each band."""

    bands: int
    rate: int

    def items(self, rows: Sequence[Sound], seeds: Sequence[int] | None = None) -> list[Array]:
        window, hop = round(_WINDOW * self.rate), round(_HOP * self.rate)
        shaped = []
        for row in rows:
            held = mel_decibels(row, self.rate, window, hop, self.bands)
            shaped.append(np.concatenate([(held.mean(axis=0) + _MIDDLE) / _SPREAD, held.std(axis=0) / _SPREAD]))
        return shaped

    def cost(self, item: Any) -> int:
        return 1

    def collate(self, items: Sequence[Array]) -> Tensor:
        return torch.from_numpy(np.stack(items).astype(np.float32, copy=False))

    def files(self) -> dict[str, bytes]:
        return {_FILE: json.dumps(asdict(self)).encode()}


class Mels(Source):
    """How loud a sound is in each band of frequencies, and how much that varies: features that never learnt.

    Mean and deviation over time of the log-mel bands, ``2 · bands`` numbers a clip of any length;
    a control for sounds.

    Parameters
    ----------
    bands
        Mel bands from 0 Hz to half the rate.
    rate
        Samples a second; sounds are resampled to it.

    Examples
    --------
    >>> Mels().load().dim
    128
    """

    modality: ClassVar[str] = "audio"
    pretrained: ClassVar[bool] = False

    def __init__(self, bands: int = 64, rate: int = 16000) -> None:
        self.bands = bands
        self.rate = rate

    def load(self, weights: bool = True) -> Backbone:
        for name, low, high in (("bands", 1, 512), ("rate", 500, 384_000)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                raise RequestError(f"the {name} of mels is {value!r}; expected a whole number from {low} to {high}.")
        return _backbone(_MelPreprocess(self.bands, self.rate))

    def rebuild(self, files: Mapping[str, bytes]) -> Backbone:
        try:
            held = json.loads(files[_FILE])
            preprocess = _MelPreprocess(int(held["bands"]), int(held["rate"]))
        except (KeyError, TypeError, ValueError) as exc:
            raise BundleError(
                f"{_FILE} of the saved model is absent or damaged ({exc!r}); save the model again, or copy it whole."
            ) from exc
        return _backbone(preprocess)

    @classmethod
    def local(cls) -> tuple[str, ...]:
        return ("mels",)


def _backbone(preprocess: _MelPreprocess) -> Backbone:
    files = preprocess.files()
    return Backbone(
        module=nn.Identity(),
        dim=2 * preprocess.bands,
        preprocess=preprocess,
        stages=(),
        card=Card("mels", "audio", parameters=0, bytes=0, pretraining="none"),
        files=files,
        fingerprint=digest("mels", *files.values()),
    )
