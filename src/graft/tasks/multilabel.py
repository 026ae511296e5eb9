"""Any number of labels a row."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, cast

import numpy as np
import torch
from scipy.special import expit
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from graft.contracts import Array, FittedTask, Link, Task
from graft.data.cells import objects
from graft.errors import DataError, RequestError, UnknownNameError
from graft.evaluate import metrics as measure
from graft.evaluate.labels import look, own, strangers
from graft.nn.losses import weighted_mean

__all__ = ["Multilabel"]

_METRICS = ("macro_f1", "micro_f1", "exact_match", "log_loss", "auroc", "ece")


class Multilabel(Task):
    """Tell which labels apply to a row: none, one or several.

    Parameters
    ----------
    metric
        What candidates are compared by: macro_f1, micro_f1, exact_match, log_loss, auroc or ece.
    classes
        The labels in their order; those that occur, sorted, where ``None``.

    Examples
    --------
    >>> from graft.data.cells import objects
    >>> task = Multilabel().start(objects([("sun", "sea"), ("sea",), ()]))
    >>> task.classes
    ('sea', 'sun')
    """

    estimator_type: ClassVar[Literal["classifier", "regressor"]] = "classifier"

    def __init__(self, metric: str = "macro_f1", classes: tuple[str, ...] | None = None) -> None:
        self.metric = metric
        self.classes = classes

    @classmethod
    def claims(cls, labels: Array) -> str | None:
        seen = look(labels)
        return seen.reason if seen.kind == "labels" else None

    def start(self, labels: Array) -> FittedTask:
        if self.metric not in _METRICS:
            raise UnknownNameError("metric of multilabel", self.metric, _METRICS)
        rows = [_words(label, row) for row, label in enumerate(labels)]
        found = sorted({word for row in rows for word in row})
        classes = tuple(found) if self.classes is None else tuple(own(each) for each in self.classes)
        if len(set(classes)) < len(classes):
            raise RequestError(f"classes names one twice: {', '.join(map(repr, classes))}.")
        if not classes:
            raise DataError("no row carries a label; multilabel needs rows that differ in their labels.")
        if len({frozenset(row) for row in rows}) < 2:
            raise DataError(
                f"every row carries the same labels ({', '.join(found)}); multilabel needs rows that differ in them."
            )
        return cast("FittedTask", _Fitted(classes, self.metric))

    def restore(self, state: Mapping[str, Any]) -> FittedTask:
        return cast("FittedTask", _Fitted(tuple(state["classes"]), state["metric"]))


def _words(label: Any, row: int) -> tuple[str, ...]:
    """The words of one row's label."""
    if not isinstance(label, (tuple, list, set, frozenset)):
        raise DataError(
            f"the label of row {row} is {label!r}; multilabel takes a tuple of words a row, "
            "or one column with a delimiter (--delimiter)."
        )
    words = tuple(own(each) for each in label)
    if strange := [each for each in words if not isinstance(each, str)]:
        raise DataError(f"the label of row {row} holds {strange[0]!r}; multilabel takes words (str).")
    return words


@dataclass(frozen=True)
class _Fitted:
    """Multilabel whose labels are known."""

    classes: tuple[str, ...]
    metric: str
    kind: str = field(default="multilabel", init=False)
    link: Link = field(default="sigmoid", init=False)

    @property
    def n_outputs(self) -> int:
        return len(self.classes)

    def encode(self, labels: Array) -> Tensor:
        place = {name: index for index, name in enumerate(self.classes)}
        targets = torch.zeros(len(labels), len(self.classes))
        strange: list[str] = []
        for row, label in enumerate(labels):
            words = _words(label, row)
            strange.extend(word for word in words if word not in place)
            targets[row, [place[word] for word in words if word in place]] = 1.0
        if strange:
            raise DataError(strangers(strange, self.classes))
        return targets

    def loss(self, outputs: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
        if weights is None:
            return binary_cross_entropy_with_logits(outputs, targets)
        cells = binary_cross_entropy_with_logits(outputs, targets, reduction="none")
        return weighted_mean(cells.mean(dim=1), weights)

    def prior(self, targets: Tensor, weights: Tensor | None = None) -> Tensor:
        # half a row at the edges, where the logit would be infinite
        edge = 0.5 / max(1, len(targets))
        return torch.logit(weighted_mean(targets.float().T, weights).clamp(edge, 1 - edge))

    def decode(self, outputs: Array) -> Array:
        marks = np.asarray(outputs) > 0
        return objects([tuple(self.classes[k] for k in np.flatnonzero(row)) for row in marks])

    def probabilities(self, outputs: Array) -> Array | None:
        return np.asarray(expit(np.asarray(outputs, dtype=np.float64)))

    def metrics(self, outputs: Array, targets: Array, weights: Array | None = None) -> Iterator[tuple[str, Any]]:
        """Every metric by name, the task's own first, then ``f1/label`` and ``auroc/label`` of each label.

        With ``weights`` ``(r, n)`` each value is ``(r,)``, one for every weighting.  The
        calibration error is the mean of the labels' own, of the chance that a label applies.
        """
        outputs, truth = np.asarray(outputs, dtype=np.float64), np.asarray(targets) > 0.5
        guess, chances = outputs > 0, expit(outputs)
        # log(1 + e^-x) for a label that applies and log(1 + e^x) for one that does not
        losses = np.logaddexp(0, np.where(truth, -outputs, outputs)).mean(axis=1)
        each: dict[str, Array] = {}

        def per_label(name: str) -> Array:
            if name not in each:
                ways = {"f1": (measure.f1_per_label, guess), "auroc": (measure.auroc_per_label, chances)}
                way, scores = ways[name]
                each[name] = way(scores, truth, weights)
            return each[name]

        def calibration() -> Array:
            columns = [measure.ece(chances[:, k], truth[:, k], weights) for k in range(self.n_outputs)]
            return np.asarray(np.mean(columns, axis=0))[()]

        ways: dict[str, Callable[[], Array]] = {
            "macro_f1": lambda: measure.mean_defined(per_label("f1")),
            "micro_f1": lambda: measure.micro_f1(guess, truth, weights),
            "exact_match": lambda: measure.exact_match(guess, truth, weights),
            "log_loss": lambda: measure.log_loss(-losses[:, None], np.zeros(len(truth), np.int64), weights),
            "auroc": lambda: measure.mean_defined(per_label("auroc")),
            "ece": calibration,
        }
        yield self.metric, ways.pop(self.metric)()
        for name, way in ways.items():
            yield name, way()
        for name in ("f1", "auroc"):
            for k, label in enumerate(self.classes):
                yield f"{name}/{label}", per_label(name)[..., k]

    def state(self) -> dict[str, Any]:
        return {"classes": list(self.classes), "metric": self.metric}
