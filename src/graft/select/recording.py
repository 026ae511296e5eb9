"""Trials on one dataset go to the ledger as they end, and whatever happens there the fit goes on."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from graft import registry
from graft.contracts import FittedTask, Machine, TargetData
from graft.select.candidates import Candidate
from graft.select.entry import Entry, described, entry_of
from graft.select.experience import prior
from graft.select.ledger import Ledger
from graft.select.raced import Raced, Run
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
        return self._kept(entry_of(trial, self.sketch, self.data, rows, curve))

    def keep_race(self, raced: Raced, metric: str) -> tuple[str, ...]:
        """Keep what a race measured, a candidate an entry with its curve over rows; returns as :meth:`keep`."""
        if self.path is None:
            return ()
        curves: dict[str, list[Run]] = {}
        for run in raced.runs:
            if run.score is not None:
                curves.setdefault(run.name, []).append(run)
        notes: list[str] = []
        for name, runs in curves.items():
            strategy, _, source = name.partition(" on ")
            last = runs[-1]
            notes += self._kept(
                Entry(
                    sketch=self.sketch,
                    source=source,
                    strategy=strategy,
                    metric=metric,
                    score=float(last.score or 0.0),
                    rows=last.rows,
                    seconds=sum(run.seconds for run in runs),
                    curve=tuple((run.rows, float(run.score or 0.0)) for run in runs),
                    data=self.data,
                )
            )
        return tuple(notes)

    def keep_folds(
        self, chosen: Candidate, score: float, rows: int, seconds: float, machine: Machine
    ) -> tuple[str, ...]:
        """Keep a candidate that was measured by folds, on models of ``rows`` rows; returns as :meth:`keep`."""
        if self.path is None:
            return ()
        return self._kept(
            Entry(
                sketch=self.sketch,
                source=registry.title(chosen.source),
                strategy=registry.title(chosen.strategy),
                metric=self.fitted.metric,
                score=score,
                rows=rows,
                seconds=seconds,
                curve=((rows, score),),
                data=self.data,
                machine=described(machine),
            )
        )

    def prior(self) -> dict[str, float]:
        """What earlier trials let one expect of every candidate that the ledger knows."""
        if self.path is None:
            return {}
        entries = Ledger(self.path).entries()
        names = sorted({entry.name for entry in entries})
        return {name: each.gain for name, each in prior(entries, self.sketch, names).items() if each.weight}

    def _kept(self, entry: Entry) -> tuple[str, ...]:
        ledger = Ledger(self.path) if self.path is not None else None
        if ledger is None:
            return ()
        ledger.add(entry)
        new = tuple(note for note in ledger.notes if note not in self._said)
        self._said.update(new)
        return new
