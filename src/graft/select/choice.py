"""How source and strategy were chosen: what was looked at, tried, dropped, and on which evidence."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from graft.evaluate.intervals import Interval
from graft.select.ensembling import Ensembled
from graft.select.frontier import Point
from graft.select.nicknames import nicknames, renamed
from graft.select.raced import Run
from graft.wording import listed

__all__ = ["Choice", "Look", "interval_of"]

_BY = {"accurate": "the likeliest to be the best of them", "small": "the smallest", "fast": "the fastest"}

_FIGURES = re.compile(r"(?<![\w/=.?&-])-?\d+(\.\d+)?(?!\w)")
"""Numbers that stand free: those in names are part of them."""

_TELLING = 0.005
"""Gain below which more measuring is not worth a word."""


@dataclass(frozen=True)
class Look:
    """What the screen saw of a source.

    Parameters
    ----------
    score
        Its first score on the training rows, with its interval; ``None`` where it has none.
    out
        Why it did not go on; empty where it did.
    """

    source: str
    score: Interval | None
    rows: int
    seconds: float
    out: str = ""


@dataclass(frozen=True)
class Choice:
    """How source and strategy were chosen.

    Parameters
    ----------
    winner
        What was chosen.
    tied
        What the rows could not tell from the leader of the race, the best first; the winner may be
        one of them where a small or a fast model was preferred.
    metric
        What everything was measured by.
    budget, spent
        Seconds: allowed, and used until the choice was made.
    candidates
        How many pairs of source and strategy there were.
    excluded
        What was not tried from the start, each name with its reason.
    screened
        What the screen saw, the best first; empty where there was one source.
    runs
        Every fit of the race, in order.
    frontier
        The models than which no other is at once better, smaller and faster.
    stopped
        Why the race ended.
    left
        What telling the tied apart might bring, in the metric.
    prefer
        By what was chosen among those that the rows cannot tell apart.
    ensemble
        What the models of the last rung give together; ``None`` where that was not asked for.
    late
        What would have been preferred, had there been time for its last fit.
    """

    winner: str
    tied: tuple[str, ...]
    metric: str
    budget: float
    spent: float
    candidates: int
    excluded: tuple[tuple[str, str], ...]
    screened: tuple[Look, ...]
    runs: tuple[Run, ...]
    frontier: tuple[Point, ...]
    stopped: str
    left: float
    prefer: str = "accurate"
    ensemble: Ensembled | None = None
    late: str = ""

    def __str__(self) -> str:
        return "\n".join(self.why())

    def why(self) -> Iterator[str]:
        """The reasons, a sentence each; sources are called by their file where that tells them apart."""
        told = [self.winner, *self.tied, *(each.name for each in self.runs)]
        sources = [*(each.source for each in self.screened), *(name.partition(" on ")[2] for name in told)]
        names = nicknames(dict.fromkeys(sources))
        for sentence in self._sentences():
            yield renamed(sentence, names)

    def _sentences(self) -> Iterator[str]:
        fits = [each for each in self.runs if each.score is not None]
        yield (
            f"{self.winner} was chosen from {self.candidates} candidates, in {self.spent:.0f} of {self.budget:.0f} s "
            f"and {len(fits)} fits."
        )
        yield from self._of_sources()
        yield from _grouped(self._of_runs())
        if self.tied:
            which = f"it is {_BY[self.prefer]}"
            if self.late:
                which = f"{self.late} would be {_BY[self.prefer]}, but the time left did not hold its last fit"
            yield f"The rows cannot tell it from {listed(self.tied, 3)}; {which}."
        if self.ensemble is not None:
            yield str(self.ensemble)
        more = f"; telling them apart might bring {self.left:.3f} {self.metric}" if self.left >= _TELLING else ""
        yield f"The race ended because {self.stopped}{more}."

    def _of_sources(self) -> Iterator[str]:
        looked = [each for each in self.screened if each.score is not None]
        if len(looked) > 1:
            best = looked[0]
            yield f"Of {len(self.screened)} sources {best.source} promised most: {best.score} on {best.rows} rows."
        yield from _grouped((each.source, f"did not go on: {each.out}") for each in self.screened if each.out)

    def _of_runs(self) -> Iterator[tuple[str, str]]:
        for each in self.runs:
            if each.ended and each.score is None:
                yield each.name, f"was not measured: {each.ended.rstrip('.')}"
            elif each.ended:
                behind = f" ({each.gain} behind)" if each.gain else ""
                yield each.name, f"stopped after {each.rows} rows: {each.ended}{behind}"

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Choice:
        """What :meth:`document` gave."""
        runs = (Run(**{**each, "gain": interval_of(each["gain"])}) for each in document["runs"])
        looks = (Look(**{**each, "score": interval_of(each["score"])}) for each in document["screened"])
        return cls(
            **{
                **document,
                "tied": tuple(document["tied"]),
                "excluded": tuple((name, reason) for name, reason in document["excluded"]),
                "screened": tuple(looks),
                "runs": tuple(runs),
                "frontier": tuple(Point(**each) for each in document["frontier"]),
                "ensemble": Ensembled.from_document(document["ensemble"]) if document.get("ensemble") else None,
            }
        )


def _grouped(told: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Who, and what happened: a sentence for all to whom the same did, but for the figures, the first one's."""
    groups: dict[str, list[tuple[str, str]]] = {}
    for name, what in told:
        groups.setdefault(_FIGURES.sub("", what), []).append((name, what))
    for (name, what), *others in groups.values():
        names = [other for other in dict.fromkeys(each for each, _ in others) if other != name]
        alike = f"; likewise {listed(names, 2 if len(names) > 3 else 3)}" if names else ""
        yield f"{name} {what}{alike}."


def interval_of(found: Mapping[str, Any] | None) -> Interval | None:
    """An interval from its JSON."""
    return None if found is None else Interval(**found)
