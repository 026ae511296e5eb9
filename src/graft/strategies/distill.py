"""Learn from a teacher."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, ClassVar, Literal, cast

import torch
from sklearn.base import clone
from torch import Tensor, nn
from torch.nn.functional import one_hot

from graft.contracts import Backbone, FittedTask, History, Rows, Start, Strategy, TransferData
from graft.data.examples import join
from graft.errors import RequestError, UnknownNameError
from graft.limits import above, between, whole
from graft.nn.distillation import angles, distances, dkd, hints, soft_targets
from graft.nn.grafted import Grafted
from graft.nn.initialise import fresh, seeded
from graft.nn.losses import weighted_mean
from graft.teacher import Answers, Teacher, answers, described, revision
from graft.train import Step
from graft.tuning import Tuning, tunable, tune

__all__ = ["Distill"]

_WAYS: Mapping[str, Mapping[str, float]] = {
    "kd": {"kd": 1.0},
    "dkd": {"tckd": 1.0, "nckd": 8.0},
    "hints": {"kd": 1.0, "hints": 1.0},
    "relational": {"kd": 1.0, "distances": 25.0, "angles": 50.0},
}
"""What each way adds up, with the weights of its paper."""

_TERMS = ("kd", "tckd", "nckd", "hints", "cosine", "distances", "angles")

_LIMITS = {
    "temperature": above(),
    "weight": between(0, 1, "a share from 0 to below 1", ends=(True, False)),
    "epochs": whole(),
    "lr": above().or_none(),
}

_RATES = {"pretrained": 1e-4, "untrained": 1e-3}
"""As ``fine_tune`` and ``scratch`` have them."""


class Distill(Strategy):
    """Train a student on what a teacher says of every row, beside the labels; rows without a label teach too.

    The source is the student, and all of it trains.  The loss is ``(1 - weight)`` parts of the
    task's and ``weight`` parts of the teacher's.  A row without a label takes the teacher's answer
    in its place.  The teacher reads every row once, before training, as it would to predict: where
    training varies the rows (pictures), it has seen the plain ones.  It need not have the student's
    architecture or preprocessing, only read rows of the same modality, and know all classes of the
    task; it is not part of what is saved.

    Parameters
    ----------
    teacher
        The folder of a saved model, or a fitted ``Model``; or a source with classes of its own
        (``timm/resnet50``), which become the task's by which of them occur together.
    temperature
        Divides the outputs of both before they are compared: above 1 the wrong classes tell more.
    weight
        The teacher's share of the loss, from 0 to below 1; the rest is the labels'.
    how
        ``kd``: outputs (soft targets).  ``dkd``: the right class and the wrong ones apart.
        ``hints``: outputs, and features by way of a linear layer that learns along.
        ``relational``: outputs, and the distances and angles between the rows of a batch.  Or terms
        with weights of your own, ``{"kd": 1, "hints": 10}``, of ``kd``, ``tckd``, ``nckd``,
        ``hints``, ``cosine``, ``distances`` and ``angles``.
    start
        ``pretrained``: the student starts from its source's weights; ``untrained``: from none.
    epochs
        Passes over all rows, at most; where there are rows without labels, a pass is as much longer.
    lr
        Highest learning rate of the student's weights; ``None``: 1e-4, or 1e-3 where it starts untrained.
    tuning
        The finer points (:class:`~graft.tuning.Tuning`).

    Examples
    --------
    >>> Distill("my-model", temperature=4.0).get_params()["weight"]
    0.5

    References
    ----------
    Hinton, Vinyals and Dean, Distilling the knowledge in a neural network, 2015.
    Romero et al., FitNets: hints for thin deep nets, ICLR 2015.
    Park, Kim, Lu and Cho, Relational knowledge distillation, CVPR 2019.
    Zhao, Cui, Song, Qiu and Liang, Decoupled knowledge distillation, CVPR 2022.
    """

    family: ClassVar[str] = "knowledge"
    starts_from: ClassVar[Start] = "pretrained"
    uses_validation: ClassVar[bool] = True
    uses_unlabelled: ClassVar[bool] = True
    needs: ClassVar[str] = "a teacher"

    def __init__(
        self,
        teacher: Teacher | None = None,
        temperature: float = 2.0,
        weight: float = 0.5,
        how: str | Mapping[str, float] = "kd",
        start: Literal["pretrained", "untrained"] = "pretrained",
        epochs: int = 10,
        lr: float | None = None,
        tuning: Tuning | Mapping[str, Any] | None = None,
    ) -> None:
        self.teacher = teacher
        self.temperature = temperature
        self.weight = weight
        self.how = how
        self.start = start
        self.epochs = epochs
        self.lr = lr
        self.tuning = tuning

    def stored(self) -> dict[str, Any]:
        """Its arguments as a saved student keeps them; the teacher by its name alone."""
        return {**self.get_params(deep=False), "teacher": described(self.teacher)}

    def revision(self) -> str:
        """Names the teacher by its content."""
        return revision(self.teacher)

    def without(self) -> tuple[str, Strategy] | None:
        """The same student on the labels alone."""
        if not self.weight:
            return None
        plain: Distill = clone(self.__class__(None, weight=0.0, start=self.start, epochs=self.epochs, lr=self.lr))
        return "without teacher", plain.set_params(tuning=self.tuning)

    def build(self, backbone: Backbone, task: FittedTask) -> nn.Module:
        self._check(task)
        return tunable(backbone, task, self._tuning())

    def fit(self, module: nn.Module, task: FittedTask, data: TransferData) -> History:
        self._check(task)
        grafted = cast("Grafted", module)
        if self.start == "untrained":
            fresh(grafted.trunk, data.seed)
        extra: _Lesson | None = None
        beside: tuple[nn.Module, ...] = ()
        if self.weight and self.teacher is not None:
            examples = [data.train.examples, *([] if data.unlabelled is None else [data.unlabelled])]
            told = answers(self.teacher, task, data, join(examples))
            data = _with_answers(data, told, task, self.revision())
            extra = _Lesson(told, task, self._terms(), self.temperature, self.weight)
            with seeded(data.seed):
                beside = extra.beside(grafted.backbone.dim)
        lr = _RATES[self.start] if self.lr is None else self.lr
        return tune(grafted, task, data, epochs=self.epochs, lr=lr, tuning=self._tuning(), extra=extra, beside=beside)

    def _tuning(self) -> Tuning:
        tuning = Tuning.of(self.tuning)
        return tuning if self.start == "pretrained" else replace(tuning, batch_norm="adapt")

    def _terms(self) -> Mapping[str, float]:
        return self.how if isinstance(self.how, Mapping) else _WAYS[self.how]

    def _check(self, task: FittedTask) -> None:
        Tuning.checked(self, _LIMITS)
        if self.weight and self.teacher is None:
            raise RequestError(
                "distill needs a teacher: the folder of a saved model, as in distill/my-model, or a source with "
                "outputs of its own."
            )
        if self.start not in _RATES:
            raise UnknownNameError("start of a student", self.start, _RATES)
        if isinstance(self.how, str) and self.how not in _WAYS:
            raise UnknownNameError("way of distilling", self.how, _WAYS)
        for name in self._terms():
            if name not in _TERMS:
                raise UnknownNameError("term of distilling", name, _TERMS)
        tuning = self._tuning()
        if self.weight and (tuning.mixup or tuning.cutmix):
            raise RequestError("mixup and cutmix make new rows, of which the teacher has not spoken; leave them away.")
        if task.link != "softmax" and {"tckd", "nckd"} & set(self._terms()):
            raise RequestError(
                f"dkd takes apart the one class that is right, and a row of {task.kind} has no such class; use kd."
            )


def _with_answers(data: TransferData, told: Answers, task: FittedTask, revision: str) -> TransferData:
    """The rows without labels join the labelled ones; the teacher's answers stand in for their labels."""
    folder = None if data.checkpoint is None else data.checkpoint / f"teacher-{revision[:16]}"
    data = replace(data, checkpoint=folder)
    if data.unlabelled is None:
        return data
    train, more = data.train, len(data.unlabelled)
    said = told.outputs[len(train) :]
    if task.link == "softmax":
        said = said.softmax(dim=1)
    elif task.link == "sigmoid":
        said = said.sigmoid()
    known = one_hot(train.targets, task.n_outputs).float() if train.targets.ndim == 1 else train.targets
    weights = None if train.weights is None else torch.cat([train.weights, torch.ones(more)])
    rows = Rows(join([train.examples, data.unlabelled]), torch.cat([known, said]), weights)
    return replace(data, train=rows, groups=None, unlabelled=None)


class _Lesson:
    """What the teacher's part of the loss is at each step; the scale is that beside one part of the task's."""

    def __init__(
        self, told: Answers, task: FittedTask, terms: Mapping[str, float], temperature: float, weight: float
    ) -> None:
        self.outputs, self.link = told.outputs, task.link
        self.terms, self.temperature = terms, temperature
        self.share = weight / (1 - weight)
        deviation, mean = torch.std_mean(told.features, dim=0, correction=0)
        # at mean 0 and deviation 1 a weight means the same whatever the teacher's scale
        self.features = (told.features - mean) / torch.where(deviation > 0, deviation, 1.0)
        self.regressor: nn.Module | None = None

    def beside(self, width: int) -> tuple[nn.Module, ...]:
        """What learns along: the way from the student's features, of some width, to the teacher's."""
        if {"hints", "cosine"} & set(self.terms):
            self.regressor = nn.Linear(width, self.features.shape[1])
        return () if self.regressor is None else (self.regressor,)

    def __call__(self, step: Step, features: Tensor, outputs: Tensor) -> Tensor:
        said, known = (each[step.rows].to(outputs.device) for each in (self.outputs, self.features))
        total = outputs.new_zeros(())
        for name, weight in self.terms.items():
            total = total + weight * self._term(name, step, (features, known), (outputs, said))
        return self.share * total

    def _term(self, name: str, step: Step, features: tuple[Tensor, Tensor], outputs: tuple[Tensor, Tensor]) -> Tensor:
        pairs: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"distances": distances, "angles": angles}
        if name in pairs:
            heard = slice(None) if step.weights is None else step.weights > 0
            return pairs[name](*(each[heard] for each in features))
        return weighted_mean(self._rows(name, step, features, outputs), step.weights)

    def _rows(self, name: str, step: Step, features: tuple[Tensor, Tensor], outputs: tuple[Tensor, Tensor]) -> Tensor:
        if name == "kd":
            return soft_targets(*outputs, self.temperature, self.link)
        if name in ("tckd", "nckd"):
            right = step.targets if step.targets.ndim == 1 else step.targets.argmax(dim=1)
            return dkd(*outputs, right, float(name == "tckd"), float(name == "nckd"), self.temperature)
        return hints(*features, self.regressor, by="angle" if name == "cosine" else "squares")
