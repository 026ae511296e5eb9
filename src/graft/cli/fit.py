"""``graft fit``: transfer a source to a task, and measure whether it helped."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from graft.cli.options import Device, Json, Quiet
from graft.cli.outcome import print_json, reported

__all__ = ["fit"]


def fit(
    data: Annotated[str, typer.Argument(help="A folder of images, or a CSV, TSV, Parquet or JSONL file.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the model to write.")] = Path("graft-model"),
    source: Annotated[
        str | None, typer.Option("--source", "-s", help="Where knowledge comes from (graft ls sources).")
    ] = None,
    strategy: Annotated[
        list[str] | None,
        typer.Option("--strategy", help="How it is transferred (graft ls strategies); repeat it to try several."),
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option("--target", "-t", help="Column of the label; repeat it for columns of each class's probability."),
    ] = None,
    input: Annotated[str | None, typer.Option("--input", help="Column of the text or of the image path.")] = None,
    group_by: Annotated[
        str | None, typer.Option("--group-by", help="Column whose equal values stay on one side of the split.")
    ] = None,
    time_by: Annotated[
        str | None,
        typer.Option("--time-by", help="Column of numbers or dates: rows are split in its order."),
    ] = None,
    confidence: Annotated[
        str | None, typer.Option("--confidence", help="Column of how much each row counts while learning, 0 or more.")
    ] = None,
    delimiter: Annotated[
        str | None, typer.Option("--delimiter", help="What separates several labels in one cell.")
    ] = None,
    task: Annotated[str | None, typer.Option("--task", help="Kind of task (graft ls tasks).")] = None,
    test: Annotated[str | None, typer.Option("--test", help="Rows to judge on, where they lie apart.")] = None,
    unlabelled: Annotated[
        str | None, typer.Option("--unlabelled", help="More rows, without labels, for strategies that learn from such.")
    ] = None,
    folds: Annotated[
        int | None, typer.Option("--folds", help="Judge by so many folds of all rows instead of by test rows.")
    ] = None,
    repeats: Annotated[int, typer.Option("--repeats", help="How often the rows are dealt into folds anew.")] = 1,
    learning_curve: Annotated[
        bool, typer.Option("--learning-curve", help="Find out what more labels would bring; takes 11 smaller fits.")
    ] = False,
    metric: Annotated[str | None, typer.Option("--metric", help="What everything is chosen by.")] = None,
    control: Annotated[
        list[str] | None,
        typer.Option("--control", help="What transfer has to beat; repeat it. Default: majority, shallow, scratch."),
    ] = None,
    licence: Annotated[
        str | None, typer.Option("--licence", help="Refuse a source whose licence is not permissive, or not this one.")
    ] = None,
    budget: Annotated[
        str, typer.Option("--budget", help="Time that training the scratch control may take: 90s, 2m, 1h.")
    ] = "2m",
    on_bad_row: Annotated[str, typer.Option("--on-bad-row", help="fail, or skip and list them.")] = "fail",
    seed: Annotated[int, typer.Option("--seed", help="Decides every random draw.")] = 0,
    device: Device = "auto",
    precision: Annotated[str, typer.Option("--precision", help="auto, float32 or bfloat16.")] = "auto",
    log: Annotated[
        list[str] | None, typer.Option("--log", help="Keep a record: tensorboard:FOLDER, mlflow:FOLDER or mlflow:URI.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output folder.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read, split and plan; train and write nothing.")] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Transfer a pretrained source to the task in DATA, and measure whether it helped.

    Killed or interrupted, the same command goes on where it was.
    """
    with reported():
        from graft import processes
        from graft.cli import tables
        from graft.flow import run
        from graft.order import Order
        from graft.preparation import prepare
        from graft.progress import for_stream
        from graft.select.plan import CONTROLS
        from graft.tracking import opened

        order = Order(
            data,
            source=source,
            strategy=strategy or "linear_probe",
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
            controls=tuple(control or CONTROLS),
            licence=licence,
            unlabelled=unlabelled,
            confidence=confidence,
            time_by=time_by,
            folds=folds,
            repeats=repeats,
            learning_curve=learning_curve,
        )
        with processes.joined(device):
            first = processes.place() == 0
            silent = quiet or json or not first
            say, progress = tables.steps(silent), for_stream(quiet=silent)
            if dry_run:
                prepared = prepare(order, progress=progress, say=say)
                if first:
                    print_json(tables.plan_document(prepared)) if json else tables.plan(prepared)
                return
            logs = [opened(each) for each in (log or () if first else ())]
            result = run(order, output=output, overwrite=overwrite, progress=progress, say=say, callbacks=logs)
        if not first:
            return
        if json:
            print_json({**result.document(seconds=True), "output": str(output)})
        else:
            tables.result(result, output, file=sys.stdout)
