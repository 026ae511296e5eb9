"""The ledger's SQLite file: made, opened, checked, and kept aside where it is damaged.

A rollback journal and a long wait for the lock let several processes write at once, also where a
write-ahead log would not work: on a network's file system.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from graft.errors import DataError, MachineError
from graft.select.entry import FORMAT, Entry

__all__ = ["SELECT", "DamagedError", "entry_in", "insert", "opened", "refusals", "salvaged", "set_aside", "transaction"]

_OURS = 0x47726674
"""``PRAGMA application_id`` of a ledger: "Grft"."""
_PATIENCE = 30.0
"""Seconds that a write waits for other processes; each takes milliseconds."""
_TYPES = {
    "key": "TEXT PRIMARY KEY",
    "source": "TEXT",
    "strategy": "TEXT",
    "metric": "TEXT",
    "score": "REAL",
    "rows": "INTEGER",
    "seconds": "REAL",
    "data": "TEXT",
    "when": "TEXT",
    "version": "TEXT",
    "machine": "TEXT",
    "sketch": "TEXT",
    "curve": "TEXT",
}
"""Columns; the last two hold JSON."""
_JSON = ("sketch", "curve")
_COLUMNS = ", ".join(f'"{name}"' for name in _TYPES)
_TYPED = ", ".join(f'"{name}" {kind}' for name, kind in _TYPES.items())
_MAKE = f"CREATE TABLE entries ({_TYPED})"
_INSERT = f"INSERT OR IGNORE INTO entries ({_COLUMNS}) VALUES ({', '.join('?' for _ in _TYPES)})"
SELECT = f"SELECT {_COLUMNS} FROM entries"

_DAMAGE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_REASONS = {
    sqlite3.SQLITE_BUSY: f"another process has held it for {_PATIENCE:.0f} s",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened; permission may be missing",
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_IOERR: "the disk refuses to read or write",
    sqlite3.SQLITE_READONLY: "it is read-only",
}


class DamagedError(Exception):
    """The file is no sound ledger."""


def entry_in(row: Sequence[Any]) -> Entry | None:
    """The entry of a row, whose columns are those of ``SELECT``; ``None`` where it is not what was written."""
    document = dict(zip(_TYPES, row, strict=True))
    try:
        document |= {name: json.loads(document[name]) for name in _JSON}
        entry = Entry.from_document(document)
    except (DataError, ValueError, TypeError, RecursionError):
        return None
    return entry if entry.key == document["key"] else None


def insert(held: sqlite3.Connection, entries: Iterable[Entry]) -> int:
    """Write entries in one transaction; one that is there already stays.  Returns how many are new."""
    with transaction(held):
        return sum(held.execute(_INSERT, _row(each)).rowcount for each in entries)


def _row(entry: Entry) -> list[Any]:
    document = {"key": entry.key, **entry.document()}
    document |= {name: json.dumps(document[name], sort_keys=True) for name in _JSON}
    return [document[name] for name in _TYPES]


@contextlib.contextmanager
def transaction(held: sqlite3.Connection) -> Iterator[None]:
    """All of it or nothing; the lock for writing is taken at once, so that two writers wait instead of failing."""
    held.execute("BEGIN IMMEDIATE")
    try:
        yield
        held.execute("COMMIT")
    except BaseException:
        if held.in_transaction:
            held.execute("ROLLBACK")
        raise


@contextlib.contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection to a sound ledger of this format; it is made where there is none.

    Raises
    ------
    DamagedError
        Where it is no sound ledger, also where that shows later in the block.
    MachineError
        Where what is there is not to be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if path.exists() and not path.is_file():
        raise MachineError(f"{path} is no file, and the ledger is one; move it away, or name a file in GRAFT_LEDGER.")
    with _connected(path, "rwc") as held:
        try:
            _settle(held, path)
            yield held
        except UnicodeDecodeError as exc:  # a name that SQLite reads back from a damaged schema
            raise DamagedError("a name in it is no text") from exc
        except sqlite3.DatabaseError as exc:
            if _code(exc) in _DAMAGE:
                raise DamagedError(str(exc)) from exc
            raise


@contextlib.contextmanager
def _connected(path: Path, mode: str) -> Iterator[sqlite3.Connection]:
    where = f"{path.absolute().as_uri()}?mode={mode}"
    with contextlib.closing(sqlite3.connect(where, uri=True, timeout=_PATIENCE, isolation_level=None)) as held:
        held.text_factory = lambda raw: raw.decode("utf-8", "replace")  # a torn text shows in its entry's key
        yield held


def _settle(held: sqlite3.Connection, path: Path) -> None:
    """Make the table of a new file; refuse a file that is not ours to write."""
    if not _tables(held) and _pragma(held, "application_id") == 0:
        with transaction(held):
            if not _tables(held):  # another process may have been quicker
                held.execute(_MAKE)
                held.execute(f"PRAGMA application_id = {_OURS}")
                held.execute(f"PRAGMA user_version = {FORMAT}")
    if _pragma(held, "application_id") != _OURS:
        raise MachineError(f"{path} belongs to another program and is left alone; name another file in GRAFT_LEDGER.")
    if (version := _pragma(held, "user_version")) > FORMAT:
        raise MachineError(
            f"{path} was written by a newer version of Graft (format {version}, and {FORMAT} is known here) "
            "and is left alone; upgrade Graft, or name another file in GRAFT_LEDGER."
        )
    if [row[1] for row in held.execute("PRAGMA table_info(entries)")] != list(_TYPES):
        raise DamagedError("its table is not the one that was made")


def _pragma(held: sqlite3.Connection, name: str) -> int:
    return int(held.execute(f"PRAGMA {name}").fetchone()[0])


def _tables(held: sqlite3.Connection) -> int:
    return int(held.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])


def _code(exc: sqlite3.Error) -> int:
    """The primary code of SQLite's; the bits above it say more of the same."""
    return int(getattr(exc, "sqlite_errorcode", 0)) & 0xFF


@contextlib.contextmanager
def refusals(path: Path) -> Iterator[None]:
    """Turn what SQLite and the operating system refuse into a :class:`MachineError` that names ``path``."""
    try:
        yield
    except sqlite3.Error as exc:
        raise MachineError(f"cannot use the ledger {path}: {_REASONS.get(_code(exc), exc)}.") from exc
    except OSError as exc:
        raise MachineError(f"cannot use the ledger {path}: {exc.strerror or exc}.") from exc


def salvaged(path: Path) -> tuple[list[Entry], int]:
    """What can be read of a ledger, damaged or not, and how many rows of it are bad; it stays as it is.

    Raises
    ------
    DataError
        Where it is sound and not a ledger, or of a newer version.
    """
    found: list[Entry] = []
    bad = 0
    with _connected(path, "ro") as held:
        try:
            if _pragma(held, "application_id") != _OURS:
                raise DataError(f"{path} is a database of another program, and no ledger.")
            if _pragma(held, "user_version") > FORMAT:
                raise DataError(f"{path} was written by a newer version of Graft; export it there, or upgrade Graft.")
            for row in held.execute(SELECT):
                entry = entry_in(row)
                found += [] if entry is None else [entry]
                bad += entry is None
        except (sqlite3.DatabaseError, UnicodeDecodeError):
            bad += 1
    return found, bad


def set_aside(path: Path) -> str | None:
    """Rename a damaged ledger and begin a new one with what can be read of it.

    Of several processes that find the damage one does so.  Returns a sentence that says what was
    done; ``None`` where another process had done it.
    """
    with _alone(path):
        if _is_sound(path):
            return None
        kept = _free(path)
        # its journal first: beside a new file of that name it would be played back into it
        if (journal := path.with_name(f"{path.name}-journal")).exists():
            os.replace(journal, kept.with_name(f"{kept.name}-journal"))
        os.replace(path, kept)
        try:
            found, _ = salvaged(kept)
        except DataError:  # too damaged to tell what it was
            found = []
        with opened(path) as held:
            insert(held, found)
    begins = f"a new one begins with the {len(found)} entries that could be read" if found else "a new one begins"
    return f"the ledger {path} was damaged: it is kept as {kept.name}, and {begins}."


def _is_sound(path: Path) -> bool:
    try:
        with opened(path) as held:
            return [row[0] for row in held.execute("PRAGMA integrity_check")] == ["ok"]
    except DamagedError:
        return False


def _free(path: Path) -> Path:
    number = 1
    while (kept := path.with_name(f"{path.name}.kept-{number}")).exists():
        number += 1
    return kept


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold a lock beside the ledger; it goes when the process does."""
    with open(path.with_name(path.name + ".lock"), "wb") as lock:
        with contextlib.suppress(ImportError):  # not on Windows
            import fcntl

            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
