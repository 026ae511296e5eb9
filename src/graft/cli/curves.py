"""``graft curves``: how the training of a saved model went, epoch by epoch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from graft.cli.options import Json, ModelFolder
from graft.cli.outcome import print_json, reported

if TYPE_CHECKING:
    from graft.evaluate.learning_curve import LearningCurve
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
    """Show loss, metric and learning rate of every epoch of a saved model's trials, and draw them.

    A model that was fitted with --learning-curve shows its metric over the training rows too.
    """
    with reported():
        from graft.cli import tables
        from graft.evaluate.learning_curve import LearningCurve
        from graft.manifest import read_manifest
        from graft.result import Tried
        from graft.storage import write_atomic

        result = read_manifest(model)["result"]
        metric = result.get("metric", "metric")
        grown = result.get("learning_curve")
        growth = None if grown is None or not grown["points"] or trial else LearningCurve.from_document(grown)
        tried = [Tried.from_document(each) for each in result.get("tried", ())]
        shown = _chosen(tried, trial, model, also=growth is not None)
        if output is not None:
            write_atomic(output, _drawn(shown, growth, tables.heading(metric)).encode())
        if json:
            trials = [{**each.document(), "kept": each.kept} for each in shown]
            held = None if growth is None else growth.document()
            print_json({"model": str(model), "metric": metric, "trials": trials, "learning_curve": held})
            return
        for each in shown:
            _show(each, tables.heading(metric))
        if growth is not None:
            _show_growth(growth, tables.heading(metric))
        print(f"wrote    {output}" if output is not None else f"next     graft curves {model} -o curves.svg")


def _drawn(shown: list[Tried], growth: LearningCurve | None, metric: str) -> str:
    """The picture of the epochs, above that of the rows."""
    from graft.report.axes import stacked
    from graft.report.curves import Curve, curves
    from graft.report.growth import growth as of_rows

    lines = [
        Curve(each.name, [e.loss for e in each.epochs], [e.metric for e in each.epochs], each.kept) for each in shown
    ]
    pictures = [curves(lines, metric)] if lines else []
    return stacked([*pictures, *([] if growth is None else [of_rows(growth, metric)])])


def _show_growth(growth: LearningCurve, metric: str) -> None:
    """Every number of training rows with its mean and its extremes, and what twice the rows would bring."""
    from rich.table import Table

    from graft.cli import tables

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for title in ("training rows", f"mean {metric}", "lowest", "highest", "fits"):
        table.add_column(title, justify="right", no_wrap=True)
    for rows in dict.fromkeys(each.rows for each in growth.points):
        values = [each.value for each in growth.points if each.rows == rows]
        cells = (sum(values) / len(values), min(values), max(values))
        table.add_row(str(rows), *(f"{each:.4f}" for each in cells), str(len(values)))
    print(f"{growth.name} by training rows")
    tables.printed(table)
    print(f"labels   {growth}\n")


def _chosen(tried: list[Tried], names: list[str] | None, model: Path, also: bool) -> list[Tried]:
    """The trials that trained in epochs; of these the named ones.  ``also``: there is something else to show."""
    from graft.errors import RequestError, UnknownNameError

    trained = [each for each in tried if each.epochs]
    for name in names or ():
        if name not in {each.name for each in trained}:
            raise UnknownNameError("trial with epochs", name, [each.name for each in trained])
    if not trained and not also:
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
