"""``graft ledger``: the trials that later plans learn from."""

from __future__ import annotations

import re
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from graft.cli.options import Json
from graft.cli.outcome import print_json, reported

if TYPE_CHECKING:
    from graft.select.entry import Entry
    from graft.select.ledger import Ledger, Which

__all__ = ["ledger"]

_ACTIONS = ("export", "forget", "import", "path", "show")
_HOURS = {"h": 1, "d": 24, "w": 7 * 24}
_LISTED = 20


def ledger(
    action: Annotated[str, typer.Argument(help="show, export, import, forget or path.")] = "show",
    file: Annotated[
        Path | None, typer.Argument(help="What export writes (JSON lines), or import reads: such lines, or a ledger.")
    ] = None,
    source: Annotated[str, typer.Option("--source", help="Trials of this source, or of this family.")] = "",
    strategy: Annotated[str, typer.Option("--strategy", help="Trials of this strategy.")] = "",
    modality: Annotated[str, typer.Option("--modality", help="Trials on image, text, audio or table.")] = "",
    data: Annotated[str, typer.Option("--data", help="Trials on the data of this digest; its first letters do.")] = "",
    older_than: Annotated[str, typer.Option("--older-than", help="Trials that ended longer ago: 12h, 90d, 8w.")] = "",
    everything: Annotated[bool, typer.Option("--all", help="Let forget remove all trials.")] = False,
    limit: Annotated[int, typer.Option("--limit", help="How many of the latest to show; 0 shows all.")] = 40,
    json: Json = False,
) -> None:
    """Show, export, import or forget the trials from which later plans learn what to try first."""
    with reported():
        from graft.select.ledger import Ledger, Which, ledger_path

        which = Which(source, strategy, data, modality, _before(older_than))
        _check(action, file, which, everything)
        path = ledger_path()
        if action == "path":
            _path(path, json)
            return
        held = Ledger(_on(path))
        if action == "export" and file is not None:
            _export(held, file, which, json)
        elif action == "import" and file is not None:
            _import(held, file, json)
        elif action == "forget":
            _forget(held, which, json)
        else:
            _show(held, which, max(limit, 0), json)
        for note in held.notes:
            print(f"note: {note}", file=sys.stderr)


def _check(action: str, file: Path | None, which: Which, everything: bool) -> None:
    """Refuse what an action has no use for: it would not do what was meant."""
    from graft.errors import RequestError, UnknownNameError
    from graft.select.ledger import Which

    if action not in _ACTIONS:
        raise UnknownNameError("action of graft ledger", action, _ACTIONS)
    if (file is None) == (action in ("export", "import")):
        needs = f"needs a file, such as graft ledger {action} trials.jsonl" if file is None else "takes no file"
        raise RequestError(f"graft ledger {action} {needs}.")
    chosen = which != Which()
    if chosen and action in ("import", "path"):
        raise RequestError(f"graft ledger {action} takes no choice of trials; leave it away.")
    if everything and action != "forget":
        raise RequestError(f"graft ledger {action} takes all trials by itself; leave --all away.")
    if action == "forget" and chosen == everything:
        raise RequestError(
            "graft ledger forget removes what --source, --strategy, --modality, --data and --older-than choose, "
            "or everything with --all; say which of both."
        )


def _on(path: Path | None) -> Path:
    from graft.errors import RequestError

    if path is None:
        raise RequestError("the ledger is off: GRAFT_LEDGER says so. Unset it, or let it name a file.")
    return path


def _before(age: str) -> str:
    """The time that lies so long ago, as entries state it; empty for no age."""
    from graft.errors import RequestError
    from graft.select.entry import stamp

    if not age:
        return ""
    if (found := re.fullmatch(r"(\d{1,6})\s*([hdw])", age.strip())) is None:
        raise RequestError(f"--older-than is {age!r}, which is no age; write hours, days or weeks: 12h, 90d, 8w.")
    try:
        return stamp(datetime.now(UTC) - timedelta(hours=int(found[1]) * _HOURS[found[2]]))
    except OverflowError as exc:
        raise RequestError(f"--older-than is {age!r}, which is before the calendar begins.") from exc


def _path(path: Path | None, json: bool) -> None:
    if json:
        print_json({"path": None if path is None else str(path)})
    else:
        print("off" if path is None else path)


def _export(held: Ledger, file: Path, which: Which, json: bool) -> None:
    count = held.export(file, which)
    if json:
        print_json({"path": str(held.path), "file": str(file), "exported": count})
    else:
        print(f"wrote    {file} ({_trials(count)})\nnext     graft ledger import {file}   on another machine")


def _import(held: Ledger, file: Path, json: bool) -> None:
    from graft.errors import DataError

    found = held.merge(file)
    if found.faults and not found.added + found.known:
        line, reason = found.faults[0]
        raise DataError(f"{file} holds no trial: line {line}: {reason}. Give a file that graft ledger export wrote.")
    if json:
        faults = [{"line": line, "reason": reason} for line, reason in found.faults]
        print_json({"path": str(held.path), "added": found.added, "known": found.known, "faults": faults})
        return
    for line, reason in found.faults[:_LISTED]:
        print(f"left out line {line}: {reason}")
    if len(found.faults) > _LISTED:
        print(f"         … and {len(found.faults) - _LISTED} more lines")
    print(f"took in  {_trials(found.added)}; {found.known} were there already\nnext     graft ledger show")


def _forget(held: Ledger, which: Which, json: bool) -> None:
    count = held.forget(which)
    kept = sorted(str(each) for each in held.path.parent.glob(f"{held.path.name}.kept-*"))
    if json:
        print_json({"path": str(held.path), "forgotten": count, "kept": kept})
        return
    print(f"removed  {_trials(count)} from {held.path}")
    for each in kept:
        print(f"         {each} was damaged once and still holds what it held; remove it yourself")


def _show(held: Ledger, which: Which, limit: int, json: bool) -> None:
    from graft.select.ledger import Which

    found = held.read(which)
    shown = found[-limit:] if limit else found
    if json:
        entries = [{"key": each.key, **each.document()} for each in shown]
        print_json({"path": str(held.path), "count": len(found), "entries": entries})
    elif found:
        _table(shown)
        datasets = len({each.data for each in found})
        more = f"; the latest {len(shown)} are shown (--limit 0 shows all)" if len(shown) < len(found) else ""
        print(f"\n{held.path}: {_trials(len(found))} on {datasets} dataset{'s' if datasets != 1 else ''}{more}")
        print("next     graft ledger export trials.jsonl")
    else:
        print(f"{held.path} holds no {'such ' if which != Which() else ''}trial\nnext     graft fit DATA")


def _trials(count: int) -> str:
    return "1 trial" if count == 1 else f"{count} trials"


def _table(entries: tuple[Entry, ...]) -> None:
    from rich.table import Table
    from rich.text import Text

    from graft.cli import tables

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for title in ("ended", "data", "task", "rows", "source", "strategy", "score", "seconds"):
        table.add_column(title, justify="right" if title in ("rows", "seconds") else "left", no_wrap=True)
    for each in entries:
        table.add_row(*(Text(cell) for cell in _cells(each)))
    tables.printed(table)


def _cells(each: Entry) -> tuple[Any, ...]:
    from graft.cli import tables

    score = "–" if each.score != each.score else f"{each.score:.4f}"
    ended = each.when[:16].replace("T", " ")
    task = f"{each.sketch.modality}, {each.sketch.kind}"
    measured = f"{tables.heading(each.metric)} {score}"
    return ended, each.data[:8], task, f"{each.rows}", each.source, each.strategy, measured, f"{each.seconds:.1f}"
