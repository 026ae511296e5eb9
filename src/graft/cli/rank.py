"""``graft rank``: which sources may serve, before anything is trained."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated, Any

import typer

from graft.cli.options import (
    Confidence,
    Data,
    Delimiter,
    Device,
    GroupBy,
    Input,
    Json,
    LicenceFilter,
    OnBadRow,
    Precision,
    Quiet,
    Seed,
    Target,
    TaskKind,
)
from graft.cli.outcome import print_json, reported

if TYPE_CHECKING:
    from rich.table import Table

    from graft.order import Order
    from graft.select.ranks import Ranking, Screened

__all__ = ["rank"]


def rank(
    data: Data,
    source: Annotated[
        list[str] | None,
        typer.Option("--source", "-s", help="One to rank (graft ls sources); repeat it. Default: all that are here."),
    ] = None,
    score: Annotated[
        list[str] | None,
        typer.Option("--score", help="What to rank by (graft ls scores); repeat it, the first one orders."),
    ] = None,
    target: Target = None,
    input: Input = None,
    group_by: GroupBy = None,
    confidence: Confidence = None,
    delimiter: Delimiter = None,
    task: TaskKind = None,
    metric: Annotated[str | None, typer.Option("--metric", help="What the scores probe and knn measure.")] = None,
    licence: LicenceFilter = None,
    budget: Annotated[
        str | None, typer.Option("--budget", help="Time: 90s, 2m, 1h. Where it is short, fewer rows are looked at.")
    ] = None,
    rows: Annotated[int | None, typer.Option("--rows", help="How many rows to look at, at most.")] = None,
    on_bad_row: OnBadRow = "fail",
    seed: Seed = 0,
    device: Device = "auto",
    precision: Precision = "auto",
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Rank sources by their frozen features: one pass each, over more rows the closer they are.

    Nothing is trained but closed forms, and the rows that graft fit judges by are not looked at.
    """
    with reported():
        from graft.cli import tables
        from graft.order import Order
        from graft.progress import for_stream
        from graft.ranking import run

        order = Order(
            data,
            task=task,
            target=target,
            input=input,
            group_by=group_by,
            delimiter=delimiter,
            metric=metric,
            on_bad_row=on_bad_row,
            seed=seed,
            device=device,
            precision=precision,
            licence=licence,
            confidence=confidence,
        )
        silent = quiet or json
        found = run(
            order,
            source,
            score or ["probe"],
            budget=None if budget is None else tables.seconds(budget),
            rows=rows,
            progress=for_stream(quiet=silent),
            say=tables.steps(silent),
        )
        if json:
            print_json(found.document())
        else:
            _show(found, order)


def _show(found: Ranking, order: Order) -> None:
    """The table, the best first; what the rows cannot tell; who failed, and why; what comes next."""
    from graft.cli import tables

    tables.line("rank", f"{_heading(found)} on {found.rows} rows; {found.stopped}")
    tables.printed(_table(found))
    ranked = [each for each in found.entries if not each.failed and found.score in each.scores]
    clearly = len(ranked) - len(found.tied)
    if found.abstains:
        tables.line("best", f"not to be told on these rows: {', '.join(found.tied)}")
        tables.line("", f"clearly behind: {clearly}; graft compare measures those that are tied")
    else:
        tables.line("best", f"{found.best.source}; clearly behind: {clearly}")
    for each in found.entries:
        if each.failed:
            looked = each.rows or each.seconds
            tables.line("failed" if looked else "left out", f"{each.source}: {each.failed}")
        elif found.score not in each.scores:
            tables.line("unranked", f"{each.source}: {each.missing[found.score]}")
    tables.line("next", _next(found, order))


def _next(found: Ranking, order: Order) -> str:
    from graft.cli import tables

    named = found.tied[:3] if found.abstains else (found.best.source,)
    sources = "".join(f" --source {shlex.quote(each)}" for each in named)
    command = "compare" if found.abstains else "fit"
    output = "" if found.abstains else " -o MODEL"
    return f"graft {command} {shlex.quote(order.data)}{sources}{tables.stated(order)}{output}"


def _heading(found: Ranking) -> str:
    """What is measured: ``probe: accuracy``."""
    from graft.cli import tables

    measure = found.measure
    shown = f"−{tables.heading(measure[1:])}" if measure.startswith("-") else tables.heading(measure)
    return found.score if found.measure == found.score else f"{found.score}: {shown}"


def _table(found: Ranking) -> Table:
    from rich.table import Table

    beside = [name for each in found.entries for name in each.scores if name != found.score]
    titles = ["", "rank", "source", _heading(found), "behind", *dict.fromkeys(beside)]
    titles += ["rows", "seconds", "weights", "licence"]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for title in titles:
        left = title in ("", "source", "licence")
        table.add_column(title, justify="left" if left else "right", no_wrap=title != "source", overflow="fold")
    for place, each in enumerate(found.entries, start=1):
        if not each.failed:
            table.add_row(*_cells(found, each, place, list(dict.fromkeys(beside))))
    return table


def _cells(found: Ranking, each: Screened, place: int, beside: list[str]) -> list[str]:
    from graft.cli import tables

    ranked = found.score in each.scores
    gap = found.behind.get(each.source)
    mark = "=" if found.abstains and each.source in found.tied else ""
    return [
        " " * 8,
        f"{mark}{place}" if ranked else "–",
        each.source,
        _shown(each.scores.get(found.score)),
        "" if gap is None else _shown(gap),
        *(_shown(each.scores.get(name)) for name in beside),
        f"{each.rows}",
        f"{each.seconds:.1f}",
        tables.amount(each.card.parameters),
        each.card.licence or ("–" if each.card.parameters == 0 else "not known"),
    ]


def _shown(value: Any) -> str:
    """A score with its interval, or alone where rows say nothing of it."""
    if value is None:
        return "–"
    return f"{value.value:.3f}" if value.low != value.low else f"{value}"
