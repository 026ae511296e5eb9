"""Files that are whole or absent: atomic writes, content digests, and a run's journal.

A write goes to a temporary name beside its target, is synced, and is renamed; then the folder
is synced.  A killed process leaves at most a temporary file, whose name says which process of
which host wrote it, so that :func:`sweep` removes only what a dead process of this host left.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import json
import os
import platform
import re
import secrets
import shutil
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from graft.errors import MachineError

__all__ = [
    "Journal",
    "below",
    "cache_root",
    "data_root",
    "digest",
    "disk_errors",
    "fail_point",
    "file_sha256",
    "is_temporary",
    "new_folder",
    "sweep",
    "write_atomic",
]

_TEMPORARY = ".graft-tmp-"
_LONGEST = 200
"""Bytes of a name that its temporary name repeats: file systems allow 255 in all."""
_CANNOT = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EACCES: "permission is denied",
    errno.EPERM: "permission is denied",
    errno.EROFS: "the file system is read-only",
    errno.EIO: "the disk reports an input/output error",
    errno.EFBIG: "the file would be larger than the limit for files",
    errno.EMFILE: "too many files are open",
    errno.ENOTDIR: "a part of the path is a file, not a folder",
    errno.ENOENT: "a folder on the way to it cannot be made",
    errno.EEXIST: "a file stands where a folder is needed",
}


def cache_root() -> Path:
    """``$GRAFT_CACHE``, else ``$XDG_CACHE_HOME/graft``, else ``~/.cache/graft``."""
    if own := os.environ.get("GRAFT_CACHE"):
        return Path(own)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "graft"


def data_root() -> Path:
    """``$GRAFT_DATA_HOME``, else ``$XDG_DATA_HOME/graft``, else ``~/.local/share/graft``: what cannot be made again."""
    if own := os.environ.get("GRAFT_DATA_HOME"):
        return Path(own)
    base = os.environ.get("XDG_DATA_HOME")
    return (Path(base) if base else Path.home() / ".local" / "share") / "graft"


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn the operating system's refusals into a :class:`MachineError` that names ``path``."""
    try:
        yield
    except OSError as exc:
        if exc.errno not in _CANNOT:
            raise
        raise MachineError(
            f"cannot write {path}: {_CANNOT[exc.errno]}. "
            "Free space or choose another place (--output, GRAFT_CACHE), then run the same command again."
        ) from exc


def fail_point(name: str) -> None:
    """Die here when ``GRAFT_FAIL_POINT`` names this point: the tests kill a run at every one."""
    if os.environ.get("GRAFT_FAIL_POINT") == name:
        os.kill(os.getpid(), 9)


def _temporary(path: Path) -> Path:
    """A name beside ``path`` that no other write has, in this process or elsewhere."""
    told = os.fsencode(path.name)[:_LONGEST].decode(errors="ignore")
    return path.with_name(f"{_TEMPORARY}{os.getpid()}-{_host()}-{secrets.token_hex(3)}-{told}")


def is_temporary(path: Path) -> bool:
    """Whether a write that was not finished, here or elsewhere, left this file or folder."""
    return path.name.startswith(_TEMPORARY)


def _host() -> str:
    """Names what gives process ids their meaning: this host, and on Linux its namespace of processes."""
    try:
        space = os.readlink("/proc/self/ns/pid")
    except OSError:
        space = ""
    return digest(platform.node(), space)[:8]


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_atomic(path: Path, data: bytes | Iterable[bytes]) -> Path:
    """Write ``path`` whole or not at all; parents are made.

    Raises
    ------
    MachineError
        Where the disk is full, read-only or not permitted.
    """
    path = Path(path)
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = _temporary(path)
        try:
            with open(temporary, "wb") as file:
                for part in (data,) if isinstance(data, bytes) else data:
                    file.write(part)
                file.flush()
                os.fsync(file.fileno())
            fail_point("before-rename")
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)
    fail_point("after-rename")
    return path


@contextlib.contextmanager
def new_folder(path: Path, replace: bool = False) -> Iterator[Path]:
    """Fill a folder under a temporary name; it takes its own name only when the block succeeds.

    Raises
    ------
    MachineError
        Where the disk refuses, or ``path`` exists and ``replace`` is false.
    """
    path = Path(path)
    temporary = _temporary(path)
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.mkdir()
        try:
            yield temporary
            for file in temporary.rglob("*"):
                if file.is_file():
                    with open(file, "rb") as handle:
                        os.fsync(handle.fileno())
                else:
                    _sync_folder(file)
            _sync_folder(temporary)
            fail_point("before-folder-rename")
            if path.exists():
                if not replace:
                    raise MachineError(f"{path} exists already; choose another name or say --overwrite.")
                if _exchanged(temporary, path):
                    shutil.rmtree(temporary, ignore_errors=True)
                else:
                    aside = _temporary(path.with_name(path.name + ".old"))
                    os.replace(path, aside)
                    os.replace(temporary, path)
                    shutil.rmtree(aside, ignore_errors=True)
            else:
                os.replace(temporary, path)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        _sync_folder(path.parent)


def _exchanged(one: Path, other: Path) -> bool:
    """Swap two names at once, where the system can (Linux): there is no moment without either."""
    try:
        rename = ctypes.CDLL(None).renameat2
    except (OSError, AttributeError, TypeError):  # another system, or an old C library
        return False
    here, exchange = -100, 2  # AT_FDCWD and RENAME_EXCHANGE
    return bool(rename(here, os.fsencode(one), here, os.fsencode(other), exchange) == 0)


def sweep(folder: Path) -> int:
    """Remove temporary files and folders in ``folder`` whose writers, on this host, are dead; returns how many."""
    count = 0
    ours = re.compile(rf"{re.escape(_TEMPORARY)}(\d{{1,9}})-{_host()}-[0-9a-f]{{6}}-")
    for left in folder.glob(f"{_TEMPORARY}*"):
        named = ours.match(left.name)
        if named is None or _alive(int(named[1])):
            continue
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)
        count += 1
    return count


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def digest(*parts: bytes | str) -> str:
    """32 hexadecimal letters that name the content of ``parts``, in order (BLAKE2b, 128 bits)."""
    hasher = hashlib.blake2b(digest_size=16)
    for part in parts:
        raw = part.encode() if isinstance(part, str) else part
        hasher.update(len(raw).to_bytes(8, "little"))
        hasher.update(raw)
    return hasher.hexdigest()


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Journal:
    """What a run has finished, a line each, so that a killed run goes on where it was.

    A step is done when its line is synced; the line carries a checksum, so a torn last line
    counts as absent.

    Parameters
    ----------
    path
        The file; it is made with the first line.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)

    def read(self) -> dict[str, Any]:
        """The values of the finished steps, by name."""
        done: dict[str, Any] = {}
        if not self.path.exists():
            return done
        for line in self.path.read_bytes().splitlines():
            check, _, body = line.partition(b" ")
            if check != b"%08x" % zlib.crc32(body):
                break
            entry = json.loads(body)
            done[entry["step"]] = entry["value"]
        return done

    def write(self, step: str, value: Mapping[str, Any]) -> None:
        """Append one finished step.

        A torn line that a kill left behind is cut off first, so that it cannot hide later ones.
        """
        body = json.dumps({"step": step, "value": value}, sort_keys=True).encode()
        with disk_errors(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(self.path, "ab+") as file:
                file.truncate(self._sound_length())
                file.write(b"%08x %s\n" % (zlib.crc32(body), body))
                file.flush()
                fail_point("before-journal-sync")
                os.fsync(file.fileno())
            _sync_folder(self.path.parent)
        fail_point("after-journal-line")

    def _sound_length(self) -> int:
        length = 0
        for line in self.path.read_bytes().splitlines(keepends=True):
            check, _, body = line.rstrip(b"\n").partition(b" ")
            if not line.endswith(b"\n") or check != b"%08x" % zlib.crc32(body):
                break
            length += len(line)
        return length


def below(folder: str, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Of files by name those in ``folder`` (``"inner/"``), by their names inside it."""
    return {name.removeprefix(folder): held for name, held in files.items() if name.startswith(folder)}
