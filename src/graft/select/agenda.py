"""What a race tries next: what costs next to nothing first, then what promises most for its seconds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from graft.registry import title
from graft.select.candidates import Candidate
from graft.select.contest import Contest
from graft.select.outlook import Nature, Outlook, Sighting

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


def follow(held: Contest, entrants: Sequence[Candidate], promised: Sequence[Sighting] = ()) -> None:
    """Measure candidates until time is up, or no step is likely to change the choice.

    Successive halving without waiting for a rung to be full: who climbs is not beaten on the rung
    below; which step comes next is decided by what it promises for its seconds.

    Parameters
    ----------
    promised
        What was seen of sources before; the name is the source's.

    References
    ----------
    Li et al., A system for massively parallel hyperparameter tuning, MLSys 2020.
    """
    cheap, others = _parted(held, entrants)
    for level in range(len(held.course.rungs)):  # this drops nobody
        for place, each in enumerate(cheap):
            held.go(each, level, waiting=len(cheap) - place + len(others))
    while steps := _steps(held, others):
        lone, level = steps[0]
        if len(steps) == 1 and level and not cheap and held.keep == 1 and not lone.strategy.space:
            return  # all others are beaten
        chosen = _next(held, others, steps, promised)
        if chosen is None:
            break
        held.go(*chosen, waiting=len(steps))
    for each in others:
        if each.name not in held.entered:
            held.out(each, 0, _AGAINST)


def _parted(held: Contest, entrants: Sequence[Candidate]) -> tuple[list[Candidate], list[Candidate]]:
    """The cheap ones, as many as are worth their time together, and the others."""
    work = sum(rung.share * rung.heats for rung in held.course.rungs)
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


def _steps(held: Contest, others: Sequence[Candidate]) -> list[Step]:
    """Who may go on: whoever is not beaten on its rung, or is among those to be kept."""
    board, steps = held.board, list[Step]()
    stopped = {run.name for run in held.runs if run.ended}
    for each in others:
        level = board.level(each.name) + 1 if each.name in board.names() else 0
        if each.name in stopped or level == len(held.course.rungs):
            continue
        if level and each.name in board.beaten(level - 1):
            best = sorted(board.at(level - 1), key=lambda name: -board.reach(name))[: held.keep]
            if held.keep == 1 or each.name not in best:
                continue
        steps.append((each, level))
    return steps


def _next(
    held: Contest, others: Sequence[Candidate], steps: Sequence[Step], promised: Sequence[Sighting]
) -> Step | None:
    """The step that promises most for its seconds; ``None`` where none is likely to change the choice.

    While nothing is measured it is the first; where there is time for none, too, which then is told so.
    """

    def decide() -> dict[str, Any]:
        left = held.clock.left() - held.reserved()
        outlook = _outlook(held, others, promised)
        worths = {place: _worth(held, outlook, step, left) for place, step in enumerate(steps)}
        told = {place: worth for place, worth in worths.items() if worth is not None}
        if not told or not held.board.found:
            return {"place": 0}
        best = max(told, key=lambda place: told[place][1])
        likely = held.keep > 1 or told[best][0] >= _TELLING * outlook.unit
        return {"place": best if likely else None}

    place = held.workspace.remember(f"step {len(held.runs)}", decide)["place"]
    return None if place is None else steps[place]


def _outlook(held: Contest, others: Sequence[Candidate], promised: Sequence[Sighting]) -> Outlook:
    tried = {**held.entered, **{each.name: each for each in others}}
    natures = {name: _nature(each) for name, each in tried.items()}
    natures |= {each.name: Nature(each.name, "", trains=False) for each in promised}
    return Outlook(natures, [*promised, *held.board.sightings()])


def _nature(chosen: Candidate) -> Nature:
    return Nature(chosen.name.partition(" on ")[2], title(chosen.strategy).partition("?")[0], chosen.trains)


def _worth(held: Contest, outlook: Outlook, step: Step, left: float) -> tuple[float, float] | None:
    """What it promises, and what it promises a second; ``None`` where there is no time for it."""
    chosen, level = step
    board, seconds = held.board, held.to_come(chosen.name, level)
    if held.least(chosen, seconds) > left:
        return None
    measured = board.rows(level) - (board.rows(level - 1) if level and board.nested(level) else 0)
    late = held.reserve(held.costs.expected(chosen.name, 1.0)) > held.clock.left() - seconds
    forgone = board.forgone(board.reach(board.winner())) if late and board.found else 0.0
    worth = outlook.worth(chosen.name, board.noise() / max(measured, 1), forgone)
    return worth, worth / max(seconds, _SHORTEST) if math.isfinite(worth) else worth
