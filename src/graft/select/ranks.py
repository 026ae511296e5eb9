"""What a screen found: each source with its scores, and all of them in order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from graft.contracts import Card
from graft.evaluate.intervals import Interval

__all__ = ["Ranking", "Screened"]


@dataclass(frozen=True)
class Screened:
    """What a screen found of a source.

    Parameters
    ----------
    source
        The spec that builds it.
    scores
        Score → its value, higher is better, with its interval over rows.  A score of held-out outputs
        is the task's own metric of them, its sign turned where lower is better.
    rows
        How many rows it was seen on.
    seconds
        What loading, passes and scores took.
    pace
        Seconds in which its network read a row; ``None`` where its features were in the cache.
    shrinks
        Whether its network also takes images of half the edge, and these are not tiny.
    failed
        Why there is no score at all; empty where there is.
    missing
        Score → why it is not there.
    """

    source: str
    card: Card
    scores: dict[str, Interval]
    rows: int
    seconds: float
    failed: str = ""
    missing: Mapping[str, str] = field(default_factory=dict)
    pace: float | None = None
    shrinks: bool = False


@dataclass(frozen=True)
class Ranking:
    """Sources in the order in which they promise to serve.

    Parameters
    ----------
    score
        What they are ordered by: the first of the scores.
    measure
        What it says in words: a metric of the task (``-mae`` where its sign is turned), or the score's name.
    entries
        The best first; those seen on fewer rows after those seen on more, then those without the
        score, at last those that failed.
    behind
        Source → how far it was behind the best on the same rows when both were last compared.
    tied
        Sources that these rows cannot tell from the best, the best itself first.
    dropped
        Sources that were clearly worse before all rows had been looked at.
    stopped
        Why no more rows were looked at.
    """

    score: str
    measure: str
    entries: tuple[Screened, ...]
    behind: dict[str, Interval]
    tied: tuple[str, ...]
    dropped: tuple[str, ...]
    rows: int
    stopped: str

    @property
    def best(self) -> Screened:
        """The first of them."""
        return self.entries[0]

    @property
    def abstains(self) -> bool:
        """Whether the rows cannot say which source is the best."""
        return len(self.tied) > 1

    def document(self) -> dict[str, Any]:
        """The ranking as JSON."""
        return {**asdict(self), "abstains": self.abstains}
