"""``graft curves``: how the training of a saved model went, epoch by epoch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from graft.cli.options import Json, ModelFolder
from graft.cli.outcome import print_json, reported

if TYPE_CHECKING:
    from graft.result import Tried

__all__ = ["curves"]


def curves(
    model: ModelFolder,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="SVG file to draw the curves into.")] = None,
    trial: Annotated[
        list[str] | None, typer.Option("--trial", help="One of the trials; repeat it. Default: all that trained.")
    ] = None,
    json: Json = False,
) -> None:
    """Show loss, metric and learning rate of every epoch of a saved model's trials, and draw them."""
    with reported():
        from graft.cli import tables
        from graft.manifest import read_manifest
        from graft.report.curves import Curve
        from graft.report.curves import curves as drawn
        from graft.result import Tried
        from graft.storage import write_atomic

        result = read_manifest(model)["result"]
        metric = result.get("metric", "metric")
        shown = _chosen([Tried.from_document(each) for each in result.get("tried", ())], trial, model)
        if output is not None:
            lines = [
                Curve(each.name, [e.loss for e in each.epochs], [e.metric for e in each.epochs], each.kept)
                for each in shown
            ]
            write_atomic(output, drawn(lines, tables.heading(metric)).encode())
        if json:
            trials = [{**each.document(), "kept": each.kept} for each in shown]
            print_json({"model": str(model), "metric": metric, "trials": trials})
            return
        for each in shown:
            _show(each, tables.heading(metric))
        print(f"wrote    {output}" if output is not None else f"next     graft curves {model} -o curves.svg")


def _chosen(tried: list[Tried], names: list[str] | None, model: Path) -> list[Tried]:
    """The trials that trained in epochs; of these the named ones."""
    from graft.errors import RequestError, UnknownNameError

    trained = [each for each in tried if each.epochs]
    for name in names or ():
        if name not in {each.name for each in trained}:
            raise UnknownNameError("trial with epochs", name, [each.name for each in trained])
    if not trained:
        raise RequestError(
            f"nothing in {model} was trained in epochs: closed forms, such as a linear probe, have no curves."
        )
    return [each for each in trained if names is None or each.name in names]


def _show(each: Tried, metric: str) -> None:
    from rich.table import Table

    from graft.cli import tables

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for title in ("", "epoch", "loss", metric, "rate"):
        table.add_column(title, justify="right", no_wrap=True)
    for place, epoch in enumerate(each.epochs):
        score = "–" if epoch.metric is None else f"{epoch.metric:.4f}"
        mark = "kept" if place == each.kept else ""
        table.add_row(mark, str(place + 1), f"{epoch.loss:.4f}", score, f"{epoch.rate:.2e}")
    print(f"{each.name} on {each.source}")
    tables.printed(table)
    print()
