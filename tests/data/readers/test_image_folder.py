from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from PIL import Image

from graft.contracts import Request
from graft.data import class_folders
from graft.data.readers.image_folder import ImageFolder
from graft.errors import DataError, MachineError, RequestError


def fill(root: Path, *paths: str) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (3, 2)).save(root / path)
    return root


def test_sub_folders_are_classes(tmp_path: Path) -> None:
    root = fill(
        tmp_path / "pets", "dogs/1.jpg", "cats/2.PNG", "cats/deep/er/1.jpg", "cats/.hidden.jpg", "__MACOSX/x.jpg"
    )
    for given in (root, str(root), f"{root}/"):
        assert ImageFolder().accepts(given)
        data = ImageFolder().read(given, Request())
        assert [data.examples.name(row) for row in range(3)] == ["cats/2.PNG", "cats/deep/er/1.jpg", "dogs/1.jpg"]
        assert data.labels is not None
        assert data.labels.tolist() == ["cats", "cats", "dogs"]
        assert data.given is None
        assert data.examples[0].size == (3, 2)
        assert data.origin == f"{root}/"
        assert data.notes == ()


def test_folders_above_the_classes_state_the_split(tmp_path: Path) -> None:
    root = fill(tmp_path, "Train/a/1.png", "Train/b/1.png", "val/a/2.png", "test/b/2.png")
    data = ImageFolder().read(root, Request())
    assert data.given is not None
    assert data.labels is not None
    assert list(zip(data.given, data.labels, strict=True)) == [
        ("train", "a"), ("train", "b"), ("test", "b"), ("valid", "a"),
    ]  # fmt: skip
    assert data.examples.name(0) == "Train/a/1.png"
    assert data.examples[3].size == (3, 2)
    assert any("state the split" in note for note in data.notes)


def test_a_class_beside_them_makes_them_classes(tmp_path: Path) -> None:
    data = ImageFolder().read(fill(tmp_path, "train/1.png", "boat/1.png"), Request())
    assert data.given is None
    assert data.labels is not None
    assert data.labels.tolist() == ["boat", "train"]


def test_images_outside_of_classes_are_unlabelled(tmp_path: Path) -> None:
    root = fill(tmp_path, "train/a/1.png", "train/b/1.png", "test/1.png")
    data = ImageFolder().read(root, Request())
    assert data.labels is not None
    assert data.labels.tolist() == [None, "a", "b"]
    assert any("1 of 3 images lie outside" in note for note in data.notes)


def test_a_flat_folder_is_enough_to_predict(tmp_path: Path) -> None:
    root = fill(tmp_path, "1.png", "2.png")
    assert ImageFolder().read(root, Request(labelled=False)).labels is None
    with pytest.raises(DataError, match="no class folders"):
        ImageFolder().read(root, Request())


def test_other_files_are_counted(tmp_path: Path) -> None:
    root = fill(tmp_path, "a/1.png", "b/1.png")
    (root / "a/readme.txt").touch()
    data = ImageFolder().read(root, Request())
    assert any("files that are not images" in note and "1 .txt" in note for note in data.notes)


def test_folder_names_may_hold_several_labels(tmp_path: Path) -> None:
    data = ImageFolder().read(fill(tmp_path, "a+b/1.png", "b/1.png"), Request(delimiter="+"))
    assert data.labels is not None
    assert data.labels.tolist() == [("a", "b"), ("b",)]


def test_an_absent_folder_is_accepted_and_said_to_be_absent(tmp_path: Path) -> None:
    (tmp_path / "flowers").mkdir()
    assert ImageFolder().accepts(tmp_path / "flower")
    with pytest.raises(DataError, match=r"there is no file or folder .*Did you mean .*flowers"):
        ImageFolder().read(tmp_path / "flower", Request())


def test_an_empty_folder_and_one_without_images(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is empty"):
        ImageFolder().read(tmp_path, Request())
    (tmp_path / "a.txt").touch()
    with pytest.raises(DataError, match=r"holds no image: 1 other files \(1 \.txt\)"):
        ImageFolder().read(tmp_path, Request())


def test_a_folder_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(folder: str) -> None:
        raise PermissionError(errno.EACCES, "denied", folder)

    monkeypatch.setattr(class_folders.os, "scandir", refuse)
    with pytest.raises(MachineError, match="permission is denied"):
        ImageFolder().read(tmp_path, Request())


@pytest.mark.parametrize("option", ["group_by", "target", "input"])
def test_columns_have_no_meaning(option: str, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="column"):
        ImageFolder().read(fill(tmp_path, "a/1.png"), Request(**{option: "x"}))


def test_a_link_that_leads_up_is_not_followed_for_ever(tmp_path: Path) -> None:
    root = fill(tmp_path / "data", "a/1.png", "b/1.png")
    os.symlink(root, root / "a/up")
    os.symlink(fill(tmp_path / "elsewhere", "2.png"), root / "a/more")
    data = ImageFolder().read(root, Request())
    assert [data.examples.name(row) for row in range(3)] == ["a/1.png", "a/more/2.png", "b/1.png"]


@pytest.mark.parametrize("other", ["a.csv", "a.png", ["x"], None])
def test_other_data_are_not_accepted(other: object) -> None:
    assert not ImageFolder().accepts(other)


def test_pacs_is_read() -> None:
    root = Path(__file__).resolve().parents[3] / "../shared/data/images/pacs_subset/photo"
    if not root.exists():
        pytest.skip("the PACS subset is not on this machine")
    data = ImageFolder().read(root, Request())
    assert data.labels is not None
    assert (len(data.examples), len(set(data.labels))) == (420, 7)
