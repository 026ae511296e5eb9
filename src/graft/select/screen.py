"""Which sources may serve: a frozen pass of each over few rows, then over more for those not clearly worse."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from graft import catalogue, registry
from graft.contracts import Card, FittedTask, Score, Seen, Source, TransferData
from graft.errors import GraftError, RequestError
from graft.evaluate.intervals import Interval
from graft.evaluate.metrics import HIGHER_IS_BETTER
from graft.linear.folds import hard, units
from graft.seen import OUTPUTS
from graft.select.candidates import fitting_source
from graft.select.clock import Limited, OutOfTimeError
from graft.select.evidence import Evidence, behind, evidence, parts_of
from graft.select.look import loaded, look
from graft.select.offers import card_of
from graft.select.pace import Pace
from graft.select.ranks import Ranking, Screened
from graft.select.resolution import HALF, smaller
from graft.select.sample import growing_samples

__all__ = ["TimeLeft", "screen"]

_LEVEL = 0.95
"""Of the intervals by which sources count as tied with the best, corrected for how many there are."""

_SURE = 0.999
"""The same for leaving a source behind before all rows were looked at: it might have caught up with more of them."""

_ENOUGH = 512
"""Rows after which one source that is left needs no more of them."""

_NO_TIME = "no time was left to look at it; give it more, or fewer sources."

Places = npt.NDArray[np.int64]


class TimeLeft(Protocol):
    """What a screen asks of a clock."""

    def left(self) -> float:
        """Seconds."""


def screen(
    sources: Sequence[Source],
    data: TransferData,
    fitted: FittedTask,
    *,
    scores: Sequence[str | Score] = ("probe",),
    clock: TimeLeft | None = None,
    first: TimeLeft | None = None,
    most: int | None = None,
) -> Ranking:
    """Rank sources on the training rows; nothing is trained but closed forms, and no other row is looked at.

    All sources see the same rows, and are compared on them pair by pair.  After each sample those
    that are clearly behind the best are left; the others see four times as many rows, until one is
    left, all rows are seen, or the time is short.  Where the best cannot be told from others, the
    ranking says so instead of choosing.  A source that cannot be loaded, or fails on the rows, is
    reported with its reason.

    Parameters
    ----------
    scores
        Names or objects; sources are ordered by the first.
    clock
        Says how many seconds are left; ``None``: as many as it takes.
    first
        Another clock for the first look at each of them, which is worth more than a second one.
    most
        How many rows to look at, at most.

    Raises
    ------
    RequestError
        Where there is no source or no score, a score is not defined for the task, or no source is
        left.  A single source's own error is raised as it is.
    """
    asked = _asked(scores, fitted)
    held = _named(sources)
    if not held:
        raise RequestError("no source was given to rank; name some (graft ls sources --local).")
    run = _Screen(held, data, fitted, asked, (first or clock, clock))
    samples = growing_samples(data, fitted.link, fitted.n_outputs, most)
    if all(each.prior for each in asked.values()):
        samples = samples[-1:]
    stopped = run.through(samples)
    return run.ranking(stopped)


def _named(sources: Sequence[Source]) -> dict[str, Source]:
    """Each source once, by its spec; other ones of one name are numbered."""
    held: dict[str, Source] = {}
    for each in sources:
        title = name = registry.title(each)
        number = 1
        while name in held and repr(held[name].get_params(deep=False)) != repr(each.get_params(deep=False)):
            number += 1
            name = f"{title} ({number})"
        held.setdefault(name, each)
    return held


def _asked(scores: Sequence[str | Score], fitted: FittedTask) -> dict[str, Score]:
    asked = {}
    for each in [scores] if isinstance(scores, str | Score) else scores:
        score: Score = registry.build("scores", each) if isinstance(each, str) else each
        asked[registry.title(score)] = score
    if not asked:
        raise RequestError("no score was given to rank by; name one (graft ls scores).")
    unfit = {name: score.kinds for name, score in asked.items() if fitted.link not in score.kinds}
    if unfit:
        raise RequestError(
            f"{' and '.join(unfit)} cannot be told for {fitted.kind}; rank by another score (graft ls scores), "
            "such as probe."
        )
    return asked


@dataclass
class _Entry:
    """What is known of a source so far."""

    name: str
    source: Source
    card: Card | None = None
    found: dict[str, Evidence] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    rows: int = 0
    seconds: float = 0.0
    last: float = 0.0
    pace: float | None = None
    shrinks: bool = False
    error: GraftError | None = None
    gap: Interval | None = None
    dropped: bool = False

    def told(self) -> Screened:
        card = self.card or Card(self.name, "")
        spans = {name: each.span for name, each in self.found.items()}
        failed = "" if self.error is None else str(self.error)
        seen = self.rows, self.seconds, failed, dict(self.missing), self.pace, self.shrinks
        return Screened(self.name, card, spans, *seen)


class _Screen:
    """The sources of one screen, and how far they are."""

    def __init__(
        self,
        sources: Mapping[str, Source],
        data: TransferData,
        fitted: FittedTask,
        asked: Mapping[str, Score],
        clocks: tuple[TimeLeft | None, TimeLeft | None],
    ) -> None:
        self.data, self.fitted, self.asked = data, fitted, asked
        self.clock, self.after = clocks
        self.main = next(iter(asked))
        self.entries = [_Entry(name, source) for name, source in sources.items()]
        examples = data.train.examples
        self.keys, self.units = examples.keys(), units(data.groups, examples.keys())
        self.targets = hard(data.train.targets, fitted.link)
        for each in self.entries:
            try:
                each.source = fitting_source(each.source, examples.modality)
            except GraftError as exc:
                each.error = exc

    def racing(self) -> list[_Entry]:
        """Those that are still compared."""
        return [
            each for each in self.entries if each.error is None and not each.dropped and self.main not in each.missing
        ]

    def through(self, samples: Sequence[Places]) -> str:
        """Look at sample after sample; why that ended."""
        for number, places in enumerate(samples):
            racing = self.racing()
            if number:
                self.clock = self.after
                seen = len(samples[number - 1])
                if len(racing) < 2 and seen >= _ENOUGH:
                    return "one source is left" if racing else "no source is left"
                forecast = sum(each.last for each in racing) * len(places) / seen
                if self.clock is not None and forecast > self.clock.left():
                    return f"the time is short: {len(places)} rows would take about {forecast:.0f} s"
            whole = self._looked(racing, places, first=not number)
            if whole or not number:
                self._compare(last=not whole or number == len(samples) - 1)
            if not whole:
                return "the time ran out"
        return "all rows were looked at"

    def _looked(self, racing: Sequence[_Entry], places: Places, first: bool) -> bool:
        """Look at one sample with all of them; where time runs out, what was seen before stays, as it is comparable."""
        held = self.targets[places]
        parts = parts_of(held, self.fitted, self.keys[places], self._groups(places), self.data.seed)
        done: list[tuple[_Entry, dict[str, Evidence], dict[str, str]]] = []
        late = False
        for each in racing:
            started = time.monotonic()
            try:
                # the first source is told whatever it takes: nothing else would be
                data = self._timed() if done or not first else self.data
                found, missing = self._one(each, data, places, parts)
            except OutOfTimeError:
                if not first:
                    return False
                late, each.error = True, RequestError(_NO_TIME)
                continue
            each.seconds += time.monotonic() - started
            if each.error is None:
                done.append((each, found, missing))
        for each, found, missing in done:
            each.found, each.missing, each.rows = found, missing, len(places)
        return not late

    def _timed(self) -> TransferData:
        """The data, whose passes end when the time does."""
        if self.clock is None:
            return self.data
        left = self.clock.left()
        if left <= 0:
            raise OutOfTimeError("screen")
        return replace(self.data, progress=Limited(self.data.progress, left))

    def _one(
        self, entry: _Entry, data: TransferData, places: Places, parts: Places | None
    ) -> tuple[dict[str, Evidence], dict[str, str]]:
        """Every score of a source on one sample, or why it is not there; a source that fails says so."""
        found: dict[str, Evidence] = {}
        missing: dict[str, str] = {}
        try:
            seen, since = self._seen(entry, data, places)
            entry.card = seen.card
        except OutOfTimeError:
            raise
        except GraftError as exc:
            entry.error = exc
            return found, missing
        except Exception as exc:  # whatever a stranger's network raises: the other sources go on
            entry.error = RequestError(f"it fails on the rows ({type(exc).__name__}: {exc}); choose another source.")
            entry.error.__cause__ = exc
            return found, missing
        targets = self.targets[places].numpy()
        for name, score in self.asked.items():
            try:
                found[name] = evidence(score, seen, targets, self.fitted, parts=parts, seed=self.data.seed)
            except RequestError as exc:
                missing[name] = str(exc)
        entry.last = time.monotonic() - since
        return found, missing

    def _groups(self, places: Places) -> Places | None:
        """Numbers of the units of these rows; ``None`` where each row is its own."""
        found = np.unique(self.units[places], return_inverse=True)[1]
        return None if int(found.max(initial=-1)) + 1 == len(places) else found

    def _seen(self, entry: _Entry, data: TransferData, places: Places) -> tuple[Seen, float]:
        """What a pass gives, and when it began: what loading takes does not grow with the rows."""
        if all(score.prior for score in self.asked.values()):
            return Seen(np.zeros((len(places), 0), np.float32), None, _card(entry)), time.monotonic()
        outputs = any(score.needs == OUTPUTS for score in self.asked.values())
        backbone = loaded(entry.source, data)
        since, pace = time.monotonic(), Pace(data.progress)
        data = replace(data, progress=pace)
        seen = look(backbone, data, places, outputs=outputs, groups=self._groups(places))
        entry.pace = pace.seconds or entry.pace
        entry.shrinks = smaller(backbone, HALF) is not backbone
        return seen, since

    def _compare(self, last: bool) -> None:
        """Say how far each is behind the best, and leave those that are clearly behind."""
        racing = self.racing()
        if not racing:
            return
        best = max(racing, key=lambda each: each.found[self.main].value)
        others = max(1, len(racing) - 1)
        for each in racing:
            mine = (best.found[self.main], each.found[self.main])
            each.gap = behind(*mine, level=1 - (1 - _LEVEL) / others)
            each.dropped = not last and behind(*mine, level=1 - (1 - _SURE) / others).low > 0

    def ranking(self, stopped: str) -> Ranking:
        """What was found, in order."""
        failed = [each for each in self.entries if each.error is not None]
        if len(failed) == len(self.entries):
            if len(failed) == 1 and failed[0].error is not None:
                raise failed[0].error
            reasons = [f"  {each.name}: {each.error}" for each in failed]
            raise RequestError("\n".join(["no source is left to rank:", *reasons]))
        ordered = sorted(self.entries, key=self._place)
        if self.main in ordered[0].missing:
            reasons = [f"  {each.name}: {each.missing.get(self.main) or each.error}" for each in ordered]
            raise RequestError("\n".join([f"{self.main} can be told of no source:", *reasons]))
        racing = self.racing()
        tied = [each.name for each in ordered if each in racing and each.gap is not None and not each.gap.low > 0]
        return Ranking(
            score=self.main,
            measure=self._measure(),
            entries=tuple(each.told() for each in ordered),
            behind={each.name: each.gap for each in ordered[1:] if each.gap is not None},
            tied=tuple(tied),
            dropped=tuple(each.name for each in ordered if each.dropped),
            rows=max(each.rows for each in self.entries),
            stopped=stopped,
        )

    def _place(self, entry: _Entry) -> tuple[bool, bool, int, float]:
        known = entry.found.get(self.main)
        return entry.error is not None, known is None, -entry.rows, 0.0 if known is None else -known.value

    def _measure(self) -> str:
        metric = self.fitted.metric
        of_outputs = type(self.asked[self.main]).outputs is not Score.outputs
        return self.main if not of_outputs else metric if HIGHER_IS_BETTER[metric] else f"-{metric}"


def _card(entry: _Entry) -> Card:
    """The card of a source, without its weights where that can be."""
    known = catalogue.find(entry.name)
    return entry.source.load(weights=False).card if known is None else card_of(known)
