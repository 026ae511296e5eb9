"""What every fitted model does: anything that can be read → predictions in the user's own words."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np

from graft import reading
from graft.contracts import Array, Card, Examples, FittedTask, Machine, Request, TargetData, Task
from graft.errors import DataError, RequestError
from graft.evaluate.breakdown import Breakdown, breakdown
from graft.evaluate.intervals import Interval, bootstrap
from graft.nn.grafted import Grafted
from graft.progress import Progress

__all__ = ["Predictor"]


class Predictor(ABC):
    """A fitted model, of one network or of several: it has raw outputs for rows, and the rest follows."""

    task: Task
    """What was to be learnt."""

    fitted: FittedTask
    """The task after it saw the labels."""

    machine: Machine
    """Where it predicts."""

    @property
    @abstractmethod
    def card(self) -> Card:
        """What is known of what it stands on."""

    @property
    @abstractmethod
    def columns(self) -> tuple[str, ...]:
        """The columns that it learnt from; empty where rows are no table, or its columns have no names."""

    @property
    @abstractmethod
    def networks(self) -> tuple[tuple[Grafted, float], ...]:
        """The networks that it computes, each with its share of the say; the shares' sum is 1."""

    @abstractmethod
    def accepted(self, examples: Examples) -> Examples:
        """The examples as this model takes them.

        Raises
        ------
        RequestError
            Where their modality is not the source's.
        """

    @abstractmethod
    def outputs(self, examples: Examples, progress: Progress | None = None) -> Array:
        """``(n, c)`` raw outputs, float32; nothing is read from or written to a cache."""

    @abstractmethod
    def outputs_cached(self, examples: Examples, cache: Path | None, progress: Progress | None = None) -> Array:
        """The same, with features of a frozen trunk read from the cache, or kept there."""

    @property
    def classes(self) -> tuple[Any, ...]:
        """The classes, in the order of the columns of :meth:`predict_proba`."""
        return self.fitted.classes

    def predict(self, data: Any, progress: Progress | None = None) -> Array:
        """``(n,)`` predictions for a path, a list of paths, texts or images, an array or a frame."""
        return self.fitted.decode(self.outputs(self.examples(data), progress))

    def predict_proba(self, data: Any, progress: Progress | None = None) -> Array:
        """``(n, c)`` probabilities, columns in the order of :attr:`classes`.

        Raises
        ------
        RequestError
            Where the task has none (regression).
        """
        probabilities = self.fitted.probabilities(self.outputs(self.examples(data), progress))
        if probabilities is None:
            raise RequestError(f"a {self.fitted.kind} model has no probabilities; use predict.")
        return probabilities

    def examples(self, data: Any, *, input: str | None = None) -> Examples:
        """Read rows as this model takes them; ``input`` names the column of the text or image path.

        The columns of a table are those of the training rows, by name and in their order.

        Raises
        ------
        RequestError
            Where their modality is not the source's.
        """
        return self.accepted(reading.read(data, Request(input=input, labelled=False, columns=self.columns)).examples)

    def evaluate(self, held: TargetData, *, seed: int = 0, progress: Progress | None = None) -> dict[str, Interval]:
        """Every metric of the task on labelled rows, with its 95 % interval; raises as :meth:`measure` does."""
        return self.measure(held, seed=seed, progress=progress)[0]

    def measure(
        self, held: TargetData, *, seed: int = 0, progress: Progress | None = None
    ) -> tuple[dict[str, Interval], Breakdown]:
        """The same, and every class and group on its own.

        Raises
        ------
        DataError
            Where there are no labels, or one that the model does not know.
        """
        if held.labels is None or all(label is None for label in held.labels):
            raise DataError(f"{held.origin} has no labels to measure by; name their column with --target.")
        known = np.flatnonzero([label is not None for label in held.labels])
        examples = self.accepted(held.examples)
        targets = self.fitted.encode(held.labels[known]).numpy()
        outputs = self.outputs(examples if len(known) == len(examples) else examples.take(known), progress)
        groups = None if held.groups is None else held.groups[known]
        scores = bootstrap(self.fitted, outputs, targets, groups=groups, seed=seed)
        return scores, breakdown(self.fitted, outputs, targets, groups=groups, seed=seed)
