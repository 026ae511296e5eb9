"""``graft cache``: the features that are kept on disk."""

from __future__ import annotations

import re
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from graft.cli.options import Json
from graft.cli.outcome import print_json, reported

if TYPE_CHECKING:
    from graft.features.cache import SpaceInfo

__all__ = ["cache"]

_ACTIONS = ("list", "prune", "verify")
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


def cache(
    action: Annotated[str, typer.Argument(help="list, prune (remove, the longest unused first) or verify.")] = "list",
    keep: Annotated[str, typer.Option("--keep", help="What prune leaves: 0, 500MB, 2GB.")] = "0",
    remove: Annotated[
        bool, typer.Option("--remove", help="Let verify remove what is damaged; it is computed again.")
    ] = False,
    json: Json = False,
) -> None:
    """List, prune or verify the features that are kept on disk, so that the same rows are not computed twice."""
    with reported():
        from graft.errors import UnknownNameError
        from graft.storage import cache_root

        root = cache_root() / "features"
        if action not in _ACTIONS:
            raise UnknownNameError("action of graft cache", action, _ACTIONS)
        if action == "list":
            _list(root, json)
        elif action == "prune":
            _prune(root, _bytes(keep), json)
        else:
            _verify(root, remove, json)


def _bytes(text: str) -> int:
    from graft.errors import RequestError

    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)B?", text.strip(), re.IGNORECASE)
    if found is None:
        raise RequestError(f"--keep is {text!r}, which is no size; write bytes, or a size such as 500MB or 2GB.")
    return int(float(found[1]) * _UNITS[found[2].upper()])


def _size(count: int) -> str:
    for unit, size in reversed(_UNITS.items()):
        if size > 1 and count >= size:
            return f"{count / size:.1f} {unit}B"
    return f"{count} B"


def _list(root: Path, json: bool) -> None:
    from graft.features.cache import spaces

    held = spaces(root)
    total = sum(each.bytes for each in held)
    if json:
        print_json({"folder": str(root), "bytes": total, "spaces": [asdict(each) for each in held]})
        return
    if held:
        _show(held)
        print(f"\n{root} holds {_size(total)}\nnext     graft cache prune --keep 1GB")
    else:
        print(f"{root} holds nothing\nnext     graft demo")


def _show(held: tuple[SpaceInfo, ...]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for heading in ("source", "precision", "device", "rows", "size", "last used"):
        table.add_column(heading, justify="right" if heading in ("rows", "size") else "left", no_wrap=True)
    for each in held:
        day = time.strftime("%Y-%m-%d %H:%M", time.localtime(each.used)) if each.used else "unknown"
        cells = (each.source, each.precision, each.device, f"{each.rows}", _size(each.bytes), day)
        table.add_row(*(Text(cell) for cell in cells))
    Console(markup=False, file=sys.stdout, highlight=False, soft_wrap=True).print(table)


def _prune(root: Path, keep: int, json: bool) -> None:
    from graft.features.cache import prune, spaces

    freed = prune(root, keep)
    left = sum(each.bytes for each in spaces(root))
    if json:
        print_json({"folder": str(root), "freed": freed, "left": left})
    else:
        print(f"removed  {_size(freed)} from {root}; {_size(left)} left\nnext     graft cache list")


def _verify(root: Path, remove: bool, json: bool) -> None:
    from graft.features.cache import verify

    damaged = verify(root, remove)
    if json:
        print_json({"folder": str(root), "damaged": [str(each) for each in damaged], "removed": remove})
    else:
        for each in damaged:
            print(f"damaged  {each}")
        done = "removed; they are computed again" if remove else "graft cache verify --remove removes them"
        print(f"{len(damaged)} damaged files: {done}" if damaged else f"checked  {root}: nothing is damaged")
    if damaged and not remove:
        raise typer.Exit(4)
