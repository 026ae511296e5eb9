"""What a race tries next: what costs next to nothing first, then what promises most for its seconds."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from graft.registry import title
from graft.select.candidates import Candidate
from graft.select.contest import Contest
from graft.select.outlook import Nature, Outlook, Sighting
from graft.select.sightings import noise_of, sightings_of

__all__ = ["follow"]

_CHEAP, _TOGETHER = 0.05, 0.25
"""Parts of the time left that one candidate, and all such together, may take to be measured on all rungs at once."""

_TELLING = 1e-4
"""Part of the best score: where no step promises as much, more of them would not change the choice."""

_SHORTEST = 0.5
"""Seconds below which a step is no cheaper."""

_AGAINST = "what was seen of its source and of its strategy speaks against it"

Step = tuple[Candidate, int]
"""A candidate, and the rung that comes next for it."""


def follow(
    held: Contest, entrants: Sequence[Candidate], promised: Sequence[Sighting] = (), glimpsing: Collection[str] = ()
) -> None:
    """Measure candidates until time is up, or no step is likely to change the choice.

    Successive halving without waiting for a rung to be full: who climbs is not beaten on the rung
    below; which step comes next is decided by what it promises for its seconds.

    Parameters
    ----------
    promised
        What was seen of sources before; the name is the source's.
    glimpsing
        Names of candidates whose networks take smaller images: where they train, they begin with those.

    References
    ----------
    Li et al., A system for massively parallel hyperparameter tuning, MLSys 2020.
    """
    cheap, others = _parted(held, entrants)
    for level in range(held.course.whole, len(held.course.rungs)):  # this drops nobody
        for place, each in enumerate(cheap):
            held.go(each, level, waiting=len(cheap) - place + len(others))
    starts = {each.name: 0 if each.trains and each.name in glimpsing else held.course.whole for each in others}
    while (steps := _steps(held, others, starts)) and not _decided(held, steps):
        chosen = _next(held, others, steps, promised)
        if chosen is None:
            break
        held.go(*chosen, waiting=len(steps))
    for each in others:
        if each.name not in held.entered:
            held.leave(each, starts[each.name], _AGAINST)


def _decided(held: Contest, steps: Sequence[Step]) -> bool:
    """Whether one is left, all others are beaten, and there are no settings of it to search."""
    lone = steps[0][0]
    known = len(steps) == 1 and held.keep == 1 and lone.name in held.board.eligible()
    return known and not lone.strategy.space and held.board.all_beaten_but(lone.name)


def _parted(held: Contest, entrants: Sequence[Candidate]) -> tuple[list[Candidate], list[Candidate]]:
    """The cheap ones, as many as are worth their time together, and the others."""
    work = sum(rung.work for rung in held.course.rungs[held.course.whole :])
    costs = {each.name: held.costs.expected(each.name, work) for each in entrants}

    def decide() -> dict[str, Any]:
        whole = held.clock.left()
        left, names = _TOGETHER * whole, list[str]()
        for name, cost in costs.items():
            if cost <= min(left, _CHEAP * whole):
                names.append(name)
                left -= cost
        return {"names": names}

    by_name = {each.name: each for each in entrants}
    cheap = [by_name[name] for name in held.workspace.remember("cheap", decide)["names"]]
    return cheap, [each for each in entrants if each not in cheap]


def _steps(held: Contest, others: Sequence[Candidate], starts: Mapping[str, int]) -> list[Step]:
    """Who may go on: whoever is not beaten on its rung, or is among those to be kept."""
    board, steps = held.board, list[Step]()
    stopped = {run.name for run in held.runs if run.ended}
    reached = dict(board.found.keys())  # name → the last of its rungs
    dropped = {level: _dropped(held, level) for level in set(reached.values())}
    for each in others:
        below = reached.get(each.name)
        level = starts[each.name] if below is None else below + 1
        if each.name in stopped or level == len(held.course.rungs):
            continue
        if below is None or each.name not in dropped[below]:
            steps.append((each, level))
    return steps


def _dropped(held: Contest, level: int) -> set[str]:
    """Who is beaten on a rung, but for those that are to be kept for an ensemble."""
    board = held.board
    best = sorted(board.at(level), key=lambda name: -board.reach(name))[: held.keep]
    return board.beaten(level) - set(best if held.keep > 1 else ())


def _next(
    held: Contest, others: Sequence[Candidate], steps: Sequence[Step], promised: Sequence[Sighting]
) -> Step | None:
    """The step that promises most for its seconds; ``None`` where none is likely to change the choice.

    While nothing is measured it is the first; where there is time for none, too, which then is told so.
    """

    def decide() -> dict[str, Any]:
        left, noise = held.clock.left() - held.reserved(), noise_of(held.board)
        outlook = _outlook(held, others, promised, noise)
        board = held.board
        forgone = board.forgone(board.reach(board.winner())) if board.eligible() else 0.0
        worths = [_worth(held, outlook, step, left, noise=noise, forgone=forgone) for step in steps]
        possible = [place for place, worth in enumerate(worths) if worth is not None]
        if not possible or not board.eligible():
            return {"place": 0}
        least = _TELLING * outlook.unit if held.keep == 1 else 0.0
        telling = {place: worth[1] for place in possible if (worth := worths[place]) and worth[0] >= least}
        return {"place": max(telling, key=lambda place: telling[place]) if telling else None}

    place = held.workspace.remember(f"step {len(held.runs)}", decide)["place"]
    return None if place is None else steps[place]


def _outlook(held: Contest, others: Sequence[Candidate], promised: Sequence[Sighting], noise: float) -> Outlook:
    tried = {**held.entered, **{each.name: each for each in others}}
    natures = {name: _nature(each) for name, each in tried.items()}
    natures |= {each.name: Nature(each.name, "", trains=False) for each in promised}
    sightings = sightings_of(held.board, noise)
    eligible = {each.name for each in sightings} & set(held.board.eligible())
    return Outlook(natures, [*promised, *sightings], eligible)


def _nature(chosen: Candidate) -> Nature:
    return Nature(chosen.name.partition(" on ")[2], title(chosen.strategy).partition("?")[0], chosen.trains)


def _worth(
    held: Contest, outlook: Outlook, step: Step, left: float, *, noise: float, forgone: float
) -> tuple[float, float] | None:
    """What it promises, and what it promises a second; ``None`` where there is no time for it.

    Parameters
    ----------
    noise
        The variance that a row gives a score.
    forgone
        What a model gives away that cannot be fitted on all rows.
    """
    chosen, level = step
    seconds = held.to_come(chosen.name, level)
    if held.least(chosen, seconds) > left:
        return None
    course = held.course
    measured = course.measured(level) - (course.measured(level - 1) if course.nested(level) else 0)
    late = held.reserve(held.costs.expected(chosen.name, 1.0)) > held.clock.left() - seconds
    worth = outlook.worth(chosen.name, noise / max(measured, 1), forgone if late else 0.0)
    return worth, worth / max(seconds, _SHORTEST) if math.isfinite(worth) else worth
