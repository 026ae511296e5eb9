"""What fine-tuning learns rows by: the task's loss, or one that bears wrong, rare or soft labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from graft.contracts import Array, FittedTask, Rows
from graft.errors import RequestError
from graft.nn.losses import (
    class_weights,
    focal,
    gce,
    label_weights,
    row_weights,
    sce,
    sigmoid_focal,
    smoothed,
    weighted_mean,
)
from graft.train import Loss
from graft.tuning.settings import Tuning

__all__ = ["chances_of", "loss_of", "weighed"]

_ROWS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"gce": gce, "sce": sce, "focal": focal}


def loss_of(task: FittedTask, tuning: Tuning, targets: Tensor) -> Loss:
    """``(outputs, targets, weights)`` → the mean loss.

    Parameters
    ----------
    targets
        Of all training rows: what labels weigh depends on how common they are.

    Raises
    ------
    RequestError
        Where the task's outputs do not suit the loss.
    """
    if tuning.label_smoothing and task.link != "softmax":
        raise _refusal(task, "label_smoothing")
    own = _ROWS.get(tuning.loss)
    if own is not None and task.link != "softmax" and not (task.link == "sigmoid" and tuning.loss == "focal"):
        raise _refusal(task, f"loss={tuning.loss}")
    if task.link == "sigmoid" and (tuning.loss == "focal" or tuning.class_weights):
        return _of_labels(tuning, targets)

    def loss(outputs: Tensor, wanted: Tensor, weights: Tensor | None) -> Tensor:
        if tuning.label_smoothing:
            wanted = smoothed(wanted, task.n_outputs, tuning.label_smoothing)
        if own is None:
            return task.loss(outputs, wanted, weights)
        return weighted_mean(own(outputs, wanted), weights)

    return loss


def _of_labels(tuning: Tuning, targets: Tensor) -> Loss:
    """For labels that each apply or not."""
    if tuning.loss == "focal" and tuning.class_weights:
        raise RequestError(
            "loss=focal and class_weights both make up for labels that are rare, and for several labels a row they do "
            "not go together; choose one."
        )
    positive = label_weights(targets) if tuning.class_weights else None

    def loss(outputs: Tensor, wanted: Tensor, weights: Tensor | None) -> Tensor:
        if tuning.loss == "focal":
            return weighted_mean(sigmoid_focal(outputs, wanted), weights)
        assert positive is not None
        rare = positive.to(outputs.device)
        cells = binary_cross_entropy_with_logits(outputs, wanted, pos_weight=rare, reduction="none")
        return weighted_mean(cells.mean(1), weights)

    return loss


def weighed(rows: Rows, task: FittedTask, tuning: Tuning) -> Rows:
    """The rows with the weights of their classes on top of their own, where classes are to count alike."""
    if not tuning.class_weights or task.link == "sigmoid":
        return rows
    if task.link != "softmax":
        raise _refusal(task, "class_weights")
    weights = row_weights(rows.targets, class_weights(rows.targets, task.n_outputs))
    return replace(rows, weights=weights if rows.weights is None else weights * rows.weights)


def chances_of(rows: Rows, task: FittedTask, tuning: Tuning) -> Array | None:
    """``(n,)`` how likely each row is drawn, where rows of all classes are to be seen alike often."""
    if not tuning.balanced:
        return None
    if task.link != "softmax":
        raise _refusal(task, "balanced")
    chances: Array = row_weights(rows.targets, class_weights(rows.targets, task.n_outputs)).numpy()
    return chances


def _refusal(task: FittedTask, option: str) -> RequestError:
    return RequestError(f"{option} is for tasks with one class a row, and this is {task.kind}; leave it away.")
