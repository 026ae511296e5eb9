"""A table → :class:`TargetData`: its input column, its labels, its groups, its split."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from graft.contracts import Array, Examples, Request, TargetData
from graft.data.cells import objects, plain, read_columns, read_labels
from graft.data.columns import Choice, Column, choose, describe
from graft.data.examples import AudioExamples, ImageExamples, Picture, Recording, TableExamples, TextExamples, join
from graft.data.images import has_image_suffix
from graft.data.schema import coded
from graft.data.sounds import has_sound_suffix, is_recording, is_sound_file
from graft.data.times import read_times
from graft.errors import DataError, UnknownNameError

__all__ = ["SPLIT_WORDS", "Table", "end_to_end", "of_one_type", "split_word", "to_target", "with_choice"]

SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "valid": "valid",
    "val": "valid",
    "validation": "valid",
    "dev": "valid",
    "test": "test",
    "testing": "test",
}
"""What people call the three parts of a split."""


@dataclass(frozen=True)
class Table:
    """A table before its columns have roles.

    Parameters
    ----------
    frame
        ``n`` rows.
    origin
        What was read, for a person.
    root
        The folder that paths of images and sounds start from and may not leave; ``None`` where
        paths are the user's own and may lie anywhere.
    labels
        Labels that came apart from the table.
    pictures, sounds
        Columns whose cells are images, or sounds, themselves, read lazily.
    notes
        What was guessed so far.
    """

    frame: pd.DataFrame
    origin: str = "table"
    root: Path | None = None
    labels: Sequence[Any] | None = None
    pictures: Mapping[str, Sequence[Picture]] = field(default_factory=dict)
    sounds: Mapping[str, Sequence[Recording]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def split_word(word: Any) -> str | None:
    """``train``, ``valid`` or ``test`` for what people call them; ``None`` for other words."""
    return SPLIT_WORDS.get(str(word).strip().lower())


def to_target(table: Table, request: Request) -> TargetData:
    """Give the columns their roles and read them.

    Raises
    ------
    DataError
        For a table without rows, or whose columns cannot be told apart.
    UnknownNameError
        For a column that is not there.
    """
    return with_choice(table, request)[0]


def with_choice(table: Table, request: Request) -> tuple[TargetData, Choice]:
    """As :func:`to_target`, with the roles that the columns were given."""
    frame, origin = table.frame, table.origin
    if not len(frame):
        raise DataError(f"{origin} has 0 rows; at least a few labelled rows were expected. Check how it was written.")
    frame = frame.set_axis([str(name) for name in frame.columns], axis=1)
    if twice := sorted(set(frame.columns[frame.columns.duplicated()])):
        raise DataError(f"{origin} has more than one column named {', '.join(map(repr, twice))}; rename them.")
    pictures = {**_picture_columns(frame), **table.pictures}
    sounds = {**_sound_columns(frame), **table.sounds}
    columns = [describe(name, frame[name], name in pictures or name in sounds) for name in frame.columns]
    given_by, given = _given(frame)
    for name in (request.group_by, request.time_by):
        if name is not None and name not in frame.columns:
            raise UnknownNameError("column", name, frame.columns)
    several = request.target if isinstance(request.target, tuple) else ()
    if request.labelled and (absent := [name for name in several if name not in frame.columns]):
        raise UnknownNameError("column", absent[0], frame.columns)
    roles = (given_by, request.group_by, request.confidence, request.time_by, *several)
    taken = [name for name in roles if name is not None]
    choice = choose(columns, request, origin, taken, table.labels is not None or bool(several))
    notes = (*table.notes, *choice.notes)
    if given_by is not None:
        notes += (f"column {given_by!r} states the split (rename it to have the rows split anew).",)
    labels, found = _labels(table, frame, choice.target, request)
    if labels is not None and len(labels) != len(frame):
        raise DataError(f"{len(frame)} rows came with {len(labels)} labels; one label a row was expected.")
    times, told = (None, ()) if request.time_by is None else read_times(frame[request.time_by], origin)
    used = {*taken, choice.target if request.labelled else None}
    kinds = {column.name: column for column in columns if column.name not in used}
    data = TargetData(
        examples=_examples(table, frame, choice, kinds, pictures, sounds),
        labels=labels,
        groups=None if request.group_by is None else _groups(frame[request.group_by]),
        given=given,
        origin=origin,
        notes=notes + found + told,
        weights=None if request.confidence is None else _confidences(frame[request.confidence], labels, origin),
        times=times,
    )
    return data, replace(choice, target=several) if several else choice


def _labels(
    table: Table, frame: pd.DataFrame, target: str | tuple[str, ...] | None, request: Request
) -> tuple[Array | None, tuple[str, ...]]:
    if table.labels is not None:
        return read_labels(table.labels, request)
    if isinstance(request.target, tuple) and request.labelled:
        columns = [_numbers(frame[name], table.origin, np.float64) for name in request.target]
        return read_columns(np.stack(columns, axis=1), request.target, request)
    return (None, ()) if target is None else read_labels(frame[target], request)


def _confidences(cells: pd.Series[Any], labels: Array | None, origin: str) -> Array:
    """``(n,)`` float64: how much each row counts; 0 where it has no label to learn from."""
    weights = _numbers(cells, origin, np.float64)
    known = np.ones(len(weights), dtype=bool) if labels is None else np.array([each is not None for each in labels])
    weights = np.where(known, weights, 0.0)
    bad = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
    if len(bad):
        shown = ", ".join(f"row {row + 1} ({cells.iloc[row]})" for row in bad[:5]) + (", …" if len(bad) > 5 else "")
        raise DataError(
            f"column {cells.name!r} of {origin} holds no number of 0 or more in {len(bad)} rows: {shown}; "
            "a confidence says how much a row counts."
        )
    if not weights.any():
        raise DataError(f"column {cells.name!r} of {origin} is 0 in every row, so none would be learnt from.")
    return weights


def end_to_end(parts: Sequence[TargetData], sides: Sequence[str], origin: str) -> TargetData:
    """Parts of one dataset, each a side of the split that the data state.

    Raises
    ------
    DataError
        Where the parts are of different kinds.
    """
    labels = _stacked([part.labels for part in parts], parts, None)
    examples = join([part.examples for part in parts], learnt=[side != "test" for side in sides])
    weights = _stacked([part.weights for part in parts], parts, 1.0)
    times = _stacked([part.times for part in parts], parts, np.nan)
    told = [*(note for part in parts for note in part.notes), *getattr(examples, "notes", ())]
    return TargetData(
        examples=examples,
        labels=None if labels is None else of_one_type(labels),
        groups=_stacked([part.groups for part in parts], parts, ""),
        given=objects([side for side, part in zip(sides, parts, strict=True) for _ in range(len(part.examples))]),
        origin=origin,
        notes=tuple(dict.fromkeys(told)),
        weights=None if weights is None else weights.astype(np.float64),
        times=None if times is None else times.astype(np.float64),
    )


def of_one_type(labels: Array) -> Array:
    """Labels of several files ``(n,)`` in one type: where some are words, numbers become words too.

    A file that happens to lack the classes that are words has its other labels read as numbers.
    """
    types = {type(label) for label in labels} - {type(None)}
    if str not in types or not types <= {str, int, float, bool}:
        return labels
    return objects([None if label is None else str(label) for label in labels])


def _stacked(columns: Sequence[Array | None], parts: Sequence[TargetData], absent: Any) -> Array | None:
    if all(column is None for column in columns):
        return None
    whole = [
        [absent] * len(part.examples) if column is None else column.tolist()
        for column, part in zip(columns, parts, strict=True)
    ]
    return objects([cell for cells in whole for cell in cells])


def _examples(
    table: Table,
    frame: pd.DataFrame,
    choice: Choice,
    kinds: Mapping[str, Column],
    pictures: Mapping[str, Sequence[Picture]],
    sounds: Mapping[str, Sequence[Recording]],
) -> Examples:
    if choice.input is None:
        return _cells(table.origin, frame, choice.features, kinds)
    if choice.input in pictures:
        return ImageExamples(pictures[choice.input], origin=table.origin)
    if choice.input in sounds:
        return AudioExamples(sounds[choice.input], origin=table.origin)
    cells = ["" if (cell := plain(text)) is None else str(cell) for text in frame[choice.input]]
    if kinds[choice.input].kind == "path":
        of_files = AudioExamples if sum(map(has_sound_suffix, cells)) * 2 > sum(map(bool, cells)) else ImageExamples
        return of_files(_inside(cells, table), root=table.root, origin=table.origin)
    if all(_is_number(cell) for cell in cells if cell):
        raise DataError(
            f"column {choice.input!r} of {table.origin} holds numbers, not texts; "
            "name the column of texts, or of paths of images or sounds, with --input."
        )
    return TextExamples(cells, origin=table.origin)


def _cells(origin: str, frame: pd.DataFrame, features: Sequence[str], kinds: Mapping[str, Column]) -> TableExamples:
    """Numbers and words; other columns of either kind, or empty, lie beside the features for tables that ask."""
    columns = [
        (_numbers(frame[name], origin, np.float32), None) if kinds[name].kind == "number" else coded(frame[name])
        for name in features
    ]
    plain_kinds = ("number", "words", "empty")
    free = [name for name, kind in kinds.items() if kind.kind in plain_kinds and name not in features]
    return TableExamples(
        np.stack([values for values, _ in columns], axis=1),
        columns=features,
        origin=origin,
        words=[words for _, words in columns],
        beside={name: frame[name] for name in free},
    )


def _numbers(cells: pd.Series[Any], origin: str, kind: type[np.floating[Any]]) -> Array:
    try:
        return pd.to_numeric(cells).to_numpy(kind, na_value=np.nan)
    except (TypeError, ValueError) as exc:
        other = next((cell for cell in cells.dropna() if not _is_number(str(cell))), exc)
        raise DataError(
            f"column {cells.name!r} of {origin} holds {other!r}, and numbers were expected; "
            "write numbers alone, or name another column."
        ) from exc


def _inside(cells: Sequence[str], table: Table) -> list[str]:
    """Paths as they are, once none of them leaves the root."""
    if table.root is None:
        return list(cells)
    root = os.path.abspath(table.root)
    faults = []
    for row, cell in enumerate(cells, start=1):
        if "://" in cell:
            faults.append(f"row {row}: {cell} is a web address; download it beside the table and give its path")
        elif cell and not os.path.normpath(os.path.join(root, cell)).startswith(os.path.join(root, "")):
            faults.append(f"row {row}: {cell} lies outside {root}; move the files under the table's folder")
    if faults:
        more = f"\n  … and {len(faults) - 10} more" if len(faults) > 10 else ""
        listed = "\n".join(f"  {fault}" for fault in faults[:10])
        raise DataError(
            f"{len(faults)} paths of {table.origin} are not files under the table's folder:\n{listed}{more}"
        )
    return list(cells)


def _picture_columns(frame: pd.DataFrame) -> dict[str, Sequence[Picture]]:
    """Columns of Pillow images, of pixel arrays, or of files as Parquet image datasets hold them."""
    found: dict[str, Sequence[Picture]] = {}
    for name in frame.columns:
        if frame[name].dtype != object:
            continue
        cells = frame[name].tolist()
        first = next((cell for cell in cells if cell is not None), None)
        pixels = isinstance(first, np.ndarray) and first.dtype == np.uint8 and first.ndim in (2, 3)
        if _encoded(first) is not None and is_sound_file(_encoded(first) or b""):
            continue
        if isinstance(first, Image.Image | bytes) or pixels:
            found[name] = [b"" if cell is None else cell for cell in cells]
        elif _encoded(first) is not None:
            found[name] = [(cell or {}).get("bytes") or b"" for cell in cells]
    return found


def _sound_columns(frame: pd.DataFrame) -> dict[str, Sequence[Recording]]:
    """Columns of sounds, of samples with their rate, or of files as Parquet audio datasets hold them."""
    found: dict[str, Sequence[Recording]] = {}
    for name in frame.columns:
        if frame[name].dtype != object:
            continue
        cells = frame[name].tolist()
        first = next((cell for cell in cells if cell is not None), None)
        if is_recording(first):
            found[name] = [b"" if cell is None else cell for cell in cells]
        elif is_sound_file(_encoded(first) or b""):
            found[name] = [_encoded(cell) or b"" for cell in cells]
    return found


def _encoded(cell: Any) -> bytes | None:
    """The file that a cell holds, alone or as Parquet datasets hold one; ``None`` where it holds none."""
    if isinstance(cell, dict) and {"bytes", "path"} >= cell.keys():
        cell = cell.get("bytes")
    return cell if isinstance(cell, bytes) else None


def _given(frame: pd.DataFrame) -> tuple[str | None, Array | None]:
    """The column that states a split, and what it states."""
    for name in frame.columns:
        if name.strip().lower() not in ("split", "subset", "partition"):
            continue
        cells = [plain(cell) for cell in frame[name]]
        words = ["" if cell is None else split_word(cell) for cell in cells]
        if any(words) and None not in words:
            return name, objects(words)
    return None, None


def _groups(cells: pd.Series[Any]) -> Array:
    return objects(["" if (cell := plain(group)) is None else str(cell) for group in cells])


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return not has_image_suffix(word)
