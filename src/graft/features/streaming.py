"""Features of a backbone for rows of any number, read from the cache or computed and kept there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from graft.contracts import Array, Backbone, Examples, Machine
from graft.features.cache import Keys, Space, packed_keys
from graft.features.engine import WINDOW, Extractor
from graft.progress import Advance, Progress, Silent

__all__ = ["extract", "stream"]


def extract(
    backbone: Backbone,
    examples: Examples,
    *,
    machine: Machine,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Array:
    """``(n, d)`` float32: the features of every row.

    Parameters
    ----------
    cache
        Folder of the feature cache; ``None`` computes everything.  A backbone without a fingerprint
        is never cached.
    progress
        Shows how far it is.

    Raises
    ------
    BadRowsError
        For rows that cannot be read.
    MachineError
        Where the cache cannot be written.
    MemoryLimitError
        Where not even a single row fits into memory.
    """
    features = np.empty((len(examples), backbone.dim), np.float32)
    start = 0
    for part in stream(backbone, examples, machine=machine, cache=cache, progress=progress):
        features[start : start + len(part)] = part
        start += len(part)
    return features


def stream(
    backbone: Backbone,
    examples: Examples,
    *,
    machine: Machine,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Iterator[Array]:
    """The same in parts of some thousand rows, in order: memory does not grow with ``n``."""
    space = Space.of(backbone, machine, cache)
    rows = np.arange(len(examples))
    with (progress or Silent()).step("features", len(examples)) as advance:
        if space is None:
            for _, features in Extractor(backbone.module, backbone.preprocess, machine).windows(
                examples, rows, advance
            ):
                yield features
        else:
            yield from _cached(backbone, examples, machine, space, advance)


def _cached(
    backbone: Backbone, examples: Examples, machine: Machine, space: Space, advance: Advance
) -> Iterator[Array]:
    keys = packed_keys(examples.keys())
    wanted = _missing(keys, space)
    advance(len(keys) - len(wanted))
    start = 0
    if len(wanted):
        extractor = Extractor(backbone.module, backbone.preprocess, machine)
        for rows, features in extractor.windows(examples, wanted, advance):
            space.add(keys[rows], features)
            # Rows up to the next one that is still to be computed are there now.
            after = int(np.searchsorted(wanted, rows[-1], side="right"))
            ready = int(wanted[after]) if after < len(wanted) else len(keys)
            while start + WINDOW <= ready:
                yield _read(backbone, examples, machine, space, keys, np.arange(start, start + WINDOW))
                start += WINDOW
    for first in range(start, len(keys), WINDOW):
        rows = np.arange(first, min(first + WINDOW, len(keys)))
        yield _read(backbone, examples, machine, space, keys, rows)


def _missing(keys: Keys, space: Space) -> npt.NDArray[np.int64]:
    """The rows to compute, in order: the first of equal ones, where the space has none of them."""
    unique, first = np.unique(keys, return_index=True)
    return np.sort(first[space.missing(unique)])


def _read(
    backbone: Backbone,
    examples: Examples,
    machine: Machine,
    space: Space,
    keys: Keys,
    rows: npt.NDArray[np.int64],
) -> Array:
    features, found = space.read(keys[rows])
    if not found.all():  # another process pruned the cache meanwhile
        lost = examples.take(rows[~found])
        features[~found] = Extractor(backbone.module, backbone.preprocess, machine).run(lost)
    return features
