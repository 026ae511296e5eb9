"""Paths that a person gave: what is missing says so, with the nearest name that is there."""

from __future__ import annotations

import contextlib
import difflib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from graft.errors import DataError, MachineError

__all__ = ["MAX_FILE_BYTES", "existing_file", "existing_folder", "read_row_file", "reading"]

MAX_FILE_BYTES = 512 * 2**20
"""No single row is larger than this."""


def existing_file(path: Path) -> Path:
    """The path, if a file is there.

    Raises
    ------
    DataError
        Where nothing, or a folder, is there.
    MachineError
        Where it may not be looked at.
    """
    with reading(path):
        if path.is_dir():
            raise DataError(f"{path} is a folder; a file was expected.")
        if not path.exists():
            raise DataError(_missing(path, "file"))
    return path


def existing_folder(path: Path) -> Path:
    """The path, if a folder is there; raises as :func:`existing_file` does."""
    with reading(path):
        if not path.exists():
            raise DataError(_missing(path, "file or folder"))
        if not path.is_dir():
            raise DataError(f"{path} is a file of a kind that is not read; a folder or a table was expected.")
    return path


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Translate the operating system's refusals to read ``path``.

    Raises
    ------
    MachineError
        Where the permission is missing or the disk fails.
    DataError
        Where it vanished meanwhile.
    """
    try:
        yield
    except PermissionError as exc:
        raise MachineError(
            f"cannot read {exc.filename or path}: permission is denied. "
            "Give yourself the right to read it (chmod u+rX), or choose data that you may read."
        ) from exc
    except FileNotFoundError as exc:
        raise DataError(_missing(path, "file")) from exc
    except OSError as exc:
        if exc.errno in (errno.EIO, errno.ENAMETOOLONG, errno.ELOOP, errno.EMFILE):
            raise MachineError(f"cannot read {path}: {exc.strerror}. Check the path and the disk.") from exc
        raise


def read_row_file(path: str) -> bytes:
    """The bytes of a file that is one row.

    Raises
    ------
    ValueError
        With a short reason, where it is absent, no plain file, not permitted, empty or too large.
    """
    try:
        found = os.stat(path)
        # A pipe or a device would block or never end.
        if not stat.S_ISREG(found.st_mode):
            raise ValueError("it is not a plain file")
        if found.st_size > MAX_FILE_BYTES:
            raise ValueError(f"the file has {found.st_size:,} bytes; at most {MAX_FILE_BYTES:,} are read")
        with open(path, "rb") as file:
            raw = file.read()
    except FileNotFoundError as exc:
        raise ValueError("there is no such file") from exc
    except PermissionError as exc:
        raise ValueError("permission to read it is denied") from exc
    except OSError as exc:
        raise ValueError(f"it cannot be read: {exc.strerror}") from exc
    if not raw:
        raise ValueError("the file is empty")
    return raw


def _missing(path: Path, kind: str) -> str:
    near: list[str] = []
    with contextlib.suppress(OSError):
        near = difflib.get_close_matches(path.name, os.listdir(path.parent), n=2, cutoff=0.6)
    hint = f" Did you mean {' or '.join(str(path.parent / name) for name in near)}?" if near else ""
    return f"there is no {kind} {path}.{hint} Give the path of your data, from here or from the root."
