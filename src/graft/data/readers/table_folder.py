"""Folders that hold the parts of a split as tables."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

from graft.contracts import Reader, Request, TargetData
from graft.data.files import reading
from graft.data.tables import TABLE_SUFFIXES, read_table
from graft.data.target import Table, end_to_end, split_word, with_choice
from graft.errors import DataError

__all__ = ["TableFolder"]


class TableFolder(Reader):
    """Reads a folder of tables named for the parts of a split: ``train.csv`` and ``test.csv``, say.

    CSV, TSV, Parquet and JSONL are read; all parts have the same columns, save that a part may lack
    the labels.
    """

    def accepts(self, data: Any) -> bool:
        """Folders that hold such tables."""
        return isinstance(data, str | Path) and bool(_parts(Path(data)))

    def read(self, data: Any, request: Request) -> TargetData:
        """Read it; raises as ``Reader.read`` does."""
        folder = Path(data)
        with reading(folder):
            parts = _parts(folder)
        sides = [side for side, _ in parts]
        twice = sorted({path.name for side, path in parts if sides.count(side) > 1})
        if twice:
            raise DataError(f"{folder} holds several tables for one part of the split ({', '.join(twice)}); keep one.")
        held: list[TargetData] = []
        for _, path in parts:
            table = read_table(path)
            asked = request if not held else _without_absent(request, table.frame.columns.tolist())
            part, choice = with_choice(Table(table.frame, path.name, folder, notes=table.notes), asked)
            if not held:
                # Every part is read by the columns that the first one settled.
                request = dataclasses.replace(request, input=choice.input, target=choice.target)
            held.append(part)
        return end_to_end(held, sides, f"{str(folder).rstrip(os.sep)}{os.sep}")


def _parts(folder: Path) -> list[tuple[str, Path]]:
    """``(side, path)`` of the tables whose names are those of a split, training rows first."""
    try:
        paths = sorted(folder.iterdir())
    except OSError:
        return []
    named = [(split_word(path.stem), path) for path in paths if path.suffix.lower() in TABLE_SUFFIXES]
    order = ("train", "valid", "test")
    found = [(side, path) for side, path in named if side is not None]
    return sorted(found, key=lambda part: order.index(part[0]))


def _without_absent(request: Request, columns: list[str]) -> Request:
    """Published test tables may come without labels."""
    names = request.target if isinstance(request.target, tuple) else (request.target,)
    if not all(name is None or name in columns for name in names):
        request = dataclasses.replace(request, target=None, labelled=False)
    # what is not learnt from needs no confidence
    return request if request.confidence in columns else dataclasses.replace(request, confidence=None)
