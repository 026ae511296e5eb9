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
from graft.select.ensembling import Library, joined, library_of
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

_SHARE_OF_SCREEN = 0.2
"""Part of the budget within which sources are looked at."""

_SHARE_OF_JUDGING = 0.1
"""Part of the budget that is kept for the controls, the judging and the writing."""

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
    library, partners
        What an ensemble may be made of, where one is asked for, and who makes it beside the winner.
    """

    winner: Candidate
    choice: Choice
    leader: Trial | None
    again: Learn | None = None
    library: Library | None = None
    partners: tuple[Candidate, ...] = ()

    def settled(self, tried: Sequence[Trial], say: Say) -> tuple[Trial, Choice]:
        """What is handed over of what could be fitted, the winner first: the winner, or an ensemble that is better."""
        if self.library is None or self.choice.ensemble is None:
            return tried[0], self.choice
        fitted = {self.choice.winner: tried[0], **{each.candidate.name: each for each in tried[1:]}}
        found = self.library.fitted_in_time(self.choice.ensemble, fitted)
        say("ensemble", str(found))
        return (joined(found, fitted) if found.wins else tried[0]), replace(self.choice, ensemble=found)


def choose(
    prepared: Prepared,
    field: Field,
    common: TransferData,
    *,
    clock: Clock,
    workspace: Workspace,
    prefer: Prefer,
    ensemble: int = 1,
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
    ensemble
        How many models may be handed over together; where folds judge, one.
    recorder
        Keeps what was tried.

    Raises
    ------
    RequestError
        Where nothing could be measured; lists why.
    """
    if prepared.rounds is None:
        return _settled(prepared, field, common, clock, workspace, prefer, say, recorder, ensemble)
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
    ensemble: int = 1,
) -> Chosen:
    """The choice on one set of rows."""
    looks = _screened(prepared, field, common, clock, workspace, say)
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
        forecasts={each.name: each.forecast.seconds for each in entrants},
        clock=clock,
        reserve=Reserve(len(course.pool) / course.rows, _SHARE_OF_JUDGING * clock.budget, ensemble - 1),
        workspace=workspace,
        say=say,
        leads=leads,
        keep=ensemble,
    )
    for note in recorder.keep_race(raced, prepared.fitted.metric):
        say("", note)
    points = _points(raced, entrants, course)
    named = {each.name: each for each in (raced.winner, *raced.tied)}
    best = preferred([each for each in points if each.name in named], prefer).name
    library = library_of(raced, course, best, ensemble)
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
    leader = next((each for each in leaders if each.candidate.name == best), None)
    known = {each.candidate.name: each.candidate for each in raced.finalists}
    partners = () if together is None else tuple(known[name] for name in together.partners)
    return Chosen(named[best], choice, leader, library=library, partners=partners)


def judging_time(clock: Clock) -> float:
    """Seconds to keep for judging and writing, once the winner and the controls are fitted."""
    return min(5.0, 0.05 * clock.budget)


@dataclass(frozen=True)
class Reserve:
    """Seconds of one fit of the leader → seconds for fitting it on all rows, the controls, judging and writing."""

    more: float
    fixed: float
    partners: int = 0
    """Of the leader in an ensemble: each may be as dear, and all together take up to twice the fixed part."""

    def __call__(self, seconds: float) -> float:
        once = 1.2 * self.more * seconds
        return once + min(self.partners * once, 2 * self.fixed) + max(2.0, self.fixed)


def _screened(
    prepared: Prepared, field: Field, common: TransferData, clock: Clock, workspace: Workspace, say: Say
) -> tuple[Look, ...]:
    """The sources in the order in which they promise to serve; of one its features are warmed up.  Decided once."""
    sources = {registry.title(each.candidate.source): each for each in field.entrants}
    kept = workspace.remember("screen", lambda: _looked_at(prepared, sources, common, clock))
    looks = tuple(Look(**{**each, "score": interval_of(each["score"])}) for each in kept["looks"])
    best = looks[0]
    count = "1 source" if len(looks) == 1 else f"{len(looks)} sources"
    say("screen", f"{count} on up to {best.rows} rows; {best.source} leads with {kept['measure']} {best.score}")
    for each in looks:
        if each.out:
            say("", f"{each.source} does not go on: {each.out}")
    return looks


def _looked_at(
    prepared: Prepared, sources: Mapping[str, Entrant], common: TransferData, clock: Clock
) -> dict[str, Any]:
    data = replace(common, train=prepared.rows(prepared.pool), groups=prepared.groups(prepared.pool))
    asked = [each.candidate.source for each in sources.values()]
    ranking = screen(asked, data, prepared.fitted, clock=Clock(_SHARE_OF_SCREEN * clock.left()))
    looks = []
    for place, each in enumerate(ranking.entries):
        out, gap = each.failed or each.missing.get(ranking.score, ""), ranking.behind.get(each.source)
        if not out and each.source not in ranking.tied and place >= _GO_ON:
            out = f"behind {ranking.best.source}" + (f" by {gap}" if gap is not None else "")
        score = each.scores.get(ranking.score)
        name = sources[each.source].source
        looks.append(Look(name, score, each.rows, each.seconds, out.strip().splitlines()[0] if out else ""))
    return {"measure": ranking.measure, "looks": [asdict(each) for each in looks], "spent": clock.spent()}


def _ordered(entrants: Sequence[Entrant], looks: Sequence[Look]) -> list[Entrant]:
    """By turns the first strategy of every source that goes on, the most promising source first; then the second."""
    going = [each.source for each in looks if not each.out] or list(dict.fromkeys(each.source for each in entrants))
    queues = {name: [each for each in entrants if each.source == name] for name in going}
    longest = max(map(len, queues.values()))
    return [queue[turn] for turn in range(longest) for queue in queues.values() if turn < len(queue)]


def _points(raced: Raced, entrants: Sequence[Entrant], course: Course) -> list[Point]:
    """What reached the last rung of the race, by what it gives and takes."""
    by_source = {each.source: each for each in entrants}
    last = max(run.rung for run in raced.runs if run.score is not None)
    points = []
    for run in raced.runs:
        if run.rung != last or run.score is None:
            continue
        entrant = by_source[run.name.partition(" on ")[2]]
        row = entrant.forecast.shared / max(course.rows, 1)
        size = (entrant.card.parameters or 0) + course.reference.n_outputs
        points.append(Point(run.name, course.signed(run.score), size, row, run.seconds))
    return points
