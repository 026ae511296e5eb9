"""One trial as the ledger keeps it: what was tried on what kind of task, what it cost, and what came out."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from graft.errors import DataError
from graft.select.sketch import Sketch
from graft.storage import digest
from graft.version import __version__

if TYPE_CHECKING:
    from graft.contracts import Machine
    from graft.select.trial import Trial

__all__ = ["FORMAT", "Entry", "described", "entry_of", "now", "stamp"]

FORMAT = 1
"""Of the ledger's file and of its lines: one that is higher was written by a newer version of Graft."""

_LONGEST_TEXT = 2000
_MOST_FACTS, _MOST_POINTS = 64, 10_000
_LARGEST = 2**53
"""Above it JSON's numbers of other programs are no longer exact."""


_TEXTS = ("source", "strategy", "metric", "data", "when", "version", "machine")


def now() -> str:
    """The time as entries state it: UTC to the second, as ISO 8601 writes it."""
    return stamp(datetime.now(UTC))


@dataclass(frozen=True)
class Entry:
    """One trial.

    Parameters
    ----------
    sketch
        What the task is like.
    source, strategy
        Their specs.
    metric, score
        What candidates were compared by, and its value inside the training rows; ``nan`` where the
        trial came to none.
    rows
        That it learnt from in the end.
    seconds
        Wall time of the whole trial.
    curve
        ``(rows, score)`` of every step at which it was measured.
    data
        Names the data by their content (:func:`~graft.select.sketch.data_digest`).
    when
        The machine's clock at the end, UTC; nothing is decided by it.
    version
        Of Graft.
    machine
        The kind of device and the threads, such as ``"cpu, 8 threads"``; no name of a machine.
    """

    sketch: Sketch
    source: str
    strategy: str
    metric: str
    score: float
    rows: int
    seconds: float
    curve: tuple[tuple[int, float], ...]
    data: str
    when: str = field(default_factory=now)
    version: str = __version__
    machine: str = ""

    @property
    def name(self) -> str:
        """The candidate that was tried."""
        return f"{self.strategy} on {self.source}"

    @property
    def key(self) -> str:
        """Names the entry by its content.  The time is no part of it: a trial that is told twice is one."""
        document = {name: value for name, value in self.document().items() if name != "when"}
        return digest(json.dumps(document, sort_keys=True))

    def document(self) -> dict[str, Any]:
        """As JSON; a score that is none is ``None``."""
        about = self.sketch
        return {
            "sketch": {
                **{"modality": about.modality, "kind": about.kind, "link": about.link},
                **{"rows": int(about.rows), "outputs": int(about.outputs), "entropy": float(about.entropy)},
                "facts": {name: float(about.facts[name]) for name in sorted(about.facts)},
            },
            **{name: getattr(self, name) for name in _TEXTS},
            "score": _finite(self.score),
            "rows": int(self.rows),
            "seconds": float(self.seconds),
            "curve": [[int(rows), _finite(score)] for rows, score in self.curve],
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Entry:
        """What :meth:`document` gave; other keys are passed over.

        Raises
        ------
        DataError
            Where something is missing or is none of what belongs there; says which.
        """
        about = _inside(document, "sketch", dict, "an object")
        return cls(
            sketch=Sketch(
                **{name: _text(about, name) for name in ("modality", "kind", "link")},
                rows=_count(about, "rows"),
                outputs=_count(about, "outputs"),
                entropy=_number(about, "entropy", most=1.0),
                facts=_facts(about),
            ),
            **{name: _text(document, name) for name in ("source", "strategy", "metric", "data")},
            score=_score(document.get("score"), "score"),
            rows=_count(document, "rows"),
            seconds=_number(document, "seconds"),
            curve=_curve(document),
            when=_when(document),
            version=_text(document, "version"),
            machine=_text(document, "machine", least=0),
        )


def described(machine: Machine) -> str:
    """A machine without its name: ``"cuda, 8 threads"``."""
    return f"{machine.device.type}, {machine.threads} thread{'s' if machine.threads != 1 else ''}"


def entry_of(trial: Trial, about: Sketch, data: str, rows: int, curve: tuple[tuple[int, float], ...] = ()) -> Entry:
    """The entry of a trial that learnt from ``rows`` rows; without a curve its end is the only point.

    Parameters
    ----------
    about, data
        The :func:`~graft.select.sketch.sketch` of the data, and their digest.
    """
    from graft import registry

    score = math.nan if trial.history.score is None else float(trial.history.score)
    return Entry(
        sketch=about,
        source=registry.title(trial.candidate.source),
        strategy=registry.title(trial.candidate.strategy),
        metric=trial.model.fitted.metric,
        score=score,
        rows=rows,
        seconds=trial.seconds,
        curve=curve or ((rows, score),),
        data=data,
        machine=described(trial.model.machine),
    )


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _inside(document: Mapping[str, Any], name: str, kind: type, words: str) -> Any:
    value = document.get(name)
    if not isinstance(value, kind):
        raise DataError(f"{name} is {'missing' if name not in document else _shown(value)}; expected {words}")
    return value


def _shown(value: Any) -> str:
    return f"{value!r:.40}"


def _text(document: Mapping[str, Any], name: str, least: int = 1) -> str:
    """Only what can be printed: what a terminal obeys has no place in a name."""
    value: str = _inside(document, name, str, "a text")
    if not (least <= len(value) <= _LONGEST_TEXT and value.isprintable()):
        raise DataError(f"{name} is {_shown(value)}; expected {least} to {_LONGEST_TEXT} letters that can be printed")
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < math.inf


def _number(document: Mapping[str, Any], name: str, most: float = _LARGEST) -> float:
    value = document.get(name)
    if not (_is_number(value) and 0 <= value <= most):  # type: ignore[operator]
        raise DataError(f"{name} is {_shown(value)}; expected a number from 0 to {most:g}")
    return float(value)  # type: ignore[arg-type]


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LARGEST


def _count(document: Mapping[str, Any], name: str) -> int:
    value = document.get(name)
    if not _whole(value):
        raise DataError(f"{name} is {_shown(value)}; expected a whole number, 0 or more")
    return int(value)  # type: ignore[arg-type]


def _score(value: Any, name: str) -> float:
    if value is not None and not (_is_number(value) and abs(value) <= _LARGEST):
        raise DataError(f"{name} is {_shown(value)}; expected a number, or null")
    return math.nan if value is None else float(value)


def _facts(about: Mapping[str, Any]) -> dict[str, float]:
    found = _inside(about, "facts", dict, "an object")
    if len(found) > _MOST_FACTS:
        raise DataError(f"facts are {len(found)}; expected at most {_MOST_FACTS}")
    for name in found:
        _text({"a fact's name": name}, "a fact's name")
    return {name: _number(found, name) for name in found}


def _curve(document: Mapping[str, Any]) -> tuple[tuple[int, float], ...]:
    points = _inside(document, "curve", list, "a list of pairs")
    if len(points) > _MOST_POINTS:
        raise DataError(f"curve has {len(points)} points; expected at most {_MOST_POINTS}")
    for point in points:
        if not (isinstance(point, list) and len(point) == 2 and _whole(point[0])):
            raise DataError(f"curve holds {_shown(point)}; expected pairs of rows and score")
    return tuple((rows, _score(score, "a score of the curve")) for rows, score in points)


def _when(document: Mapping[str, Any]) -> str:
    text, said = _text(document, "when"), ""
    try:
        found = datetime.fromisoformat(text)
        said = stamp(found) if found.tzinfo else ""
    except (ValueError, OverflowError):
        pass
    if not said:
        raise DataError(f"when is {_shown(text)}; expected a time with its zone, such as 2026-01-31T12:00:00Z")
    return said


def stamp(time: datetime) -> str:
    """A time as entries state it."""
    return time.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
