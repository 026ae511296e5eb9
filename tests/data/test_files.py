from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from graft.data import files
from graft.data.files import existing_file, existing_folder, read_row_file, reading
from graft.errors import DataError, MachineError


def test_a_missing_file_suggests_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "train.csv").touch()
    with pytest.raises(DataError, match=r"trian\.csv.*Did you mean .*train\.csv"):
        existing_file(tmp_path / "trian.csv")


def test_a_folder_is_no_file_and_a_file_no_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is a folder"):
        existing_file(tmp_path)
    (tmp_path / "a").touch()
    with pytest.raises(DataError, match="is a file"):
        existing_folder(tmp_path / "a")
    with pytest.raises(DataError, match="there is no file or folder"):
        existing_folder(tmp_path / "b")


@pytest.mark.parametrize("code", [errno.EACCES, errno.EIO, errno.ENAMETOOLONG])
def test_the_machines_refusals_are_its_own_kind(code: int) -> None:
    with pytest.raises(MachineError, match="cannot read"), reading(Path("x")):
        raise OSError(code, os.strerror(code))


def test_a_file_that_vanishes_is_missing() -> None:
    with pytest.raises(DataError, match="there is no file"), reading(Path("nowhere/x")):
        raise FileNotFoundError(errno.ENOENT, "gone")


def test_other_errors_stay_as_they_are() -> None:
    with pytest.raises(OSError, match="argument"), reading(Path("x")):
        raise OSError(errno.EINVAL, "invalid argument")


def test_a_row_file_is_read_whole(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert read_row_file(str(tmp_path / "a")) == b"abc"


def test_reasons_why_a_row_file_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="no such file"):
        read_row_file(str(tmp_path / "absent"))
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="plain file"):
        read_row_file(str(tmp_path / "pipe"))
    (tmp_path / "empty").touch()
    with pytest.raises(ValueError, match="empty"):
        read_row_file(str(tmp_path / "empty"))
    (tmp_path / "a").write_bytes(b"abc")
    monkeypatch.setattr(files, "MAX_FILE_BYTES", 2)
    with pytest.raises(ValueError, match="at most 2"):
        read_row_file(str(tmp_path / "a"))

    def refuse(code: int) -> None:
        def stat(path: str) -> None:
            raise OSError(code, os.strerror(code))

        monkeypatch.setattr(files.os, "stat", stat)

    refuse(errno.EACCES)
    with pytest.raises(ValueError, match="permission"):
        read_row_file("a")
    refuse(errno.EIO)
    with pytest.raises(ValueError, match="cannot be read"):
        read_row_file("a")
