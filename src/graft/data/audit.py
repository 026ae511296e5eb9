"""What is wrong with a dataset, as values; nothing is dropped here unless it is asked for by row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from graft.contracts import Array, Examples, TargetData
from graft.data.cells import label_kind, settled
from graft.errors import DataError
from graft.progress import Progress, Silent

__all__ = ["Audit", "Equals", "audit", "drop"]

Equals = tuple[tuple[int, ...], ...]
"""Sets of rows that are equal byte for byte."""

_CHUNK = 64


@dataclass(frozen=True)
class Audit:
    """Findings about ``rows`` rows.

    Parameters
    ----------
    rows
        How many rows were looked at.
    unreadable
        ``(row, name, reason)`` of those that cannot be used.
    duplicates
        Sets of rows with equal bytes.
    conflicts
        Those of them whose labels differ.
    leaks
        Those of them that stand on both sides of a split that the data state.
    unlabelled
        How many rows have no label.
    classes
        ``(label, rows)`` of each class, the largest first; empty for numbers.
    names
        The names of all rows that a finding mentions.
    """

    rows: int
    unreadable: tuple[tuple[int, str, str], ...] = ()
    duplicates: Equals = ()
    conflicts: Equals = ()
    leaks: Equals = ()
    unlabelled: int = 0
    classes: tuple[tuple[Any, int], ...] = ()
    names: dict[int, str] = field(default_factory=dict)

    @property
    def singles(self) -> tuple[Any, ...]:
        """Classes with one row only."""
        return tuple(label for label, count in self.classes if count == 1)

    def document(self) -> dict[str, Any]:
        """The findings as JSON, rows by their names."""

        def named(sets: Equals) -> list[list[str]]:
            return [[self.names[row] for row in rows] for rows in sets]

        return {
            "rows": self.rows,
            "unreadable": [{"name": name, "reason": reason} for _, name, reason in self.unreadable],
            "duplicates": named(self.duplicates),
            "conflicts": named(self.conflicts),
            "leaks": named(self.leaks),
            "unlabelled": self.unlabelled,
            "classes": [{"label": label, "rows": count} for label, count in self.classes],
            "singles": list(self.singles),
        }

    def sentences(self) -> tuple[str, ...]:
        """A line for each finding, for a terminal; none where nothing is wrong."""
        found = []
        if self.unreadable:
            _, name, reason = self.unreadable[0]
            found.append(f"{_rows(len(self.unreadable))} cannot be read, such as {name} ({reason})")
        if self.duplicates:
            extra = sum(len(rows) - 1 for rows in self.duplicates)
            found.append(f"{extra} exact {'duplicate' if extra == 1 else 'duplicates'}")
        if self.conflicts:
            found.append(
                f"{_sets(self.conflicts)} of equal rows with different labels, such as {self._pair(self.conflicts)}"
            )
        if self.leaks:
            found.append(
                f"{_sets(self.leaks)} of equal rows on both sides of the split, such as {self._pair(self.leaks)}"
            )
        if self.unlabelled:
            found.append(f"{_rows(self.unlabelled)} without a label")
        if self.singles:
            shown = ", ".join(map(str, self.singles[:3])) + (", …" if len(self.singles) > 3 else "")
            found.append(f"{len(self.singles)} of {len(self.classes)} classes with a single row ({shown})")
        return tuple(found)

    def _pair(self, sets: Equals) -> str:
        return " and ".join(self.names[row] for row in sets[0][:2])


def audit(data: TargetData, progress: Progress | None = None, threads: int = 1) -> Audit:
    """Look at every row once.

    Parameters
    ----------
    data
        As a reader gave it.
    progress
        Shows how far it is.
    threads
        How many rows are read at a time.
    """
    unreadable = _unreadable(data.examples, progress or Silent(), threads)
    bad = {row for row, _, _ in unreadable}
    good = np.array([row for row in range(len(data.examples)) if row not in bad], dtype=np.int64)
    duplicates = tuple(_equal(good, data.examples.take(good).keys())) if len(good) else ()
    labels = data.labels
    conflicts: Equals = ()
    unlabelled, classes = 0, Counter[Any]()
    if labels is not None:
        conflicts = tuple(rows for rows in duplicates if len({_comparable(labels[row]) for row in rows} - {None}) > 1)
        unlabelled = sum(label is None for label in labels)
        classes = _classes(labels)
    given = data.given
    leaks: Equals = ()
    if given is not None:
        leaks = tuple(rows for rows in duplicates if len({given[row] for row in rows} - {""}) > 1)
    return Audit(
        rows=len(data.examples),
        unreadable=unreadable,
        duplicates=duplicates,
        conflicts=conflicts,
        leaks=leaks,
        unlabelled=unlabelled,
        classes=tuple(sorted(classes.items(), key=lambda item: (-item[1], str(item[0])))),
        names={row: data.examples.name(row) for rows in duplicates for row in rows},
    )


def drop(data: TargetData, rows: npt.NDArray[np.int64] | Sequence[int]) -> TargetData:
    """The data without the given rows; a note says how many went.

    Raises
    ------
    DataError
        Where no row would be left.
    """
    keep = np.ones(len(data.examples), dtype=np.bool_)
    keep[np.asarray(rows, dtype=np.int64)] = False
    kept = np.flatnonzero(keep)
    gone = len(keep) - len(kept)
    if not len(kept):
        raise DataError(
            f"none of the {len(keep)} rows of {data.origin} can be used; look at the reasons and repair them."
        )
    if not gone:
        return data
    return replace(
        data,
        examples=data.examples.take(kept),
        labels=None if data.labels is None else data.labels[kept],
        groups=None if data.groups is None else data.groups[kept],
        given=None if data.given is None else data.given[kept],
        weights=None if data.weights is None else data.weights[kept],
        times=None if data.times is None else data.times[kept],
        notes=(*data.notes, f"{gone} of {len(keep)} rows left out as unusable."),
    )


def _unreadable(examples: Examples, progress: Progress, threads: int) -> tuple[tuple[int, str, str], ...]:
    def look(chunk: range) -> list[tuple[int, str, str]]:
        return [(row, examples.name(row), reason) for row in chunk if (reason := _reason(examples, row)) is not None]

    chunks = [range(start, min(start + _CHUNK, len(examples))) for start in range(0, len(examples), _CHUNK)]
    found: list[tuple[int, str, str]] = []
    pool = ThreadPoolExecutor(max(1, threads))
    try:
        with progress.step("read", len(examples)) as advance:
            for chunk, faults in zip(chunks, pool.map(look, chunks), strict=True):
                found += faults
                advance(len(chunk))
    finally:
        # After Ctrl-C nobody waits for rows that were not begun.
        pool.shutdown(wait=True, cancel_futures=True)
    return tuple(found)


def _reason(examples: Examples, row: int) -> str | None:
    """Graft's own examples check a row and digest it from the same bytes; others are simply read."""
    check = getattr(examples, "check", None)
    if check is not None:
        reason: str | None = check(row)
        return reason
    try:
        examples[row]
    except DataError as exc:
        return str(exc)
    return None


def _equal(rows: npt.NDArray[np.int64], keys: npt.NDArray[np.uint8]) -> Iterator[tuple[int, ...]]:
    flat = np.ascontiguousarray(keys).view(np.dtype((np.void, keys.shape[1])))[:, 0]
    _, which, counts = np.unique(flat, return_inverse=True, return_counts=True)
    several = np.flatnonzero(counts[which] > 1)
    sets: dict[int, list[int]] = {}
    for place in several.tolist():
        sets.setdefault(int(which[place]), []).append(int(rows[place]))
    return (tuple(found) for found in sets.values())


def _classes(labels: Array) -> Counter[Any]:
    kind = label_kind(labels)
    known = [label for label in labels if label is not None]
    if kind == "values":
        return Counter()
    return Counter(each for label in known for each in label) if kind == "sets" else Counter(map(settled, known))


def _comparable(label: Any) -> Any:
    return frozenset(label) if isinstance(label, tuple) else settled(label)


def _rows(count: int) -> str:
    return f"{count} {'row' if count == 1 else 'rows'}"


def _sets(sets: Equals) -> str:
    return f"{len(sets)} {'set' if len(sets) == 1 else 'sets'}"
