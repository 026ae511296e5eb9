"""Support vector machines."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, cast, get_args

import numpy as np
import torch
from torch import Tensor, nn

from graft.contracts import Array, Backbone, FittedTask, History, Link, Passes, Start, Strategy, TransferData
from graft.evaluate.goal import goal_of
from graft.features import extract
from graft.limits import above, among, at_least, check
from graft.linear.folds import folds_of, hard
from graft.linear.platt import platt
from graft.linear.scaling import scaled
from graft.linear.sharpness import sharpness
from graft.linear.speech import Speech, speech_of
from graft.nn.freeze import freeze
from graft.nn.glm import one_hot
from graft.nn.grafted import Grafted
from graft.nn.kernel_machine import KernelMachine, rbf
from graft.nn.taps import tapped
from graft.nn.weighing import even_weights
from graft.progress import Advance

__all__ = ["SVM"]

Kernel = Literal["auto", "linear", "rbf"]

_CS = (0.1, 1.0, 10.0, 100.0)
_MIDDLE = 10.0
_GAMMAS = (0.5, 0.1, 2.0)
"""Features are scaled to a mean squared length of 1, so one grid fits all sources."""

_DEFAULT_C = 1.0
"""Taken where there are too few rows to choose."""

_MANY = 4000
"""Rows from which ``auto`` is the linear kernel: the other one's cost grows with their square, and more."""

_PAIRS = 5e4
"""Multiply-adds a pair of rows that choosing among the machines takes, by the seconds of some hundred to 3500 rows."""

_AT_ONCE = 3000
"""Rows up to which one kernel is computed for all classes (72 MB)."""

_ROUGH, _FINE = 1e-2, 1e-4
"""How near to its optimum a linear machine on many rows is taken: to compare, and to be used."""

_FEWEST = 3
"""Rows with a label, and without, from which the label gets a probability curve of its own."""


class SVM(Strategy):
    """Support vector machines on the source's frozen features, linear or with an RBF kernel, one a class.

    Features are centred and scaled as for a linear probe.  C, gamma and the kernel are chosen by
    cross-validation inside the training rows, and probabilities are set true on the rows held out
    there: one temperature for classes, Platt's curve for each of several labels.  Numbers are
    predicted by support vector regression.  The machine is kept as plain tensors.

    Parameters
    ----------
    kernel
        ``linear``, ``rbf``, or ``auto``: the better one, linear from 4000 rows.
    C
        Price of a row on the wrong side; ``None`` chooses.
    gamma
        Width of the RBF kernel, ``exp(-gamma |x - y|²)`` on scaled features; ``None`` chooses.
    epsilon
        For numbers: an error that costs nothing, in deviations of the target.
    layers
        Features of these stages are put beside the final ones: their names, or how many of the stages
        before the last one, whose features the final ones are made of; norms on their own do not count.

    References
    ----------
    Cortes and Vapnik, Support-vector networks, 1995.
    """

    family: ClassVar[str] = "feature"
    starts_from: ClassVar[Start] = "pretrained"
    uses_validation: ClassVar[bool] = False

    def __init__(
        self,
        kernel: Kernel = "auto",
        C: float | None = None,
        gamma: float | None = None,
        epsilon: float = 0.1,
        layers: int | tuple[str, ...] | None = None,
    ) -> None:
        self.kernel = kernel
        self.C = C
        self.gamma = gamma
        self.epsilon = epsilon
        self.layers = layers

    def passes_over(self, rows: int) -> Passes:
        linear = self.kernel == "linear" or (self.kernel == "auto" and rows >= _MANY)
        return Passes(learns=0.0, pairs=0.0 if linear else _PAIRS)

    def build(self, backbone: Backbone, task: FittedTask) -> nn.Module:
        price, width = above().or_none(), above().or_none()
        check(self, {"kernel": among(get_args(Kernel)), "C": price, "gamma": width, "epsilon": at_least()})
        backbone = backbone if self.layers is None else tapped(backbone, self.layers)
        module = Grafted(backbone, KernelMachine(backbone.dim, task.n_outputs))
        freeze(module.trunk)
        return module.eval()

    def fit(self, module: nn.Module, task: FittedTask, data: TransferData) -> History:
        grafted = cast("Grafted", module)
        head = cast("KernelMachine", grafted.head)
        features = extract(
            grafted.backbone, data.train.examples, machine=data.machine, cache=data.cache, progress=data.progress
        )
        rows, scale = scaled(features)
        counts = even_weights(data.train.weights)
        weights = np.ones(len(rows)) if counts is None else counts.double().numpy()
        folds = folds_of(data.train.targets, task.link, data.groups, data.train.examples.keys(), data.seed, False)
        with data.progress.step("fit", 2 * len(_CS) + 1) as advance:
            targets = hard(data.train.targets, task.link)
            problem = _Problem(rows.double().numpy(), targets, task, self.epsilon, weights, advance)
            chosen, outputs, score = self._chosen(problem, folds, task, data)
            found = problem.machine(chosen, slice(None))
            advance()
        head.scaling.set(scale.centre, scale.factor)
        head.plane.copy_(found.weight)
        head.offset.copy_(found.bias)
        head.gamma.fill_(chosen.gamma)
        head.support, head.coef = found.support, found.coef
        if outputs is not None and folds is not None:
            held = torch.from_numpy(folds >= 0)
            factor, shift = _true(outputs, data.train.targets[held], task, None if counts is None else counts[held])
            head.scale.copy_(factor)
            head.shift.copy_(shift)
        return History(score=score, chosen=chosen.told())

    def _chosen(
        self, problem: _Problem, folds: Array | None, task: FittedTask, data: TransferData
    ) -> tuple[_Choice, Tensor | None, float | None]:
        """What serves the goal best on held-out rows, with the outputs there and their score."""
        kernels = (
            [self.kernel] if self.kernel != "auto" else ["linear", *(["rbf"] if len(problem.rows) < _MANY else [])]
        )
        if folds is None:
            kernel = "rbf" if self.kernel == "rbf" else "linear"
            return _Choice(kernel, self.C or _DEFAULT_C, self.gamma or _GAMMAS[0]), None, None
        goal, held = goal_of(task), torch.from_numpy(folds >= 0)
        targets, counts = data.train.targets[held], torch.from_numpy(problem.weights)[held]
        best: tuple[_Choice, Tensor, Speech] | None = None
        tried = dict[_Choice, float]()
        for kernel in kernels:
            for choice in self._choices(kernel, tried, goal.higher_is_better):
                outputs = problem.left_out(choice, folds)[held]
                speech = speech_of(outputs, targets, task, counts)
                tried[choice] = speech.choice
                problem.advance()
                if best is None or goal.better(speech.choice, best[2].choice):
                    best = choice, outputs, speech
        assert best is not None
        return best[0], best[1], best[2].score

    def _choices(self, kernel: str, tried: dict[_Choice, float], higher: bool) -> Iterator[_Choice]:
        """One after the other, each line of Cs up to the first that is worse: gammas at a middling C, then Cs there."""
        sign = 1 if higher else -1
        cs = _CS if self.C is None else (self.C,)
        if kernel == "linear":
            yield from _line([_Choice("linear", c, 1.0) for c in cs], tried, sign, float("-inf"))
            return
        middle = _MIDDLE if self.C is None else self.C
        first = [_Choice("rbf", middle, gamma) for gamma in (_GAMMAS if self.gamma is None else (self.gamma,))]
        yield from first
        best = max(first, key=lambda choice: sign * tried[choice])
        for others in ([c for c in cs if c > middle], [c for c in reversed(cs) if c < middle]):
            yield from _line([_Choice("rbf", c, best.gamma) for c in others], tried, sign, sign * tried[best])


@dataclass(frozen=True)
class _Choice:
    kernel: str
    c: float
    gamma: float

    def told(self) -> dict[str, float | str]:
        return {"kernel": self.kernel, "C": self.c, **({"gamma": self.gamma} if self.kernel == "rbf" else {})}


def _line(choices: Sequence[_Choice], tried: dict[_Choice, float], sign: int, best: float) -> Iterator[_Choice]:
    """In order, until one is worse than the best before it."""
    for choice in choices:
        yield choice
        if sign * tried[choice] < best:
            return
        best = sign * tried[choice]


@dataclass(frozen=True)
class _Machine:
    """One machine an output, as tensors; see :class:`~graft.nn.kernel_machine.KernelMachine`."""

    weight: Tensor
    bias: Tensor
    support: Tensor
    coef: Tensor


@dataclass(frozen=True)
class _Problem:
    """The rows, ``(n, d)`` float64, and what scikit-learn is asked about them, a machine an output at a time."""

    rows: Array
    targets: Tensor
    task: FittedTask
    epsilon: float
    weights: Array
    advance: Advance

    def machine(self, choice: _Choice, part: Any, tolerance: float = _FINE) -> _Machine:
        """Fitted on a part of the rows."""
        link, c, heard = self.task.link, self.task.n_outputs, self.weights[part] > 0
        rows, weights = self.rows[part][heard], self.weights[part][heard]
        said = one_hot(self.targets, link, c).numpy()[part][heard]
        pair = link == "softmax" and c == 2  # of two classes, one machine tells both
        asked = [1] if pair else range(c)
        few = len(rows) <= _AT_ONCE
        if choice.kernel == "linear" and not few:
            found = [self._linear(choice, rows, said[:, place], weights, tolerance) for place in asked]
        else:
            shared = _kernel(choice, rows) if few else None
            found = [self._kernelled(choice, rows, said[:, place], weights, shared) for place in asked]
        coef, bias = np.stack([each[0] for each in found]), np.array([each[1] for each in found])
        if pair:
            coef, bias = np.concatenate([-coef, coef]), np.concatenate([-bias, bias])
        if choice.kernel == "linear":
            coef = coef @ rows if few else coef
            empty = torch.zeros(0, rows.shape[1]), torch.zeros(0, c)
            return _Machine(torch.from_numpy(coef).float(), torch.from_numpy(bias).float(), *empty)
        kept = np.abs(coef).any(0)
        return _Machine(
            torch.zeros(c, rows.shape[1]),
            torch.from_numpy(bias).float(),
            torch.from_numpy(rows[kept]).float(),
            torch.from_numpy(np.ascontiguousarray(coef[:, kept].T)).float(),
        )

    def left_out(self, choice: _Choice, folds: Array) -> Tensor:
        """``(n, c)`` outputs of each row by a machine that did not learn from its fold."""
        outputs = torch.zeros(len(self.rows), self.task.n_outputs)
        for fold in range(int(folds.max()) + 1):
            held = folds == fold
            head = KernelMachine(self.rows.shape[1], self.task.n_outputs)
            found = self.machine(choice, ~held, _ROUGH)
            head.plane, head.offset, head.support, head.coef = found.weight, found.bias, found.support, found.coef
            head.gamma.fill_(choice.gamma)
            with torch.inference_mode():
                outputs[torch.from_numpy(held)] = head.decision(torch.from_numpy(self.rows[held]))
        return outputs

    def _kernelled(
        self, choice: _Choice, rows: Array, said: Array, weights: Array, shared: Array | None
    ) -> tuple[Array, float]:
        """Coefficients of the rows, and the bias, of one machine; ``shared`` is the kernel where it is there."""
        from sklearn.svm import SVC, SVR

        self.advance(0)  # a fit whose time is up may end between two machines
        if (constant := self._constant(said)) is not None:
            return np.zeros(len(rows)), constant
        kernel = "rbf" if shared is None else "precomputed"
        made: Any = SVC(C=choice.c, gamma=choice.gamma, kernel=kernel)
        if self.task.link == "identity":
            made = SVR(C=choice.c, gamma=choice.gamma, kernel=kernel, epsilon=self.epsilon)
        made.fit(rows if shared is None else shared, said, sample_weight=weights)
        coef = np.zeros(len(rows))
        coef[made.support_] = made.dual_coef_[0]
        return coef, float(made.intercept_[0])

    def _linear(
        self, choice: _Choice, rows: Array, said: Array, weights: Array, tolerance: float
    ) -> tuple[Array, float]:
        """Coefficients of the features, and the bias, of one machine."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.svm import LinearSVC, LinearSVR

        self.advance(0)
        if (constant := self._constant(said)) is not None:
            return np.zeros(rows.shape[1]), constant
        options: dict[str, Any] = {"C": choice.c, "tol": tolerance, "dual": "auto", "random_state": 0, "max_iter": 5000}
        made: Any = LinearSVC(**options)
        if self.task.link == "identity":
            made = LinearSVR(**options, epsilon=self.epsilon, loss="squared_epsilon_insensitive")
        with warnings.catch_warnings():
            # A machine that is near its optimum serves; how good it is, held-out rows tell.
            warnings.simplefilter("ignore", ConvergenceWarning)
            made.fit(rows, said, sample_weight=weights)
        return np.ravel(made.coef_), float(np.ravel(made.intercept_)[0])

    def _constant(self, said: Array) -> float | None:
        """What a machine says of a label that no row here has, or every row; else ``None``."""
        if len(said) and (self.task.link == "identity" or len(set(said.tolist())) > 1):
            return None
        return 1.0 if said.any() else -1.0


def _kernel(choice: _Choice, rows: Array) -> Array:
    """``(n, n)``, for all classes at once."""
    whole = torch.from_numpy(rows)
    found: Array = (rbf(whole, whole, choice.gamma) if choice.kernel == "rbf" else whole @ whole.T).numpy()
    return found


def _true(outputs: Tensor, targets: Tensor, task: FittedTask, counts: Tensor | None) -> tuple[Tensor, Tensor]:
    """``(c,)`` factors and shifts that make probabilities true on held-out outputs."""
    link: Link = task.link
    wanted = one_hot(targets, link, task.n_outputs)
    factor = torch.full((task.n_outputs,), sharpness(outputs, wanted, link, counts))
    shift = torch.zeros(task.n_outputs)
    if link != "sigmoid":
        return factor, shift
    for place in range(task.n_outputs):
        has = wanted[:, place] > 0.5
        if min(int(has.sum()), int((~has).sum())) >= _FEWEST:
            factor[place], shift[place] = platt(outputs[:, place].numpy(), wanted[:, place].numpy())
    return factor, shift
