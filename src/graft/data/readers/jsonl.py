"""JSON-lines files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from graft.contracts import Reader, Request, TargetData
from graft.data.tables import read_jsonl
from graft.data.target import Table, to_target

__all__ = ["Jsonl"]


class Jsonl(Reader):
    """Reads a file of one JSON object a line, with a text, a path of an image or sound, or numbers and words in each.

    A list as the label gives several labels a row.
    """

    def accepts(self, data: Any) -> bool:
        """Paths that end in ``.jsonl`` or ``.ndjson``."""
        return isinstance(data, str | Path) and Path(data).suffix.lower() in (".jsonl", ".ndjson")

    def read(self, data: Any, request: Request) -> TargetData:
        """Read it; raises as ``Reader.read`` does."""
        path = Path(data)
        table = read_jsonl(path)
        return to_target(Table(table.frame, path.name, path.parent, notes=table.notes), request)
