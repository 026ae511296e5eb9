"""One class a row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, cast

import numpy as np
import torch
from scipy.special import log_softmax, softmax
from torch import Tensor
from torch.nn.functional import cross_entropy

from graft.contracts import Array, FittedTask, Link, Soft, Task
from graft.data.cells import objects
from graft.errors import DataError, RequestError, UnknownNameError
from graft.evaluate import metrics as measure
from graft.evaluate.labels import look, own, strangers, too_many
from graft.nn.losses import soft, weighted_mean

__all__ = ["Classification"]

_METRICS = ("accuracy", "balanced_accuracy", "macro_f1", "log_loss", "auroc", "ece")


class Classification(Task):
    """Tell which one of several classes a row belongs to.

    A label may be divided among classes (:class:`~graft.contracts.Soft`): such targets are learnt
    from as probabilities, and the likeliest class is what predictions are measured by.

    Parameters
    ----------
    metric
        What candidates are compared by: accuracy, balanced_accuracy, macro_f1, log_loss, auroc or
        ece.
    classes
        The classes in their order; those that occur, sorted, where ``None``.
    label_smoothing
        Share of a target's weight that is spread over all classes while training, in [0, 1).

    Examples
    --------
    >>> task = Classification().start(np.array(["dog", "cat", "dog"]))
    >>> task.classes
    ('cat', 'dog')
    """

    estimator_type: ClassVar[Literal["classifier", "regressor"]] = "classifier"

    def __init__(
        self,
        metric: str = "accuracy",
        classes: tuple[Any, ...] | None = None,
        label_smoothing: float = 0.0,
    ) -> None:
        self.metric = metric
        self.classes = classes
        self.label_smoothing = label_smoothing

    @classmethod
    def claims(cls, labels: Array) -> str | None:
        seen = look(labels)
        return seen.reason if seen.kind == "class" else None

    def start(self, labels: Array) -> FittedTask:
        if self.metric not in _METRICS:
            raise UnknownNameError("metric of classification", self.metric, _METRICS)
        if not 0 <= self.label_smoothing < 1:
            raise RequestError(f"label_smoothing is {self.label_smoothing}; give a number from 0 to below 1.")
        classes = _found(labels) if self.classes is None else tuple(own(each) for each in self.classes)
        if len(set(classes)) < len(classes):
            raise RequestError(f"classes names one twice: {', '.join(map(repr, classes))}.")
        if len(classes) < 2:
            raise DataError(
                f"every label is {classes[0]!r}: telling classes apart needs rows of at least two."
                if classes
                else "there is no label; classification needs rows of at least two classes."
            )
        return cast("FittedTask", _Fitted(classes, self.metric, float(self.label_smoothing)))

    def restore(self, state: Mapping[str, Any]) -> FittedTask:
        return cast("FittedTask", _Fitted(tuple(state["classes"]), state["metric"], state["label_smoothing"]))


def _found(labels: Array) -> tuple[Any, ...]:
    """The distinct labels in order."""
    if np.ndim(labels) != 1:
        raise DataError(f"labels have shape {np.shape(labels)}; classification takes one label a row, (n,).")
    counts = Counter(each for label in labels for each in _classes_of(own(label)))
    types = Counter(type(label).__name__ for label in counts)
    if len(types) > 1:
        one_each = {type(label).__name__: label for label in counts}
        shown = ", ".join(f"{label!r} ({name})" for name, label in one_each.items())
        raise DataError(f"labels are of several types: {shown}. Write them all in one way.")
    kind = next(iter(types), "str")
    if kind not in ("str", "int", "float", "bool"):
        raise DataError(f"labels are of type {kind}; classification takes words or numbers, one a row.")
    if kind == "float" and any(label != label for label in counts):
        raise DataError("a label is NaN; give it a class or leave its label empty.")
    if kind == "float" and too_many(len(counts), len(labels)):
        raise DataError(
            f"there are {len(counts)} distinct numbers in {len(labels)} rows, too many to be classes. "
            "To predict the number itself, use the task regression."
        )
    return tuple(sorted(counts))


def _classes_of(label: Any) -> tuple[Any, ...]:
    return tuple(own(name) for name, _ in label.shares) if isinstance(label, Soft) else (label,)


def _is_in(word: Any, place: Mapping[Any, int]) -> bool:
    return isinstance(word, Hashable) and word in place


@dataclass(frozen=True)
class _Fitted:
    """Classification whose classes are known."""

    classes: tuple[Any, ...]
    metric: str
    label_smoothing: float = 0.0
    kind: str = field(default="classification", init=False)
    link: Link = field(default="softmax", init=False)

    @property
    def n_outputs(self) -> int:
        return len(self.classes)

    def encode(self, labels: Array) -> Tensor:
        if any(isinstance(label, Soft) for label in labels):
            return self._divided(labels)
        place = {name: index for index, name in enumerate(self.classes)}
        words = [own(label) for label in labels]
        try:
            return torch.tensor([place[word] for word in words], dtype=torch.int64)
        except (KeyError, TypeError):
            pass
        # A file that lacks the classes that are words has its other labels read as numbers: 0 for '0'.
        spelt = {str(name): index for index, name in enumerate(self.classes)}
        if len(spelt) < len(self.classes):
            spelt = {}
        found = [place[word] if _is_in(word, place) else spelt.get(str(word)) for word in words]
        if None in found:
            strange = (word for word, index in zip(words, found, strict=True) if index is None)
            raise DataError(strangers(strange, self.classes))
        return torch.tensor(found, dtype=torch.int64)

    def _divided(self, labels: Array) -> Tensor:
        """``(n, c)`` probabilities; a label that is whole has all of it."""
        shares = [label.shares if isinstance(label, Soft) else ((label, 1.0),) for label in labels]
        named = objects([name for row in shares for name, _ in row])
        places = self.encode(named)
        rows = torch.tensor([row for row, each in enumerate(shares) for _ in each], dtype=torch.int64)
        targets = torch.zeros(len(labels), self.n_outputs)
        return targets.index_put_((rows, places), torch.tensor([p for row in shares for _, p in row]), accumulate=True)

    def loss(self, outputs: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
        if weights is None:
            return cross_entropy(outputs, targets, label_smoothing=self.label_smoothing)
        losses = cross_entropy(outputs, targets, label_smoothing=self.label_smoothing, reduction="none")
        return weighted_mean(losses, weights)

    def prior(self, targets: Tensor, weights: Tensor | None = None) -> Tensor:
        weights = torch.ones(len(targets)) if weights is None else weights
        # half a row for a class without any, or less where all rows count for less: its logarithm must stay finite
        least = 0.5 * float(weights.mean().clamp(1e-6, 1.0))
        counts = (weights @ soft(targets, self.n_outputs)).clamp(min=least)
        shares = counts / counts.sum()
        # smoothed targets are best met by smoothed shares
        return ((1 - self.label_smoothing) * shares + self.label_smoothing / self.n_outputs).log()

    def decode(self, outputs: Array) -> Array:
        names = objects(self.classes) if isinstance(self.classes[0], str) else np.array(self.classes)
        return np.asarray(names[np.asarray(outputs).argmax(axis=1)])

    def probabilities(self, outputs: Array) -> Array | None:
        return np.asarray(softmax(np.asarray(outputs, dtype=np.float64), axis=1))

    def metrics(self, outputs: Array, targets: Array, weights: Array | None = None) -> Iterator[tuple[str, Any]]:
        """Every metric by name, the task's own first.

        With ``weights`` ``(r, n)`` each value is ``(r,)``, one for every weighting.
        """
        logs = log_softmax(np.asarray(outputs, dtype=np.float64), axis=1)
        targets = np.asarray(targets)
        chances, truth = np.exp(logs), targets if targets.ndim == 1 else targets.argmax(axis=1)
        guess, c = logs.argmax(axis=1), self.n_outputs
        ways: dict[str, Callable[[], Array]] = {
            "accuracy": lambda: measure.accuracy(guess, truth, weights),
            "balanced_accuracy": lambda: measure.balanced_accuracy(guess, truth, c, weights),
            "macro_f1": lambda: measure.macro_f1(guess, truth, c, weights),
            "log_loss": lambda: measure.log_loss(logs, targets, weights),
            "auroc": lambda: measure.auroc_one_vs_rest(chances, truth, weights),
            "ece": lambda: measure.ece(chances.max(axis=1), guess == truth, weights),
        }
        yield self.metric, ways.pop(self.metric)()
        for name, way in ways.items():
            yield name, way()

    def state(self) -> dict[str, Any]:
        return {"classes": list(self.classes), "metric": self.metric, "label_smoothing": self.label_smoothing}
