"""The one inference engine: examples → what a network makes of them, in order."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from graft.compute import available_memory, dtype_of, out_of_memory, prepared, to_device
from graft.contracts import Array, Examples, Machine, Preprocess
from graft.data.loaders import read_items
from graft.errors import MemoryLimitError
from graft.features.batches import budget_for, deal, elements, group
from graft.progress import Advance, Progress, Silent

__all__ = ["WINDOW", "Extractor"]

WINDOW = 4096
"""Rows that are batched, and kept, together; fewer where they are large."""
_WINDOW_ELEMENTS = 256 * 3 * 224 * 224
_CHUNK = 32
"""Rows that one thread reads at a time."""
_WORKERS = 8

Rows = npt.NDArray[np.int64]
Window = tuple[Rows, list[Any]]


class Extractor:
    """Runs a network over examples, uncached.

    On a CPU every worker computes its own batches with its share of the threads: what does not
    parallelise within one batch (attention, norms, Python) then overlaps with what does.

    Parameters
    ----------
    module
        batch → ``(n, k)``; a copy of it is prepared for the machine and kept.
    preprocess
        Makes its batches.
    machine
        Where to run; an undecided precision is float32.

    Examples
    --------
    >>> from graft.sources.pixels import Pixels
    >>> from graft.data.examples import ImageExamples
    >>> from graft.contracts import Machine
    >>> backbone = Pixels().load()
    >>> images = ImageExamples([np.zeros((8, 8, 3), np.uint8)])
    >>> Extractor(backbone.module, backbone.preprocess, Machine()).run(images).shape == (1, backbone.dim)
    True
    """

    def __init__(self, module: nn.Module, preprocess: Preprocess, machine: Machine) -> None:
        self.module = prepared(module, machine)
        self.preprocess = preprocess
        self.machine = machine
        learnt = any(True for _ in self.module.parameters()) or dtype_of(machine) is torch.float32
        self._dtype = dtype_of(machine) if learnt else torch.float32
        self._mixes = any(getattr(part, "mixes_lengths", False) for part in self.module.modules())
        self._budget = budget_for(machine.device, self._mixes)

    def run(self, examples: Examples, progress: Progress | None = None, label: str = "predict") -> Array:
        """``(n, k)`` float32, a row for every example.

        Raises
        ------
        BadRowsError
            For rows that cannot be read.
        MemoryLimitError
            Where not even a single row fits into memory.
        """
        n = len(examples)
        outputs: Array = np.empty((0, 0), np.float32)
        with (progress or Silent()).step(label, n) as advance:
            for rows, features in self.windows(examples, np.arange(n), advance):
                if len(outputs) != n:
                    outputs = np.empty((n, features.shape[1]), np.float32)
                outputs[rows] = features
        return outputs

    def windows(self, examples: Examples, rows: Rows, advance: Advance) -> Iterator[tuple[Rows, Array]]:
        """``(rows, features)``, window after window; where windows end depends on the rows alone."""
        with self._workers() as pool:
            waiting: deque[tuple[Rows, Callable[[], Array]]] = deque()
            for part, items in self._read(examples, rows):
                batches = self._plan(items)
                if len(part) == len(rows) and len(batches) == 1:  # a thread could only add to the wait
                    features = self._forward(items)
                    advance(len(part))
                    yield part, features
                    return
                waiting.append((part, self._start(pool, items, batches, advance)))
                if len(waiting) == 2:
                    done, finish = waiting.popleft()
                    yield done, finish()
            for done, finish in waiting:
                yield done, finish()

    def _read(self, examples: Examples, rows: Rows) -> Iterator[Window]:
        chunks = [rows[start : start + _CHUNK] for start in range(0, len(rows), _CHUNK)]
        items: list[Any] = []
        start = weight = 0
        for read in read_items(examples, chunks, self.preprocess, None, self.machine.threads):
            items += read
            weight += sum(map(elements, read))
            if len(items) >= WINDOW or weight >= _WINDOW_ELEMENTS:
                yield rows[start : start + len(items)], items
                start, weight, items = start + len(items), 0, []
        if items:
            yield rows[start:], items

    def _plan(self, items: list[Any]) -> list[Rows]:
        costs = np.array([self.preprocess.cost(item) for item in items], np.int64)
        if self._mixes:
            return deal(costs, self._budget)
        return group(costs, np.array([elements(item) for item in items], np.int64), self._budget)

    @contextlib.contextmanager
    def _workers(self) -> Iterator[Executor]:
        before = torch.get_num_threads()
        count = min(self.machine.threads, _WORKERS) if self.machine.device.type == "cpu" else 1
        share = max(1, self.machine.threads // count)
        pool = ThreadPoolExecutor(count, "graft-compute", torch.set_num_threads, (share,))
        try:
            yield pool
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
            if torch.get_num_threads() != before or share != before:
                torch.set_num_threads(before)

    def _start(self, pool: Executor, items: list[Any], batches: list[Rows], advance: Advance) -> Callable[[], Array]:
        running = [pool.submit(self._forward, [items[row] for row in batch]) for batch in batches]

        def finish() -> Array:
            features = _joined(running, batches, len(items), advance)
            running.clear()
            return features

        return finish

    def _forward(self, items: list[Any]) -> Array:
        try:
            with torch.inference_mode():
                batch = to_device(self.preprocess.collate(items), self.machine, self._dtype)
                outputs: Tensor = self.module(batch)
                features: Array = outputs.float().cpu().numpy()
                return features
        except (MemoryError, RuntimeError) as exc:
            if not out_of_memory(exc):
                raise
            if len(items) == 1:
                raise MemoryLimitError(_too_large(items[0], self.preprocess)) from exc
        self._budget = self._budget.half()
        if self.machine.device.type == "cuda":
            torch.cuda.empty_cache()
        middle = len(items) // 2
        return np.concatenate([self._forward(items[:middle]), self._forward(items[middle:])])


def _joined(running: list[Future[Array]], batches: list[Rows], n: int, advance: Advance) -> Array:
    features: Array = np.empty((0, 0), np.float32)
    for future, batch in zip(running, batches, strict=True):
        part = future.result()
        if len(features) != n:
            features = np.empty((n, part.shape[1]), np.float32)
        features[batch] = part
        advance(len(batch))
    return features


def _too_large(item: Any, preprocess: Preprocess) -> str:
    left = available_memory()
    have = "" if left is None else f", and {left / 1e9:.1f} GB are left"
    return (
        f"a single row ({elements(item)} numbers, cost {preprocess.cost(item)}) does not fit into memory{have}. "
        "Close other programs, choose a smaller source, or a machine with more memory."
    )
