"""The fitted target model: anything that can be read → predictions in the user's own words."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from graft import reading
from graft.contracts import (
    Array,
    Card,
    Examples,
    FittedTask,
    Machine,
    Request,
    Source,
    Strategy,
    TargetData,
    Task,
)
from graft.data.examples import TableExamples
from graft.data.schema import Schema
from graft.errors import DataError, RequestError
from graft.evaluate.breakdown import Breakdown, breakdown
from graft.evaluate.intervals import Interval, bootstrap
from graft.features import Extractor, extract
from graft.nn.grafted import Grafted
from graft.progress import Progress, Silent

__all__ = ["Model"]

_FLOATS = 16_000_000
"""Features held at once while predicting (64 MB of float32)."""


class Model:
    """A source's network grafted onto a task, fitted and ready to predict.

    Parameters
    ----------
    source, strategy, task
        What it was made of.
    fitted
        The task after it saw the labels.
    module
        The network; its trunk computes in ``machine.precision``, its head in float32.
    machine
        Where it predicts.

    Examples
    --------
    >>> import graft
    >>> from graft.strategies.majority import Majority
    >>> model = graft.Transfer(strategy=Majority()).fit([[0.0], [1.0], [2.0]], ["a", "a", "b"]).model_
    >>> model.predict([[5.0]]).tolist()
    ['a']
    """

    def __init__(
        self, source: Source, strategy: Strategy, task: Task, fitted: FittedTask, module: Grafted, machine: Machine
    ) -> None:
        self.source = source
        self.strategy = strategy
        self.task = task
        self.fitted = fitted
        self.module = module
        self.machine = machine

    @property
    def card(self) -> Card:
        """What is known of the source."""
        return self.module.backbone.card

    @property
    def classes(self) -> tuple[Any, ...]:
        """The classes, in the order of the columns of :meth:`predict_proba`."""
        return self.fitted.classes

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it learnt from; empty where rows are no table, or its columns have no names."""
        return (self._schema.names or ()) if self._schema is not None else ()

    @property
    def _schema(self) -> Schema | None:
        return getattr(self.module.backbone.preprocess, "schema", None)

    @cached_property
    def _extractor(self) -> Extractor:
        return Extractor(self.module.trunk, self.module.backbone.preprocess, self.machine)

    @cached_property
    def _head(self) -> torch.nn.Module:
        return self.module.head.eval()

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

    def accepted(self, examples: Examples) -> Examples:
        wanted = self.card.modality
        if wanted not in ("any", examples.modality):
            raise RequestError(f"this model reads rows of {wanted}; what was given are rows of {examples.modality}.")
        if self._schema is not None and isinstance(examples, TableExamples):
            return examples.conform(self._schema)
        return examples

    def outputs(self, examples: Examples, progress: Progress | None = None) -> Array:
        """``(n, c)`` raw outputs, float32; nothing is read from or written to a cache."""
        n = len(examples)
        outputs = np.empty((n, self.fitted.n_outputs), dtype=np.float32)
        window = max(1, _FLOATS // max(1, self.module.backbone.dim))
        for start in range(0, n, window):
            rows = np.arange(start, min(start + window, n))
            part = examples if len(rows) == n else examples.take(rows)
            outputs[rows] = self._apply_head(self._extractor.run(part, progress or Silent()))
        return outputs

    def outputs_cached(self, examples: Examples, cache: Path | None, progress: Progress | None = None) -> Array:
        """The same, with features of a frozen trunk read from the cache, or kept there."""
        backbone = self.module.backbone
        frozen = not any(parameter.requires_grad for parameter in self.module.trunk.parameters())
        if not frozen or backbone.fingerprint is None:
            return self.outputs(examples, progress)
        features = extract(backbone, examples, machine=self.machine, cache=cache, progress=progress or Silent())
        return self._apply_head(features)

    def _apply_head(self, features: Array) -> Array:
        with torch.inference_mode():
            outputs: Array = self._head(torch.from_numpy(np.ascontiguousarray(features))).numpy()
        return outputs
