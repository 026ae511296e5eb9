"""The race: candidates are fitted for real, on ever more rows, and those that cannot win stop.

Successive halving (Jamieson and Talwalkar, Non-stochastic best arm identification and hyperparameter
optimization, AISTATS 2016) over the rungs of a course.  Who is clearly beaten on the rows that both
were measured by is dropped; of the others as many go on as the budget allows.  When the last rung is
run, settings of what still leads are searched, until the time is up or nothing gets better.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from graft import registry
from graft.errors import GraftError, RequestError
from graft.select.candidates import Candidate
from graft.select.clock import Clock, Limited, OutOfTimeError
from graft.select.costs import Costs
from graft.select.course import Course, Measured
from graft.select.raced import Finalist, Raced, Run
from graft.select.scoreboard import Scoreboard
from graft.select.space import proposed, settings, with_settings
from graft.select.trial import Trial
from graft.select.watch import HopelessError, Watch
from graft.select.workspace import Workspace

__all__ = ["Say", "race"]

Say = Callable[[str, str], None]

_RATE = 3
"""Of so many candidates one goes on for certain."""

_PATIENCE = 6
"""Settings that may be tried in a row without a better one."""

_PARENTS = 2
"""Candidates whose settings are searched."""

_GENEROUS = 3.0
"""How many times longer than forecast a fit may take, where others wait for the same time …"""

_FAIR = 1.5
"""… and how many times its part of what is left, where that is more."""

_CHEAP = 0.02
"""Part of the budget that a candidate may take on all rungs to be measured on all of them at once."""

_BEATEN = "every other candidate is beaten"

_NO_SETTINGS = "nothing that may still win has settings to search"

_NO_TIME = "the budget is used up; more of it would measure more"


def race(
    entrants: Sequence[Candidate],
    course: Course,
    *,
    forecasts: Mapping[str, float],
    clock: Clock,
    reserve: Callable[[float], float],
    workspace: Workspace,
    say: Say,
    leads: Callable[[Trial], None] | None = None,
    keep: int = 1,
) -> Raced:
    """Run it.  Taken up again in the same workspace it decides as it did before.

    Parameters
    ----------
    entrants
        In the order in which they are tried; their names differ.
    forecasts
        Name → seconds of one fit on all rows of a heat.
    reserve
        Seconds of one fit of the leader on all rows → seconds to keep for what comes after the race.
    leads
        Called with the model of whatever has taken the lead.
    keep
        So many go on from every rung, beaten or not, as far as time allows: for an ensemble.

    Raises
    ------
    RequestError
        Where nothing could be measured; lists why.
    """
    held = _Race(Scoreboard(course), clock, Costs(forecasts), reserve, workspace, say, leads, keep)
    cheap, alive = held.parted(entrants)
    for level in range(len(course.rungs)):  # what costs next to nothing is measured for good, and drops nobody
        for each in cheap:
            held.go(each, level)
    for level in range(len(course.rungs)):
        for place, each in enumerate(alive):
            held.go(each, level, waiting=len(alive) - place)
        measured = [each for each in alive if (each.name, level) in held.board.found]
        if not measured:
            break
        if level + 1 < len(course.rungs):
            alive = held.survivors(measured, level)
        if not alive or (len(alive) == 1 and not cheap and not alive[0].strategy.space):
            break
    if not held.board.found and held.aside:  # the budget holds none of them on all rows: the best as it was fitted
        held.board.found.update(held.aside)
        return held.result(_NO_TIME)
    if not held.board.found:
        raise RequestError(
            "\n".join(["nothing could be measured:", *(f"  {run.name}: {run.ended}" for run in held.runs)])
        )
    return held.result(held.search())


@dataclass
class _Race:
    """What was tried, and what time is left."""

    board: Scoreboard
    clock: Clock
    costs: Costs
    reserve: Callable[[float], float]
    workspace: Workspace
    say: Say
    leads: Callable[[Trial], None] | None
    keep: int = 1
    runs: list[Run] = field(default_factory=list)
    entered: dict[str, Candidate] = field(default_factory=dict)
    aside: dict[tuple[str, int], Measured] = field(default_factory=dict)
    """What was measured, but cannot be fitted on all rows in the time that is left."""
    inner: dict[int, float] = field(default_factory=dict)
    """The best validation score of a rung, by which fits that cannot reach it are stopped."""
    latest: dict[str, Measured] = field(default_factory=dict)
    trials: list[Trial] = field(default_factory=list)
    """Of the last fit."""
    late: bool = False
    """Whether anything was left out, or stopped, for want of time."""

    @property
    def course(self) -> Course:
        return self.board.course

    def parted(self, entrants: Sequence[Candidate]) -> tuple[list[Candidate], list[Candidate]]:
        """The cheap ones, cheapest first, and the others."""
        work = sum(rung.share * rung.heats for rung in self.course.rungs)
        costs = {each.name: self.costs.expected(each.name, work) for each in entrants}

        def decide() -> dict[str, Any]:
            limit = _CHEAP * self.clock.left()
            return {"names": sorted((name for name in costs if costs[name] <= limit), key=lambda name: costs[name])}

        by_name = {each.name: each for each in entrants}
        cheap = [by_name[name] for name in self.workspace.remember("cheap", decide)["names"]]
        return cheap, [each for each in entrants if each not in cheap]

    def go(self, chosen: Candidate, level: int, waiting: int = 1) -> Measured | None:
        """Measure a candidate on a rung, within the time that it may take."""
        self.entered[chosen.name] = chosen
        allowed, why = self._allowed(chosen.name, level, waiting)
        if not allowed:
            self._out(chosen.name, level, why)
            return None
        kept = self.workspace.remember(f"ran {chosen.name} on {level}", lambda: self._attempt(chosen, level, allowed))
        if kept["ended"]:
            self.late |= kept["late"]
            self._out(chosen.name, level, kept["ended"], kept["seconds"])
            return None
        measured = self.latest.pop(chosen.name, None)
        if measured is None:  # an earlier run measured it, and kept its outputs
            measured = self._measure(chosen, level, math.inf, lambda trial: None)
        rung = self.course.rungs[level]
        self.costs.saw(chosen.name, rung.share * rung.heats, measured.seconds)
        if kept["inner"] is not None:
            self.inner[level] = max(kept["inner"], self.inner.get(level, -math.inf))
        run = Run(chosen.name, level, measured.rows, self.course.signed(measured.score), measured.seconds)
        refit = self._affords(chosen.name, level)
        if refit:
            self.aside[chosen.name, level], self.late = measured, True
            self.runs.append(replace(run, ended=refit))
            self.say("", f"{chosen.name} is out: {refit}")
            best = max(self.aside.values(), key=lambda each: each.score)
            if self.leads is not None and self.trials and measured is best and not self.board.found:
                self.leads(self.trials[-1])
            return None
        self.board.found[chosen.name, level] = measured
        self.runs.append(run)
        if self.leads is not None and self.trials and self._ahead(chosen.name, level):
            self.leads(self.trials[-1])
        return measured

    def _affords(self, name: str, level: int) -> str:
        """Why a candidate cannot be fitted on all rows in the time that is left; empty where it can."""

        def decide() -> dict[str, Any]:
            refit, left = self.costs.expected(name, 1.0), self.clock.left()
            if self.reserve(refit) <= left:
                return {"why": ""}
            return {"why": f"fitting it on all rows would take about {refit:.0f} s of the {max(left, 0.0):.0f} s left"}

        return str(self.workspace.remember(f"afford {name} on {level}", decide)["why"])

    def _allowed(self, name: str, level: int, waiting: int) -> tuple[float, str]:
        """Seconds that a run may take; 0 with the reason where it may not start."""
        rung = self.course.rungs[level]

        def decide() -> dict[str, Any]:
            expected = self.costs.expected(name, rung.share * rung.heats)
            first = not self.board.found and not self.aside
            # the first is measured whatever is kept back for later: without it there is nothing to hand over
            left = self.clock.left() - (0.0 if first else self._reserved())
            if left <= 0 or (expected > left and not first):
                why = f"its forecast of {expected:.0f} s is over the {max(left, 0.0):.0f} s left for more tries"
                return {"seconds": 0.0, "why": why}
            return {"seconds": min(left, max(_FAIR * left / waiting, _GENEROUS * expected)), "why": ""}

        found = self.workspace.remember(f"may {name} on {level}", decide)
        self.late |= not found["seconds"]
        return float(found["seconds"]), str(found["why"])

    def _reserved(self) -> float:
        """Seconds to keep for what comes after the race; nothing is fitted again where nothing can be."""
        if not self.board.found:
            return self.reserve(0.0)
        return self.reserve(self.costs.expected(self.board.leader(self.board.highest()), 1.0))

    def _attempt(self, chosen: Candidate, level: int, allowed: float) -> dict[str, Any]:
        """Measure, and say how it ended; a failure of one candidate is not the race's."""
        started, ended, late = self.clock.spent(), "", False
        trials = self.trials = []
        try:
            self.latest[chosen.name] = self._measure(chosen, level, allowed, trials.append)
        except OutOfTimeError:
            ended, late = f"stopped after {allowed:.0f} s, all that was left for it", True
        except HopelessError as exc:
            ended = str(exc)
        except (GraftError, RuntimeError, ValueError, ArithmeticError, MemoryError) as exc:
            ended = f"failed: {(str(exc).strip() or type(exc).__name__).splitlines()[0]}"
        scores = [each.history.score for each in trials if chosen.strategy.uses_validation]
        known = [self.course.signed(score) for score in scores if score is not None]
        inner = float(np.mean(known)) if known else None
        spent = self.clock.spent()
        return {"ended": ended, "late": late, "inner": inner, "seconds": spent - started, "spent": spent}

    def _ahead(self, name: str, level: int) -> bool:
        return level == self.board.highest() and self.board.leader(level) == name

    def _measure(self, chosen: Candidate, level: int, allowed: float, seen: Callable[[Trial], None]) -> Measured:
        epochs = getattr(chosen.strategy, "epochs", 0)
        watch = Watch(self.course, self.inner.get(level), epochs if isinstance(epochs, int) else 0)
        progress = Limited(self.course.common.progress, allowed)
        return self.course.measure(chosen, self.course.rungs[level], self.workspace, progress, seen=seen, told=watch)

    def _out(self, name: str, level: int, why: str, seconds: float = 0.0) -> None:
        self.runs.append(Run(name, level, 0, None, seconds, ended=why))
        self.say("", f"{name} is out: {why}")

    def survivors(self, measured: Sequence[Candidate], level: int) -> list[Candidate]:
        """Who goes on: the best third, and of the others who is not beaten, as far as time allows; the best first."""
        board, above = self.board, self.course.rungs[level + 1]
        order = sorted(measured, key=lambda each: -board.reach(each.name))
        beaten = board.beaten(level)
        certain = [each for each in order if each.name not in beaten][: math.ceil(len(measured) / _RATE)]

        def decide() -> dict[str, Any]:
            left = self.clock.left() - self._reserved()
            names: list[str] = []
            for each in order:
                cost = self.costs.expected(each.name, above.share * above.heats)
                wanted = each.name not in beaten or len(names) < self.keep
                if each in certain or (wanted and cost <= left / 2):
                    names.append(each.name)
                    left -= cost
            return {"names": names}

        kept = set(self.workspace.remember(f"rung {level}", decide)["names"])
        self._mark(level, beaten, kept)
        leader = board.leader(level)
        score = self.course.signed(board.found[leader, level].score)
        place = f"rung {level + 1} of {len(self.course.rungs)}"
        self.say("race", f"{place}: {leader} leads with {score:.3f}; {len(kept)} of {len(measured)} go on")
        return [each for each in order if each.name in kept]

    def _mark(self, level: int, beaten: set[str], kept: set[str]) -> None:
        """Write beside each run of a rung how far behind it is, and why it goes no further."""
        leader = self.board.leader(level)
        for place, run in enumerate(self.runs):
            if run.rung == level and run.name != leader and (run.name, level) in self.board.found:
                why = run.ended
                if run.name not in kept and not why:
                    why = (
                        f"beaten by {leader}" if run.name in beaten else "others were likelier to win in the time left"
                    )
                self.runs[place] = replace(run, gain=self.board.gain(leader, run.name, level), ended=why)

    def search(self) -> str:
        """Try other settings of what may still win, until time or patience ends; says which."""
        board, top = self.board, self.board.highest()
        beaten = board.beaten(top)
        rivals = sorted((name for name in board.at(top) if name not in beaten), key=lambda name: -board.reach(name))
        parents = [self.entered[name] for name in rivals if self.entered[name].strategy.space][:_PARENTS]
        if not parents:
            return _NO_TIME if self.late else _BEATEN if len(rivals) == 1 else _NO_SETTINGS
        self.late = False
        tried = {each.name: [(settings(each.strategy), board.found[each.name, top].score)] for each in parents}
        waited = count = 0
        while waited < _PATIENCE:
            parent = parents[count % len(parents)]
            count += 1
            variant = self._variant(parent, tried[parent.name])
            waited += 1
            if variant.name in self.entered:
                continue
            self.costs.like(variant.name, parent.name)
            score = self._climb(variant, top)
            if self.late:
                return _NO_TIME
            if score is not None:
                tried[parent.name].append((settings(variant.strategy), score))
            if self._ahead(variant.name, top):
                self.say(
                    "race", f"{variant.name} leads with {self.course.signed(board.found[variant.name, top].score):.3f}"
                )
                waited = 0
        return f"{_PATIENCE} other settings in a row brought nothing better"

    def _variant(self, parent: Candidate, tried: Sequence[tuple[Mapping[str, Any], float]]) -> Candidate:
        strategy = with_settings(parent.strategy, proposed(parent.strategy, tried, self.course.common.seed))
        source = parent.name.partition(" on ")[2]
        return replace(parent, name=f"{registry.title(strategy)} on {source}", strategy=strategy)

    def _climb(self, variant: Candidate, top: int) -> float | None:
        """Its score on the highest rung that it reaches: it stops where it is beaten."""
        score = None
        for level in range(top + 1):
            measured = self.go(variant, level)
            if measured is None:
                return None
            score = measured.score
            if level < top and variant.name in self.board.beaten(level):
                self._mark(level, {variant.name}, set(self.board.at(level)) - {variant.name})
                break
        return score

    def result(self, stopped: str) -> Raced:
        """What came out."""
        board, top = self.board, self.board.highest()
        winner, beaten = board.leader(top), board.beaten(top)
        self._mark(top, beaten, set(board.at(top)) - beaten)
        tied = sorted(
            (name for name in board.at(top) if name not in beaten | {winner}), key=lambda name: -board.reach(name)
        )
        return Raced(
            winner=self.entered[winner],
            tied=tuple(self.entered[name] for name in tied),
            runs=tuple(self.runs),
            stopped=stopped,
            left=board.left(winner, tied, top),
            rows=board.found[winner, top].rows,
            parameters={name: each.parameters for (name, _), each in board.found.items()},
            rung=top,
            finalists=tuple(Finalist(self.entered[name], board.found[name, top].outputs) for name in board.at(top)),
        )
