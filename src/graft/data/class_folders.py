"""Folders of files of one kind, a row each: sub-folders are the classes, and above them may be a split."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from graft.contracts import Examples, Request, TargetData
from graft.data.cells import objects, read_labels
from graft.data.files import existing_folder, reading
from graft.data.images import has_image_suffix
from graft.data.sounds import has_sound_suffix
from graft.data.tables import TABLE_SUFFIXES
from graft.data.target import split_word
from graft.errors import DataError, RequestError

__all__ = ["IMAGES", "SOUNDS", "RowFiles", "leading", "may_be_classes", "read_class_folders"]

_FEW = 10_000
"""Files that are looked at before a folder's kind is left open."""


@dataclass(frozen=True)
class RowFiles:
    """Files of one kind, each of which is a row.

    Parameters
    ----------
    one, several
        What a person calls them.
    belongs
        Whether a name is one of theirs.
    endings
        How such names end, for a person.
    """

    one: str
    several: str
    belongs: Callable[[str], bool]
    endings: str


IMAGES = RowFiles("image", "images", has_image_suffix, ".jpg, .png, .webp, .bmp, .gif or .tif")
SOUNDS = RowFiles("sound", "sounds", has_sound_suffix, ".wav, .flac, .ogg, .opus, .mp3, .aif or .au")
_KINDS = (IMAGES, SOUNDS)


def may_be_classes(data: Any) -> bool:
    """Whether it is a folder without tables that state a split, or a path that looks like a folder."""
    if not isinstance(data, str | Path):
        return False
    if os.path.isdir(data):
        return not _holds_split_tables(Path(data))
    return not Path(data).suffix and not os.path.exists(data)


def leading(data: Any) -> RowFiles | None:
    """The kind of the first file in a folder that can be a row; ``None`` where none is found soon."""
    try:
        for path in islice(_files(str(data)), _FEW):
            for kind in _KINDS:
                if kind.belongs(os.path.basename(path)):
                    return kind
    except OSError:  # read() says what is wrong with it
        return None
    return None


def read_class_folders(
    data: Any, request: Request, kind: RowFiles, examples: Callable[[list[str], Path], Examples]
) -> TargetData:
    """Read a folder of files of one kind.

    Parameters
    ----------
    examples
        Makes the rows of paths, relative to a folder.

    Raises
    ------
    DataError
        Where the folder is absent, holds none of the kind, files of another kind too, or no classes.
    RequestError
        For a request that names columns.
    """
    _refuse_columns(request, kind)
    root = existing_folder(Path(data))
    found, others = _walk(root, kind)
    _refuse_mixture(root, kind, len(found), others)
    if not found:
        raise DataError(_nothing(root, kind, others))
    sides, found = _sides(found)
    classes = [parts[0] if len(parts) > 1 else None for parts in (path.split(os.sep) for path in found)]
    if request.labelled and not any(classes):
        raise DataError(
            f"{root} holds {len(found)} {kind.several} but no class folders; put the {kind.several} of each class "
            "into a sub-folder named for it, or give a table with a column of paths and one of labels."
        )
    labels, guessed = read_labels(classes, request)
    notes = list(guessed)
    if any(sides):
        notes.append("the folders state the split: " + _counted(side or "no part" for side in sides) + ".")
    if others:
        notes.append(f"files that are not {kind.several} by their names were left out: {_few(others)}.")
    if request.labelled and (loose := sum(label is None for label in labels)):
        notes.append(f"{loose} of {len(found)} {kind.several} lie outside of class folders and have no label.")
    paths = [os.path.join(side, path) if side else path for side, path in zip(sides, found, strict=True)]
    return TargetData(
        examples=examples(paths, root),
        labels=labels if any(classes) else None,
        given=objects([split_word(side) or "" for side in sides]) if any(sides) else None,
        origin=f"{str(root).rstrip(os.sep)}{os.sep}",
        notes=tuple(notes),
    )


def _refuse_columns(request: Request, kind: RowFiles) -> None:
    if request.group_by is not None:
        raise RequestError(
            f"--group-by {request.group_by} names a column, and a folder of {kind.several} has none; "
            "give a table with columns for path, label and group."
        )
    if request.time_by is not None:
        raise RequestError(
            f"--time-by {request.time_by} names a column, and a folder of {kind.several} has none; "
            "give a table with columns for path, label and time."
        )
    if request.labelled and (request.target or request.input or request.confidence):
        raise RequestError(
            f"--target, --input and --confidence name columns, and a folder of {kind.several} has none: its "
            f"sub-folders are the labels. Leave them away, or give a table with a column of {kind.one} paths."
        )


def _refuse_mixture(root: Path, kind: RowFiles, count: int, others: Counter[str]) -> None:
    for other in _KINDS:
        if many := sum(number for ending, number in others.items() if other.belongs(ending)):
            raise DataError(
                f"{root} holds {count} {kind.several} and {many} {other.several}; which are the rows? Move one kind "
                "elsewhere, or give a table with a column of paths."
            )


def _walk(root: Path, kind: RowFiles) -> tuple[list[str], Counter[str]]:
    """Paths of the rows under ``root``, sorted, relative; and what else there is, by suffix."""
    found: list[str] = []
    others: Counter[str] = Counter()
    with reading(root):
        for path in _files(str(root)):
            name = os.path.basename(path)
            if kind.belongs(name):
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


def _nothing(root: Path, kind: RowFiles, others: Counter[str]) -> str:
    if not others:
        return f"{root} is empty; a folder of images or sounds was expected, one sub-folder a class."
    return (
        f"{root} holds no {kind.one}: {sum(others.values())} other files ({_few(others)}). "
        f"{kind.several.capitalize()} end in {kind.endings}; a table is given by its own path."
    )


def _few(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {suffix}" for suffix, count in counts.most_common(5))


def _counted(words: Iterator[str]) -> str:
    return ", ".join(f"{count} {word}" for word, count in Counter(words).items())
