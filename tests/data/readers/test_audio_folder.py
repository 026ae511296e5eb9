from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from graft import registry
from graft.contracts import Request
from graft.data.readers.audio_folder import AudioFolder
from graft.data.readers.image_folder import ImageFolder
from graft.errors import DataError, RequestError


def fill(root: Path, *paths: str) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"RIFF")
    return root


def test_sub_folders_are_classes_and_folders_above_them_the_split(tmp_path: Path) -> None:
    soundfile = pytest.importorskip("soundfile", reason="soundfile, which decodes sounds, is not installed")
    root = fill(tmp_path / "birds", "train/owl/1.wav", "train/jay/1.FLAC", "test/owl/2.mp3", "train/jay/notes.txt")
    soundfile.write(root / "train/owl/1.wav", np.zeros((80, 2)), 8000)
    data = AudioFolder().read(str(root), Request())
    assert data.labels is not None
    assert data.given is not None
    assert [data.examples.name(row) for row in range(3)] == ["test/owl/2.mp3", "train/jay/1.FLAC", "train/owl/1.wav"]
    assert data.labels.tolist() == ["owl", "jay", "owl"]
    assert data.given.tolist() == ["test", "train", "train"]
    assert data.examples[2].samples.shape == (80,)
    assert any("not sounds by their names were left out: 1 .txt" in note for note in data.notes)


def test_each_folder_has_one_reader(tmp_path: Path) -> None:
    ours, theirs = fill(tmp_path / "a", "x/1.wav", "x/0.txt"), fill(tmp_path / "b", "x/1.png")
    assert (AudioFolder().accepts(ours), ImageFolder().accepts(ours)) == (True, False)
    assert (AudioFolder().accepts(theirs), ImageFolder().accepts(theirs)) == (False, True)
    assert type(registry.reader_for(ours)).__name__ == "AudioFolder"
    for other in ("a.csv", "a.wav", ["x"], None, tmp_path / "absent"):
        assert not AudioFolder().accepts(other)


@pytest.mark.parametrize("reader", [AudioFolder, ImageFolder])
def test_a_folder_of_both_asks_which_are_the_rows(reader: type, tmp_path: Path) -> None:
    root = fill(tmp_path, "x/1.wav", "x/1.png", "y/2.png")
    assert sum(each().accepts(root) for each in (AudioFolder, ImageFolder)) == 1
    with pytest.raises(DataError, match=r"(1 sounds and 2 images|2 images and 1 sounds); which are the rows"):
        reader().read(root, Request())


def test_sounds_need_classes_and_have_no_columns(tmp_path: Path) -> None:
    root = fill(tmp_path, "1.wav", "2.wav")
    assert AudioFolder().read(root, Request(labelled=False)).labels is None
    with pytest.raises(DataError, match="2 sounds but no class folders"):
        AudioFolder().read(root, Request())
    with pytest.raises(RequestError, match="a folder of sounds has none"):
        AudioFolder().read(root, Request(target="x"))
    with pytest.raises(RequestError, match="a folder of sounds has none"):
        AudioFolder().read(root, Request(group_by="x"))


def test_a_folder_without_sounds_says_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is empty"):
        AudioFolder().read(tmp_path, Request())
    (tmp_path / "a.txt").touch()
    with pytest.raises(DataError, match=r"holds no sound: 1 other files \(1 \.txt\)\. Sounds end in \.wav"):
        AudioFolder().read(tmp_path, Request())
