"""Greedy selection of an ensemble from what a race measured; nothing is trained for it.

Caruana, Niculescu-Mizil, Crew and Ksikes, Ensemble selection from libraries of models, ICML 2004:
start from the best, add what makes the average best, as often as it does, and stop where nothing does.
Whether that beats taking the best alone is asked of rows that had no part in choosing either.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from graft.contracts import Array, FittedTask, History
from graft.errors import RequestError
from graft.evaluate.compare import compare
from graft.evaluate.goal import goal_of
from graft.evaluate.intervals import Interval, units
from graft.evaluate.metrics import sign_of
from graft.model import Ensemble, Model
from graft.nn.averaging import averaged, spoken
from graft.select.course import Course
from graft.select.raced import Raced
from graft.select.trial import Trial

__all__ = ["Ensembled", "Library", "check_ensemble", "greedy", "joined", "library_of"]

_ROUNDS = 30
"""How often a member is added at most."""

_PARTS = 5
"""Each part of the rows is predicted by an ensemble that was chosen by the others."""


def check_ensemble(most: object, *, open: bool, folds: int | None, learning_curve: bool, prefer: str) -> None:
    """Whether an ensemble of so many models can be asked for beside the other options.

    Raises
    ------
    RequestError
        Where it cannot.
    """
    if isinstance(most, bool) or not isinstance(most, int) or most < 1:
        raise RequestError(f"ensemble is how many models at most, a whole number from 1; {most!r} was given.")
    if most == 1:
        return
    if not open:
        raise RequestError(
            "an ensemble is made of what a race has tried: give it a time, such as --budget 10m, and leave source or "
            "strategy to be chosen."
        )
    if folds is not None:
        raise RequestError(
            "folds judge a procedure that ends with one model, so far; leave --folds or --ensemble away."
        )
    if learning_curve:
        raise RequestError("a learning curve is of one model; leave --learning-curve or --ensemble away.")
    if prefer != "accurate":
        raise RequestError(f"several models are neither small nor fast; leave --prefer {prefer} or --ensemble away.")


@dataclass(frozen=True)
class Ensembled:
    """What a selection came to.

    Parameters
    ----------
    members
        Name and how often it was taken, in the order in which each came first: the single best leads.
    most, among
        How many members there might have been, of how many models.
    score, alone
        The metric of the ensemble and of the single best, on the rows that chose the members.
    gain
        How much better an ensemble is than a single best, on parts of these rows that had no part in
        choosing either.
    late
        Members that the ensemble was to have, and that could not be fitted in time.
    """

    members: tuple[tuple[str, int], ...]
    most: int
    among: int
    score: float
    alone: float
    gain: Interval
    late: tuple[str, ...] = ()

    @property
    def wins(self) -> bool:
        """Whether it is several, and better than the single best on rows that did not choose it."""
        return len(self.members) > 1 and self.gain.value > 0

    @property
    def partners(self) -> tuple[str, ...]:
        """Who is to be fitted beside the single best."""
        return tuple(name for name, _ in self.members[1:]) if self.wins else ()

    def __str__(self) -> str:
        gain = f"{self.gain:+} on rows that chose neither"
        late = f" There was no time to fit {', '.join(self.late)}." if self.late else ""
        if self.wins:
            said = ", ".join(name + (f" ({often}×)" if often > 1 else "") for name, often in self.members)
            return f"An ensemble of {len(self.members)} models is better than the best alone ({gain}): {said}.{late}"
        best = self.members[0][0]
        if self.late and len(self.members) == 1:
            return f"{best} is handed over without the ensemble that it was to lead.{late}"
        if self.among == 1:
            return f"There was nothing to make an ensemble of with {best}.{late}"
        return f"No ensemble of up to {self.most} models is better than {best} alone ({gain}).{late}"

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Ensembled:
        """What ``dataclasses.asdict`` gave."""
        members = tuple((name, often) for name, often in document["members"])
        gain, late = Interval(**document["gain"]), tuple(document["late"])
        return cls(**{**document, "members": members, "gain": gain, "late": late})


@dataclass(frozen=True)
class Library:
    """What an ensemble may be made of.

    Parameters
    ----------
    outputs
        Name → ``(n, c)`` raw outputs on the same rows, which no model learnt from; the single best stands first.
    truth
        The encoded truth.
    groups
        ``(n,)``: rows of one group never both choose and measure.
    most
        Different members at most.
    """

    outputs: Mapping[str, Array]
    fitted: FittedTask
    truth: Array
    groups: Array | None
    most: int
    seed: int

    def ensemble(self, among: Collection[str] | None = None) -> Ensembled:
        """The ensemble of these names, the single best always among them; of all where none are given."""
        best = next(iter(self.outputs))
        names = [each for each in self.outputs if among is None or each in among or each == best]
        held, fitted, truth = [self.outputs[name] for name in names], self.fitted, self.truth
        goal = goal_of(fitted)
        taken = Counter(greedy(held, fitted, truth, self.most))
        together, apart = np.array(held[0], dtype=np.float32), np.array(held[0], dtype=np.float32)
        for rows in self._parts():
            others = [each[~rows] for each in held]
            standings = [_standing(each, fitted, truth[~rows]) for each in others]
            first = standings.index(max(standings))
            picked = Counter(greedy(others, fitted, truth[~rows], self.most, first))
            together[rows] = _blend([each[rows] for each in held], fitted, picked)
            apart[rows] = held[first][rows]
        return Ensembled(
            members=tuple((names[place], often) for place, often in taken.items()),
            most=self.most,
            among=len(names),
            score=goal.measure(_blend(held, fitted, taken), truth),
            alone=goal.measure(held[0], truth),
            gain=compare(fitted, together, apart, truth, groups=self.groups, seed=self.seed).gain,
        )

    def fitted_in_time(self, wanted: Ensembled, fitted: Collection[str]) -> Ensembled:
        """The same ensemble, or where members of it could not be fitted the best one of those that could."""
        late = tuple(name for name in wanted.partners if name not in fitted)
        return replace(self.ensemble(fitted), late=late) if late else wanted

    def _parts(self) -> list[Array]:
        """Masks ``(n,)`` of the rows of each part; none where all rows are of one group."""
        unit = units(len(self.truth), self.groups)
        count = int(unit.max(initial=-1)) + 1
        dealt = np.random.default_rng(self.seed).permutation(count) % _PARTS
        masks = [dealt[unit] == part for part in range(min(_PARTS, count))]
        return [each for each in masks if each.any() and not each.all()]


def library_of(raced: Raced, course: Course, best: str, most: int) -> Library | None:
    """What a race measured on its last rung, the single best first; ``None`` where an ensemble is not asked for."""
    if most == 1:
        return None
    outputs = {each.candidate.name: each.outputs for each in raced.finalists}
    rung = course.rungs[raced.rung]
    return Library(
        outputs={best: outputs[best], **outputs},
        fitted=course.reference,
        truth=course.truth(rung),
        groups=course.groups(rung),
        most=most,
        seed=course.common.seed,
    )


def joined(found: Ensembled, trials: Mapping[str, Trial]) -> Trial:
    """The ensemble as one trial, of members that were fitted one by one.

    Its candidate is that of a member that brings knowledge, where there is one.
    """
    members = [trials[name] for name, _ in found.members]
    models = [each.model for each in members if isinstance(each.model, Model)]
    leads = next((each for each in members if each.candidate.carries), members[0])
    return Trial(
        candidate=replace(leads.candidate, name="ensemble"),
        model=Ensemble(models, [often for _, often in found.members]),
        history=History(score=found.score, chosen={"members": len(models)}),
        seconds=sum(each.seconds for each in members),
    )


def greedy(outputs: Sequence[Array], fitted: FittedTask, truth: Array, most: int, first: int = 0) -> list[int]:
    """Places of the members in the order in which they were taken.

    A member is added where the average then has a better metric, or the same and a lower loss: a metric
    that counts rows stands still for long, and a loss does not.

    Parameters
    ----------
    outputs
        Raw outputs ``(n, c)`` of each model on the same rows.
    truth
        The encoded truth.
    most
        Different members at most.
    first
        Place of the one to start from: the best alone.
    """
    means = [_means(each, fitted) for each in outputs]
    taken, total = [first], means[first]
    best = _standing(spoken(fitted.link, total), fitted, truth)
    while len(taken) <= _ROUNDS:
        distinct = dict.fromkeys(taken)
        free = range(len(outputs)) if len(distinct) < most else distinct
        count = len(taken) + 1
        found = {place: _standing(spoken(fitted.link, (total + means[place]) / count), fitted, truth) for place in free}
        place = max(found, key=lambda each: found[each])
        if found[place] <= best:
            break
        best = found[place]
        taken.append(place)
        total = total + means[place]
    return taken


def _means(outputs: Array, fitted: FittedTask) -> Array:
    """What is averaged: probabilities, or values."""
    probabilities = fitted.probabilities(outputs)
    return np.asarray(outputs if probabilities is None else probabilities, dtype=np.float64)


def _blend(outputs: Sequence[Array], fitted: FittedTask, times: Mapping[int, int]) -> Array:
    whole = sum(times.values())
    return averaged(fitted.link, [outputs[place] for place in times], [often / whole for often in times.values()])


def _standing(outputs: Array, fitted: FittedTask, truth: Array) -> tuple[float, float]:
    """The metric, turned so that higher is better, and the loss, turned alike and without the noise of its sum."""
    signed = sign_of(fitted.metric) * goal_of(fitted).measure(outputs, truth)
    loss = float(fitted.loss(torch.from_numpy(outputs), torch.from_numpy(truth)))
    return (-math.inf if math.isnan(signed) else signed), -round(loss, 6)
