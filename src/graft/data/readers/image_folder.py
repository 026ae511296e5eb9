"""Folders of images, one sub-folder a class."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from graft.contracts import Reader, Request, TargetData
from graft.data.cells import objects, read_labels
from graft.data.examples import ImageExamples
from graft.data.files import existing_folder, reading
from graft.data.images import has_image_suffix
from graft.data.tables import TABLE_SUFFIXES
from graft.data.target import split_word
from graft.errors import DataError, RequestError

__all__ = ["ImageFolder"]


class ImageFolder(Reader):
    """Reads a folder of images whose sub-folders are the classes.

    Above the classes there may be ``train``, ``valid`` and ``test`` (or the like), which then are
    the split.  Images outside of class folders are rows without a label.
    """

    def accepts(self, data: Any) -> bool:
        """Folders without tables that state a split, and paths that look like a folder."""
        if not isinstance(data, str | Path):
            return False
        if os.path.isdir(data):
            return not _holds_split_tables(Path(data))
        return not Path(data).suffix and not os.path.exists(data)

    def read(self, data: Any, request: Request) -> TargetData:
        """Read it; raises as ``Reader.read`` does."""
        _refuse_columns(request)
        root = existing_folder(Path(data))
        found, others = _walk(root)
        if not found:
            raise DataError(_nothing(root, others))
        sides, found = _sides(found)
        classes = [parts[0] if len(parts) > 1 else None for parts in (path.split(os.sep) for path in found)]
        if request.labelled and not any(classes):
            raise DataError(
                f"{root} holds {len(found)} images but no class folders; put the images of each class into a "
                "sub-folder named for it, or give a table with a column of paths and one of labels."
            )
        labels, guessed = read_labels(classes, request)
        notes = list(guessed)
        if any(sides):
            notes.append("the folders state the split: " + _counted(side or "no part" for side in sides) + ".")
        if others:
            notes.append(f"files that are not images by their names were left out: {_few(others)}.")
        if request.labelled and (loose := sum(label is None for label in labels)):
            notes.append(f"{loose} of {len(found)} images lie outside of class folders and have no label.")
        paths = [os.path.join(side, path) if side else path for side, path in zip(sides, found, strict=True)]
        return TargetData(
            examples=ImageExamples(paths, root=root),
            labels=labels if any(classes) else None,
            given=objects([split_word(side) or "" for side in sides]) if any(sides) else None,
            origin=f"{str(root).rstrip(os.sep)}{os.sep}",
            notes=tuple(notes),
        )


def _refuse_columns(request: Request) -> None:
    if request.group_by is not None:
        raise RequestError(
            f"--group-by {request.group_by} names a column, and an image folder has none; "
            "give a table with columns for path, label and group."
        )
    if request.labelled and (request.target or request.input):
        raise RequestError(
            "--target and --input name columns, and an image folder has none: its sub-folders are the labels. "
            "Leave them away, or give a table with a column of image paths."
        )


def _walk(root: Path) -> tuple[list[str], Counter[str]]:
    """Paths of the images under ``root``, sorted, relative; and what else there is, by suffix."""
    found: list[str] = []
    others: Counter[str] = Counter()
    with reading(root):
        for path in _files(str(root)):
            name = os.path.basename(path)
            if has_image_suffix(name):
                found.append(os.path.relpath(path, root))
            else:
                others[os.path.splitext(name)[1].lower() or name] += 1
    return sorted(found), others


def _files(folder: str) -> Iterator[str]:
    """Files at any depth; hidden ones and what macOS puts into archives are not part of the data."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(".") or entry.name in ("__MACOSX", "Thumbs.db", "desktop.ini"):
                continue
            if entry.is_dir(follow_symlinks=False) or (entry.is_dir() and not _leads_up(entry.path)):
                yield from _files(entry.path)
            elif not entry.is_dir():
                yield entry.path


def _leads_up(link: str) -> bool:
    """Whether a link to a folder contains itself, and walking it would never end."""
    target = os.path.join(os.path.realpath(link), "")
    return os.path.realpath(os.path.dirname(link)).startswith(target.rstrip(os.sep))


def _sides(found: list[str]) -> tuple[list[str], list[str]]:
    """The split folder of each path, and the path below it; none where the first level are classes."""
    tops = {path.split(os.sep)[0] for path in found if os.sep in path}
    if not tops or any(split_word(top) is None for top in tops):
        return [""] * len(found), found
    cut = [path.split(os.sep, 1) if os.sep in path else ["", path] for path in found]
    return [side for side, _ in cut], [path for _, path in cut]


def _holds_split_tables(folder: Path) -> bool:
    try:
        return any(
            split_word(path.stem) is not None and path.suffix.lower() in TABLE_SUFFIXES for path in folder.iterdir()
        )
    except OSError:
        return False


def _nothing(root: Path, others: Counter[str]) -> str:
    if not others:
        return f"{root} is empty; a folder of images was expected, one sub-folder a class."
    return (
        f"{root} holds no image: {sum(others.values())} other files ({_few(others)}). "
        "Images end in .jpg, .png, .webp, .bmp, .gif or .tif; a table is given by its own path."
    )


def _few(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {suffix}" for suffix, count in counts.most_common(5))


def _counted(words: Iterator[str]) -> str:
    return ", ".join(f"{count} {word}" for word, count in Counter(words).items())
