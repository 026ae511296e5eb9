"""Choose a source and a strategy for the data, by evidence and within a budget: screen, then race."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from graft import compute, planning, registry
from graft.chosen import Choosing, Chosen
from graft.deadline import Reserve
from graft.order import Order
from graft.preparation import Prepared, silence, sources_of, strategies_of
from graft.screening import going, promised, screened, to_come
from graft.select.candidates import Candidate, candidate
from graft.select.choice import Choice, Look
from graft.select.clock import Clock
from graft.select.course import Course, course_of
from graft.select.ensembling import library_of
from graft.select.entrant import Entrant, Limits
from graft.select.field import Field
from graft.select.frontier import Point, checked_preference, frontier, preferred
from graft.select.race import race
from graft.select.raced import Raced
from graft.select.rounds import Round
from graft.select.trial import Trial
from graft.select.workspace import Workspace

__all__ = ["choose", "laid_out"]

_SHARE_OF_JUDGING = 0.1
"""Part of the budget that is kept for the controls, the judging and the writing."""

_FITS_OF_CURVE = 3.5
"""Fits on all rows that a learning curve takes as long as."""

_SPARE = "shallow"
"""What is handed over where no candidate could be fitted in time: a control that takes next to nothing."""


def laid_out(order: Order, prepared: Prepared, workspace: Workspace, prior: Callable[[], Mapping[str, float]]) -> Field:
    """Check what is asked, and lay out the field of what is not named.

    What was measured for that, and what the ledger said, is kept: a run that goes on has the same field.

    Parameters
    ----------
    prior
        Says how much is expected of candidates.

    Raises
    ------
    RequestError
        Where nothing is left, with all reasons.
    UnknownNameError
        For a preference that does not exist.
    """
    checked_preference(order.prefer)
    known = planning.known_of(prepared.held, prepared.fitted, prepared.sides, prepared.beside)
    limits, machine = planning.limits_of(order.seconds, prepared.machine), prepared.machine
    wanted = sources_of(order)
    strategies = [] if order.strategy is None else strategies_of(order.strategy)

    def measure() -> dict[str, Any]:
        return {"speed": asdict(compute.speed(machine)), "limits": asdict(limits), "prior": dict(prior())}

    kept = workspace.remember("field", measure)
    speed, limits = compute.Speed(**kept["speed"]), Limits(**kept["limits"])
    return planning.field_of(
        order, known, machine, limits, wanted, strategies, download=order.download, prior=kept["prior"], speed=speed
    )


def choose(asked: Choosing) -> Chosen:
    """Screen the field's sources, race what is left, and say what led to the choice.

    Looks at no test row.  Where folds judge, the time is divided among them and the choice for all rows.

    Raises
    ------
    RequestError
        Where nothing could be measured; lists why.
    """
    rounds = asked.prepared.rounds
    if rounds is None:
        return _settled(asked)
    part = 0.9 * asked.clock.left() / (len(rounds) + 1)
    found = _settled(replace(asked, clock=Clock(part)))
    return replace(found, again=partial(_inside, asked, part))


def _inside(asked: Choosing, seconds: float, each: Round, folder: Path | None) -> tuple[Trial, float]:
    """Choose anew inside the rows of a round, and fit what was chosen on all of them."""
    started, common = time.monotonic(), asked.common
    inner = replace(asked.prepared, sides=each.sides, fitted=each.fitted, rounds=None)
    seeded = replace(common, seed=common.seed + each.repeat, train=inner.rows(each.sides.train))
    with Workspace(None if folder is None else folder / "choice", inner.request) as workspace:
        clock = Clock(seconds, workspace.spent())
        interim = replace(asked.interim, folder=None, clock=clock, say=silence)
        found = _settled(
            replace(
                asked,
                prepared=inner,
                common=seeded,
                clock=clock,
                workspace=workspace,
                interim=interim,
                say=silence,
            )
        )
        deadline = found.deadline(clock, workspace)
        trial = deadline.fitted(found.winner, inner, inner.view(found.winner.strategy, seeded), wins=True)
        assert trial is not None, "of the winner there is always something"
        return trial, time.monotonic() - started


def _settled(asked: Choosing) -> Chosen:
    """The choice on one set of rows."""
    prepared, clock, workspace, say = asked.prepared, asked.clock, asked.workspace, asked.say
    screening = screened(asked)
    field = asked.field.paced(screening.paces)
    costs = {each.name: to_come(each, screening.looks, len(prepared.pool)) for each in field.entrants}
    looks = going(asked, field, screening.looks, costs)
    entrants = _ordered(field.entrants, looks, costs)
    glimpsing = {each.name for each in entrants if each.source in screening.shrinks}
    course = _course(asked, glimpse=any(each.trains and each.name in glimpsing for each in entrants))
    fits = 1.0 + _FITS_OF_CURVE * asked.order.learning_curve
    most = asked.order.ensemble
    reserve = Reserve(len(course.pool) / course.rows, fits, _SHARE_OF_JUDGING * clock.budget, most - 1)
    raced = race(
        [replace(each.candidate, name=each.name) for each in entrants],
        course,
        forecasts=costs,
        clock=clock,
        reserve=reserve,
        workspace=workspace,
        say=say,
        leads=asked.interim,
        spare=_spare(entrants, prepared.held.examples.modality),
        keep=most,
        promised=promised(looks),
        glimpsing=glimpsing,
    )
    points = _points(raced, entrants, course)
    named = {each.name: each for each in (raced.winner, *raced.tied)}
    alike = [each for each in points if each.name in named]
    lasts = {each.name: _last(each, alike, raced, reserve) for each in alike}
    wanted, best = _preferred(asked, alike, raced, lasts, reserve.fixed)
    library = library_of(raced, course, best, most)
    together = None if library is None else library.ensemble()
    choice = Choice(
        winner=best,
        tied=tuple(name for name in named if name != best),
        metric=prepared.fitted.metric,
        budget=clock.budget,
        spent=clock.spent(),
        candidates=len(field.entrants),
        excluded=tuple((each.name, each.reason) for each in field.excluded),
        screened=looks,
        runs=raced.runs,
        frontier=frontier(points),
        stopped=raced.stopped,
        left=raced.left,
        prefer=checked_preference(asked.order.prefer),
        ensemble=together,
        late="" if wanted == best else wanted,
    )
    known = {each.candidate.name: each.candidate for each in raced.finalists}
    return Chosen(
        winner=named[best],
        choice=choice,
        leader=asked.interim.trial(named[best]),
        seconds=lasts[best],
        raced=raced,
        library=library,
        partners=() if together is None else tuple(known[name] for name in together.partners),
    )


def _course(asked: Choosing, *, glimpse: bool) -> Course:
    """The rows on which candidates are measured; no test row is among them."""
    held = asked.prepared
    return course_of(
        held.held,
        held.sides,
        held.task,
        held.fitted,
        held.started,
        asked.common,
        held.beside,
        glimpse=glimpse,
    )


def _spare(entrants: Iterable[Entrant], modality: str) -> tuple[Candidate, ...]:
    """What is left to be fitted where time stopped all entrants, unless it is one of them."""
    strategy = registry.build("strategies", _SPARE)
    stood_on = registry.plain_source(modality)()
    found = candidate(stood_on, strategy, modality)
    named = replace(found, name=f"{found.name} on {registry.title(stood_on)}")
    return () if any(each.name == named.name for each in entrants) else (named,)


def _ordered(entrants: Sequence[Entrant], looks: Sequence[Look], costs: Mapping[str, float]) -> list[Entrant]:
    """By turns the first strategy of every source that goes on, the most promising source first; then the second.

    Before all others comes what takes least, so that there is something to hand over as early as can be.
    """
    going = [each.source for each in looks if not each.out] or list(dict.fromkeys(each.source for each in entrants))
    ranked = sorted(entrants, key=lambda each: (-each.expected, each.place))
    queues = {name: [each for each in ranked if each.source == name] for name in going}
    longest = max(map(len, queues.values()))
    turns = [queue[turn] for turn in range(longest) for queue in queues.values() if turn < len(queue)]
    first = min(turns, key=lambda each: costs[each.name])
    return [first, *(each for each in turns if each is not first)]


def _last(each: Point, alike: Sequence[Point], raced: Raced, reserve: Reserve) -> float:
    """Seconds that fitting it on all rows is expected to take, by what its fits took beside the winner's."""
    own = next(point.fit_seconds for point in alike if point.name == raced.winner.name)
    return reserve.once(raced.seconds * each.fit_seconds / max(own, 1e-9))


def _preferred(
    asked: Choosing, alike: Sequence[Point], raced: Raced, lasts: Mapping[str, float], fixed: float
) -> tuple[str, str]:
    """Of what the rows cannot tell apart what is preferred, and what of it has the time for its last fit.

    The winner's is kept, or it stays as the race fitted it.  Decided once.
    """
    prefer, winner = checked_preference(asked.order.prefer), raced.winner.name

    def decide() -> dict[str, Any]:
        left = asked.clock.left() - fixed
        longest = left if raced.once else max(left, lasts[winner])
        held = [each for each in alike if each.name == winner or lasts[each.name] <= longest]
        names = [preferred(each, prefer, winner).name for each in (alike, held)]
        return {"names": names, "spent": asked.clock.spent()}

    wanted, found = asked.workspace.remember("preferred", decide)["names"]
    if found != wanted:
        asked.say("choose", f"{wanted} would be preferred as {prefer}: the time left does not hold its last fit")
    return wanted, found


def _points(raced: Raced, entrants: Sequence[Entrant], course: Course) -> list[Point]:
    """What reached the winner's rung of the race, by what it gives and takes."""
    by_source = {each.source: each for each in entrants}
    last = max(run.rung for run in raced.runs if run.score is not None and run.name == raced.winner.name)
    points = []
    for run in raced.runs:
        if run.rung != last or run.score is None:
            continue
        entrant = by_source.get(run.name.partition(" on ")[2])  # the spare one stands on none of their sources
        row = 0.0 if entrant is None else entrant.forecast.shared / max(course.rows, 1)
        size = (0 if entrant is None else entrant.card.parameters or 0) + course.reference.n_outputs
        points.append(Point(run.name, course.signed(run.score), size, row, run.seconds))
    return points
