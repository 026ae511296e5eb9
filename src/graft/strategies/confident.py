"""Set rows aside whose label is likely wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Literal, cast, get_args

import numpy as np
import torch
from torch import Tensor, nn

from graft import registry
from graft.contracts import Backbone, FittedTask, History, Passes, Start, Strategy, TransferData
from graft.errors import RequestError
from graft.evaluate.noise import mislabelled, noise_share, quality
from graft.limits import among, check
from graft.linear import judged
from graft.linear.folds import hard
from graft.nn.grafted import Grafted

__all__ = ["Confident"]

How = Literal["prune", "weight"]


class Confident(Strategy):
    """Set training rows aside whose label is likely wrong, then transfer by another strategy.

    Linear models on the source's frozen features say of rows that they did not learn from how
    probable each class is (confident learning).  A row that stands out in another class than it was
    given counts nothing (``prune``), or every row counts as much as its label is probable
    (``weight``).  Rows that are validated by keep their labels.

    Parameters
    ----------
    then
        The strategy that follows, or its name.
    options
        Options of that strategy, where it is named.
    how
        ``prune`` or ``weight``.

    Examples
    --------
    >>> Confident("fine_tune", {"epochs": 3}).get_params()["how"]
    'prune'

    References
    ----------
    Northcutt, Jiang and Chuang, Confident learning: estimating uncertainty in dataset labels, Journal
    of Artificial Intelligence Research 70, 2021.
    """

    family: ClassVar[str] = "scarce"
    starts_from: ClassVar[Start] = "pretrained"
    needs: ClassVar[str] = "one class a row"

    def __init__(
        self,
        then: Strategy | str = "linear_probe",
        options: Mapping[str, Any] | None = None,
        how: How = "prune",
    ) -> None:
        self.then = then
        self.options = options
        self.how = how

    @property
    def uses_validation(self) -> bool:  # type: ignore[override]
        """Whether what follows does."""
        return self._following().uses_validation

    def build(self, backbone: Backbone, task: FittedTask) -> nn.Module:
        check(self, {"how": among(get_args(How))})
        if task.link != "softmax":
            raise RequestError(f"confident needs {self.needs}, and this task is {task.kind}; choose another strategy.")
        return self._following().build(backbone, task)

    def passes_over(self, rows: int) -> Passes:
        return self._following().passes_over(rows)  # what it looks at first are the features that most start from

    def fit(self, module: nn.Module, task: FittedTask, data: TransferData) -> History:
        backbone = cast("Grafted", module).backbone
        weights, found = self._weights(backbone, task, data)
        history = self._following().fit(module, task, replace(data, train=replace(data.train, weights=weights)))
        return replace(history, chosen={**found, **history.chosen})

    def _weights(
        self, backbone: Backbone, task: FittedTask, data: TransferData
    ) -> tuple[Tensor, dict[str, float | int]]:
        """How much each training row counts, and what was found."""
        train = data.train
        outputs, told = judged(backbone, task, data)
        weights, share, aside = np.ones(len(train)), 0.0, 0
        if told.any():
            labels = hard(train.targets, task.link).numpy()[told]
            chances = task.probabilities(outputs[told])
            assert chances is not None
            share = noise_share(labels, chances)
            wrong = _spared(mislabelled(labels, chances), labels, quality(labels, chances))
            weights[told] = ~wrong if self.how == "prune" else quality(labels, chances)
            aside = int(wrong.sum()) if self.how == "prune" else 0
        given = torch.ones(len(train)) if train.weights is None else train.weights
        return torch.from_numpy(weights).float() * given, {"set_aside": aside, "noise": round(share, 4)}

    def _following(self) -> Strategy:
        return registry.following(self.then, self.options, "confident")


def _spared(wrong: Any, labels: Any, own: Any) -> Any:
    """Without the best row of a class of which every row would go."""
    wrong = wrong.copy()
    for name in np.unique(labels):
        rows = np.flatnonzero(labels == name)
        if wrong[rows].all():
            wrong[rows[own[rows].argmax()]] = False
    return wrong
