"""A number a row."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from graft.contracts import Array, FittedTask, Link, Task
from graft.errors import DataError, UnknownNameError
from graft.evaluate import metrics as measure
from graft.evaluate.labels import look, own
from graft.nn.losses import weighted_mean

__all__ = ["Regression"]

_METRICS = ("r2", "rmse", "mae")


class Regression(Task):
    """Predict a number, or several numbers a row.

    The numbers are brought to mean 0 and deviation 1 inside, so that losses and heads work at one
    scale whatever the unit; predictions and metrics are in the user's unit.

    Parameters
    ----------
    metric
        What candidates are compared by: r2, rmse or mae.

    Examples
    --------
    >>> task = Regression().start(np.array([10.0, 20.0, 30.0]))
    >>> task.decode(np.zeros((1, 1)))
    array([20.])
    """

    estimator_type: ClassVar[Literal["classifier", "regressor"]] = "regressor"

    def __init__(self, metric: str = "r2") -> None:
        self.metric = metric

    @classmethod
    def claims(cls, labels: Array) -> str | None:
        seen = look(labels)
        return seen.reason if seen.kind == "quantity" else None

    def start(self, labels: Array) -> FittedTask:
        if self.metric not in _METRICS:
            raise UnknownNameError("metric of regression", self.metric, _METRICS)
        values = _numbers(labels)
        if not len(values):
            raise DataError("there is no label; regression needs rows with different numbers.")
        mean, scale = values.mean(axis=0), values.std(axis=0)
        flat = np.flatnonzero(values.min(axis=0) == values.max(axis=0))
        if len(flat):
            which = f" in column {flat[0]}" if values.shape[1] > 1 else ""
            raise DataError(f"every label{which} is {values[0, flat[0]]:g}; regression needs different numbers.")
        return cast(
            "FittedTask", _Fitted(tuple(mean.tolist()), tuple(scale.tolist()), np.ndim(labels) == 2, self.metric)
        )

    def restore(self, state: Mapping[str, Any]) -> FittedTask:
        return cast(
            "FittedTask", _Fitted(tuple(state["mean"]), tuple(state["scale"]), state["columns"], state["metric"])
        )


def _numbers(labels: Array) -> Array:
    """Labels as float64 ``(n, k)``."""
    labels = np.asarray(labels)
    if labels.ndim > 2:
        raise DataError(f"labels have shape {labels.shape}; regression takes one number a row, or (n, k).")
    labels = labels[:, None] if labels.ndim == 1 else labels
    for row, label in enumerate(labels):
        for value in map(own, label):
            if not isinstance(value, (int, float)) or not np.isfinite(value):
                raise DataError(f"the label of row {row} is {value!r}; regression takes finite numbers.")
    return labels.astype(np.float64)


@dataclass(frozen=True)
class _Fitted:
    """Regression whose scale is known.

    Parameters
    ----------
    mean, scale
        Of each of the k numbers, in the user's unit.
    columns
        Whether labels are ``(n, k)`` rather than ``(n,)``.
    """

    mean: tuple[float, ...]
    scale: tuple[float, ...]
    columns: bool
    metric: str
    kind: str = field(default="regression", init=False)
    link: Link = field(default="identity", init=False)
    classes: tuple[Any, ...] = field(default=(), init=False)

    @property
    def n_outputs(self) -> int:
        return len(self.mean)

    def encode(self, labels: Array) -> Tensor:
        values = _numbers(labels)
        if values.shape[1] != self.n_outputs:
            raise DataError(f"labels have {values.shape[1]} numbers a row; the task was started with {self.n_outputs}.")
        return torch.from_numpy((values - self.mean) / self.scale).float()

    def loss(self, outputs: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
        if weights is None:
            return mse_loss(outputs, targets)
        return weighted_mean(mse_loss(outputs, targets, reduction="none").mean(dim=1), weights)

    def prior(self, targets: Tensor, weights: Tensor | None = None) -> Tensor:
        return weighted_mean(targets.T, weights)

    def decode(self, outputs: Array) -> Array:
        values = self._values(outputs)
        return values if self.columns else values[:, 0]

    def _values(self, outputs: Array) -> Array:
        """``(n, k)`` in the user's unit."""
        return np.asarray(np.asarray(outputs, dtype=np.float64) * self.scale + self.mean)

    def probabilities(self, outputs: Array) -> Array | None:
        return None

    def metrics(self, outputs: Array, targets: Array, weights: Array | None = None) -> Iterator[tuple[str, Any]]:
        """Every metric by name, the task's own first, in the user's unit.

        With ``weights`` ``(r, n)`` each value is ``(r,)``, one for every weighting.
        """
        guess, truth = self._values(outputs), self._values(targets)
        ways: dict[str, Callable[[Array, Array, Array | None], Array]] = {
            "r2": measure.r2,
            "rmse": measure.rmse,
            "mae": measure.mae,
        }
        yield self.metric, ways.pop(self.metric)(guess, truth, weights)
        for name, way in ways.items():
            yield name, way(guess, truth, weights)

    def state(self) -> dict[str, Any]:
        return {
            "mean": list(self.mean),
            "scale": list(self.scale),
            "columns": self.columns,
            "metric": self.metric,
        }
