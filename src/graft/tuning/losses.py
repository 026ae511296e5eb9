"""What fine-tuning learns rows by: the task's loss, or one that bears wrong, rare or soft labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from graft.contracts import Array, FittedTask, Rows
from graft.limits import refuse
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
from graft.nn.weighing import even_weights
from graft.train import Loss
from graft.tuning.settings import Tuning

__all__ = ["chances_of", "check_suits", "loss_of", "weighed"]

_ROWS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"gce": gce, "sce": sce, "focal": focal}


def check_suits(task: FittedTask, tuning: Tuning) -> None:
    """Refuse settings that mean nothing for a task.

    Raises
    ------
    RequestError
        With all that do not go together.
    """
    found = []
    own = tuning.loss != "task" and not (task.link == "sigmoid" and tuning.loss == "focal")
    asked = {
        "label_smoothing": tuning.label_smoothing > 0,
        f"loss={tuning.loss}": own,
        "class_weights": tuning.class_weights and task.link != "sigmoid",
        "balanced": tuning.balanced,
        "head=prototypes": tuning.head == "prototypes",
    }
    if task.link != "softmax":
        wrong = [name for name, there in asked.items() if there]
        found += [f"{name} is for tasks with one class a row, and this is {task.kind}; leave it away" for name in wrong]
    if task.link == "sigmoid" and tuning.loss == "focal" and tuning.class_weights:
        found.append(
            "loss=focal and class_weights both make up for labels that are rare, and for several labels a row they do "
            "not go together; choose one"
        )
    if tuning.label_smoothing and _of_task(task):
        found.append(
            f"label_smoothing is {tuning.label_smoothing} in tuning and {_of_task(task)} in the task, and labels are "
            "smoothed once; give it to one of them"
        )
    refuse(found)


def loss_of(task: FittedTask, tuning: Tuning, rows: Rows) -> Loss:
    """``(outputs, targets, weights)`` → the mean loss.

    Parameters
    ----------
    rows
        All training rows: what labels weigh depends on how common they are.
    """
    own = _ROWS.get(tuning.loss)
    if task.link == "sigmoid" and (tuning.loss == "focal" or tuning.class_weights):
        return _of_labels(tuning, rows)
    # The task's own loss smooths by itself; another one has the labels smoothed for it.
    share = tuning.label_smoothing or (0.0 if own is None else _of_task(task))

    def loss(outputs: Tensor, wanted: Tensor, weights: Tensor | None) -> Tensor:
        if share:
            wanted = smoothed(wanted, task.n_outputs, share)
        if own is None:
            return task.loss(outputs, wanted, weights)
        return weighted_mean(own(outputs, wanted), weights)

    return loss


def _of_task(task: FittedTask) -> float:
    """The share that a task smooths its own labels by, where it does such a thing."""
    return float(getattr(task, "label_smoothing", 0.0))


def _of_labels(tuning: Tuning, rows: Rows) -> Loss:
    """For labels that each apply or not."""
    positive = label_weights(rows.targets, rows.weights) if tuning.class_weights else None

    def loss(outputs: Tensor, wanted: Tensor, weights: Tensor | None) -> Tensor:
        if positive is None:
            return weighted_mean(sigmoid_focal(outputs, wanted), weights)
        rare = positive.to(outputs.device)
        cells = binary_cross_entropy_with_logits(outputs, wanted, pos_weight=rare, reduction="none")
        return weighted_mean(cells.mean(1), weights)

    return loss


def weighed(rows: Rows, task: FittedTask, tuning: Tuning) -> Rows:
    """The rows with the weights of their classes on top of their own, where classes are to count alike.

    Raises
    ------
    RequestError
        Where no row weighs anything.
    """
    even_weights(rows.weights)
    if not tuning.class_weights or task.link == "sigmoid":
        return rows
    weights = row_weights(rows.targets, class_weights(rows.targets, task.n_outputs, rows.weights))
    return replace(rows, weights=weights if rows.weights is None else weights * rows.weights)


def chances_of(rows: Rows, task: FittedTask, tuning: Tuning) -> Array | None:
    """``(n,)`` how likely each row is drawn, where rows of all classes are to be seen alike often.

    Rows that weigh nothing are not drawn; what the others weigh counts in the loss.
    """
    if not tuning.balanced:
        return None
    heard = None if rows.weights is None else (rows.weights > 0).float()
    chances = row_weights(rows.targets, class_weights(rows.targets, task.n_outputs, heard))
    return (chances if heard is None else chances * heard).numpy()
