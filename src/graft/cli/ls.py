"""``graft ls``: what there is to choose from."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from graft.cli.options import Json
from graft.cli.outcome import print_json, reported

__all__ = ["ls"]


def ls(
    kind: Annotated[
        str | None, typer.Argument(help="sources, strategies, tasks or readers; all of them without it.")
    ] = None,
    json: Json = False,
) -> None:
    """List what there is to choose from, and which sources load now without a network."""
    with reported():
        from graft import registry

        kinds = [kind] if kind else sorted(registry.kinds())
        document = {each: _entries(each) for each in kinds}
        if json:
            print_json(document)
            return
        for each, entries in document.items():
            _show(each, entries)
        chosen = "SPEC" if kind != "strategies" else "minilm --strategy NAME"
        print(f"\nnext     graft fit DATA --source {chosen} -o MODEL")


def _entries(kind: str) -> list[dict[str, Any]]:
    from graft import registry

    entries: list[dict[str, Any]] = [{"name": name, "what": what} for name, what in registry.describe(kind).items()]
    if kind == "sources":
        for entry in entries:
            entry |= _local(entry["name"])
    return entries


def _local(name: str) -> dict[str, Any]:
    """What loads now; one family that cannot be asked does not hide the others."""
    from graft import registry
    from graft.errors import GraftError

    try:
        return {"local": list(registry.load("sources", name).local())}
    except GraftError as exc:
        return {"local": [], "why": str(exc)}


def _show(kind: str, entries: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column(kind, no_wrap=True)
    table.add_column("")
    if kind == "sources":
        table.add_column("loads now without a network")
    for entry in entries:
        cells = [Text(entry["name"], style="bold"), Text(entry["what"])]
        if kind == "sources":
            cells.append(Text(", ".join(entry["local"]) or entry.get("why", "–")))
        table.add_row(*cells)
    console = Console(file=sys.stdout, highlight=False)
    if not console.is_terminal:  # a pipe has no width: one option stays one line
        console.width = max(console.width, 400)
    console.print(table)
