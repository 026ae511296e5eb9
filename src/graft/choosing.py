"""Choose a source and a strategy for the data, by evidence and within a budget: screen, then race."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from graft import registry
from graft.contracts import TransferData
from graft.preparation import Prepared, Say, silence
from graft.select.candidates import Candidate
from graft.select.choice import Choice, Look, interval_of
from graft.select.clock import Clock
from graft.select.course import Course, course_of
from graft.select.field import Entrant, Field
from graft.select.frontier import Point, Prefer, frontier, preferred
from graft.select.race import race
from graft.select.raced import Raced
from graft.select.recording import Recorder
from graft.select.rounds import Learn, Round
from graft.select.screen import screen
from graft.select.trial import Trial, run_trial
from graft.select.workspace import Workspace

__all__ = ["Chosen", "Reserve", "choose", "judging_time"]

_SHARE_OF_LOOKS = 0.45
"""Part of the budget within which every source is looked at once: what is never looked at cannot be chosen."""

_SHARE_OF_SCREEN = 0.2
"""Part of the budget within which they are looked at again, on more rows."""

_DEAR = 0.1
"""Part of the budget from which a look at a source is dear: those that take less come first."""

_SHARE_OF_JUDGING = 0.1
"""Part of the budget that is kept for the controls, the judging and the writing."""

_SHARE_OF_TRIES = 0.5
"""Part of the time left within which everything is to be tried once on the sources that go on."""

_GO_ON = 3
"""Sources that go on at least, even where one is clearly the best as it is: others may learn more."""


@dataclass(frozen=True)
class Chosen:
    """What was chosen, and why.

    Parameters
    ----------
    winner
        To be fitted on all rows that are no test rows.
    leader
        The winner's model as the race fitted it, where it is at hand; on fewer rows.
    again
        The same choice inside the rows of a round, where folds judge.
    once
        Whether no time is left to fit the winner on all rows: the leader is what is handed over.
    """

    winner: Candidate
    choice: Choice
    leader: Trial | None
    again: Learn | None = None
    once: bool = False


def choose(
    prepared: Prepared,
    field: Field,
    common: TransferData,
    *,
    clock: Clock,
    workspace: Workspace,
    prefer: Prefer,
    say: Say,
    recorder: Recorder,
) -> Chosen:
    """Screen the field's sources, race what is left, and say what led to the choice.

    Looks at no test row.  Where folds judge, the time is divided among them and the choice for all rows.

    Parameters
    ----------
    common
        Seed, machine, cache and progress.
    clock
        Of the whole run; what comes after the choice is kept back.
    recorder
        Keeps what was tried.

    Raises
    ------
    RequestError
        Where nothing could be measured; lists why.
    """
    if prepared.rounds is None:
        return _settled(prepared, field, common, clock, workspace, prefer, say, recorder)
    part = 0.9 * clock.left() / (len(prepared.rounds) + 1)
    found = _settled(prepared, field, common, Clock(part), workspace, prefer, say, recorder)
    return replace(found, again=partial(_inside, prepared, field, common, part, prefer))


def _inside(
    prepared: Prepared,
    field: Field,
    common: TransferData,
    seconds: float,
    prefer: Prefer,
    each: Round,
    folder: Path | None,
) -> tuple[Trial, float]:
    """Choose anew inside the rows of a round, and fit what was chosen on all of them."""
    started = time.monotonic()
    inner = replace(prepared, sides=each.sides, fitted=each.fitted, rounds=None)
    seeded = replace(common, seed=common.seed + each.repeat, train=inner.rows(each.sides.train))
    nobody = Recorder(prepared.held, each.fitted, None)
    with Workspace(None if folder is None else folder / "choice", prepared.request) as workspace:
        clock = Clock(seconds, workspace.spent())
        found = _settled(inner, field, seeded, clock, workspace, prefer, silence, nobody)
        data = inner.view(found.winner.strategy, seeded)
        return run_trial(found.winner, inner.task, inner.fitted, data), time.monotonic() - started


def _settled(
    prepared: Prepared,
    field: Field,
    common: TransferData,
    clock: Clock,
    workspace: Workspace,
    prefer: Prefer,
    say: Say,
    recorder: Recorder,
) -> Chosen:
    """The choice on one set of rows."""
    looks, paces = _screened(prepared, field, common, clock, workspace, say)
    field = field.paced(paces)
    looks = _going(field, looks, len(prepared.pool), clock, workspace)
    entrants = _ordered(field.entrants, looks)
    course = course_of(
        prepared.held, prepared.sides, prepared.task, prepared.fitted, prepared.started, common, prepared.beside
    )
    leaders: list[Trial] = []

    def leads(trial: Trial) -> None:
        leaders[:] = [trial]

    raced = race(
        [replace(each.candidate, name=each.name) for each in entrants],
        course,
        forecasts={each.name: _to_come(each, looks, len(course.pool)) for each in entrants},
        clock=clock,
        reserve=Reserve(len(course.pool) / course.rows, _SHARE_OF_JUDGING * clock.budget),
        workspace=workspace,
        say=say,
        leads=leads,
    )
    for note in recorder.keep_race(raced, prepared.fitted.metric):
        say("", note)
    points = _points(raced, entrants, course)
    named = {each.name: each for each in (raced.winner, *raced.tied)}
    best = preferred([each for each in points if each.name in named], prefer).name
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
    )
    leader = next((each for each in leaders if each.candidate.name == best), None)
    return Chosen(named[best], choice, leader, once=raced.once and leader is not None)


def judging_time(clock: Clock) -> float:
    """Seconds to keep for judging and writing, once the winner and the controls are fitted."""
    return min(5.0, 0.05 * clock.budget)


@dataclass(frozen=True)
class Reserve:
    """Seconds of one fit of the leader → seconds for fitting it on all rows, the controls, judging and writing."""

    more: float
    fixed: float

    def __call__(self, seconds: float) -> float:
        return 1.2 * self.more * seconds + max(2.0, self.fixed)


def _screened(
    prepared: Prepared, field: Field, common: TransferData, clock: Clock, workspace: Workspace, say: Say
) -> tuple[tuple[Look, ...], dict[str, float]]:
    """The sources in the order in which they promise to serve, and how long each reads a row.  Decided once."""
    sources = {each.source: each for each in sorted(field.entrants, key=lambda each: _promise(each, field))}
    kept = workspace.remember("screen", lambda: _looked_at(prepared, sources, common, clock))
    looks = tuple(Look(**{**each, "score": interval_of(each["score"])}) for each in kept["looks"])
    best = looks[0]
    count = "1 source" if len(looks) == 1 else f"{len(looks)} sources"
    say("screen", f"{count} on up to {best.rows} rows; {best.source} leads with {kept['measure']} {best.score}")
    for each in looks:
        if each.out:
            say("", f"{each.source} does not go on: {each.out}")
    return looks, kept["paces"]


def _promise(entrant: Entrant, field: Field) -> tuple[bool, int, float, float]:
    """Which source is looked at first, where the time may not hold all: near ones, accurate ones, large ones."""
    card, dear = entrant.card, entrant.forecast.shared > _DEAR * field.limits.budget
    size = entrant.forecast.shared if dear else -float(card.parameters or 0)
    return dear, entrant.setting.rank, -(card.top1 or 0.0), size


def _looked_at(
    prepared: Prepared, sources: Mapping[str, Entrant], common: TransferData, clock: Clock
) -> dict[str, Any]:
    data = replace(common, train=prepared.rows(prepared.pool), groups=prepared.groups(prepared.pool))
    asked = [each.candidate.source for each in sources.values()]
    titles = {registry.title(each.candidate.source): name for name, each in sources.items()}
    left = clock.left()
    ranking = screen(
        asked, data, prepared.fitted, clock=Clock(_SHARE_OF_SCREEN * left), first=Clock(_SHARE_OF_LOOKS * left)
    )
    looks, paces = [], {}
    for place, each in enumerate(ranking.entries):
        out, gap = each.failed or each.missing.get(ranking.score, ""), ranking.behind.get(each.source)
        if not out and each.source not in ranking.tied and place >= _GO_ON:
            out = f"behind {ranking.best.source}" + (f" by {gap}" if gap is not None else "")
        score, name = each.scores.get(ranking.score), titles[each.source]
        looks.append(Look(name, score, each.rows, each.seconds, out.strip().splitlines()[0] if out else ""))
        if each.pace is not None:
            paces[name] = each.pace
    return {
        "measure": ranking.measure, "looks": [asdict(each) for each in looks], "paces": paces, "spent": clock.spent()
    }  # fmt: skip


def _going(field: Field, looks: Sequence[Look], rows: int, clock: Clock, workspace: Workspace) -> tuple[Look, ...]:
    """As many sources as the time can try each strategy on; the others stay behind with that as their reason."""
    costs = dict[str, float]()
    for each in field.entrants:
        costs[each.source] = costs.get(each.source, 0.0) + _to_come(each, looks, rows)

    def decide() -> dict[str, Any]:
        left, names = _SHARE_OF_TRIES * clock.left(), list[str]()
        for each in looks:
            left -= costs.get(each.source, 0.0)
            if not each.out and (left >= 0 or not names):
                names.append(each.source)
        return {"names": names, "spent": clock.spent()}

    kept = workspace.remember("sources", decide)["names"]
    late = "the time left holds no more than the tries on " + (kept[0] if len(kept) == 1 else f"{len(kept)} others")
    return tuple(each if each.out or each.source in kept else replace(each, out=late) for each in looks)


def _to_come(entrant: Entrant, looks: Sequence[Look], rows: int) -> float:
    """Seconds of its fits from now on: features that were read to look at its source are in the cache."""
    read = next((each.rows for each in looks if each.source == entrant.source), 0)
    return entrant.forecast.seconds - entrant.forecast.shared * min(1.0, read / rows)


def _ordered(entrants: Sequence[Entrant], looks: Sequence[Look]) -> list[Entrant]:
    """By turns the first strategy of every source that goes on, the most promising source first; then the second."""
    going = [each.source for each in looks if not each.out] or list(dict.fromkeys(each.source for each in entrants))
    queues = {name: [each for each in entrants if each.source == name] for name in going}
    longest = max(map(len, queues.values()))
    return [queue[turn] for turn in range(longest) for queue in queues.values() if turn < len(queue)]


def _points(raced: Raced, entrants: Sequence[Entrant], course: Course) -> list[Point]:
    """What reached the winner's rung of the race, by what it gives and takes."""
    by_source = {each.source: each for each in entrants}
    last = max(run.rung for run in raced.runs if run.score is not None and run.name == raced.winner.name)
    points = []
    for run in raced.runs:
        if run.rung != last or run.score is None:
            continue
        entrant = by_source[run.name.partition(" on ")[2]]
        row = entrant.forecast.shared / max(course.rows, 1)
        size = (entrant.card.parameters or 0) + course.reference.n_outputs
        points.append(Point(run.name, course.signed(run.score), size, row, run.seconds))
    return points
