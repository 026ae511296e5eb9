"""``graft plan``: what could be tried on some data, in which order, and at what cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

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
    Metric,
    OnBadRow,
    Precision,
    Quiet,
    Seed,
    Target,
    TaskKind,
    Test,
    Unlabelled,
)
from graft.cli.outcome import print_json, reported

if TYPE_CHECKING:
    from rich.table import Table

    from graft.order import Order
    from graft.select.field import Field

__all__ = ["plan"]


def plan(
    data: Data,
    budget: Annotated[str, typer.Option("--budget", help="Time for choosing and fitting: 90s, 10m, 1h.")] = "10m",
    source: Annotated[
        list[str] | None,
        typer.Option("--source", "-s", help="A source to try; repeat it. Default: all that load now."),
    ] = None,
    strategy: Annotated[
        list[str] | None,
        typer.Option("--strategy", help="A strategy to try; repeat it. Default: by the number of rows."),
    ] = None,
    licence: LicenceFilter = None,
    download: Annotated[
        bool, typer.Option("--download", help="Count sources in that would have to be fetched; nothing is fetched now.")
    ] = False,
    target: Target = None,
    input: Input = None,
    group_by: GroupBy = None,
    confidence: Confidence = None,
    delimiter: Delimiter = None,
    task: TaskKind = None,
    test: Test = None,
    unlabelled: Unlabelled = None,
    metric: Metric = None,
    on_bad_row: OnBadRow = "fail",
    seed: Seed = 0,
    device: Device = "auto",
    precision: Precision = "auto",
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Say which sources and strategies could serve the task in DATA, in the order to be tried, and what each costs.

    Nothing is trained, loaded or fetched.
    """
    with reported():
        from graft.cli import tables
        from graft.order import Order
        from graft.planning import run
        from graft.progress import for_stream

        order = Order(
            data,
            strategy=strategy or (),
            task=task,
            target=target,
            input=input,
            group_by=group_by,
            delimiter=delimiter,
            test=test,
            metric=metric,
            on_bad_row=on_bad_row,
            budget=tables.seconds(budget),
            seed=seed,
            device=device,
            precision=precision,
            licence=licence,
            unlabelled=unlabelled,
            confidence=confidence,
        )
        silent = quiet or json
        progress = for_stream(quiet=silent)
        found = run(order, source or (), download=download, progress=progress, say=tables.steps(silent))
        if json:
            print_json(found.document())
        else:
            _show(found, order, source or ())


def _show(found: Field, order: Order, sources: Sequence[str]) -> None:
    """The candidates in order, what is left out and why, and what all of it takes."""
    import math
    import shlex

    from graft.cli import tables
    from graft.select.field import grouped
    from graft.select.forecast import duration, volume

    tables.line("plan", f"{found.sides()}: {len(found.entrants)} to be tried, in this order")
    tables.printed(_table(found))
    for place, (reason, names) in enumerate(grouped(found.excluded)):
        tables.line("" if place else "left out", f"{names}: {reason}")
    fetched = f", {volume(found.download)} to download" if found.download else ""
    held = "all of it" if found.within == len(found.entrants) else f"the first {found.within}"
    took = f"{duration(found.seconds)} for all, {volume(found.memory)} of memory at the peak{fetched}"
    tables.line("forecast", f"{took}; the budget of {duration(found.limits.budget)} holds {held}")
    named = "".join(f" --source {shlex.quote(each)}" for each in sources)
    budget = f"--budget {math.ceil(found.limits.budget)}s"
    tables.line("next", f"graft fit {shlex.quote(order.data)}{named}{tables.stated(order)} {budget} -o MODEL")


def _table(found: Field) -> Table:
    from rich.table import Table

    from graft.select.forecast import duration, volume

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    fetched = bool(found.download)
    table.add_column("", width=8, no_wrap=True)
    for title in ("source", "strategy"):
        table.add_column(title, overflow="fold")
    for title in ("time", "memory", "disk", *(("download",) if fetched else ())):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("setting")
    for place, each in enumerate(found.entrants, 1):
        cost = each.forecast
        sizes = [volume(each) if each else "–" for each in (cost.memory, cost.disk, cost.download)]
        table.add_row(
            str(place),
            each.source,
            each.candidate.name,
            duration(cost.seconds),
            *sizes[: 2 + fetched],
            str(each.setting),
        )
    return table
