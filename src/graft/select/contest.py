"""A race under way: what was tried, what time is left, and who goes on."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from graft.errors import GraftError
from graft.progress import Say
from graft.select.candidates import Candidate
from graft.select.clock import Clock, Limited, OutOfTimeError
from graft.select.costs import Costs
from graft.select.course import Course, Measured
from graft.select.raced import Finalist, Raced, Run
from graft.select.scoreboard import Scoreboard
from graft.select.trial import Trial
from graft.select.watch import HopelessError, Watch
from graft.select.workspace import Workspace

__all__ = ["Contest", "too_long"]

_GENEROUS = 3.0
"""How many times longer than forecast a fit may take, where others wait for the same time …"""

_FAIR = 1.5
"""… and how many times its part of what is left, where that is more."""

_HALF = 0.5
"""Part of a training for which there has to be time: it ends with the epochs that there was time for."""

_OTHERS = "others were likelier to win in the time left"

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
            self.go(
                each, self.course.whole, last=f", as the last resort {place + 1}", seconds=math.inf if place else little
            )
            if self.board.eligible():
                break

    def go(
        self, chosen: Candidate, level: int, waiting: int = 1, *, last: str = "", seconds: float = 0.0
    ) -> Measured | None:
        """Measure a candidate on a rung, within the time that it may take; as a ``last`` resort in these seconds."""
        self.entered[chosen.name] = chosen
        self.trials = []
        allowed, why = (seconds, "") if last else self._allowed(chosen, level, waiting)
        measured = None
        if allowed:
            measured = self._ran(chosen, level, allowed, last)
        else:
            self.out(chosen, level, why)
        if self.leads is not None and self.ahead is not None:
            self.leads(*self.ahead)
        return measured

    def _ran(self, chosen: Candidate, level: int, allowed: float, last: str) -> Measured | None:
        step = f"ran {chosen.name} on {level}{last}"
        kept = self.workspace.remember(step, lambda: self._attempt(chosen, level, allowed))
        if kept["ended"]:
            self.late |= kept["late"]
            self.broken |= set() if kept["late"] else {chosen.name}
            self.out(chosen, level, kept["ended"], kept["seconds"])
            return None
        measured = self.latest.pop(chosen.name, None)
        if measured is None:  # an earlier run measured it, and kept its outputs
            measured = self._measure(chosen, level, math.inf, lambda trial: None)
        rung = self.course.rungs[level]
        if rung.scale == 1:  # what smaller images take tells little of what whole ones will
            self.costs.saw(chosen.name, rung.work, measured.seconds)
        if kept["inner"] is not None:
            self.inner[level] = max(kept["inner"], self.inner.get(level, -math.inf))
        run = Run(chosen.name, level, measured.rows, self.course.signed(measured.score), measured.seconds)
        run = replace(run, ended=self._affords(chosen.name, level))
        if run.ended and rung.scale < 1:  # as it is it would see less of its images for good
            self.late = True
            self.out(chosen, level, run.ended, measured.seconds)
            return None
        self.runs.append(run)
        self.board.found[chosen.name, level] = measured
        if run.ended:
            self.board.once.add(chosen.name)
            self.late = True
            self.say("", f"{chosen.name} goes no further: {run.ended}")
        if self.board.eligible() and self.board.winner() == chosen.name:
            self.ahead = (self.trials[-1], measured) if self.trials else None
            self.say("race", f"{chosen.name} leads with {run.score:.3f} on {len(measured.outputs)} rows")
        return None if run.ended else measured

    def _affords(self, name: str, level: int) -> str:
        """Why a candidate cannot be fitted on all rows in the time that is left; empty where it can."""

        def decide() -> dict[str, Any]:
            refit, left = self.costs.expected(name, 1.0), max(self.clock.left(), 0.0)
            whole = self.reserve(refit)
            if whole <= self.clock.left():
                return {"why": ""}
            why = f"fitting it on all rows, and what follows, would take about {whole:.0f} s of the {left:.0f} s left"
            return {"why": why}

        return str(self.workspace.remember(f"afford {name} on {level}", decide)["why"])

    def _allowed(self, chosen: Candidate, level: int, waiting: int) -> tuple[float, str]:
        """Seconds that a run may take; 0 with the reason where it may not start."""

        def decide() -> dict[str, Any]:
            expected = self.to_come(chosen.name, level)
            first = not self.board.eligible()
            # the first is measured whatever is kept back for later: without it there is nothing to hand over
            left = self.clock.left() - (0.0 if first else self.reserved())
            if left <= 0 or (self.least(chosen, expected) > left and not first):
                return {"seconds": 0.0, "why": too_long(expected, left)}
            fair = max(_FAIR * left / waiting, _GENEROUS * expected)
            if first and waiting > 1:  # it is worth half of all time, and others are there if it fails
                fair = max(left / 2, _FAIR * expected)
            return {"seconds": min(left, fair), "why": ""}

        found = self.workspace.remember(f"may {chosen.name} on {level}", decide)
        self.late |= not found["seconds"]
        return float(found["seconds"]), str(found["why"])

    def to_come(self, name: str, level: int) -> float:
        """Seconds that measuring a candidate on a rung will take; what the rung below has of it is not done again."""
        rung = self.course.rungs[level]
        seconds = self.costs.expected(name, rung.work) * rung.scale**2
        below = self.board.found.get((name, level - 1))
        return seconds if below is None or not self.course.nested(level) else max(0.0, seconds - below.seconds)

    def least(self, chosen: Candidate, seconds: float) -> float:
        """Of the seconds that it is expected to take, those for which there has to be time."""
        return seconds * (_HALF if _epochs(chosen) else 1.0)

    def reserved(self) -> float:
        """Seconds to keep for what comes after the race; nothing is fitted again where nothing can be."""
        if not self.board.eligible() or (best := self.board.winner()) in self.board.once:
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
        done = self.course.rungs[level - 1].heats if self.course.nested(level) else 0
        watch = Watch(self.course, self.inner.get(level), _epochs(chosen), rung.heats - done, ends)
        progress = Limited(self.course.common.progress, allowed)
        return self.course.measure(chosen, rung, self.workspace, progress, seen=seen, told=watch)

    def out(self, chosen: Candidate, level: int, why: str, seconds: float = 0.0) -> None:
        """Write down why a candidate was not measured."""
        self.entered[chosen.name] = chosen
        self.runs.append(Run(chosen.name, level, 0, None, seconds, ended=why))
        self.say("", f"{chosen.name} is out: {why}")

    def leave(self, chosen: Candidate, level: int, why: str) -> None:
        """Write down why a candidate is never tried: time, where there is none for it, else ``why``."""

        def decide() -> dict[str, Any]:
            expected, left = self.to_come(chosen.name, level), self.clock.left() - self.reserved()
            late = self.least(chosen, expected) > left
            return {"late": late, "why": too_long(expected, left) if late else why}

        found = self.workspace.remember(f"leave {chosen.name}", decide)
        self.late |= bool(found["late"])
        self.out(chosen, level, str(found["why"]))

    def mark(self) -> None:
        """Write beside each run how far behind its rung's leader it is, and why it went no further."""
        board, last = self.board, self.board.level(self.board.winner())
        for level in sorted({level for _, level in board.found}):
            leader, beaten = board.leader(level), board.beaten(level)
            for place, run in enumerate(self.runs):
                if run.rung != level or run.name == leader or (run.name, level) not in board.found:
                    continue
                ended = run.ended
                if not ended and level == board.level(run.name):
                    ended = f"beaten by {leader}" if run.name in beaten else "" if level >= last else _OTHERS
                self.runs[place] = replace(run, gain=board.gain(leader, run.name, level), ended=ended)

    def result(self, stopped: str) -> Raced:
        """What came out."""
        board, winner = self.board, self.board.winner()
        level = board.level(winner)
        beaten = board.beaten(level)
        self.mark()
        beaten = beaten.union(
            *(board.beaten(higher) for higher in range(level + 1, board.highest() + 1) if board.at(higher))
        )
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


def too_long(expected: float, left: float) -> str:
    """Why what takes so many seconds does not start."""
    return f"its forecast of {expected:.0f} s is over the {max(left, 0.0):.0f} s left for more tries"


def _epochs(chosen: Candidate) -> int:
    """How often its training passes over the rows; 0 where it has no such option."""
    epochs = getattr(chosen.strategy, "epochs", 0)
    return epochs if isinstance(epochs, int) else 0
