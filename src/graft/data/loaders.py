"""Rows read ahead in threads: decoding and tokenising go on while the network computes."""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from graft.contracts import Examples, Preprocess
from graft.errors import BadRowsError, GraftError

__all__ = ["Telling", "notes_on", "read_items"]

_AHEAD = 2
"""Batches that a thread may be ahead of whoever takes them; memory is bounded by it."""

_LOOKED_AT = 256
"""Rows by which :func:`notes_on` judges all."""


@runtime_checkable
class Telling(Protocol):
    """A preprocessing that may lose a part of a row, and counts how often it did."""

    def notes(self) -> tuple[str, ...]:
        """What happened to the rows so far that a person should know, a sentence each."""


def notes_on(preprocess: Preprocess, examples: Examples) -> tuple[str, ...]:
    """What the preprocessing loses of rows like these, such as the ends of long texts.

    Judged by up to 256 rows from all over the data, so that it is the same whether or not their
    features were in the cache already; says so where there are more.
    """
    if not isinstance(preprocess, Telling):
        return ()
    rows = np.unique(np.linspace(0, len(examples) - 1, num=min(_LOOKED_AT, len(examples))).astype(np.int64))
    fresh = copy.deepcopy(preprocess)
    fresh.items(_read_rows(examples, rows))
    some = f"of {len(rows)} rows looked at, " if len(rows) < len(examples) else ""
    return tuple(some + note for note in fresh.notes())


def read_items(
    examples: Examples,
    batches: Iterable[npt.NDArray[np.int64]],
    preprocess: Preprocess,
    seeds: Callable[[int], int] | None = None,
    threads: int = 1,
) -> Iterator[list[Any]]:
    """Read rows and shape them into items, a list for every batch, in the order of ``batches``.

    What comes out does not depend on ``threads``.

    Parameters
    ----------
    batches
        Row numbers, an array a batch; an infinite iterable is read only a little ahead.
    seeds
        Row → the seed of its augmentation; ``None`` gives the deterministic form.
    threads
        How many threads read.

    Raises
    ------
    BadRowsError
        For rows of a batch that cannot be read; names all of that batch.
    """

    def read(batch: npt.NDArray[np.int64]) -> list[Any]:
        rows = _read_rows(examples, batch)
        return preprocess.items(rows, None if seeds is None else [seeds(int(row)) for row in batch])

    waiting = iter(batches)
    first, second = next(waiting, None), next(waiting, None)
    if first is None:
        return
    if second is None:  # a single batch: a thread could only add its start to the wait
        yield read(first)
        return
    threads = max(1, threads)
    pool = ThreadPoolExecutor(threads, thread_name_prefix="graft-read")
    try:
        ahead: deque[Future[list[Any]]] = deque([pool.submit(read, first), pool.submit(read, second)])
        while ahead:
            while len(ahead) < _AHEAD * threads and (batch := next(waiting, None)) is not None:
                ahead.append(pool.submit(read, batch))
            yield ahead.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _read_rows(examples: Examples, batch: npt.NDArray[np.int64]) -> list[Any]:
    rows: list[Any] = []
    bad: list[tuple[str, str]] = []
    for row in batch.tolist():
        try:
            rows.append(examples[row])
        except BadRowsError as exc:
            bad.extend(exc.rows)
        except GraftError:
            raise
        except (ValueError, OSError, EOFError, SyntaxError) as exc:  # Pillow reports broken PNGs as SyntaxError
            bad.append((examples.name(row), str(exc) or type(exc).__name__))
    if bad:
        raise BadRowsError(bad)
    return rows
