"""The ledger: nothing is lost, nothing is doubled, and nothing that happens to the file ends a fit."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from graft.errors import DataError, MachineError
from graft.select import ledger_file
from graft.select.entry import Entry
from graft.select.ledger import Ledger, Which, ledger_path
from graft.select.sketch import Sketch

SKETCH = Sketch("text", "classification", "softmax", 200, 2, 0.97, {"words": 12.0})
ENTRY = Entry(
    SKETCH, "minilm", "linear_probe", "accuracy", 0.91, 140, 3.5, ((140, 0.91),), "d" * 32, "2026-01-31T12:00:00Z"
)
HEADER = """
import sys
from dataclasses import replace
from pathlib import Path
from graft.select.entry import Entry
from graft.select.ledger import Ledger
from graft.select.sketch import Sketch
SKETCH = Sketch("text", "classification", "softmax", 200, 2, 0.97, {"words": 12.0})
ENTRY = Entry(
    SKETCH, "minilm", "linear_probe", "accuracy", 0.91, 140, 3.5, ((140, 0.91),), "d" * 32, "2026-01-31T12:00:00Z"
)
held = Ledger(Path(sys.argv[1]))
"""


def some(count: int, source: str = "minilm") -> list[Entry]:
    return [replace(ENTRY, source=source, score=place / 1000) for place in range(count)]


def python(code: str, *given: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HEADER + code, *map(str, given)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def adding(count: int) -> str:
    return f"for place in range({count}):\n    held.add(replace(ENTRY, source=sys.argv[2], score=place / 1000))\n"


def ended(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return out


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "ledger.sqlite"


@pytest.fixture
def full(path: Path) -> Ledger:
    held = Ledger(path)
    held.add(*some(30))
    return held


def keys(entries: tuple[Entry, ...] | list[Entry]) -> set[str]:
    return {each.key for each in entries}


def test_what_is_added_is_there(path: Path) -> None:
    held = Ledger(path)
    assert held.entries() == ()
    assert not path.parent.exists()  # to look makes nothing
    entries = some(3)
    assert held.add(*entries) == 3
    assert Ledger(path).entries() == tuple(entries)
    assert held.notes == ()
    assert held.add() == 0
    assert path.parent.stat().st_mode & 0o077 == 0  # it is nobody else's


def test_the_same_entry_twice_is_one(path: Path) -> None:
    held = Ledger(path)
    assert held.add(ENTRY, ENTRY) == 1
    assert held.add(replace(ENTRY, when="2027-01-01T00:00:00Z")) == 0
    assert held.entries() == (ENTRY,)


def test_oldest_first(path: Path) -> None:
    held = Ledger(path)
    late, early = replace(ENTRY, when="2026-03-01T00:00:00Z"), replace(ENTRY, score=0.5, when="2026-02-01T00:00:00Z")
    held.add(late, early)
    assert held.entries() == (early, late)


def test_an_entry_that_is_none_is_said_and_costs_no_other(path: Path) -> None:
    held = Ledger(path)
    assert held.add(replace(ENTRY, source="a\nb"), ENTRY) == 1
    (note,) = held.notes
    assert "is not kept in the ledger: source is" in note


def test_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAFT_DATA_HOME", "/own")
    assert ledger_path() == Path("/own/ledger.sqlite")
    monkeypatch.setenv("GRAFT_LEDGER", "/shared/team.sqlite")
    assert ledger_path() == Path("/shared/team.sqlite")
    for word in ("off", "OFF", "no", "false", "0"):
        monkeypatch.setenv("GRAFT_LEDGER", word)
        assert ledger_path() is None


@pytest.mark.parametrize(
    ("which", "count"),
    [
        (Which(), 6),
        (Which(source="timm"), 2),
        (Which(source="timm/resnet18"), 2),
        (Which(source="tim"), 0),
        (Which(strategy="lora"), 3),
        (Which(strategy="lora?rank=4"), 2),
        (Which(data="ee"), 2),
        (Which(modality="image"), 2),
        (Which(before="2026-01-01T00:00:00Z"), 1),
        (Which(source="minilm", strategy="lora", before="2026-01-01T00:00:00Z"), 1),
        (Which(source="' OR 1 --"), 0),
    ],
)
def test_choosing(path: Path, which: Which, count: int, tmp_path: Path) -> None:
    held = Ledger(path)
    pictures = replace(SKETCH, modality="image")
    held.add(
        ENTRY,
        replace(ENTRY, strategy="lora?rank=4"),
        replace(ENTRY, strategy="lora?rank=4", data="ee12", when="2025-12-31T23:59:59Z"),
        replace(ENTRY, source="timm/resnet18?pretrained=false", sketch=pictures),
        replace(ENTRY, source="timm/resnet18", sketch=pictures, data="ee34"),
        replace(ENTRY, strategy="lora", source="loranet"),
    )
    chosen = held.entries(which)
    assert len(chosen) == count
    assert held.export(tmp_path / "some.jsonl", which) == count
    assert held.forget(which) == count
    assert keys(held.entries()) & keys(chosen) == set()
    assert len(held.entries()) == 6 - count


def test_what_is_forgotten_is_gone_from_the_file(path: Path) -> None:
    held = Ledger(path)
    held.add(replace(ENTRY, source="file/secret-plan.safetensors"), *some(3))
    assert b"secret-plan" in path.read_bytes()
    assert held.forget(Which(source="file")) == 1
    assert b"secret-plan" not in path.read_bytes()
    assert held.forget(Which()) == 3
    assert held.entries() == ()


def test_to_forget_where_nothing_is_makes_nothing(path: Path) -> None:
    assert Ledger(path).forget(Which()) == 0
    assert not path.exists()


def test_export_and_merge_never_double(full: Ledger, tmp_path: Path) -> None:
    lines = tmp_path / "trials.jsonl"
    assert full.export(lines) == 30
    other = Ledger(tmp_path / "other.sqlite")
    other.add(*some(5), ENTRY)
    found = other.merge(lines)
    assert (found.added, found.known, found.faults) == (25, 5, ())
    assert other.merge(lines).added == 0
    assert other.merge(full.path).added == 0  # another ledger as well as an export of it
    assert full.merge(other.path).added == 1
    assert keys(full.entries()) == keys(other.entries())
    again = tmp_path / "again.jsonl"
    full.export(again)
    assert full.merge(again).added == 0
    assert full.merge(full.path).added == 0


def test_an_export_is_lines_that_may_be_put_together(full: Ledger, tmp_path: Path) -> None:
    lines = tmp_path / "trials.jsonl"
    full.export(lines)
    two = tmp_path / "two.jsonl"
    two.write_bytes(b"\xef\xbb\xbf" + lines.read_bytes().replace(b"\n", b"\r\n") + b"\n" + lines.read_bytes().strip())
    other = Ledger(tmp_path / "other.sqlite")
    assert (other.merge(two).added, len(other.entries())) == (30, 30)


def test_bad_lines_are_told_by_number_and_cost_nothing_else(full: Ledger, tmp_path: Path) -> None:
    lines = tmp_path / "trials.jsonl"
    full.export(lines)
    good = lines.read_bytes().splitlines()
    document = json.loads(good[0])
    bad = {
        2: (b"{not JSON", "it is no JSON"),
        4: (b"[1, 2]", "it is JSON and no object"),
        5: (json.dumps({**document, "ledger": 2}).encode(), "its format is 2, and 1 is known here"),
        6: (json.dumps({**document, "rows": -3}).encode(), "rows is -3"),
        7: (b"\xff\xfe\x00", "it is no JSON"),
        8: (b"[" * 100_000, "it is no JSON"),
        9: (good[0].replace(b"0.0", b"NaN"), "NaN is no number in JSON"),
        10: (b'{"ledger": 1, "pad": "' + b"x" * 3_000_000 + b'"}', "it is longer than 1000000 bytes"),
        11: (b"9" * 5000, "it is no JSON"),
        12: (b"{}", "its format is None"),
    }
    mixed = [bad[number][0] if number in bad else good[number] for number in range(1, 14)]
    lines.write_bytes(b"\n".join(mixed))
    other = Ledger(tmp_path / "other.sqlite")
    found = other.merge(lines)
    assert found.added == 3
    assert [number for number, _ in found.faults] == list(bad)
    for number, reason in found.faults:
        assert bad[number][1] in reason, number


def test_what_cannot_be_merged_is_refused(full: Ledger, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist; give a file that graft ledger export wrote"):
        full.merge(tmp_path / "none.jsonl")
    with pytest.raises(MachineError, match="cannot read"):
        full.merge(tmp_path)
    strange = tmp_path / "strange.sqlite"
    with sqlite3.connect(strange) as other:
        other.execute("CREATE TABLE photos (name TEXT)")
    other.close()
    with pytest.raises(DataError, match="of another program"):
        full.merge(strange)
    newer = tmp_path / "newer.sqlite"
    Ledger(newer).add(ENTRY)
    set_version(newer, 7)
    with pytest.raises(DataError, match="newer version of Graft"):
        full.merge(newer)
    assert len(full.entries()) == 30


def test_of_a_damaged_ledger_what_can_be_read_is_taken(full: Ledger, tmp_path: Path) -> None:
    raw = full.path.read_bytes()
    torn = tmp_path / "torn.sqlite"
    torn.write_bytes(raw[: len(raw) * 2 // 3])
    other = Ledger(tmp_path / "other.sqlite")
    found = other.merge(torn)
    assert found.faults
    assert "are damaged" in found.faults[0][1]
    assert keys(other.entries()) < keys(full.entries())
    assert torn.stat().st_size == len(raw) * 2 // 3


def test_an_export_does_not_overwrite_the_ledger(full: Ledger, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(full.path)
    for place in (full.path, tmp_path / "link"):
        with pytest.raises(MachineError, match="is the ledger itself"):
            full.export(place)
    with pytest.raises(MachineError, match="/proc"):
        full.export(Path("/proc/graft/trials.jsonl"))
    assert len(full.entries()) == 30


def test_two_processes_write_at_once_and_nothing_is_lost(path: Path) -> None:
    code = adding(60) + "print(held.notes)"
    both = [python(code, path, name) for name in ("one", "two")]
    looked = [len(Ledger(path).entries()) for _ in range(20)]
    assert [ended(each).strip() for each in both] == ["()", "()"]
    assert looked == sorted(looked)
    found = Ledger(path).entries()
    assert keys(found) == keys(some(60, "one")) | keys(some(60, "two"))


def test_a_kill_loses_nothing_that_was_told(path: Path) -> None:
    code = "for place in range(10**6):\n    held.add(replace(ENTRY, score=place / 1000))\n    print(place, flush=True)"
    process = python(code, path)
    assert process.stdout is not None
    told = [process.stdout.readline() for _ in range(25)]
    process.kill()
    rest, _ = process.communicate()
    done = int(("".join(told) + rest[: rest.rfind("\n") + 1]).split()[-1])
    held = Ledger(path)
    assert len(held.entries()) in (done + 1, done + 2)  # the last one may be there and untold
    assert held.notes == ()
    assert held.add(replace(ENTRY, source="after")) == 1


def set_version(path: Path, version: int) -> None:
    with sqlite3.connect(path) as other:
        other.execute(f"PRAGMA user_version = {version}")
    other.close()


def test_one_of_a_newer_version_is_not_touched(full: Ledger) -> None:
    set_version(full.path, 2)
    before = full.path.read_bytes()
    held = Ledger(full.path)
    assert held.add(ENTRY) == 0
    assert held.add(ENTRY) == 0
    assert held.entries() == ()
    written, read = held.notes  # each said once
    assert "written by a newer version of Graft (format 2, and 1 is known here)" in written
    assert "upgrade Graft" in read
    with pytest.raises(MachineError, match="newer version"):
        held.forget(Which())
    assert full.path.read_bytes() == before
    assert [each.name for each in full.path.parent.iterdir()] == ["ledger.sqlite"]


def test_a_database_of_another_program_is_not_touched(path: Path) -> None:
    path.parent.mkdir()
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE photos (name TEXT)")
    other.close()
    before = path.read_bytes()
    held = Ledger(path)
    assert (held.add(ENTRY), held.entries()) == (0, ())
    assert all("belongs to another program and is left alone" in note for note in held.notes)
    assert path.read_bytes() == before


def test_a_folder_in_its_place(path: Path) -> None:
    path.mkdir(parents=True)
    held = Ledger(path)
    assert (held.add(ENTRY), held.entries()) == (0, ())
    assert all("is no file, and the ledger is one" in note for note in held.notes)
    assert list(path.iterdir()) == []


@pytest.mark.parametrize("place", ["/proc/graft/ledger.sqlite", "/dev/null/ledger.sqlite"])
def test_a_place_that_cannot_be_written(place: str) -> None:
    held = Ledger(Path(place))
    assert (held.add(ENTRY), held.entries()) == (0, ())
    (note,) = held.notes
    assert note.startswith(f"trials are not remembered: cannot use the ledger {place}: ")


def test_a_ledger_that_may_not_be_read(full: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(self: Path, **_: object) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "exists", refused)
    assert full.entries() == ()
    assert "Permission denied" in full.notes[0]


def test_a_read_only_ledger_is_still_read(full: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    connect = sqlite3.connect

    def read_only(where: str, **given: object) -> sqlite3.Connection:
        return connect(where.replace("mode=rwc", "mode=ro"), **given)  # type: ignore[call-overload, no-any-return]

    monkeypatch.setattr(sqlite3, "connect", read_only)
    assert len(full.entries()) == 30
    assert full.add(ENTRY) == 0
    assert full.notes == (f"trials are not remembered: cannot use the ledger {full.path}: it is read-only.",)


def test_a_ledger_that_another_process_holds(full: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_file, "_PATIENCE", 0.05)
    with sqlite3.connect(full.path, isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert full.add(ENTRY) == 0
        other.execute("ROLLBACK")
    other.close()
    assert "another process has held it for" in full.notes[0]
    assert full.add(ENTRY) == 1


def test_a_full_disk(full: Ledger) -> None:
    """The kernel lets no file grow: what was there stays, and the process goes on."""
    code = (
        "import resource, signal\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)\n"
        "print(held.add(*(replace(ENTRY, source='new', score=place / 1000) for place in range(500))))\n"
        "print(len(held.notes), len(held.entries()))"
    )
    for limit in (0, 1000, full.path.stat().st_size):
        assert ended(python(code, full.path, limit)).split() == ["0", "1", "30"], limit
    assert len(full.entries()) == 30
    assert full.add(ENTRY) == 1


@pytest.mark.parametrize(
    "spoil",
    [
        lambda raw: b"",
        lambda raw: b"not a database, but a shopping list " * 50,
        lambda raw: raw[:100],
        lambda raw: raw[: len(raw) // 2],
        lambda raw: bytes(len(raw)),
        lambda raw: raw[:4096] + bytes(len(raw) - 4096),
        lambda raw: raw.replace(b"CREATE TABLE entries", b"CREATE TABLE enemies"),
        lambda raw: raw.replace(b'"metric" TEXT', b'"mutton" TEXT'),
    ],
)
def test_a_damaged_one_is_kept_aside_and_a_new_one_begins(full: Ledger, spoil: Callable[[bytes], bytes]) -> None:
    raw = spoil(full.path.read_bytes())
    full.path.write_bytes(raw)
    held = Ledger(full.path)
    assert held.add(replace(ENTRY, source="after")) == 1
    assert replace(ENTRY, source="after") in held.entries()
    kept = full.path.with_name("ledger.sqlite.kept-1")
    if not raw:  # an empty file is a ledger without entries
        assert not kept.exists()
        return
    assert kept.read_bytes() == raw
    (note,) = held.notes
    assert "was damaged: it is kept as ledger.sqlite.kept-1, and a new one begins" in note
    full.path.write_bytes(b"damaged again " * 10)
    assert held.entries() == ()
    assert full.path.with_name("ledger.sqlite.kept-2").exists()
    assert kept.read_bytes() == raw


def test_what_can_be_read_of_a_damaged_one_goes_on(path: Path) -> None:
    held = Ledger(path)
    held.add(*some(300))
    raw = bytearray(path.read_bytes())
    raw[-4096:] = bytes(4096)  # one page of many
    path.write_bytes(raw)
    found = held.entries()
    assert keys(found) <= keys(some(300))
    assert len(found) > 50
    assert held.add(replace(ENTRY, source="after")) == 1
    assert len(Ledger(path).entries()) == len(found) + 1


def test_flipped_bytes_never_mislead(full: Ledger) -> None:
    """Whatever bytes are flipped, nothing fails, and nothing is read that was not written."""
    raw, known = full.path.read_bytes(), keys(full.entries())
    random = np.random.default_rng(0)
    for _ in range(150):
        torn = bytearray(raw)
        for place in random.integers(0, len(raw), random.integers(1, 40)):
            torn[place] ^= int(random.integers(1, 256))
        for left in full.path.parent.iterdir():
            left.unlink()
        full.path.write_bytes(torn)
        held = Ledger(full.path)
        found = held.entries()
        assert keys(found) <= known
        assert len(found) == 30 or held.notes
        held.add(replace(ENTRY, source="after"))
        assert keys(held.entries()) <= {*known, replace(ENTRY, source="after").key}


def test_a_damaged_entry_is_left_out_and_said(full: Ledger) -> None:
    with sqlite3.connect(full.path) as other:
        other.execute("UPDATE entries SET score = 0.99 WHERE rowid = 3")
        other.execute("UPDATE entries SET sketch = '{' WHERE rowid = 5")
    other.close()
    assert len(full.entries()) == 28
    assert full.notes == (f"2 entries of the ledger {full.path} are damaged and left out.",)
    assert full.forget(Which(modality="text")) == 29
    assert full.forget(Which()) == 1


def test_a_journal_of_the_damaged_one_is_not_played_into_the_new_one(
    full: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    full.path.write_bytes(b"no database " * 500)
    journal = full.path.with_name("ledger.sqlite-journal")

    def unsound(path: Path) -> bool:
        journal.write_bytes(b"left by a process that was killed")
        return False

    monkeypatch.setattr(ledger_file, "_is_sound", unsound)
    assert full.add(ENTRY) == 1
    assert full.path.with_name("ledger.sqlite.kept-1-journal").read_bytes() == b"left by a process that was killed"
    assert not journal.exists()
    assert full.entries() == (ENTRY,)


def test_two_processes_that_find_it_damaged_lose_nothing(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"no database " * 500)
    code = adding(20) + "print(len(held.notes))"
    both = [python(code, path, name) for name in ("one", "two")]
    assert sum(int(ended(each)) for each in both) == 1  # one of them says so
    assert len(Ledger(path).entries()) == 40
    assert [each.name for each in path.parent.glob("*.kept-*")] == ["ledger.sqlite.kept-1"]


def test_what_cannot_be_set_aside_is_said(full: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    full.path.write_bytes(b"no database " * 500)

    def refused(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(os, "replace", refused)
    assert (full.add(ENTRY), full.entries()) == (0, ())
    assert all("Read-only file system" in note for note in full.notes)


def test_damage_that_cannot_be_found_again_is_said(full: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    def damaged(*_: object) -> int:
        raise sqlite3.DatabaseError("torn")

    def code(exc: sqlite3.Error) -> int:
        return sqlite3.SQLITE_CORRUPT

    monkeypatch.setattr(ledger_file, "insert", damaged)
    monkeypatch.setattr(ledger_file, "_code", code)
    assert full.add(ENTRY) == 0
    assert f"the ledger {full.path} is damaged (torn); move it away." in full.notes[0]
    assert len(full.entries()) == 30


def test_a_clock_in_the_future_changes_no_answer(path: Path) -> None:
    held = Ledger(path)
    ahead = replace(ENTRY, when="2999-01-01T00:00:00Z")
    assert held.add(ahead) == 1
    assert held.add(replace(ENTRY, score=0.5)) == 1
    assert len(held.entries()) == 2
    assert held.forget(Which(before="2026-12-01T00:00:00Z")) == 1
    assert held.entries() == (ahead,)
