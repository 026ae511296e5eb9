"""How a race went: every fit of it, and who won."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from graft.contracts import Array
from graft.evaluate.intervals import Interval
from graft.select.candidates import Candidate

__all__ = ["NO_TIME", "Finalist", "Raced", "Run"]

NO_TIME = "the budget is used up; more of it would measure more"


@dataclass(frozen=True)
class Run:
    """One candidate on one rung.

    Parameters
    ----------
    rows
        How many rows it learnt from at a time; 0 where it was not measured.
    score
        The task's metric on the rows that all are measured by; ``None`` where it was not measured.
    gain
        How much better the rung's leader is, with its paired interval; ``None`` for the leader.
    ended
        Why it was not measured, or why it went no further; empty for what reached the end.
    """

    name: str
    rung: int
    rows: int
    score: float | None
    seconds: float
    gain: Interval | None = None
    ended: str = ""


@dataclass(frozen=True)
class Finalist:
    """What was measured where the winner was, and can be fitted on all rows: the candidate, its outputs ``(n, c)``."""

    candidate: Candidate
    outputs: Array


@dataclass(frozen=True)
class Raced:
    """How a race went.

    Parameters
    ----------
    winner
        The best of all that was measured.
    tied
        What is not clearly worse there, the best first.
    runs
        Everything that was tried, in order.
    stopped
        Why the race ended, for a person.
    left
        How much better than the winner the best of winner and tied may be expected to be, in the
        metric: what telling them apart would bring.
    rows
        How many rows the winner learnt from at a time.
    seconds
        What one fit of it on all rows of a heat is expected to take.
    parameters
        Weights that learnt, by name.
    once
        Whether no time is left to fit the winner on all rows: it stays as the race fitted it.
    rung
        The place of the rung on which the winner was measured last.
    finalists
        What was measured there, the winner among them.
    """

    winner: Candidate
    tied: tuple[Candidate, ...]
    runs: tuple[Run, ...]
    stopped: str
    left: float
    rows: int
    seconds: float
    parameters: Mapping[str, int]
    once: bool = False
    rung: int = 0
    finalists: tuple[Finalist, ...] = ()
