"""Data that are in memory already."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from graft.contracts import Array, Examples, Reader, Request, Sound, TargetData
from graft.data.cells import read_columns, read_labels
from graft.data.examples import AudioExamples, ImageExamples, TableExamples, TextExamples
from graft.data.images import has_image_suffix
from graft.data.sounds import has_sound_suffix, is_recording, is_sound_file
from graft.data.target import Table, end_to_end, split_word, to_target
from graft.errors import DataError, RequestError

__all__ = ["Memory"]


class Memory(Reader):
    """Reads lists of texts, paths, images or sounds, arrays, data frames and hub datasets.

    A pair ``(X, y)`` brings the labels along; a mapping such as ``{"train": …, "test": …}`` brings
    the split.
    """

    def accepts(self, data: Any) -> bool:
        """Anything but a path, save the path of one image or sound."""
        if isinstance(data, str | Path):
            return has_image_suffix(str(data)) or has_sound_suffix(str(data))
        return isinstance(data, Sound | list | tuple | Mapping | pd.DataFrame | pd.Series | pd.Index) or (
            hasattr(data, "__array__") or hasattr(data, "toarray") or _is_hub(data)
        )

    def read(self, data: Any, request: Request) -> TargetData:
        """Read it; raises as ``Reader.read`` does."""
        if isinstance(data, str | Path) or is_recording(data):
            data = [data]
        if _is_split(data):
            return _read_split(data, request)
        if _is_pair(data):
            return _read_one(data[0], data[1], request)
        return _read_one(data, None, request)


def _is_hub(data: Any) -> bool:
    return type(data).__module__.split(".")[0] == "datasets"


def _is_split(data: Any) -> bool:
    return isinstance(data, Mapping) and bool(data) and all(split_word(name) is not None for name in data)


def _is_pair(data: Any) -> bool:
    """Whether it is ``(X, y)``, and not two texts, two paths, two images or two sounds."""
    return (
        isinstance(data, tuple)
        and len(data) == 2
        and not isinstance(data[0], str | Path | bytes | Image.Image)
        and not is_recording(data[0])
        and (
            data[1] is None
            or isinstance(data[1], list | tuple | pd.Series | pd.Index | np.ndarray)
            or _has_rows(data[1])
        )
    )


def _has_rows(data: Any) -> bool:
    return hasattr(data, "__array__") and not isinstance(data, Image.Image)


def _read_split(data: Mapping[str, Any], request: Request) -> TargetData:
    held = [Memory().read(part, request) for part in data.values()]
    return end_to_end(held, [str(split_word(name)) for name in data], "data in memory")


def _read_one(X: Any, y: Any, request: Request) -> TargetData:
    labels, told = (None, ()) if y is None else _label_cells(y, request)
    if isinstance(X, list | tuple) and X and all(isinstance(row, Mapping) for row in X):
        X = pd.DataFrame([dict(row) for row in X])
    if _is_hub(X):
        return to_target(_hub_table(X, labels, told), request)
    if isinstance(X, Mapping):
        X = pd.DataFrame({name: list(cells) for name, cells in X.items()})
    if isinstance(X, pd.DataFrame):
        return to_target(Table(X.reset_index(drop=True), "the data frame", None, labels, notes=told), request)
    named = request.group_by or request.time_by
    if named or (request.labelled and (request.target or request.input or request.confidence)):
        raise RequestError(
            "--target, --input, --group-by, --time-by and --confidence name columns, and a list or an array has none; "
            "give a table, or labels as (X, y)."
        )
    examples = _examples(X)
    if labels is not None and len(labels) != len(examples):
        raise DataError(f"{len(examples)} rows came with {len(labels)} labels; one label a row was expected.")
    found, notes = (None, ()) if labels is None else read_labels(labels, request)
    return TargetData(examples, found, origin="data in memory", notes=told + notes)


def _label_cells(y: Any, request: Request) -> tuple[list[Any], tuple[str, ...]]:
    """``(n,)`` labels; of a matrix the columns that apply, or the probabilities of the classes."""
    if isinstance(y, list | tuple):
        return list(y), ()
    values = np.asarray(y)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim == 1:
        return [value.item() if isinstance(value, np.generic) else value for value in values], ()
    if values.ndim == 2 and values.dtype.kind in "biuf":
        labels, notes = read_columns(values, list(getattr(y, "columns", range(values.shape[1]))), request)
        return labels.tolist(), notes
    raise DataError(
        f"labels of shape {values.shape} were given; one label a row (n,), rows of 0 and 1 (n, c) for several "
        "labels, or rows of probabilities (n, c), were expected."
    )


def _examples(X: Any) -> Examples:
    if hasattr(X, "toarray"):
        raise DataError("a sparse matrix was given; a dense array of rows and columns was expected: call .toarray().")
    if isinstance(X, pd.Series | pd.Index):
        X = X.tolist()
    if not isinstance(X, list | tuple | np.ndarray):
        X = np.asarray(X)
    if isinstance(X, np.ndarray) and not X.ndim:
        raise DataError(f"{X!r:.60} is a single value; rows were expected.")
    if not len(X):
        raise DataError("there are 0 rows; give at least a few.")
    return _from_array(X) if isinstance(X, np.ndarray) else _from_list(X)


def _from_array(X: Array) -> Examples:
    if X.ndim == 1:
        return _from_list(X.tolist())
    if X.ndim == 2:
        if X.dtype == object:
            try:
                X = X.astype(np.float64)
            except (TypeError, ValueError) as exc:
                raise DataError(
                    f"an array of words was given ({exc}); give a DataFrame, whose columns have names."
                ) from exc
        return TableExamples(X)
    if X.dtype == np.uint8 and (X.ndim == 3 or (X.ndim == 4 and X.shape[3] in (1, 3, 4))):
        return ImageExamples([*X])
    raise DataError(
        f"an array of shape {X.shape} and dtype {X.dtype} was given; numbers (n, d), or images (n, h, w) or "
        "(n, h, w, 3) as uint8, channels last, were expected."
    )


def _from_list(rows: Sequence[Any]) -> Examples:
    kinds = {_kind(row) for row in rows}
    if len(kinds) > 1:
        first = _kind(rows[0])
        odd = next(place for place, row in enumerate(rows) if _kind(row) != first)
        raise DataError(
            f"row {odd + 1} is {_kind(rows[odd])} ({rows[odd]!r:.40}), while row 1 is {first}; give rows of one kind."
        )
    kind = kinds.pop()
    if kind == "a text":
        named = any(all(map(holds, rows)) for holds in (has_image_suffix, has_sound_suffix))
        return _paths(rows) if named else TextExamples(rows)
    if kind == "a path":
        return _of_files([str(row) for row in rows])
    if kind == "an image":
        return ImageExamples(rows)
    if kind == "a sound":
        return AudioExamples(rows)
    if kind == "a list of numbers":
        try:
            return TableExamples(np.asarray(rows, dtype=np.float64))
        except (TypeError, ValueError) as exc:
            raise DataError(f"the rows are not numbers of one length: {exc}. Give an array (n, d).") from exc
    raise DataError(
        f"row 1 is {kind}: {rows[0]!r:.60}; a text (str), a path, an image, a sound (samples, rate) or a row of "
        "numbers was expected. Convert texts with str; give numbers as rows and columns (n, d)."
    )


def _kind(row: Any) -> str:
    if isinstance(row, str):
        return "a text"
    if isinstance(row, Path):
        return "a path"
    if is_recording(row) or (isinstance(row, bytes) and is_sound_file(row)):
        return "a sound"
    if isinstance(row, bytes | Image.Image) or (isinstance(row, np.ndarray) and row.ndim in (2, 3)):
        return "an image"
    if isinstance(row, list | tuple) or (isinstance(row, np.ndarray) and row.ndim == 1):
        return "a list of numbers"
    return "nothing" if row is None else f"of type {type(row).__name__}"


def _paths(rows: Sequence[str]) -> Examples:
    if not any(Path(row).exists() for row in rows):
        raise DataError(
            f"the texts look like paths of files ({rows[0]}, …), but none of these files exists; "
            "give paths that start from this folder or from the root."
        )
    return _of_files(rows)


def _of_files(paths: Sequence[str]) -> Examples:
    """Sounds where all are by their names, else images."""
    return AudioExamples(paths) if all(map(has_sound_suffix, paths)) else ImageExamples(paths)


class _HubFiles(Sequence[str | bytes]):
    """A column of images or sounds of a hub dataset: encoded files, each read when it is asked for."""

    def __init__(self, dataset: Any, column: str) -> None:
        undecoded = type(dataset.features[column])(decode=False)
        self._rows = dataset.select_columns([column]).cast_column(column, undecoded)
        self._column = column

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, row: Any) -> Any:
        cell = self._rows[row][self._column] or {}
        return cell.get("bytes") or cell.get("path") or ""

    def __iter__(self) -> Iterator[Any]:
        return (self[row] for row in range(len(self)))


def _hub_table(dataset: Any, labels: Sequence[Any] | None, told: tuple[str, ...]) -> Table:
    if not hasattr(dataset, "__len__"):
        raise DataError("a streamed dataset was given; its rows must be counted and split: load it without streaming.")
    pictures, sounds = (
        {name: _HubFiles(dataset, name) for name, each in dataset.features.items() if type(each).__name__ == kind}
        for kind in ("Image", "Audio")
    )
    held = [*pictures, *sounds]
    plain = dataset.select_columns([name for name in dataset.column_names if name not in held])
    frame = plain.to_pandas() if plain.column_names else pd.DataFrame(index=range(len(dataset)))
    for name in plain.column_names:
        frame[name] = _class_names(dataset.features[name], frame[name])
    for name in held:
        frame[name] = pd.Series([None] * len(frame), dtype=object)
    return Table(frame, "the dataset", None, labels, pictures, sounds, told)


def _class_names(feature: Any, cells: pd.Series[Any]) -> pd.Series[Any]:
    """Class numbers → class names, alone or in lists; −1 is the hub's mark for "no label"."""
    inner = getattr(feature, "feature", feature)
    if type(inner).__name__ != "ClassLabel":
        return cells
    names = inner.names

    def named(cell: Any) -> Any:
        if isinstance(cell, list | np.ndarray):
            return [names[each] for each in cell]
        return None if cell is None or cell != cell or cell < 0 else names[int(cell)]

    return pd.Series([named(cell) for cell in cells], dtype=object)
