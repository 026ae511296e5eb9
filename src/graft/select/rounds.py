"""Cross-validation from the outside: a whole procedure learns on each round's rows, and is measured on the others.

Whatever a procedure chooses (a penalty, a strategy, a source), it chooses inside the rows that a
round gives it, so its outputs on the round's other rows are those of models that know nothing of
them.  That is nested cross-validation: the outer folds are here, the inner ones belong to whoever
chooses.

References
----------
Varma and Simon, Bias in error estimation when using cross-validation for model selection, BMC
Bioinformatics 7:91, 2006; Cawley and Talbot, On over-fitting in model selection and subsequent
selection bias in performance evaluation, JMLR 11, 2010.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from graft.contracts import Array, FittedTask, TargetData
from graft.data.folds import Folds
from graft.data.split import Split
from graft.evaluate.goal import goal_of
from graft.evaluate.intervals import units
from graft.progress import Progress
from graft.select.fold import run_fold
from graft.select.trial import Trial
from graft.select.view import groups_at, rows_at

__all__ = ["Learn", "OutOfFold", "Round", "Rounds", "in_scale_of", "out_of_fold"]


@dataclass(frozen=True)
class Round:
    """One fold of one repeat.

    Parameters
    ----------
    sides
        ``train``: the rows that may be learnt from and chosen by; ``test``: those that measure.
    fitted
        The task as the training rows set it.
    mine
        ``(n,)`` which of the rows that take part measure.
    """

    repeat: int
    fold: int
    sides: Split
    fitted: FittedTask
    mine: Array

    def __str__(self) -> str:
        return f"repeat {self.repeat}, fold {self.fold}"


Learn = Callable[[Round, Path | None], tuple[Trial, float]]
"""A procedure: a round, and the folder for what its fits keep → what it settled on, and the seconds of all its fits."""


@dataclass(frozen=True)
class Rounds:
    """The outer folds.

    Parameters
    ----------
    places
        ``(n,)`` rows that take part.
    dealt
        One dealing of them a repeat.
    reference
        The task as all rows that take part set it: outputs of all rounds are brought to its scale.
    start
        Gives the task as the rows at some places set it.
    """

    held: TargetData
    places: Array
    dealt: tuple[Folds, ...]
    reference: FittedTask
    start: Callable[[Array], FittedTask]

    def __len__(self) -> int:
        return len(self.dealt) * self.dealt[0].count

    def __iter__(self) -> Iterator[Round]:
        for repeat in range(len(self.dealt)):
            for fold in range(self.dealt[repeat].count):
                sides = self.sides(repeat, fold)
                yield Round(repeat, fold, sides, self.start(sides.train), self.dealt[repeat].measured(fold))

    def sides(self, repeat: int = 0, fold: int = 0) -> Split:
        """What is learnt from, and what is measured."""
        assert self.held.labels is not None
        dealt = self.dealt[repeat]
        unlabelled = np.flatnonzero([label is None for label in self.held.labels])
        learnt, mine = self.places[dealt.learnt(fold)], self.places[dealt.measured(fold)]
        return Split(learnt, self.places[:0], mine, unlabelled, "")

    @property
    def measured(self) -> Array:
        """``(n,)``: which of the rows that take part are measured at all; the earliest are not."""
        return np.asarray(self.dealt[0].fold >= 0)

    @property
    def widen(self) -> float:
        """Factor on intervals over all rounds: their models share most of what they learnt from.

        Were the rounds independent, the variance of their mean over J folds would be s²/J; it is
        taken for (1/J + m/l) s², m rows measured and l learnt from in a round.  Rows that are
        measured several times are one row already (see ``units``), so J is that of one repeat.

        References
        ----------
        Nadeau and Bengio, Inference for the generalization error, Machine Learning 52, 2003; Bengio
        and Grandvalet, No unbiased estimator of the variance of k-fold cross-validation, JMLR 5,
        2004; Bates, Hastie and Tibshirani, Cross-validation: what does it estimate and how well does
        it do it?, JASA 119, 2024.
        """
        dealt = self.dealt[0]
        last = dealt.count - 1
        return float(np.sqrt(1 + dealt.count * dealt.measured(last).sum() / dealt.learnt(last).sum()))

    def truth(self) -> Array:
        """Targets of the rows that are measured, one repeat after the other."""
        truth = rows_at(self.held, self.reference, self.places[self.measured]).targets.numpy()
        return np.concatenate([truth] * len(self.dealt))

    def copies(self) -> Array | None:
        """Which of these are the same row; ``None`` where each is measured once."""
        if len(self.dealt) == 1:
            return None
        return np.tile(np.arange(int(self.measured.sum())), len(self.dealt))

    def names(self) -> Array | None:
        """The groups of these, where there are any."""
        groups = groups_at(self.held, self.places[self.measured])
        return None if groups is None else np.tile(groups, len(self.dealt))

    def units(self) -> Array | None:
        """Which of these are drawn and swapped together: rows of a group, and copies of a row always."""
        if len(self.dealt) == 1:
            return self.names()
        groups = groups_at(self.held, self.places[self.measured])
        return np.tile(units(int(self.measured.sum()), groups), len(self.dealt))


@dataclass(frozen=True)
class OutOfFold:
    """What a procedure did on all rounds.

    Parameters
    ----------
    outputs
        ``(repeats * m, c)`` on the m rows that are measured, each by a model that did not learn from it.
    folds
        The metric on each round alone.
    chosen
        How many rounds settled on which candidate.
    source, trained
        Of the last round.
    seconds
        Wall time of all its fits.
    """

    outputs: Array
    folds: tuple[float, ...]
    chosen: Mapping[str, int]
    source: str
    trained: int
    seconds: float


def out_of_fold(
    rounds: Rounds,
    learn: Learn,
    *,
    folder: Callable[[Round], Path | None],
    cache: Path | None,
    progress: Progress,
) -> OutOfFold:
    """Let a procedure learn in every round, and gather its outputs on the rows that the round kept from it.

    Parameters
    ----------
    folder
        Where a round keeps what a killed run goes on from.
    """
    held, reference = rounds.held, rounds.reference
    outputs = np.empty((len(rounds.dealt), len(rounds.places), reference.n_outputs), dtype=np.float32)
    truth = rows_at(held, reference, rounds.places).targets.numpy()
    values, chosen, seconds, trained, source = [], Counter[str](), 0.0, 0, ""
    for each in rounds:
        measured = held.examples.take(each.sides.test)

        done = run_fold(partial(learn, each), measured, folder(each), cache=cache, progress=progress)
        outputs[each.repeat, each.mine] = in_scale_of(reference, each.fitted, done.outputs)
        values.append(goal_of(reference).measure(outputs[each.repeat, each.mine], truth[each.mine]))
        chosen[done.chosen] += 1
        seconds, trained, source = seconds + done.seconds, done.trained, done.source
    pooled = outputs[:, rounds.measured].reshape(-1, reference.n_outputs)
    return OutOfFold(pooled, tuple(values), dict(chosen), source, trained, seconds)


def in_scale_of(reference: FittedTask, fitted: FittedTask, outputs: Array) -> Array:
    """Outputs on the scale of all rows: each model has scaled numbers by the rows that it learnt from."""
    return outputs if fitted.classes else reference.encode(fitted.decode(outputs)).numpy()
