"""The race: candidates are fitted for real, on ever more rows, and those that cannot win stop.

Successive halving (Jamieson and Talwalkar, Non-stochastic best arm identification and hyperparameter
optimization, AISTATS 2016) over the rungs of a course, without waiting for a rung to be full.  Who is
clearly beaten on the rows that both were measured by is dropped; of the others always that is measured
next which promises most for its seconds.  When nothing does any more, settings of what still leads are
searched, until the time is up or nothing gets better.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from graft.errors import RequestError
from graft.progress import Say
from graft.select.agenda import follow
from graft.select.candidates import Candidate
from graft.select.clock import Clock
from graft.select.contest import Contest
from graft.select.costs import Costs
from graft.select.course import Course, Measured
from graft.select.outlook import Sighting
from graft.select.raced import Raced
from graft.select.scoreboard import Scoreboard
from graft.select.search import search
from graft.select.trial import Trial
from graft.select.workspace import Workspace

__all__ = ["race"]


def race(
    entrants: Sequence[Candidate],
    course: Course,
    *,
    forecasts: Mapping[str, float],
    clock: Clock,
    reserve: Callable[[float], float],
    workspace: Workspace,
    say: Say,
    leads: Callable[[Trial, Measured], None] | None = None,
    spare: Sequence[Candidate] = (),
    keep: int = 1,
    promised: Sequence[Sighting] = (),
    glimpsing: Collection[str] = (),
) -> Raced:
    """Run it.  Taken up again in the same workspace it decides as it did before.

    Time stops tries, never the last resort: where none could end in time, what takes least is fitted nevertheless.

    Parameters
    ----------
    entrants
        The first is measured first, as are others of equal promise; their names differ.
    forecasts
        Name → seconds of one fit on all rows of a heat.
    reserve
        Seconds of one fit of the leader on all rows → seconds to keep for what comes after the race.
    leads
        Called after every fit with the model of what leads, and what it did; not while that is one
        that an earlier run fitted.
    spare
        What next to nothing can be fitted for, where time stopped all entrants.
    keep
        So many go on from every rung, beaten or not, as far as time allows: for an ensemble.
    promised
        What was seen of their sources before.
    glimpsing
        Names of those whose networks take smaller images.

    Raises
    ------
    RequestError
        Where nothing could be measured; lists why.
    """
    costs = Costs(forecasts, {each.name: each.trains for each in entrants})
    held = Contest(Scoreboard(course), clock, costs, reserve, workspace, say, leads, keep)
    follow(held, entrants, promised, glimpsing)
    if not held.board.eligible():
        held.resort(entrants, spare)
    if not held.board.eligible():
        raise RequestError(
            "\n".join(["nothing could be measured:", *(f"  {run.name}: {run.ended}" for run in held.runs)])
        )
    return held.result(search(held))
