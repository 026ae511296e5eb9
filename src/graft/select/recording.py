"""Trials on one dataset go to the ledger as they end, and whatever happens there the fit goes on."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from graft.contracts import FittedTask, TargetData
from graft.select.entry import entry_of
from graft.select.ledger import Ledger
from graft.select.sketch import Sketch, data_digest, sketch
from graft.select.trial import Trial

__all__ = ["Recorder"]


class Recorder:
    """Keeps the trials on one dataset.

    Parameters
    ----------
    held, fitted
        The dataset, and its task.
    path
        The ledger's file; ``None`` keeps nothing.
    """

    def __init__(self, held: TargetData, fitted: FittedTask, path: Path | None) -> None:
        self.held = held
        self.fitted = fitted
        self.path = path
        self._said: set[str] = set()

    @cached_property
    def sketch(self) -> Sketch:
        """What the task is like."""
        return sketch(self.held, self.fitted)

    @cached_property
    def data(self) -> str:
        """Names the data by their content."""
        return data_digest(self.held)

    def keep(self, trial: Trial, rows: int, curve: tuple[tuple[int, float], ...] = ()) -> tuple[str, ...]:
        """Keep a trial that learnt from ``rows`` rows; returns what went wrong, a sentence each, once."""
        if self.path is None:
            return ()
        ledger = Ledger(self.path)
        ledger.add(entry_of(trial, self.sketch, self.data, rows, curve))
        new = tuple(note for note in ledger.notes if note not in self._said)
        self._said.update(new)
        return new
