"""What a frozen part of a network gives, computed once for every row: training then costs only what trains."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Self, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from graft.compute import available_memory, out_of_memory, to_device
from graft.contracts import Batch, Examples, Machine, Preprocess
from graft.data.loaders import read_items
from graft.nn.cut import Cut, cut, resumed
from graft.progress import Advance, Progress, Silent

__all__ = ["CutExamples", "CutPreprocess", "Resumption", "cut_rows"]

_WINDOW = 512
"""Rows that are read, put in order of length, and computed together."""
_BATCH, _COST = 32, 4096
"""Rows of a batch, and tokens with padding, at most."""
_LOOKED_AT = 64
"""Rows among which the batches are found on which the cut is tried out."""
_SHARE = 0.25
"""Share of the memory that is left which recorded rows may take; beyond it they lie in a file."""

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Resumption:
    """How training goes on from the last frozen block.

    Parameters
    ----------
    trunk
        batch → features, from what was recorded; it shares parameters and buffers with the network.
    train, valid
        The rows, each with what was recorded of it.
    preprocess
        Makes their batches.
    note
        What was done, a sentence.
    """

    trunk: nn.Module
    train: Examples
    valid: Examples | None
    preprocess: Preprocess
    note: str


def cut_rows(
    trunk: nn.Module,
    stages: Sequence[str],
    preprocess: Preprocess,
    train: Examples,
    valid: Examples | None = None,
    *,
    machine: Machine,
    folder: Path | None = None,
    progress: Progress | None = None,
) -> Resumption | str:
    """Compute the frozen first stages of ``trunk`` once for every row, or say why that cannot be.

    Valid where rows are the same in every epoch: there must be no random training form.  What is frozen
    computes in float32.  Rows stay in memory up to a quarter of what is left of it, else they go to a
    file without a name, which is gone when the last of them is.

    Parameters
    ----------
    trunk
        batch → features ``(n, d)``, on the machine's device; ``requires_grad`` says what trains.
    folder
        Where the file goes; ``None``: to the system's temporary files.

    Raises
    ------
    BadRowsError
        For rows that cannot be read.
    """
    parts = [train] if valid is None else [train, valid]
    found = cut(trunk, stages, [to_device(each, machine) for each in _to_try(train, preprocess)])
    if isinstance(found, str):
        return f"every epoch computes the frozen stages again: {found}."
    store = _Store(sum(map(len, parts)), folder)
    progress = progress or Silent()
    made: list[CutExamples] = []
    try:
        with progress.step("record", store.rows) as advance:
            for part in parts:
                first = store.filled
                kept = _record(found, part, preprocess, machine, store, advance)
                made.append(CutExamples(part, kept, store, np.arange(first, store.filled)))
        store.finish()
    except (MemoryError, RuntimeError) as exc:
        if not out_of_memory(exc):
            raise
        return "every epoch computes the frozen stages again: memory does not hold what they give."
    except OSError as exc:
        return f"every epoch computes the frozen stages again: the disk does not take what they give ({exc})."
    finally:
        store.close()
    again = CutPreprocess(preprocess)
    frozen = f"the frozen stages up to {found.place}" if found.place else "the features"
    note = f"{frozen} are computed once a row, {store.bytes / 1e6:.0f} MB in {store.where}."
    return Resumption(found.rest, made[0], made[1] if valid is not None else None, again, note)


def _to_try(examples: Examples, preprocess: Preprocess) -> list[Batch]:
    """Two batches, of the longest and of the shortest of the first rows."""
    rows = np.arange(min(_LOOKED_AT, len(examples)))
    items = next(iter(read_items(examples, [rows], preprocess)))
    order = np.argsort([preprocess.cost(item) for item in items], kind="stable")
    places = np.resize(order, max(3, len(order)))  # of a single row, the same thrice
    return [preprocess.collate([items[place] for place in chosen]) for chosen in (places[-3:], places[:2])]


def _record(
    found: Cut, examples: Examples, preprocess: Preprocess, machine: Machine, store: _Store, advance: Advance
) -> list[Any]:
    """Fill the store with what the last frozen block gives for each row; returns what else of the rows is needed."""
    kept: list[Any] = []
    rows = np.arange(len(examples))
    windows = [rows[start : start + _WINDOW] for start in range(0, len(rows), _WINDOW)]
    modes = [(part, part.training) for part in found.trunk.modules()]
    found.trunk.eval()
    try:
        for items in _read_windows(examples, windows, preprocess, machine):
            recorded: list[Floats | None] = [None] * len(items)
            for chosen in _batches([preprocess.cost(item) for item in items]):
                batch = preprocess.collate([items[place] for place in chosen])
                with torch.inference_mode():
                    given = found.record(to_device(batch, machine)).float().cpu().numpy()
                lengths = _lengths(batch, given)
                for place, row, length in zip(chosen, given, lengths, strict=True):
                    recorded[place] = row if length is None else row[:length]
            store.add(cast("list[Floats]", recorded))
            kept += items if found.blank is None else [item.new_zeros(len(item), *found.blank) for item in items]
            advance(len(items))
    finally:
        for part, mode in modes:
            part.training = mode
    return kept


def _read_windows(
    examples: Examples, windows: Sequence[npt.NDArray[np.int64]], preprocess: Preprocess, machine: Machine
) -> Iterator[list[Any]]:
    """Windows of items; read in small chunks, so that threads share the work."""
    for window in windows:
        chunks = np.array_split(window, max(1, len(window) // _BATCH))
        yield [item for items in read_items(examples, chunks, preprocess, None, machine.threads) for item in items]


def _batches(costs: Sequence[int]) -> list[list[int]]:
    """Places of items in batches of like length."""
    batches: list[list[int]] = []
    for place in np.argsort(np.asarray(costs), kind="stable").tolist():
        if not batches or len(batches[-1]) == _BATCH or (len(batches[-1]) + 1) * costs[place] > _COST:
            batches.append([])
        batches[-1].append(place)
    return batches


def _lengths(batch: Batch, given: Floats) -> Sequence[int | None]:
    """How many tokens of each row are its own, where the block keeps them apart; ``None``: all belong to it."""
    mask = batch.get("attention_mask") if isinstance(batch, dict) else None
    if mask is None or given.ndim < 3 or given.shape[1] != mask.shape[1]:
        return [None] * len(given)
    return [int(length) for length in mask.sum(1)]


class _Store:
    """Arrays of rows, end to end: in memory, or in a file that has no name.

    Parameters
    ----------
    rows
        How many there will be; the first ones tell where they go.
    folder
        Of the file.
    """

    def __init__(self, rows: int, folder: Path | None) -> None:
        self.rows, self.folder = rows, folder
        self.filled = self.bytes = 0
        self._held: list[Floats] = []
        self._file: BinaryIO | None = None
        self._mapped: npt.NDArray[np.uint8] | None = None
        self._places: list[tuple[int, tuple[int, ...]]] = []

    @property
    def where(self) -> str:
        """In words."""
        return "memory" if self._mapped is None else "a temporary file"

    def add(self, arrays: Sequence[Floats]) -> None:
        """Keep the arrays of the next rows.

        Raises
        ------
        OSError
            Where the disk refuses.
        """
        size = sum(array.nbytes for array in arrays)
        if not self.filled and self._beyond(size * self.rows / max(1, len(arrays))):
            if self.folder is not None:
                self.folder.mkdir(parents=True, exist_ok=True)
            self._file = cast("BinaryIO", tempfile.TemporaryFile(dir=self.folder))  # noqa: SIM115 - it closes with the store
        start = self.bytes
        for array in arrays:
            self._places.append((start, array.shape))
            start += array.nbytes
        if self._file is None:
            self._held += [np.ascontiguousarray(array) for array in arrays]
        else:
            self._file.write(b"".join(array.tobytes() for array in arrays))
        self.filled, self.bytes = self.filled + len(arrays), start

    def finish(self) -> None:
        """All rows are there: what lies in the file is mapped, and memory holds what is being read."""
        if self._file is not None:
            self._file.flush()
            self._mapped = np.memmap(self._file, np.uint8, "r")

    def close(self) -> None:
        """Nothing more is written; what is mapped stays."""
        if self._file is not None:
            self._file.close()

    def _beyond(self, size: float) -> bool:
        left = available_memory()
        return left is not None and size > _SHARE * left

    def __getitem__(self, row: int) -> Floats:
        if self._mapped is None:
            return self._held[row]
        start, shape = self._places[row]
        end = start + 4 * int(np.prod(shape))
        return self._mapped[start:end].view(np.float32).reshape(shape)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self


class CutExamples:
    """Rows with what the last frozen block gives for them: ``(item, array)``, where the item is shaped already.

    Parameters
    ----------
    examples
        The rows themselves, for their names and digests.
    items
        What the network still needs of each row.
    store, places
        Holds the arrays; ``(n,)`` which of them are these rows'.
    """

    def __init__(self, examples: Examples, items: Sequence[Any], store: _Store, places: npt.NDArray[np.int64]) -> None:
        self.examples, self.items, self.store, self.places = examples, items, store, places
        self.modality = examples.modality

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, row: int) -> tuple[Any, Floats]:
        return self.items[row], self.store[int(self.places[row])]

    def name(self, row: int) -> str:
        return self.examples.name(row)

    def keys(self) -> npt.NDArray[np.uint8]:
        return self.examples.keys()

    def take(self, rows: npt.NDArray[np.int64]) -> CutExamples:
        return CutExamples(
            self.examples.take(rows), [self.items[int(row)] for row in rows], self.store, self.places[rows]
        )


class CutPreprocess:
    """Batches of recorded rows; there is no training form.

    Parameters
    ----------
    inner
        What shaped the rows.
    """

    def __init__(self, inner: Preprocess) -> None:
        self.inner = inner

    def items(self, rows: Sequence[Any], seeds: Sequence[int] | None = None) -> list[Any]:
        return list(rows)

    def cost(self, item: Any) -> int:
        return self.inner.cost(item[0])

    def collate(self, items: Sequence[Any]) -> Batch:
        return resumed(self.inner.collate([item for item, _ in items]), _padded([array for _, array in items]))

    def files(self) -> dict[str, bytes]:
        return self.inner.files()


def _padded(arrays: Sequence[Floats]) -> Tensor:
    """Rows ``(n, …)``; those with fewer tokens are filled up with zeros, as their mask hides it."""
    longest = max(len(array) for array in arrays)
    if all(array.shape == arrays[0].shape for array in arrays):
        return torch.from_numpy(np.stack(arrays))
    padded = np.zeros((len(arrays), longest, *arrays[0].shape[1:]), np.float32)
    for row, array in zip(padded, arrays, strict=True):
        row[: len(array)] = array
    return torch.from_numpy(padded)
