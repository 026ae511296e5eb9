"""A race under way: what was tried, what time is left, and who goes on."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from graft.errors import GraftError
from graft.select.candidates import Candidate
from graft.select.clock import Clock, Limited, OutOfTimeError
from graft.select.costs import Costs
from graft.select.course import Course, Measured
from graft.select.raced import Finalist, Raced, Run
from graft.select.scoreboard import Scoreboard
from graft.select.trial import Trial
from graft.select.watch import HopelessError, Watch
from graft.select.workspace import Workspace

__all__ = ["Contest", "Say"]

Say = Callable[[str, str], None]

_RATE = 3
"""Of so many candidates one goes on for certain."""

_GENEROUS = 3.0
"""How many times longer than forecast a fit may take, where others wait for the same time …"""

_FAIR = 1.5
"""… and how many times its part of what is left, where that is more."""

_CHEAP, _TOGETHER = 0.05, 0.25
"""Parts of the time left that one candidate, and all such together, may take to be measured on all rungs at once."""

_HALF = 0.5
"""Part of a training for which there has to be time: it ends with the epochs that there was time for."""

_BEYOND = (0.05, 5.0)
"""Part of the budget, and seconds at least, beyond its end that the last resort may take before a sparer one."""


@dataclass
class Contest:
    """What was tried, and what time is left."""

    board: Scoreboard
    clock: Clock
    costs: Costs
    reserve: Callable[[float], float]
    workspace: Workspace
    say: Say
    leads: Callable[[Trial, Measured], None] | None
    keep: int = 1
    runs: list[Run] = field(default_factory=list)
    entered: dict[str, Candidate] = field(default_factory=dict)
    inner: dict[int, float] = field(default_factory=dict)
    """The best validation score of a rung, by which fits that cannot reach it are stopped."""
    latest: dict[str, Measured] = field(default_factory=dict)
    trials: list[Trial] = field(default_factory=list)
    """Of the last fit."""
    ahead: tuple[Trial, Measured] | None = None
    """The model of what leads, where this run fitted it."""
    broken: set[str] = field(default_factory=set)
    """What failed by itself."""
    late: bool = False
    """Whether anything was left out, or stopped, for want of time."""

    @property
    def course(self) -> Course:
        return self.board.course

    def halve(self, entrants: Sequence[Candidate]) -> None:
        """Rung by rung, ever fewer of them."""
        cheap, alive = self.parted(entrants)
        rungs = range(len(self.course.rungs))
        for level in rungs:  # what costs next to nothing is measured for good, and drops nobody
            for place, each in enumerate(cheap):
                self.go(each, level, waiting=len(cheap) - place + len(alive))
        for level in rungs:
            for place, each in enumerate(alive):
                self.go(each, level, waiting=len(alive) - place)
            board = self.board
            measured = [each for each in alive if (each.name, level) in board.found and each.name not in board.once]
            if not measured:
                break
            if level + 1 < len(rungs):
                alive = self.survivors(measured, level)
            if not alive or (len(alive) == 1 and not cheap and not alive[0].strategy.space):
                break

    def resort(self, entrants: Sequence[Candidate], spare: Sequence[Candidate]) -> None:
        """Time stopped all: what takes least goes on for a little longer, then a spare one, then the first to its end.

        What a stopped fit computed of the features is kept, so that it goes on where it was.
        """
        sound = [each for each in entrants if each.name not in self.broken]
        if not sound:
            return
        least = min(sound, key=lambda each: self.costs.expected(each.name, 1.0))
        little = max(self.clock.left(), 0.0) + max(_BEYOND[0] * self.clock.budget, _BEYOND[1])
        for place, each in enumerate([least, *spare, least]):
            self.go(each, 0, last=f", as the last resort {place + 1}", seconds=math.inf if place else little)
            if self.board.found:
                break

    def parted(self, entrants: Sequence[Candidate]) -> tuple[list[Candidate], list[Candidate]]:
        """The cheap ones, as many as are worth their time together, and the others."""
        work = sum(rung.share * rung.heats for rung in self.course.rungs)
        costs = {each.name: self.costs.expected(each.name, work) for each in entrants}

        def decide() -> dict[str, Any]:
            whole = self.clock.left()
            left, names = _TOGETHER * whole, list[str]()
            for name, cost in costs.items():
                if cost <= min(left, _CHEAP * whole):
                    names.append(name)
                    left -= cost
            return {"names": names}

        by_name = {each.name: each for each in entrants}
        cheap = [by_name[name] for name in self.workspace.remember("cheap", decide)["names"]]
        return cheap, [each for each in entrants if each not in cheap]

    def go(
        self, chosen: Candidate, level: int, waiting: int = 1, *, last: str = "", seconds: float = 0.0
    ) -> Measured | None:
        """Measure a candidate on a rung, within the time that it may take; as a ``last`` resort in these seconds."""
        self.entered[chosen.name] = chosen
        self.trials = []
        allowed, why = (seconds, "") if last else self._allowed(chosen.name, level, waiting)
        measured = self._ran(chosen, level, allowed, last) if allowed else self._out(chosen.name, level, why)
        if self.leads is not None and self.ahead is not None:
            self.leads(*self.ahead)
        return measured

    def _ran(self, chosen: Candidate, level: int, allowed: float, last: str) -> Measured | None:
        step = f"ran {chosen.name} on {level}{last}"
        kept = self.workspace.remember(step, lambda: self._attempt(chosen, level, allowed))
        if kept["ended"]:
            self.late |= kept["late"]
            self.broken |= set() if kept["late"] else {chosen.name}
            return self._out(chosen.name, level, kept["ended"], kept["seconds"])
        measured = self.latest.pop(chosen.name, None)
        if measured is None:  # an earlier run measured it, and kept its outputs
            measured = self._measure(chosen, level, math.inf, lambda trial: None)
        rung = self.course.rungs[level]
        self.costs.saw(chosen.name, rung.share * rung.heats, measured.seconds)
        if kept["inner"] is not None:
            self.inner[level] = max(kept["inner"], self.inner.get(level, -math.inf))
        run = Run(chosen.name, level, measured.rows, self.course.signed(measured.score), measured.seconds)
        run = replace(run, ended=self._affords(chosen.name, level))
        self.runs.append(run)
        self.board.found[chosen.name, level] = measured
        if run.ended:
            self.board.once.add(chosen.name)
            self.late = True
            self.say("", f"{chosen.name} goes no further: {run.ended}")
        if self.board.winner() == chosen.name:
            self.ahead = (self.trials[-1], measured) if self.trials else None
        return None if run.ended else measured

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
            first = not self.board.found
            # the first is measured whatever is kept back for later: without it there is nothing to hand over
            left = self.clock.left() - (0.0 if first else self._reserved())
            least = expected * (_HALF if _epochs(self.entered[name]) else 1.0)
            if left <= 0 or (least > left and not first):
                why = f"its forecast of {expected:.0f} s is over the {max(left, 0.0):.0f} s left for more tries"
                return {"seconds": 0.0, "why": why}
            fair = max(_FAIR * left / waiting, _GENEROUS * expected)
            if first and waiting > 1:  # it is worth half of all time, and others are there if it fails
                fair = max(left / 2, _FAIR * expected)
            return {"seconds": min(left, fair), "why": ""}

        found = self.workspace.remember(f"may {name} on {level}", decide)
        self.late |= not found["seconds"]
        return float(found["seconds"]), str(found["why"])

    def _reserved(self) -> float:
        """Seconds to keep for what comes after the race; nothing is fitted again where nothing can be."""
        if not self.board.found or (best := self.board.winner()) in self.board.once:
            return self.reserve(0.0)
        return self.reserve(self.costs.expected(best, 1.0))

    def _attempt(self, chosen: Candidate, level: int, allowed: float) -> dict[str, Any]:
        """Measure, and say how it ended; a failure of one candidate is not the race's."""
        started, ended, late = self.clock.spent(), "", False
        try:
            self.latest[chosen.name] = self._measure(chosen, level, allowed, self.trials.append)
        except OutOfTimeError:
            ended, late = f"stopped after {allowed:.0f} s, all that was left for it", True
        except HopelessError as exc:
            ended = str(exc)
        except (GraftError, RuntimeError, ValueError, ArithmeticError, MemoryError) as exc:
            ended = f"failed: {(str(exc).strip() or type(exc).__name__).splitlines()[0]}"
        scores = [each.history.score for each in self.trials if chosen.strategy.uses_validation]
        known = [self.course.signed(score) for score in scores if score is not None]
        inner = float(np.mean(known)) if known else None
        spent = self.clock.spent()
        return {"ended": ended, "late": late, "inner": inner, "seconds": spent - started, "spent": spent}

    def _measure(self, chosen: Candidate, level: int, allowed: float, seen: Callable[[Trial], None]) -> Measured:
        rung, ends = self.course.rungs[level], time.monotonic() + allowed
        watch = Watch(self.course, self.inner.get(level), _epochs(chosen), rung.heats, ends)
        progress = Limited(self.course.common.progress, allowed)
        return self.course.measure(chosen, rung, self.workspace, progress, seen=seen, told=watch)

    def _out(self, name: str, level: int, why: str, seconds: float = 0.0) -> Measured | None:
        self.runs.append(Run(name, level, 0, None, seconds, ended=why))
        self.say("", f"{name} is out: {why}")
        return None

    def survivors(self, measured: Sequence[Candidate], level: int) -> list[Candidate]:
        """Who goes on: the best third, and of the others who is not beaten, as far as time allows; the best first."""
        board, above = self.board, self.course.rungs[level + 1]
        order = sorted(measured, key=lambda each: -board.reach(each.name))
        beaten = board.beaten(level)
        certain = [each for each in order if each.name not in beaten][: math.ceil(len(measured) / _RATE)]

        def decide() -> dict[str, Any]:
            left = self.clock.left() - self._reserved()
            names = list[str]()
            for each in order:
                cost = self.costs.expected(each.name, above.share * above.heats)
                wanted = each.name not in beaten or len(names) < self.keep
                if each in certain or (wanted and cost <= left / 2):
                    names.append(each.name)
                    left -= cost
            return {"names": names}

        kept = set(self.workspace.remember(f"rung {level}", decide)["names"])
        self.mark(level, beaten, kept)
        leader = board.leader(level)
        score = self.course.signed(board.found[leader, level].score)
        place = f"rung {level + 1} of {len(self.course.rungs)}"
        self.say("race", f"{place}: {leader} leads with {score:.3f}; {len(kept)} of {len(measured)} go on")
        return [each for each in order if each.name in kept]

    def mark(self, level: int, beaten: set[str], kept: set[str]) -> None:
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

    def result(self, stopped: str) -> Raced:
        """What came out."""
        board, winner = self.board, self.board.winner()
        level = board.level(winner)
        beaten = board.beaten(level)
        self.mark(level, beaten, set(board.at(level)) - beaten)
        tied = sorted(
            (name for name in board.at(level) if name not in beaten | {winner}), key=lambda name: -board.reach(name)
        )
        once = winner in board.once
        finalists = [name for name in board.at(level) if name == winner or not (once or name in board.once)]
        return Raced(
            winner=self.entered[winner],
            tied=tuple(self.entered[name] for name in tied if name not in board.once),
            runs=tuple(self.runs),
            stopped=stopped,
            left=board.left(winner, tied, level),
            rows=board.found[winner, level].rows,
            seconds=self.costs.expected(winner, 1.0),
            parameters={name: each.parameters for (name, _), each in board.found.items()},
            once=once,
            rung=level,
            finalists=tuple(Finalist(self.entered[name], board.found[name, level].outputs) for name in finalists),
        )


def _epochs(chosen: Candidate) -> int:
    """How often its training passes over the rows; 0 where it has no such option."""
    epochs = getattr(chosen.strategy, "epochs", 0)
    return epochs if isinstance(epochs, int) else 0
