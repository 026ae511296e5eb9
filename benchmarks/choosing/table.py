"""The brute-force table: every source with every strategy on every task, on rows that nothing was fitted to.

One process, one thread, a cell a row of the file: a cell that is there is skipped, so that a run that was stopped
goes on.  Seconds are the process's own (CPU) time, from loading the source to a model that can predict; what is
frozen is read once for all cells of a source and a task, and each cell is charged for the rows that it learns from.

    GRAFT_CACHE=DIR OMP_NUM_THREADS=1 python table.py --out ../results/choosing_table.csv --seeds 0
    python table.py --forecast 1    # measures one cell of each kind, and says what the whole will take
"""

from __future__ import annotations

import csv
import io
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
import zoo
from bench import arguments

import graft
import tasks
from graft import compute, registry
from graft.features import Extractor
from graft.reading import read
from graft.select.candidates import candidate, graft_backbone

__all__ = ["STRATEGIES", "Cell", "Row", "cells", "modality_of", "read_rows", "seconds_a_row"]

STRATEGIES = {
    "linear_probe": "linear_probe",
    "svm": "svm",
    "fine_tune": "fine_tune?epochs=5&batch_size=16",
    "lp_ft": "lp_ft?epochs=5&tuning.batch_size=16",
    "lora": "lora?epochs=5&tuning.batch_size=16",
    "scratch": "scratch?epochs=8&batch_size=16",
}
"""At their defaults, but for batches that suit a hundred rows and for fewer epochs."""
FROZEN = ("linear_probe", "svm")
SAMPLE = 48
"""Rows by which it is measured what a row costs a frozen network."""


@dataclass(frozen=True)
class Cell:
    """What is to be measured."""

    task: str
    source: str
    strategy: str
    seed: int


@dataclass(frozen=True)
class Row:
    """What was measured.

    Parameters
    ----------
    score, inner
        The task's metric on rows apart, and inside the training rows, by which one would choose.
    seconds
        CPU seconds of the fit, those of the frozen pass included.
    pass_seconds
        Of these, what the frozen pass takes: sources that are screened pay it once for all strategies.
    test_seconds
        What judging took; nobody who chooses pays it.
    failed
        Why there is no score.
    """

    task: str
    source: str
    strategy: str
    seed: int
    modality: str
    kind: str
    metric: str
    score: float | None
    inner: float | None
    seconds: float
    pass_seconds: float
    test_seconds: float
    epochs: int
    train_rows: int
    test_rows: int
    classes: int
    parameters: int | None
    failed: str = ""

    @property
    def cell(self) -> Cell:
        """What it is a measurement of."""
        return Cell(self.task, self.source, self.strategy, self.seed)


NAMES = [field.name for field in fields(Row)]


def cells(seeds: Sequence[int], names: Iterable[str] = tuple(tasks.TASKS)) -> Iterator[Cell]:
    """Seed by seed: what is frozen everywhere first, then one task after the other, so that a part is of use."""
    names = list(names)
    for seed in seeds:
        for frozen in (True, False):
            for task in names:
                networks = set[str]()
                for entry in zoo.zoo(modality_of(task)):
                    anew = entry.network not in networks
                    networks.add(entry.network)
                    for strategy in zoo.strategies(entry, STRATEGIES):
                        # from scratch it is the network alone that counts
                        if (strategy in FROZEN) == frozen and (strategy != "scratch" or anew):
                            yield Cell(task, entry.name, strategy, seed)


def modality_of(task: str) -> str:
    """Of the rows of a task, which need not be read for that."""
    return "table" if task in ("adult", "melbourne") else "image" if task in _IMAGES else "text"


_IMAGES = ("pacs_photo", "pacs_sketch", "mnist", "omniglot", "cifar10")


@lru_cache(maxsize=64)
def seconds_a_row(task: str, source: str) -> float:
    """CPU seconds in which the frozen network reads a row of the task; 0 where nothing of it is kept."""
    entry, data = _entry(task, source), tasks.load(task).drawn(0)
    held = read((data.train, data.train_labels))
    strategy = registry.build("strategies", "linear_probe")
    backbone = graft_backbone(candidate(entry.source(), strategy, held.examples.modality), held.examples)
    if backbone.fingerprint is None or backbone.sparse is not None:
        return 0.0
    engine = Extractor(backbone.module, backbone.preprocess, compute.machine("cpu", "float32", 1))
    rows = held.examples.take(torch.arange(min(SAMPLE, len(held.examples))).numpy())
    engine.run(rows.take(torch.arange(8).numpy()))  # kernels are chosen in the first batch
    started = time.process_time()
    engine.run(rows)
    return (time.process_time() - started) / len(rows)


def _entry(task: str, source: str) -> zoo.Entry:
    return next(entry for entry in zoo.zoo(modality_of(task)) if entry.name == source)


def measured(cell: Cell) -> Row:
    """Fit one cell, and judge it."""
    task, entry = tasks.load(cell.task), _entry(cell.task, cell.source)
    data = task.drawn(cell.seed)
    frozen = cell.strategy in FROZEN
    shared = seconds_a_row(cell.task, cell.source) * len(data.train_labels) if frozen else 0.0
    found: dict[str, Any] = {"score": None, "inner": None, "metric": "", "epochs": 0, "parameters": None}
    model = graft.Transfer(
        entry.source(),
        strategy=registry.build("strategies", STRATEGIES[cell.strategy]),
        seed=cell.seed,
        precision="float32",
        cache=frozen,
    )
    if frozen and shared:
        _fill(
            cell.task, cell.source, cell.seed
        )  # so that what is measured below is no part of the pass, whoever came first
    started = time.process_time()
    ended = started
    try:
        model.fit(data.train, data.train_labels)
        ended = time.process_time()
        found |= _judged(model, data, frozen)
    except Exception as exc:  # one source that breaks is a finding, and no reason to stop for the night
        ended = max(ended, time.process_time())
        found["failed"] = f"{type(exc).__name__}: {exc}"[:300]
    return Row(
        **vars(cell),
        modality=task.modality,
        kind=entry.kind,
        seconds=round(ended - started + shared, 4),
        pass_seconds=round(shared, 4),
        test_seconds=round(time.process_time() - ended, 4),
        train_rows=len(data.train_labels),
        test_rows=len(data.test_labels),
        classes=len(set(task.labels[task.pool].tolist())),
        **found,
    )


@lru_cache(maxsize=1)
def _fill(task: str, source: str, seed: int) -> None:
    """Features of the rows to learn from, into the cache."""
    entry, data = _entry(task, source), tasks.load(task).drawn(seed)
    from graft.features import extract
    from graft.storage import cache_root

    held = read((data.train, data.train_labels))
    strategy = registry.build("strategies", "linear_probe")
    backbone = graft_backbone(candidate(entry.source(), strategy, held.examples.modality), held.examples)
    machine = compute.machine("cpu", "float32", 1)
    extract(backbone, held.examples, machine=machine, cache=cache_root() / "features")


def _judged(model: graft.Transfer, data: tasks.Drawn, frozen: bool) -> dict[str, Any]:
    """The score on the rows apart; frozen features of theirs are read from the cache too."""
    from graft.storage import cache_root

    fitted = model.model_.fitted
    held = read((data.test, data.test_labels))
    examples = model.model_.accepted(held.examples)
    cache = cache_root() / "features" if frozen else None
    outputs = model.model_.outputs_cached(examples, cache)
    assert held.labels is not None
    values = dict(fitted.metrics(outputs, fitted.encode(held.labels).numpy()))
    history = model.history_
    return {
        "score": round(float(values[fitted.metric]), 6),
        "inner": None if history.score is None else round(float(history.score), 6),
        "metric": fitted.metric,
        "epochs": len(history.epochs),
        "parameters": model.model_.card.parameters,
    }


# --- the file ---


def _line(values: Sequence[Any]) -> bytes:
    held = io.StringIO()
    csv.writer(held, lineterminator="\n").writerow(["" if value is None else value for value in values])
    return held.getvalue().replace("\r", " ").encode()


def append(path: Path, row: Row) -> None:
    """Write one row at once: a kill leaves it whole or not there."""
    fresh = not path.exists() or not path.stat().st_size
    text = _line([getattr(row, name) for name in NAMES]).rstrip(b"\n").replace(b"\n", b" ") + b"\n"
    with open(path, "ab", buffering=0) as file:
        file.write((_line(NAMES) if fresh else b"") + text)
        os.fsync(file.fileno())


def read_rows(path: Path) -> list[Row]:
    """The rows of a table; a last line without its end is no row, and is cut off."""
    if not path.exists():
        return []
    whole = path.read_bytes()
    kept = whole[: whole.rfind(b"\n") + 1]
    if kept != whole:
        with open(path, "r+b") as file:
            file.truncate(len(kept))
    return [_row(each) for each in csv.DictReader(io.StringIO(kept.decode()))]


def _row(each: dict[str, str]) -> Row:
    whole = {"seed", "epochs", "train_rows", "test_rows", "classes", "parameters"}
    real = {"score", "inner", "seconds", "pass_seconds", "test_seconds"}
    held: dict[str, Any] = {}
    for name, text in each.items():
        held[name] = (
            text if name not in whole | real else None if text == "" else (int if name in whole else float)(text)
        )
    return Row(**held)


def _forecast(names: Sequence[str]) -> None:
    """One cell of each strategy and source on a task of each kind, and what all of them come to."""
    total = 0.0
    for task in names:
        spent = 0.0
        for cell in cells([0], [task]):
            row = measured(cell)
            spent += row.seconds + row.test_seconds
            print(f"{task:14} {cell.source:20} {cell.strategy:12} {row.score!s:8} {row.inner!s:8} {row.seconds:7.2f} "
                  f"{row.test_seconds:6.2f} {row.epochs:3} {row.failed[:80]}", flush=True)  # fmt: skip
        total += spent
        print(f"{task}: {spent:.0f} s", flush=True)
    print(f"all: {total:.0f} s a seed")


def main() -> None:
    options = arguments(__doc__, seeds="0,1,2", tasks=",".join(tasks.TASKS), forecast=0)
    torch.set_num_threads(1)
    names = options.tasks.split(",")
    if options.forecast:
        _forecast(names)
        return
    if options.out is None:
        raise SystemExit("--out FILE.csv says where the table grows")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    done = {row.cell for row in read_rows(options.out)}
    wanted = list(cells([int(seed) for seed in options.seeds.split(",")], names))
    print(f"{len(wanted)} cells, {sum(cell in done for cell in wanted)} of them there", flush=True)
    for place, cell in enumerate(wanted):
        if cell in done:
            continue
        row = measured(cell)
        append(options.out, row)
        shown = row.failed or f"{row.score:.3f} in {row.seconds:.1f} s"
        print(f"{place + 1}/{len(wanted)} {cell.task} {cell.source} {cell.strategy} {cell.seed}: {shown}", flush=True)


if __name__ == "__main__":
    main()
