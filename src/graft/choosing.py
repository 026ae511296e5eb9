"""Choose a source and a strategy for the data, by evidence and within a budget: screen, then race."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from graft import compute, planning, registry
from graft.contracts import TransferData
from graft.deadline import Deadline, Reserve, turn
from graft.errors import RequestError
from graft.interim import Interim
from graft.order import Order
from graft.preparation import Prepared, Say, silence, sources_of, strategies_of
from graft.select.candidates import Candidate, candidate
from graft.select.choice import Choice, Look, interval_of
from graft.select.clock import Clock
from graft.select.course import Course, course_of
from graft.select.ensembling import Library, joined, library_of
from graft.select.entrant import Entrant, Limits
from graft.select.field import Field
from graft.select.frontier import Point, checked_preference, frontier, preferred
from graft.select.outlook import Sighting
from graft.select.race import race
from graft.select.raced import Raced
from graft.select.rounds import Learn, Round
from graft.select.screen import screen
from graft.select.trial import Trial
from graft.select.workspace import Workspace

__all__ = ["Choosing", "Chosen", "choose", "laid_out"]

_SHARE_OF_LOOKS = 0.45
"""Part of the budget within which every source is looked at once: what is never looked at cannot be chosen."""

_SHARE_OF_SCREEN = 0.2
"""Part of the budget within which they are looked at again, on more rows."""

_DEAR = 0.1
"""Part of the budget from which a look at a source is dear: those that take less come first."""

_SHARE_OF_TRIES = 0.5
"""Part of the time left that trying closed forms and one training on each source that goes on may take."""

_SHARE_OF_JUDGING = 0.1
"""Part of the budget that is kept for the controls, the judging and the writing."""

_GO_ON = 3
"""Sources that go on at least, even where one is clearly the best as it is: others may learn more."""

_FITS_OF_CURVE = 3.5
"""Fits on all rows that a learning curve takes as long as."""

_SPARE = "shallow"
"""What is handed over where no candidate could be fitted in time: a control that takes next to nothing."""


@dataclass(frozen=True)
class Choosing:
    """All that a choice is made from.

    Parameters
    ----------
    order
        Its preference decides among those that the rows cannot tell apart.
    prepared
        The rows; no test row is looked at.
    field
        Sources and strategies to choose from.
    common
        Seed, machine, cache and progress.
    clock
        Of the whole run; what comes after the choice is kept back.
    workspace
        Keeps what was decided and fitted, for a run that goes on.
    interim
        Holds what leads.
    say
        Told of each step.
    """

    order: Order
    prepared: Prepared
    field: Field
    common: TransferData
    clock: Clock
    workspace: Workspace
    interim: Interim
    say: Say


@dataclass(frozen=True)
class Chosen:
    """What was chosen, and why.

    Parameters
    ----------
    winner
        To be fitted on all rows that are no test rows.
    leader
        The winner's model as the race fitted it, where it is at hand; on fewer rows.
    seconds
        What fitting the winner on all rows is expected to take.
    raced
        How the race went.
    again
        The same choice inside the rows of a round, where folds judge.
    library, partners
        What an ensemble may be made of, where one is asked for, and who makes it beside the winner.
    """

    winner: Candidate
    choice: Choice
    leader: Trial | None
    seconds: float
    raced: Raced
    again: Learn | None = None
    library: Library | None = None
    partners: tuple[Candidate, ...] = ()

    def deadline(self, clock: Clock, workspace: Workspace) -> Deadline:
        """The fits that follow."""
        return Deadline(clock, workspace, self.seconds, self.leader, self.raced.once)

    def turn(self, each: Candidate) -> int:
        """In which turn it is fitted: partners of the winner when all is there that the verdict needs."""
        return turn(each) + 2 * (each in self.partners)

    def settled(self, tried: Sequence[Trial], say: Say) -> tuple[Trial, Choice]:
        """What is handed over of what could be fitted, the winner first: the winner, or an ensemble that is better."""
        if self.library is None or self.choice.ensemble is None:
            return tried[0], self.choice
        fitted = {self.choice.winner: tried[0], **{each.candidate.name: each for each in tried[1:]}}
        found = self.library.fitted_in_time(self.choice.ensemble, fitted)
        say("ensemble", str(found))
        return (joined(found, fitted) if found.wins else tried[0]), replace(self.choice, ensemble=found)


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
    looks, paces = _screened(asked)
    field = asked.field.paced(paces)
    costs = {each.name: _to_come(each, looks, len(prepared.pool)) for each in field.entrants}
    looks = _going(asked, field, looks, costs)
    entrants = _ordered(field.entrants, looks, costs)
    course = course_of(
        prepared.held, prepared.sides, prepared.task, prepared.fitted, prepared.started, asked.common, prepared.beside
    )
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
        promised=_promised(looks),
    )
    points = _points(raced, entrants, course)
    named = {each.name: each for each in (raced.winner, *raced.tied)}
    prefer = checked_preference(asked.order.prefer)
    best = preferred([each for each in points if each.name in named], prefer).name
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
        prefer=prefer,
        ensemble=together,
    )
    known = {each.candidate.name: each.candidate for each in raced.finalists}
    return Chosen(
        winner=named[best],
        choice=choice,
        leader=asked.interim.trial(named[best]),
        seconds=reserve.once(raced.seconds),
        raced=raced,
        library=library,
        partners=() if together is None else tuple(known[name] for name in together.partners),
    )


def _spare(entrants: Iterable[Entrant], modality: str) -> tuple[Candidate, ...]:
    """What is left to be fitted where time stopped all entrants, unless it is one of them."""
    strategy = registry.build("strategies", _SPARE)
    stood_on = registry.plain_source(modality)()
    found = candidate(stood_on, strategy, modality)
    named = replace(found, name=f"{found.name} on {registry.title(stood_on)}")
    return () if any(each.name == named.name for each in entrants) else (named,)


def _screened(asked: Choosing) -> tuple[tuple[Look, ...], Mapping[str, float]]:
    """The sources in the order in which they promise to serve, and how long each reads a row.  Decided once."""
    sources = {each.source: each for each in sorted(asked.field.entrants, key=partial(_promise, asked.field))}
    kept = asked.workspace.remember("screen", lambda: _looked_at(asked, sources))
    looks = tuple(Look(**{**each, "score": interval_of(each["score"])}) for each in kept["looks"])
    best = looks[0]
    count = "1 source" if len(looks) == 1 else f"{len(looks)} sources"
    if best.score is None:
        asked.say("screen", f"{count}; time was up before any of them could be told")
    else:
        leads = f"{best.source} leads with {kept['measure']} {best.score}"
        asked.say("screen", f"{count} on up to {best.rows} rows; {leads}")
    return looks, kept["paces"]


def _promise(field: Field, entrant: Entrant) -> tuple[bool, int, float, float]:
    """Which source is looked at first, where the time may not hold all: near ones, accurate ones, large ones."""
    card, dear = entrant.card, entrant.forecast.shared > _DEAR * field.limits.budget
    size = entrant.forecast.shared if dear else -float(card.parameters or 0)
    return dear, entrant.setting.rank, -(card.top1 or 0.0), size


def _looked_at(asked: Choosing, sources: Mapping[str, Entrant]) -> dict[str, Any]:
    prepared = asked.prepared
    data = replace(asked.common, train=prepared.rows(prepared.pool), groups=prepared.groups(prepared.pool))
    left = max(0.0, asked.clock.left())
    first, clock = Clock(_SHARE_OF_LOOKS * left), Clock(_SHARE_OF_SCREEN * left)
    given = [each.candidate.source for each in sources.values()]
    titles = {registry.title(each.candidate.source): name for name, each in sources.items()}
    try:
        ranking = screen(given, data, prepared.fitted, clock=clock, first=first)
    except RequestError:
        if len(given) == 1 or first.left() > 0:
            raise
        # the first ones failed, and no time was left for the others: the race finds out
        looks = [Look(name, None, 0, 0.0) for name in sources]
        return {"measure": "", "looks": [asdict(each) for each in looks], "paces": {}, "spent": asked.clock.spent()}
    looks, paces = [], {}
    for place, each in enumerate(ranking.entries):
        out, gap = each.failed or each.missing.get(ranking.score, ""), ranking.behind.get(each.source)
        if not out and each.source not in ranking.tied and place >= _GO_ON:
            out = f"behind {ranking.best.source}" + (f" by {gap}" if gap is not None else "")
        score, name = each.scores.get(ranking.score), titles[each.source]
        looks.append(Look(name, score, each.rows, each.seconds, out.strip().splitlines()[0] if out else ""))
        if each.pace is not None:
            paces[name] = each.pace
    told = [asdict(each) for each in looks]
    return {"measure": ranking.measure, "looks": told, "paces": paces, "spent": asked.clock.spent()}


def _to_come(entrant: Entrant, looks: Sequence[Look], rows: int) -> float:
    """Seconds of its fit from now on: features that were read to look at its source are in the cache."""
    read = next((each.rows for each in looks if each.source == entrant.source), 0)
    return entrant.forecast.seconds - entrant.forecast.shared * min(1.0, read / rows)


def _going(asked: Choosing, field: Field, looks: Sequence[Look], costs: Mapping[str, float]) -> tuple[Look, ...]:
    """As many sources go on as the time can train once each; the others stay behind, with that as the reason."""

    def decide() -> dict[str, Any]:
        left, names = _SHARE_OF_TRIES * asked.clock.left(), list[str]()
        for each in looks:
            mine = [entrant for entrant in field.entrants if entrant.source == each.source]
            left -= sum(costs[entrant.name] for entrant in mine if not entrant.trains)
            left -= min((costs[entrant.name] for entrant in mine if entrant.trains), default=0.0)
            if not each.out and (left >= 0 or not names or each.score is None):
                names.append(each.source)
        return {"names": names, "spent": asked.clock.spent()}

    kept = asked.workspace.remember("sources", decide)["names"]
    late = "the time left holds no more than the tries on " + (kept[0] if len(kept) == 1 else f"{len(kept)} others")
    found = tuple(each if each.out or each.source in kept else replace(each, out=late) for each in looks)
    for each in found:
        if each.out:
            asked.say("", f"{each.source} does not go on: {each.out}")
    return found


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


def _promised(looks: Iterable[Look]) -> list[Sighting]:
    """What the screen says of the sources, for the race to begin with; half of its chance is that of the rows."""
    known = [(each.source, each.score) for each in looks if each.score is not None]
    return [
        Sighting(source, -1, score.value, score.spread**2 / 2)
        for source, score in known
        if math.isfinite(score.spread) and math.isfinite(score.value)
    ]


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
