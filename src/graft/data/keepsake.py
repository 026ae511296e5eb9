"""A few rows that travel with a saved model, so that it can test itself."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Mapping
from functools import singledispatch
from typing import Any

import numpy as np
from PIL import Image

from graft.contracts import Examples, Sound
from graft.data.examples import AudioExamples, ImageExamples, TableExamples, TextExamples

__all__ = ["pack", "unpack"]

_SIDE = 256
"""Images are kept at this size at most: the test needs a picture, not the picture."""
_SECONDS = 2
"""As much of a sound is kept at most."""
_LOUDEST = 32767


def pack(examples: Examples, count: int) -> dict[str, bytes]:
    """Up to ``count`` rows, spread evenly, as small files by name; the same rows for the same examples."""
    rows = np.unique(np.linspace(0, len(examples) - 1, num=min(count, len(examples))).astype(np.int64))
    return dict(_pack_row(examples[int(row)], place) for place, row in enumerate(rows))


@singledispatch
def _pack_row(row: Any, place: int) -> tuple[str, bytes]:
    raise TypeError(f"a row of type {type(row).__name__} cannot be kept")


@_pack_row.register
def _(row: str, place: int) -> tuple[str, bytes]:
    return f"{place}.txt", row.encode("utf-8", "surrogatepass")


@_pack_row.register
def _(row: Image.Image, place: int) -> tuple[str, bytes]:
    small = row.copy()
    small.thumbnail((_SIDE, _SIDE))
    buffer = io.BytesIO()
    small.save(buffer, "PNG")
    return f"{place}.png", buffer.getvalue()


@_pack_row.register
def _(row: np.ndarray, place: int) -> tuple[str, bytes]:
    return f"{place}.json", json.dumps([float(value) for value in row]).encode()


@_pack_row.register
def _(row: Sound, place: int) -> tuple[str, bytes]:
    short = np.round(row.samples[: max(1, _SECONDS * row.rate)] * _LOUDEST).astype("<i2")
    return f"{place}.sound", struct.pack("<I", row.rate) + short.tobytes()


def _sound(raw: bytes) -> Sound:
    samples = np.frombuffer(raw, "<i2", offset=4).astype(np.float32) / np.float32(_LOUDEST)
    return Sound(samples, struct.unpack_from("<I", raw)[0])


def unpack(files: Mapping[str, bytes]) -> Examples:
    """The rows that :func:`pack` gave."""
    names = sorted(files, key=lambda name: int(name.split(".")[0]))
    kind = names[0].split(".")[1]
    if kind == "txt":
        return TextExamples([files[name].decode("utf-8", "surrogatepass") for name in names])
    if kind == "png":
        return ImageExamples([np.asarray(Image.open(io.BytesIO(files[name]), formats=["PNG"])) for name in names])
    if kind == "sound":
        return AudioExamples([_sound(files[name]) for name in names])
    return TableExamples(np.array([json.loads(files[name]) for name in names], dtype=np.float32))
