"""Linear models on fixed features, their penalty chosen inside the rows that they learn from."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import scipy.sparse
import torch
from torch import Tensor

from graft.contracts import Array, Link
from graft.errors import RequestError
from graft.evaluate.goal import Goal
from graft.limits import above, all_of
from graft.linear.folds import folds_of
from graft.linear.scaling import scaled
from graft.linear.sharpness import sharpness
from graft.linear.telling import Told, told_best
from graft.nn.glm import Design, losses, one_hot, solve
from graft.nn.losses import weighted_mean
from graft.nn.ridge import Ridge
from graft.nn.weighing import even_weights
from graft.progress import Progress, Silent

__all__ = ["DEFAULT_PENALTY", "PENALTIES", "PENALTY", "LinearFit", "fit_linear"]

PENALTIES: tuple[float, ...] = tuple(float(f"{10**power:.3g}") for power in np.arange(2, -4.1, -0.5))
"""Tried from strong to weak.  Features are scaled to a mean squared length of 1, so one grid fits all sources."""

DEFAULT_PENALTY = 0.1
"""Taken where there are too few rows to choose."""

PENALTY = all_of(above(), "one or more numbers above 0")
"""What a list of penalties to choose from has to be."""

_ROUGH, _FINE = 3e-3, 1e-5
"""How near to its optimum a model is taken: to compare penalties, and to be used."""

_WIDE_FINE = 3e-4
"""The same for many sparse columns, where the last digits cost the most steps and change no decision."""

_CLOSED = 4096
"""The largest side of a Gram matrix that ridge regression decomposes."""


@dataclass(frozen=True)
class LinearFit:
    """A generalised linear model: the link of ``x @ weight.T + bias``.

    Parameters
    ----------
    weight, bias
        ``(c, d)`` and ``(c,)`` float32, for features as they were given.
    penalty
        The one that was chosen; see :func:`fit_linear`.
    score
        The goal on rows that the measured weights did not learn from; ``None`` with too few rows.
    sharpness
        The factor that weight and bias were multiplied by to make probabilities true
        (:func:`~graft.linear.sharpness.sharpness`).
    """

    weight: Tensor
    bias: Tensor
    penalty: float
    score: float | None
    sharpness: float = 1.0


def fit_linear(
    x: Array | Any,
    targets: Tensor,
    link: Link,
    *,
    n_outputs: int,
    weights: Tensor | None = None,
    goal: Goal | None = None,
    penalties: Sequence[float] = PENALTIES,
    groups: Array | None = None,
    keys: npt.NDArray[np.uint8] | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> LinearFit:
    """Fit a logistic, multi-label logistic or ridge regression, with its penalty chosen by cross-validation.

    The objective is the sum of the rows' losses plus ``penalty / 2 |W|²``, on features that are
    centred and scaled (sparse ones: scaled) to a mean squared row length of 1.  Columns are brought
    to equal variance first, except where all rows already have one length: such embeddings are
    compared by their angles, which that would change.  Penalties are tried from strong to weak,
    each starting from the solution before; the search ends where neither goal nor loss gets better.
    Of penalties between which the goal cannot tell on these rows the one of least loss is taken
    (:func:`~graft.linear.telling.told_best`), of equals the strongest.  Ridge
    regression needs no folds, as leaving out each single row has a closed form.

    Parameters
    ----------
    x
        ``(n, d)`` float32, or ``scipy.sparse``.
    targets
        ``(n,)`` int64 (softmax), ``(n, c)`` float32 (sigmoid, identity, soft labels).
    link
        From outputs to what is expected of the targets.
    n_outputs
        ``c``.
    weights
        ``(n,)``, 0 or more: how much a row's loss counts; only their ratios matter.
    goal
        What penalties are compared by, on all rows alike, as far as it can tell; the mean loss where ``None``.
    groups
        ``(n,)``: rows of a group stay in one fold.
    keys
        ``(n, 16)`` digests of the rows: equal rows stay in one fold.
    seed
        Decides the folds.

    Raises
    ------
    RequestError
        For penalties that are none, or weights that are all 0.
    DivergedError
        Where a feature is not finite.
    """
    ordered = sorted({float(each) for each in penalties}, reverse=True)
    if not ordered or not all(0 < each < float("inf") for each in ordered):
        raise RequestError(f"penalties are {list(penalties)}; expected one or more numbers above 0.")
    rows, scale = scaled(x)
    wanted = one_hot(targets, link, n_outputs)
    counted = even_weights(weights)
    folds = folds_of(targets, link, groups, keys, seed, wide=scipy.sparse.issparse(x))
    with (progress or Silent()).step("fit", len(ordered) + 1) as advance:
        between = partial(advance, 0)  # a fit whose time is up may end within a penalty
        model = _model(rows, wanted, link, folds, counted, between, alone=groups is None and _distinct(keys))
        penalty, score, sure = _default(ordered), None, 1.0
        if folds is not None:
            penalty, score, sure = _choose(model, ordered, wanted, targets, link, goal, folds, counted, advance)
        weight, bias = (sure * each for each in model.fit(penalty))
        advance()
    weight = weight * scale.factor
    return LinearFit(weight.float(), (bias - weight @ scale.centre).float(), penalty, score, sure)


def _default(ordered: Sequence[float]) -> float:
    """The penalty nearest to the default one, in ratio; the stronger of two."""
    return min(ordered, key=lambda each: (abs(np.log(each / DEFAULT_PENALTY)), -each))


def _distinct(keys: npt.NDArray[np.uint8] | None) -> bool:
    return keys is None or len(np.unique(keys, axis=0)) == len(keys)


class _Model(Protocol):
    """One model family on the rows: outputs of rows left out, and the weights of all."""

    dear: bool

    def left_out(self, penalty: float) -> Tensor: ...

    def remember(self) -> None:
        """What was found last is where :meth:`fit` starts."""

    def fit(self, penalty: float) -> tuple[Tensor, Tensor]: ...


def _model(
    rows: Tensor | Any,
    wanted: Tensor,
    link: Link,
    folds: npt.NDArray[np.int64] | None,
    weights: Tensor | None,
    between: Callable[[], None],
    alone: bool,
) -> _Model:
    if link == "identity" and isinstance(rows, Tensor) and min(rows.shape) <= _CLOSED:
        return _Closed(rows, wanted, None if alone else folds, weights)
    return _Iterated(rows, wanted, link, folds, weights, between)


class _Closed:
    """Ridge regression: every row left out alone, or fold by fold."""

    dear = False

    def __init__(
        self, rows: Tensor, wanted: Tensor, folds: npt.NDArray[np.int64] | None, weights: Tensor | None
    ) -> None:
        self.rows, self.wanted = rows, wanted
        self.whole = Ridge(rows, wanted, weights)
        self.parts: list[tuple[Tensor, Ridge]] = []
        if folds is not None:
            for fold in range(int(folds.max()) + 1):
                held = torch.from_numpy(folds == fold)
                counted = None if weights is None else weights[~held]
                self.parts.append((held, Ridge(rows[~held], wanted[~held], counted)))

    def left_out(self, penalty: float) -> Tensor:
        if not self.parts:
            return self.whole.left_out(penalty).float()
        outputs = torch.zeros_like(self.wanted)
        for held, part in self.parts:
            weight, bias = part.fit(penalty)
            outputs[held] = (self.rows[held].double() @ weight.T + bias).float()
        return outputs

    def remember(self) -> None:
        return None

    def fit(self, penalty: float) -> tuple[Tensor, Tensor]:
        return self.whole.fit(penalty)


class _Iterated:
    """What has no closed form; the folds are fitted together where the features are dense."""

    dear = True

    def __init__(
        self,
        rows: Tensor | Any,
        wanted: Tensor,
        link: Link,
        folds: npt.NDArray[np.int64] | None,
        weights: Tensor | None,
        between: Callable[[], None],
    ) -> None:
        self.between = between
        self.design, self.wanted, self.link, self.weights = Design(rows), wanted, link, weights
        self.held = [] if folds is None else [torch.from_numpy(folds == fold) for fold in range(int(folds.max()) + 1)]
        self.together = isinstance(rows, Tensor)
        self.batches = [list(range(len(self.held)))] if self.together else [[fold] for fold in range(len(self.held))]
        self.last: list[Tensor | None] = [None] * len(self.batches)
        self.start: Tensor | None = None

    def left_out(self, penalty: float) -> Tensor:
        outputs = torch.zeros_like(self.wanted)
        for place, batch in enumerate(self.batches):
            weights = torch.stack([~self.held[fold] for fold in batch]).float()
            weights = weights if self.weights is None else weights * self.weights
            found = solve(
                self.design,
                self.wanted,
                self.link,
                penalty,
                weights=weights,
                start=self.last[place],
                tolerance=_ROUGH,
                between=self.between,
            )
            self.last[place] = found.theta
            for fold, each in zip(batch, found.outputs, strict=True):
                outputs[self.held[fold]] = each[self.held[fold]]
        return outputs

    def remember(self) -> None:
        self.start = torch.cat([theta for theta in self.last if theta is not None]).mean(0, keepdim=True)

    def fit(self, penalty: float) -> tuple[Tensor, Tensor]:
        """On all rows, starting from the mean of the folds' models."""
        tolerance = _FINE if self.together else _WIDE_FINE
        weights = None if self.weights is None else self.weights[None]
        found = solve(
            self.design,
            self.wanted,
            self.link,
            penalty,
            weights=weights,
            start=self.start,
            tolerance=tolerance,
            between=self.between,
        )
        weight, bias = self.design.weight(found.theta[0])
        return weight.double(), bias.double()


def _choose(
    model: _Model,
    ordered: Sequence[float],
    wanted: Tensor,
    targets: Tensor,
    link: Link,
    goal: Goal | None,
    folds: npt.NDArray[np.int64],
    weights: Tensor | None,
    advance: Any,
) -> tuple[float, float | None, float]:
    """The best penalty, its score on the rows that were held out, and how surely it may speak.

    It is chosen by the held-out rows that count at all; the score is that on all of them, so that
    models which count rows otherwise can be compared.
    """
    held = folds >= 0
    truth, expected = targets.numpy()[held], wanted[held]
    counted = None if weights is None else weights[held]
    heard = held[held] if counted is None or not counted.any() else (counted > 0).numpy()
    share, dealt = None if counted is None else counted[heard], folds[held][heard]

    def loss_of(outputs: Array, truth: Array) -> float:
        return float(weighted_mean(losses(torch.from_numpy(outputs), torch.from_numpy(truth), link), share))

    top, least = -math.inf, math.inf
    tried: list[tuple[Told, float, float | None]] = []
    for penalty in ordered:
        outputs = model.left_out(penalty)[held]
        # A penalty is judged as it will speak: a strong one that decides well is timid, not wrong.
        factor = sharpness(outputs, expected, link, counted)
        spoken = (outputs * factor).numpy()
        loss = loss_of(spoken[heard], expected.numpy()[heard])
        told = _told(goal, spoken[heard], truth[heard], dealt, loss)
        score = loss if goal is None else goal.measure(spoken, truth)
        tried.append((told, factor, None if math.isnan(score) else score))
        advance()
        improves, closer = told.goal > top, loss < least
        top, least = told.goal if improves else top, loss if closer else least
        if improves or closer:
            model.remember()
        elif model.dear:
            break
    place = told_best([told for told, _, _ in tried])
    _, sure, found = tried[place]
    return ordered[place], found, sure


def _told(goal: Goal | None, outputs: Array, truth: Array, folds: npt.NDArray[np.int64], loss: float) -> Told:
    """What rows that were held out say of a penalty; without a goal the loss is what it is judged by."""
    if goal is None:
        return Told(-loss, np.zeros(0), loss)
    sign = 1.0 if goal.higher_is_better else -1.0
    parts = [sign * goal.measure(outputs[folds == fold], truth[folds == fold]) for fold in np.unique(folds)]
    return Told(sign * goal.measure(outputs, truth), np.array(parts), loss)
