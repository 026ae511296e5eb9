"""The fitted target model of one network."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from graft.contracts import Array, Card, Examples, FittedTask, Machine, Source, Strategy, Task
from graft.data.examples import TableExamples
from graft.data.schema import Schema
from graft.errors import RequestError
from graft.features import Extractor, extract
from graft.model.predictor import Predictor
from graft.nn.grafted import Grafted
from graft.progress import Progress, Silent

__all__ = ["Model"]

_FLOATS = 16_000_000
"""Features held at once while predicting (64 MB of float32)."""


class Model(Predictor):
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
    def columns(self) -> tuple[str, ...]:
        return (self._schema.names or ()) if self._schema is not None else ()

    @property
    def networks(self) -> tuple[tuple[Grafted, float], ...]:
        return ((self.module, 1.0),)

    @property
    def _schema(self) -> Schema | None:
        return getattr(self.module.backbone.preprocess, "schema", None)

    @cached_property
    def _extractor(self) -> Extractor:
        return Extractor(self.module.trunk, self.module.backbone.preprocess, self.machine)

    @cached_property
    def _head(self) -> torch.nn.Module:
        return self.module.head.eval()

    def accepted(self, examples: Examples) -> Examples:
        wanted = self.card.modality
        if wanted not in ("any", examples.modality):
            raise RequestError(f"this model reads rows of {wanted}; what was given are rows of {examples.modality}.")
        if self._schema is not None and isinstance(examples, TableExamples):
            return examples.conform(self._schema)
        return examples

    def outputs(self, examples: Examples, progress: Progress | None = None) -> Array:
        n = len(examples)
        outputs = np.empty((n, self.fitted.n_outputs), dtype=np.float32)
        window = max(1, _FLOATS // max(1, self.module.backbone.dim))
        for start in range(0, n, window):
            rows = np.arange(start, min(start + window, n))
            part = examples if len(rows) == n else examples.take(rows)
            outputs[rows] = self._apply_head(self._extractor.run(part, progress or Silent()))
        return outputs

    def outputs_cached(self, examples: Examples, cache: Path | None, progress: Progress | None = None) -> Array:
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
