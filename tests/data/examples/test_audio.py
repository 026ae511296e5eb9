"""Rows of sound: read when they are asked for, named, and digested once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from graft.contracts import Sound
from graft.data.examples import AudioExamples, join
from graft.data.examples import given as module
from graft.errors import BadRowsError

soundfile = pytest.importorskip("soundfile", reason="soundfile, which decodes sounds, is not installed")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(3):
        soundfile.write(tmp_path / f"{number}.wav", np.full(100 + number, number / 10), 8000 + number)
    return tmp_path


def test_sounds_are_read_when_they_are_asked_for(folder: Path) -> None:
    held = AudioExamples(["0.wav", Path("2.wav"), "absent.wav"], root=folder)
    assert (held.modality, len(held)) == ("audio", 3)
    assert (held[1].rate, held[1].samples.shape) == (8002, (102,))
    assert held.name(1) == "2.wav"
    assert [held.check(row) for row in range(3)] == [None, None, "there is no such file"]
    with pytest.raises(BadRowsError, match=r"absent\.wav: there is no such file"):
        held[2]
    with pytest.raises(BadRowsError, match=r"absent\.wav"):
        held.keys()


def test_sounds_of_any_kind(folder: Path) -> None:
    samples = np.zeros((50, 2), np.int16)
    raw = (folder / "1.wav").read_bytes()
    held = AudioExamples([(samples, 9000), Sound(np.ones(7, np.float32), 700), raw, folder / "0.wav"])
    assert [(held[row].rate, len(held[row].samples)) for row in range(4)] == [
        (9000, 50), (700, 7), (8001, 101), (8000, 100),
    ]  # fmt: skip
    assert held.name(0) == "sounds row 1"
    assert held.check(0) is held.check(1) is held.check(2) is None


def test_keys_are_of_the_content(folder: Path) -> None:
    (folder / "again.wav").write_bytes((folder / "1.wav").read_bytes())
    keys = AudioExamples(["1.wav", "again.wav", "2.wav"], root=folder).keys()
    assert (keys[0] == keys[1]).all()
    assert (keys[0] != keys[2]).any()
    tone = np.linspace(0, 1, 50).astype(np.float32)
    same = AudioExamples([(tone, 8000), Sound(tone, 8000), (tone, 9000), (tone[:, None], 8000)]).keys()
    assert (same[0] == same[1]).all()
    assert len(np.unique(same, axis=0)) == 3


def test_a_check_reads_once_and_keeps_the_digest(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[str] = []
    real = module.read_row_file
    monkeypatch.setattr(module, "read_row_file", lambda path: reads.append(path) or real(path))
    held = AudioExamples(["0.wav", "1.wav"], root=folder)
    held.check(0)
    held.take(np.array([1, 0])).keys()
    assert len(reads) == 2


def test_bad_rows_say_why(folder: Path) -> None:
    (folder / "page.wav").write_text("<html>")
    held = AudioExamples(["", "page.wav", (np.array([np.nan]), 8000)], root=folder, origin="t.csv")  # type: ignore[list-item]
    assert held.check(0) == "no path is given"
    assert "not a sound" in str(held.check(1))
    assert "no finite numbers" in str(held.check(2))
    with pytest.raises(BadRowsError, match=r"t\.csv row 1: no path is given"):
        held[0]


def test_parts_are_joined(folder: Path) -> None:
    whole = join([AudioExamples(["0.wav"], root=folder), AudioExamples([(np.zeros(5), 8000)])])
    assert whole.modality == "audio"
    assert whole[1].samples.shape == (5,)
