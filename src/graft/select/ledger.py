"""The ledger: every trial, a row each, in one SQLite file that several processes may write at once."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NoReturn, TypeVar

from graft.errors import DataError, GraftError, MachineError
from graft.select import ledger_file as stored
from graft.select.entry import FORMAT, Entry
from graft.storage import data_root, write_atomic

__all__ = ["Ledger", "Merged", "Which", "ledger_path"]

T = TypeVar("T")

_OFF = frozenset({"off", "no", "false", "0"})
_LONGEST_LINE = 1_000_000
_SPEC = "(\"{0}\" = :{0} OR substr(\"{0}\", 1, length(:{0}) + 1) IN (:{0} || '/', :{0} || '?'))"
_WAYS = {
    "source": _SPEC.format("source"),
    "strategy": _SPEC.format("strategy"),
    "data": 'substr("data", 1, length(:data)) = :data',
    "modality": "CASE WHEN json_valid(sketch) THEN json_extract(sketch, '$.modality') = :modality ELSE 0 END",
    "before": '"when" < :before',
}


def ledger_path() -> Path | None:
    """``ledger.sqlite`` in the data folder, or the file that ``GRAFT_LEDGER`` names; ``None`` where that is ``off``."""
    asked = os.environ.get("GRAFT_LEDGER", "")
    if asked.lower() in _OFF:
        return None
    return Path(asked) if asked else data_root() / "ledger.sqlite"


@dataclass(frozen=True)
class Which:
    """Entries to choose: what is empty lets all pass, and what is given must all hold.

    Parameters
    ----------
    source, strategy
        A spec, or what it begins with: ``timm`` passes ``timm/resnet18``.
    data
        Digest of the data, or its first letters.
    modality
        Of the rows.
    before
        A time as entries state it: what is older.
    """

    source: str = ""
    strategy: str = ""
    data: str = ""
    modality: str = ""
    before: str = ""

    def where(self) -> tuple[str, dict[str, str]]:
        """As a condition in SQL, with its parameters."""
        given = {name: getattr(self, name) for name in _WAYS if getattr(self, name)}
        return " AND ".join(_WAYS[name] for name in given) or "1", given


@dataclass(frozen=True)
class Merged:
    """What a merge brought.

    Parameters
    ----------
    added, known
        Entries that are new, and that were there already.
    faults
        ``(line, reason)`` of every line that is none; of a database how many rows were bad, in one.
    """

    added: int
    known: int
    faults: tuple[tuple[int, str], ...] = ()


class Ledger:
    """The entries of one file.

    To add and to look never fails: what goes wrong is said in ``notes``.  A damaged file is renamed to
    ``….kept-1``, and what can be read of it goes on in a new one.  A file that a newer version of
    Graft wrote, or another program, is not touched.

    Parameters
    ----------
    path
        The file; it is made with the first entry.

    Examples
    --------
    >>> Ledger(Path("no such folder") / "ledger.sqlite").entries()
    ()
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._notes: list[str] = []

    @property
    def notes(self) -> tuple[str, ...]:
        """What went wrong so far and what became of it, each sentence once."""
        return tuple(dict.fromkeys(self._notes))

    def add(self, *entries: Entry) -> int:
        """Keep trials; returns how many were not there yet.  What cannot be kept is said in ``notes``."""
        sound = []
        for entry in entries:
            try:
                sound.append(Entry.from_document(entry.document()))
            except DataError as exc:
                self._notes.append(f"a trial of {entry.name!r:.200} is not kept in the ledger: {exc}.")
        try:
            return self._insert(sound)
        except GraftError as exc:
            self._notes.append(f"trials are not remembered: {exc}")
            return 0

    def entries(self, which: Which | None = None) -> tuple[Entry, ...]:
        """The entries, oldest first; none where they cannot be read, which ``notes`` says."""
        try:
            return self.read(which)
        except GraftError as exc:
            self._notes.append(f"earlier trials are not known: {exc}")
            return ()

    def read(self, which: Which | None = None) -> tuple[Entry, ...]:
        """As :meth:`entries`, for whoever cannot do without them.

        Raises
        ------
        MachineError
            Where the ledger cannot be read.
        """
        where, given = (which or Which()).where()

        def work(held: sqlite3.Connection) -> list[Any]:
            return held.execute(f'{stored.SELECT} WHERE {where} ORDER BY "when", rowid', given).fetchall()

        rows: list[Any] = self._run(work, [])
        found = [entry for row in rows if (entry := stored.entry_in(row)) is not None]
        if bad := len(rows) - len(found):
            self._notes.append(f"{bad} entries of the ledger {self.path} are damaged and left out.")
        return tuple(found)

    def export(self, path: Path, which: Which | None = None) -> int:
        """Write entries to a file, a JSON line each; it is whole or absent.  Returns how many.

        Raises
        ------
        MachineError
            Where the ledger cannot be read, the file cannot be written, or it is the ledger itself.
        """
        if path.absolute() == self.path.absolute() or (path.exists() and path.samefile(self.path)):
            raise MachineError(f"{path} is the ledger itself; choose another file to export to.")
        found = self.read(which)
        write_atomic(path, (_line(each) for each in found))
        return len(found)

    def merge(self, other: Path) -> Merged:
        """Take over what is not here yet from an export or from another ledger, which stays as it is.

        Raises
        ------
        DataError
            Where there is no such file, or it is a database that is no ledger of this version.
        MachineError
            Where it cannot be read, or this ledger cannot be written.
        """
        try:
            with open(other, "rb") as file:
                database = file.read(15) == b"SQLite format 3"
                file.seek(0)
                found, faults = ([], []) if database else _lines(file)
        except FileNotFoundError as exc:
            raise DataError(f"{other} does not exist; give a file that graft ledger export wrote.") from exc
        except OSError as exc:
            raise MachineError(f"cannot read {other}: {exc.strerror}.") from exc
        if database:
            with stored.refusals(other):
                found, bad = stored.salvaged(other)
            faults = [(len(found) + 1, f"{bad} rows or more are damaged")] if bad else []
        added = self._insert(found)
        return Merged(added, len(found) - added, tuple(faults))

    def forget(self, which: Which) -> int:
        """Remove entries; their place in the file is overwritten.  Returns how many.

        Raises
        ------
        MachineError
            Where the ledger cannot be written.
        """
        where, given = which.where()

        def work(held: sqlite3.Connection) -> int:
            held.execute("PRAGMA secure_delete = ON")
            with stored.transaction(held):
                return held.execute(f"DELETE FROM entries WHERE {where}", given).rowcount

        return self._run(work, 0)

    def _insert(self, entries: Sequence[Entry]) -> int:
        return self._run(lambda held: stored.insert(held, entries)) if entries else 0

    def _run(self, work: Callable[[sqlite3.Connection], T], absent: T | None = None) -> T:
        """Do the work, and once more with a new file where this one turns out to be damaged.

        ``absent`` is the answer where there is no file; without one, it is made.
        """
        with stored.refusals(self.path):
            if absent is not None and not self.path.exists():
                return absent
            try:
                with stored.opened(self.path) as held:
                    return work(held)
            except stored.DamagedError:
                told = stored.set_aside(self.path)
            self._notes += [] if told is None else [told]
            try:
                with stored.opened(self.path) as held:
                    return work(held)
            except stored.DamagedError as exc:
                raise MachineError(f"the ledger {self.path} is damaged ({exc}); move it away.") from exc


def _line(entry: Entry) -> bytes:
    return json.dumps({"ledger": FORMAT, **entry.document()}, sort_keys=True).encode() + b"\n"


def _lines(file: IO[bytes]) -> tuple[list[Entry], list[tuple[int, str]]]:
    """The entries of an export, and ``(line, reason)`` of every line that is none."""
    found: list[Entry] = []
    faults: list[tuple[int, str]] = []
    number = 0
    while raw := file.readline(_LONGEST_LINE):
        number += 1
        rest = raw
        while len(rest) == _LONGEST_LINE and not rest.endswith(b"\n"):
            rest = file.readline(_LONGEST_LINE)
        try:
            if rest is not raw:
                raise DataError(f"it is longer than {_LONGEST_LINE} bytes")
            found += [_read(raw)] if raw.strip() else []
        except DataError as exc:
            faults.append((number, str(exc)))
    return found, faults


def _read(raw: bytes) -> Entry:
    try:
        document = json.loads(raw.decode("utf-8-sig"), parse_constant=_no_number)
    except (ValueError, RecursionError) as exc:
        raise DataError(f"it is no JSON: {exc}") from exc
    if not isinstance(document, dict):
        raise DataError("it is JSON and no object")
    if document.get("ledger") != FORMAT:
        raise DataError(f"its format is {document.get('ledger')!r:.20}, and {FORMAT} is known here")
    return Entry.from_document(document)


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number in JSON")
