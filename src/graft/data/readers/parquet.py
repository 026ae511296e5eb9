"""Parquet files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from graft.contracts import Reader, Request, TargetData
from graft.data.tables import read_parquet
from graft.data.target import Table, to_target

__all__ = ["Parquet"]


class Parquet(Reader):
    """Reads a Parquet file with a column of texts, of images or sounds or their paths, or columns of numbers and words.

    A column of lists gives several labels a row.
    """

    def accepts(self, data: Any) -> bool:
        """Paths that end in ``.parquet``."""
        return isinstance(data, str | Path) and Path(data).suffix.lower() == ".parquet"

    def read(self, data: Any, request: Request) -> TargetData:
        """Read it; raises as ``Reader.read`` does."""
        path = Path(data)
        table = read_parquet(path)
        return to_target(Table(table.frame, path.name, path.parent, notes=table.notes), request)
