"""What a row looks like, in a few numbers that do not say what it holds: its size, and shares of its parts."""

from __future__ import annotations

from functools import singledispatch
from typing import Any

import numpy as np
from PIL import Image

from graft.contracts import Sound

__all__ = ["facts_of"]

_SIDE = 32
"""Pixels a side of the thumbnail that colours and detail are measured on."""


@singledispatch
def facts_of(row: Any) -> dict[str, float]:
    """The facts of one row by name, each 0 or more; none for a row of a kind that is not known here.

    Parameters
    ----------
    row
        A row as :class:`~graft.contracts.Examples` give it.

    Examples
    --------
    >>> facts_of("4 cards")["characters"]
    7.0
    """
    return {}


@facts_of.register
def _(row: str) -> dict[str, float]:
    letters = sum(map(str.isalpha, row))
    return {
        "characters": float(len(row)),
        "words": float(len(row.split())),
        "digits": _share(sum(map(str.isdigit, row)), len(row)),
        "marks": _share(sum(not (each.isalnum() or each.isspace()) for each in row), len(row)),
        "capitals": _share(sum(map(str.isupper, row)), letters),
        "beyond ASCII": _share(sum(each.isalpha() and not each.isascii() for each in row), letters),
    }


@facts_of.register
def _(row: Image.Image) -> dict[str, float]:
    thumbnail = row.convert("RGB").resize((_SIDE, _SIDE), Image.Resampling.BOX)
    seen = np.asarray(thumbnail, dtype=np.float64) / 255
    grey = seen.mean(axis=2)
    steps = [np.abs(np.diff(grey, axis=axis)).mean() for axis in (0, 1)]
    return {
        "pixels": float(row.width * row.height),
        "squareness": _share(min(row.size), max(row.size)),
        "brightness": float(grey.mean()),
        "contrast": float(grey.std()),
        "colour": float(np.ptp(seen, axis=2).mean()),
        "detail": float(np.mean(steps)),
    }


@facts_of.register
def _(row: np.ndarray) -> dict[str, float]:
    values = row[np.isfinite(row)]
    return {
        "columns": float(row.size),
        "missing": _share(row.size - values.size, row.size),
        "zeros": _share(int((values == 0).sum()), values.size),
        "whole numbers": _share(int((values == np.round(values)).sum()), values.size),
    }


@facts_of.register
def _(row: Sound) -> dict[str, float]:
    samples = np.asarray(row.samples, dtype=np.float64)
    up = samples > 0
    return {
        "seconds": samples.size / row.rate,
        "rate": float(row.rate),
        "level": float(np.sqrt(np.mean(samples**2))),
        "crossings": _share(int((up[1:] != up[:-1]).sum()), samples.size - 1),
    }


def _share(part: float, whole: float) -> float:
    return float(part) / whole if whole > 0 else 0.0
