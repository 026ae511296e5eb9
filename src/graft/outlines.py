"""The outline of a plug-in's file: read, and not run, so that a list of many costs little."""

from __future__ import annotations

import ast
import re
from importlib.machinery import PathFinder
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

__all__ = ["class_in", "file_of", "sentence", "variables"]


def class_in(path: Path) -> ast.ClassDef | None:
    """The public class of a plug-in file, read and not run."""
    for node in ast.parse(path.read_bytes()).body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            return node
    return None


def file_of(entry: EntryPoint) -> Path | None:
    """Where an entry point's module lies, found without importing its package."""
    where: Any = None
    origin: str | None = None
    name = ""
    for part in entry.module.split("."):
        name = f"{name}.{part}" if name else part
        if (found := PathFinder.find_spec(name, where)) is None:
            return None
        where, origin = found.submodule_search_locations, found.origin
    return Path(origin) if origin and origin.endswith(".py") else None


def sentence(path: Path | None) -> str:
    """The first sentence of the class's docstring; empty where there is none."""
    node = class_in(path) if path else None
    text = (ast.get_docstring(node) or "") if node else ""
    paragraph = " ".join(text.split("\n\n")[0].replace("``", "").split())
    return re.split(r"(?<=[.!?])\s", paragraph, maxsplit=1)[0]


def variables(node: ast.ClassDef) -> dict[str, ast.expr]:
    """What a class sets, by name."""
    found: dict[str, ast.expr] = {}
    for each in node.body:
        if isinstance(each, ast.Assign | ast.AnnAssign) and each.value is not None:
            targets = each.targets if isinstance(each, ast.Assign) else [each.target]
            found |= {target.id: each.value for target in targets if isinstance(target, ast.Name)}
    return found
