"""Runs in processes of their own, on rows that lie in files: as a user starts one, imports and all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

import tasks

__all__ = ["Files", "busy", "called", "written"]

_BUSY = "while True: pass"


@dataclass(frozen=True)
class Files:
    """Rows to learn from and rows to judge by: CSV files with a column ``label``, or folders of a folder a class."""

    modality: str
    train: Path
    test: Path

    @property
    def target(self) -> str | None:
        """The column of the label; folders say it themselves."""
        return None if self.modality == "image" else "label"


def written(task: tasks.Pool, seed: int, folder: Path) -> Files:
    """Write the rows of a seed.  A class has a word before it, lest numbers of classes be taken for numbers."""
    drawn = task.drawn(seed)
    sides = {"train": (drawn.train, drawn.train_labels), "test": (drawn.test, drawn.test_labels)}
    paths = {}
    for side, (rows, labels) in sides.items():
        named = [f"class {str(label).replace('/', ' ')}" for label in labels]
        paths[side] = folder / side if task.modality == "image" else folder / f"{side}.csv"
        _pictures(rows, named, paths[side]) if task.modality == "image" else _table(rows, named, paths[side])
    return Files(task.modality, paths["train"], paths["test"])


def _pictures(rows: Sequence[np.ndarray], labels: Sequence[str], folder: Path) -> None:
    for place, (row, label) in enumerate(zip(rows, labels, strict=True)):
        (folder / label).mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.asarray(row)).save(folder / label / f"{place:05}.png")


def _table(rows: Any, labels: Sequence[str], path: Path) -> None:
    frame = rows if isinstance(rows, pd.DataFrame) else pd.DataFrame({"text": rows})
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.assign(label=labels).to_csv(path, index=False)


def called(
    script: str, order: Mapping[str, Any], longest: float, python: str = sys.executable, **environment: str
) -> dict[str, Any]:
    """What a script of this folder says on its last line, as JSON; its process begins with an empty cache.

    ``whole`` is what the process took, from its start to its end.  What fails, or takes longer than
    ``longest`` seconds and is ended, says why in ``failed``.
    """
    with tempfile.TemporaryDirectory() as empty:
        surroundings = {**os.environ, "GRAFT_CACHE": empty, "GRAFT_LEDGER": "off", "HF_HUB_OFFLINE": "1", **environment}
        command = [python, str(Path(__file__).with_name(script)), json.dumps(order)]
        started = time.monotonic()
        try:
            done = subprocess.run(
                command, env=surroundings, cwd=empty, capture_output=True, text=True, timeout=longest, check=False
            )
        except subprocess.TimeoutExpired:
            return {"whole": time.monotonic() - started, "failed": f"ended after {longest:.0f} s"}
        whole = time.monotonic() - started
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        told = (done.stderr or done.stdout).strip().splitlines() or ["nothing was said"]
        return {"whole": whole, "failed": f"exit {done.returncode}: {told[-1][:300]}"}
    found: dict[str, Any] = json.loads(lines[-1])
    return {**found, "whole": whole}


@contextmanager
def busy(count: int) -> Iterator[None]:
    """That many other processes that each load a core."""
    loops = [subprocess.Popen([sys.executable, "-c", _BUSY]) for _ in range(count)]
    try:
        yield
    finally:
        for each in loops:
            each.kill()
            each.wait()
