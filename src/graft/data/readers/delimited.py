"""CSV and TSV files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from graft.contracts import Reader, Request, TargetData
from graft.data.tables import read_delimited
from graft.data.target import Table, to_target

__all__ = ["Delimited"]


class Delimited(Reader):
    """Reads a CSV or TSV file with a column of texts, of paths of images or sounds, or columns of numbers and words.

    The delimiter (comma, semicolon, tab) and the encoding (UTF-8, UTF-16, Latin-1) are found out.
    Image paths start from the file's folder and may not leave it.
    """

    def accepts(self, data: Any) -> bool:
        """Paths that end in ``.csv`` or ``.tsv``."""
        return isinstance(data, str | Path) and Path(data).suffix.lower() in (".csv", ".tsv")

    def read(self, data: Any, request: Request) -> TargetData:
        """Read it; raises as ``Reader.read`` does."""
        path = Path(data)
        table = read_delimited(path)
        return to_target(Table(table.frame, path.name, path.parent, notes=table.notes), request)
