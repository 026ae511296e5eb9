"""Files are whole or absent, whatever ends the process that writes them."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from graft import storage
from graft.errors import MachineError
from graft.storage import (
    Journal,
    cache_root,
    data_root,
    digest,
    disk_errors,
    file_sha256,
    new_folder,
    sweep,
    write_atomic,
)


def dies(code: str, point: str) -> None:
    """Run Python that is killed at a fail point."""
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, "GRAFT_FAIL_POINT": point}, check=False)
    assert done.returncode == -9


def dead_process() -> int:
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    return done.pid


def test_write_makes_parents_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.txt"
    assert write_atomic(path, b"one") == path
    write_atomic(path, iter([b"t", b"wo"]))
    assert path.read_bytes() == b"two"
    assert [each.name for each in path.parent.iterdir()] == ["b.txt"]


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = write_atomic(tmp_path / "file", b"old")

    def parts() -> Iterator[bytes]:
        yield b"half"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomic(path, parts())
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def replaced(path: Path) -> None:
    for content in (b"old", b"new"):
        with new_folder(path, replace=True) as inside:
            (inside / "file").write_bytes(content)
    assert (path / "file").read_bytes() == b"new"
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_is_replaced_at_once_where_the_system_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moved: list[object] = []
    rename = os.replace
    monkeypatch.setattr(os, "replace", lambda *names: (moved.append(names), rename(*names)))
    replaced(tmp_path / "one" / "folder")
    if sys.platform == "linux":
        assert len(moved) == 1, "the first took its name; the second swapped names with it"
    monkeypatch.setattr(storage, "_exchanged", lambda one, other: False)
    replaced(tmp_path / "two" / "folder")


@pytest.mark.parametrize("library", [object(), OSError("no such library")])
def test_where_the_system_cannot_swap_names_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: object
) -> None:
    def load(name: object) -> object:
        if isinstance(library, OSError):
            raise library
        return library

    monkeypatch.setattr(storage.ctypes, "CDLL", load)
    assert not storage._exchanged(tmp_path / "one", tmp_path / "other")


def test_a_kill_before_the_rename_leaves_the_old_file_and_sweep_clears_up(tmp_path: Path) -> None:
    path = write_atomic(tmp_path / "file", b"old")
    code = (
        f"from pathlib import Path; from graft.storage import write_atomic; write_atomic(Path({str(path)!r}), b'new')"
    )
    dies(code, "before-rename")
    assert path.read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 2
    assert sweep(tmp_path) == 1
    assert list(tmp_path.iterdir()) == [path]
    dies(code, "after-rename")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_is_whole_or_absent(tmp_path: Path) -> None:
    path = tmp_path / "model"
    with contextlib.suppress(RuntimeError), new_folder(path) as inside:
        (inside / "half").write_bytes(b"")
        raise RuntimeError
    assert not list(tmp_path.iterdir())
    with new_folder(path) as inside:
        (inside / "deep").mkdir()
        (inside / "deep" / "file").write_bytes(b"1")
        assert not path.exists()
    assert (path / "deep" / "file").read_bytes() == b"1"


def test_a_folder_is_replaced_only_when_asked(tmp_path: Path) -> None:
    path = tmp_path / "model"
    for content in (b"1", b"2"):
        with new_folder(path, replace=True) as inside:
            (inside / "file").write_bytes(content)
    with pytest.raises(MachineError, match=r"exists already.*--overwrite"), new_folder(path) as inside:
        (inside / "file").write_bytes(b"3")
    assert (path / "file").read_bytes() == b"2"
    assert list(tmp_path.iterdir()) == [path]


def test_a_kill_before_a_folder_is_named_leaves_none(tmp_path: Path) -> None:
    path = tmp_path / "model"
    code = (
        "from pathlib import Path; from graft.storage import new_folder\n"
        f"with new_folder(Path({str(path)!r})) as inside: (inside / 'file').write_bytes(b'1')"
    )
    dies(code, "before-folder-rename")
    assert not path.exists()
    assert sweep(tmp_path) == 1
    assert not list(tmp_path.iterdir())


def test_sweep_leaves_what_living_processes_write(tmp_path: Path) -> None:
    host, dead = storage._host(), dead_process()
    for writer in (f"{os.getpid()}-{host}", f"{os.getppid()}-{host}", f"nobody-{host}", f"{dead}-00000000", dead):
        (tmp_path / f".graft-tmp-{writer}-012abc-file").write_bytes(b"")
    (tmp_path / f".graft-tmp-{dead}-{host}-012abc-folder").mkdir()
    assert sweep(tmp_path) == 1
    assert len(list(tmp_path.iterdir())) == 5
    assert sweep(tmp_path / "absent") == 0


def test_a_process_of_someone_else_counts_as_alive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(process: int, signal: int) -> None:
        raise PermissionError

    monkeypatch.setattr(storage.os, "kill", refuse)
    (tmp_path / f".graft-tmp-1-{storage._host()}-012abc-file").write_bytes(b"")
    assert sweep(tmp_path) == 0


def test_writes_of_one_path_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "file"

    def outer() -> Iterator[bytes]:
        yield b"out"
        write_atomic(path, b"inner")
        yield b"er"

    write_atomic(path, outer())
    assert path.read_bytes() == b"outer"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("letter", ["a", "ü"])
def test_the_longest_names_can_be_written(tmp_path: Path, letter: str) -> None:
    path = tmp_path / (letter * (254 // len(letter.encode())))
    assert write_atomic(path, b"1").read_bytes() == b"1"
    assert list(tmp_path.iterdir()) == [path]


def test_without_a_process_namespace_the_host_has_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str) -> str:
        raise FileNotFoundError

    named = storage._host()
    monkeypatch.setattr(storage.os, "readlink", refuse)
    assert len(storage._host()) == len(named) == 8


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EACCES, "permission is denied"),
        (errno.EROFS, "read-only"),
        (errno.EIO, "input/output error"),
        (errno.ENOTDIR, "a file, not a folder"),
    ],
)
def test_what_the_system_refuses_is_said_with_the_path_and_the_remedy(number: int, words: str) -> None:
    with (
        pytest.raises(MachineError, match=f"cannot write model/x: .*{words}.*Free space") as caught,
        disk_errors(Path("model/x")),
    ):
        raise OSError(number, "refused")
    assert isinstance(caught.value.__cause__, OSError)


def test_other_failures_pass_through() -> None:
    with pytest.raises(InterruptedError), disk_errors(Path("x")):
        raise InterruptedError(errno.EINTR, "interrupted")


def test_a_file_where_a_folder_is_needed(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(MachineError, match="a part of the path is a file"):
        write_atomic(tmp_path / "file" / "inner" / "x", b"")


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(storage.os, "fsync", full)
    with pytest.raises(MachineError, match="the disk is full"):
        write_atomic(tmp_path / "file", b"1")
    with pytest.raises(MachineError, match="the disk is full"), new_folder(tmp_path / "folder") as inside:
        (inside / "file").write_bytes(b"1")
    assert not list(tmp_path.iterdir())


def test_the_cache_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAFT_CACHE", "/own")
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert cache_root() == Path("/own")
    monkeypatch.delenv("GRAFT_CACHE")
    assert cache_root() == Path("/xdg/graft")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_root() == Path.home() / ".cache" / "graft"


def test_the_data_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAFT_DATA_HOME", "/own")
    monkeypatch.setenv("XDG_DATA_HOME", "/xdg")
    assert data_root() == Path("/own")
    monkeypatch.delenv("GRAFT_DATA_HOME")
    assert data_root() == Path("/xdg/graft")
    monkeypatch.delenv("XDG_DATA_HOME")
    assert data_root() == Path.home() / ".local" / "share" / "graft"


def test_a_digest_knows_where_one_part_ends() -> None:
    assert digest("ab", "c") != digest("a", "bc")
    assert digest("ab") == digest(b"ab")
    assert len(digest()) == 32


def test_file_sha256(tmp_path: Path) -> None:
    path = write_atomic(tmp_path / "file", b"abc")
    assert file_sha256(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_journal_remembers_what_was_finished(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "run" / "journal")
    assert journal.read() == {}
    journal.write("probe", {"score": 0.5})
    journal.write("tune", {"name": "é\n"})
    journal.write("probe", {"score": 0.75})
    assert Journal(journal.path).read() == {"probe": {"score": 0.75}, "tune": {"name": "é\n"}}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
@given(cut=st.integers(min_value=0, max_value=200))
def test_a_journal_cut_anywhere_keeps_its_whole_lines_and_goes_on(cut: int, tmp_path: Path) -> None:
    path = tmp_path / "journal"
    path.unlink(missing_ok=True)
    whole = Journal(path)
    for place in range(3):
        whole.write(f"step{place}", {"place": place})
    raw = path.read_bytes()[:cut]
    path.write_bytes(raw)
    kept = raw.count(b"\n")
    whole.write("next", {"place": 9})
    found = whole.read()
    assert found.pop("next") == {"place": 9}
    assert list(found) == [f"step{place}" for place in range(kept)]


def test_a_journal_stops_at_a_damaged_line(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    for step in "abc":
        journal.write(step, {})
    lines = journal.path.read_bytes().splitlines(keepends=True)
    lines[1] = lines[1].replace(b'"b"', b'"x"')
    journal.path.write_bytes(b"".join(lines))
    assert list(journal.read()) == ["a"]


@pytest.mark.parametrize(("point", "done"), [("before-journal-sync", {"a", "b"}), ("after-journal-line", {"a", "b"})])
def test_a_kill_while_a_line_is_written(tmp_path: Path, point: str, done: set[str]) -> None:
    journal = Journal(tmp_path / "journal")
    journal.write("a", {})
    code = f"from graft.storage import Journal; Journal({str(journal.path)!r}).write('b', {{}})"
    dies(code, point)
    assert set(journal.read()) <= done
    assert "a" in journal.read()
    journal.write("c", {})
    assert "c" in journal.read()
    assert all(json.loads(line.partition(b" ")[2]) for line in journal.path.read_bytes().splitlines())
