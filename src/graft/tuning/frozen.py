"""What is frozen computes once a row, and not once an epoch, where every epoch sees the same rows."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from graft.contracts import Preprocess, TransferData
from graft.data.loaders import read_items
from graft.features import cut_rows
from graft.nn.cut import frozen_stages
from graft.nn.grafted import Grafted
from graft.tuning.settings import Tuning

__all__ = ["frozen_once", "varies"]

_LOOKED_AT = 4
"""Rows by which it is told whether a training form is random."""


@contextlib.contextmanager
def frozen_once(
    grafted: Grafted, data: TransferData, preprocess: Preprocess, tuning: Tuning
) -> Iterator[tuple[TransferData, Preprocess, str]]:
    """Inside the block the network goes on from what its frozen first stages gave, which are computed at its start.

    Yields the rows and the preprocessing to train with, and how often the frozen stages are computed:
    ``"once"``, ``"every epoch"``, or ``""`` where nothing is frozen.  Where rows vary between epochs,
    or the network cannot be cut, all of it is as it was given.
    """
    if not frozen_stages(grafted.trunk, grafted.backbone.stages):
        yield data, preprocess, ""
        return
    if tuning.mixup or tuning.cutmix or tuning.token_dropout or varies(preprocess, data):
        yield data, preprocess, "every epoch"
        return
    grafted.to(data.machine.device)
    found = cut_rows(
        grafted.trunk,
        grafted.backbone.stages,
        preprocess,
        data.train.examples,
        None if data.valid is None else data.valid.examples,
        machine=data.machine,
        folder=data.cache,
        progress=data.progress,
    )
    if isinstance(found, str):
        yield data, preprocess, "every epoch"
        return
    train = replace(data.train, examples=found.train)
    valid = None if data.valid is None or found.valid is None else replace(data.valid, examples=found.valid)
    whole, grafted.trunk = grafted.trunk, found.trunk
    try:
        yield replace(data, train=train, valid=valid), found.preprocess, "once"
    finally:
        grafted.trunk = whole


def varies(preprocess: Preprocess, data: TransferData) -> bool:
    """Whether the training form of rows is random."""
    rows = np.arange(min(_LOOKED_AT, len(data.train)))
    forms = [
        next(iter(read_items(data.train.examples, [rows], preprocess, seeds)))
        for seeds in (None, lambda row: row, lambda row: row + _LOOKED_AT)
    ]
    return not all(_alike(items, forms[0]) for items in forms[1:])


def _alike(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        return torch.equal(one, other)
    if isinstance(one, np.ndarray):
        return np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_alike(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(_alike, one, other))
    return bool(one == other)
