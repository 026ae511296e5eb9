"""``graft compare``: strategies and sources side by side, cross-validated on the same folds."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from graft.cli.options import (
    Budget,
    Confidence,
    Controls,
    Data,
    Delimiter,
    Device,
    GroupBy,
    Input,
    Json,
    Licence,
    Metric,
    NoLedger,
    OnBadRow,
    Overwrite,
    Precision,
    Quiet,
    Repeats,
    Seed,
    Target,
    TaskKind,
    TimeBy,
    Unlabelled,
)
from graft.cli.outcome import RESUMES, print_json, reported

if TYPE_CHECKING:
    from rich.table import Table

    from graft.order import Order
    from graft.standings import Against, Standing, Standings

__all__ = ["compare"]


def compare(
    data: Data,
    strategies: Annotated[
        str | None, typer.Option("--strategies", help="Several at once, with commas between: linear_probe,fine_tune.")
    ] = None,
    strategy: Annotated[
        list[str] | None,
        typer.Option("--strategy", help="One to compare (graft ls strategies); repeat it."),
    ] = None,
    source: Annotated[
        list[str] | None,
        typer.Option("--source", "-s", help="Where knowledge comes from (graft ls sources); repeat it for several."),
    ] = None,
    folds: Annotated[
        int, typer.Option("--folds", help="Parts of the rows, each measured by models of the others.")
    ] = 5,
    repeats: Repeats = 1,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for comparison.json; a killed run goes on there.")
    ] = None,
    target: Target = None,
    input: Input = None,
    group_by: GroupBy = None,
    time_by: TimeBy = None,
    confidence: Confidence = None,
    delimiter: Delimiter = None,
    task: TaskKind = None,
    unlabelled: Unlabelled = None,
    metric: Metric = None,
    control: Controls = None,
    licence: Licence = None,
    budget: Budget = "2m",
    on_bad_row: OnBadRow = "fail",
    seed: Seed = 0,
    device: Device = "auto",
    precision: Precision = "auto",
    no_ledger: NoLedger = False,
    overwrite: Overwrite = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Cross-validate strategies and sources side by side: the same folds, rows and seeds for all.

    Killed or interrupted, the same command with --output goes on where it was.
    """
    with reported(RESUMES if output else "with --output DIR it would go on where it was"):
        from graft import processes
        from graft.cli import tables
        from graft.comparison import run
        from graft.order import Order
        from graft.progress import for_stream
        from graft.select.plan import CONTROLS

        order = Order(
            data,
            strategy=[*_several(strategies or ""), *(strategy or ())] or "linear_probe",
            task=task,
            target=target,
            input=input,
            group_by=group_by,
            delimiter=delimiter,
            metric=metric,
            on_bad_row=on_bad_row,
            budget=tables.seconds(budget),
            seed=seed,
            device=device,
            precision=precision,
            controls=tuple(control or CONTROLS),
            licence=licence,
            unlabelled=unlabelled,
            confidence=confidence,
            ledger=not no_ledger,
            time_by=time_by,
        )
        with processes.joined(device):
            first = processes.place() == 0
            silent = quiet or json or not first
            standings = run(
                order,
                source or [None],
                folds=folds,
                repeats=repeats,
                output=output,
                overwrite=overwrite,
                progress=for_stream(quiet=silent),
                say=tables.steps(silent),
            )
        if not first:
            return
        if json:
            print_json({**standings.document(seconds=True), "output": None if output is None else str(output)})
        else:
            _show(standings, order, output)


def _several(text: str) -> list[str]:
    """Specs with commas between; a comma inside of brackets or quotes belongs to its spec."""
    found, depth, quoted, now = [], 0, False, ""
    for letter in text:
        quoted ^= letter == '"'
        depth += (letter in "[{") - (letter in "]}")
        if letter == "," and depth == 0 and not quoted:
            found.append(now.strip())
            now = ""
        else:
            now += letter
    return [each for each in (*found, now.strip()) if each]


def _show(found: Standings, order: Order, output: Path | None) -> None:
    """The table, the best first; why others did not run; what the figures mean; what comes next."""
    from graft.cli import tables

    often = f", {found.repeats} times" if found.repeats > 1 else ""
    tables.line("compare", f"{tables.heading(found.metric)} on {found.rows} rows, {found.folds} folds{often}")
    tables.wide(_table(found), sys.stdout)
    best = found.best
    differ = [each for each in found.standings[1:] if each.to_best is not None and each.to_best.corrected < 0.05]
    rest = len(found.standings) - 1 - len(differ)
    tables.line("best", f"{best.name}; worse by p < 0.05 (Holm): {len(differ)}; not to be told from it: {rest}")
    tables.line("", "all rows measured all candidates: the best of many looks better than it is; the tests count")
    if output is not None:
        tables.line("kept" if found.reused else "wrote", f"{output}/comparison.json")
    tables.line("next", f"graft fit {shlex.quote(order.data)}{_spec(best)}{tables.stated(order)} -o MODEL")


def _spec(best: Standing) -> str:
    strategy = best.name.partition(" on ")[0]
    if best.role != "transfer":
        return ""
    return f" --source {shlex.quote(best.source)} --strategy {shlex.quote(strategy)}"


def _table(found: Standings) -> Table:
    from rich.table import Table

    from graft.cli import tables

    metric = tables.heading(found.metric)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    over = f"over {_other([each.over_control for each in found.standings])}"
    for title in ("", "candidate", metric, "folds", over, "p", "to the best", "p", "learnt", "seconds"):
        table.add_column(title, justify="left" if title in ("", "candidate") else "right", no_wrap=True)
    for each in found.standings:
        table.add_row(" " * 8, each.name, *_cells(each))
    for name in (*found.refused, *found.left_out):
        table.add_row("", name, "did not run")
    return table


def _other(pairs: Sequence[Against | None]) -> str:
    return next((each.other for each in pairs if each is not None), "a control")


def _cells(each: Standing) -> list[str]:
    from graft.cli import tables

    known = [value for value in each.folds if value == value]
    reach = f"{min(known):.3f}–{max(known):.3f}" if known else "–"
    seconds = "" if each.seconds is None else f"{each.seconds:.1f}"
    pairs = [*_pair(each.over_control), *_pair(each.to_best)]
    return [f"{each.score}", reach, *pairs, tables.amount(each.trained), seconds]


def _pair(pair: Against | None) -> list[Any]:
    if pair is None:
        return ["", ""]
    from graft.cli import tables

    return [f"{pair.found.gain:+}", tables.probability(pair.corrected)]
