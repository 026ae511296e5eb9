"""``graft fit``: transfer a source to a task, and measure whether it helped."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from graft.cli.options import (
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
    Test,
    TimeBy,
    Unlabelled,
    Written,
)
from graft.cli.outcome import RESUMES, print_json, reported

__all__ = ["fit"]


def fit(
    data: Data,
    output: Written = Path("graft-model"),
    source: Annotated[
        list[str] | None,
        typer.Option(
            "--source",
            "-s",
            help="Where knowledge comes from (graft ls sources); repeat it to choose, with --budget.",
        ),
    ] = None,
    strategy: Annotated[
        list[str] | None,
        typer.Option("--strategy", help="How it is transferred (graft ls strategies); repeat it to try several."),
    ] = None,
    target: Target = None,
    input: Input = None,
    group_by: GroupBy = None,
    time_by: TimeBy = None,
    confidence: Confidence = None,
    delimiter: Delimiter = None,
    task: TaskKind = None,
    test: Test = None,
    unlabelled: Unlabelled = None,
    folds: Annotated[
        int | None, typer.Option("--folds", help="Judge by so many folds of all rows instead of by test rows.")
    ] = None,
    repeats: Repeats = 1,
    learning_curve: Annotated[
        bool, typer.Option("--learning-curve", help="Find out what more labels would bring; takes 11 smaller fits.")
    ] = False,
    metric: Metric = None,
    control: Controls = None,
    licence: Licence = None,
    budget: Annotated[
        str | None,
        typer.Option("--budget", help="Choose what is not named, source or strategy, in this time: 90s, 10m, 1h."),
    ] = None,
    prefer: Annotated[
        str, typer.Option("--prefer", help="Among models that the rows cannot tell apart: accurate, small or fast.")
    ] = "accurate",
    ensemble: Annotated[
        int,
        typer.Option("--ensemble", help="Hand over up to so many models of the race together, where that is better."),
    ] = 1,
    download: Annotated[
        bool, typer.Option("--download", help="Choose also from sources that have to be fetched.")
    ] = False,
    on_bad_row: OnBadRow = "fail",
    seed: Seed = 0,
    device: Device = "auto",
    precision: Precision = "auto",
    log: Annotated[
        list[str] | None, typer.Option("--log", help="Keep a record: tensorboard:FOLDER, mlflow:FOLDER or mlflow:URI.")
    ] = None,
    no_ledger: NoLedger = False,
    overwrite: Overwrite = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read, split and plan; train and write nothing.")] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Transfer a pretrained source to the task in DATA, and measure whether it helped.

    With --budget, what is not named of --source and --strategy is chosen by evidence.

    Killed or interrupted, the same command goes on where it was.
    """
    began = time.monotonic()  # what loading the libraries takes is part of the budget
    with reported(RESUMES):
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
            source=source or None,
            strategy=strategy or None,
            task=task,
            target=target,
            input=input,
            group_by=group_by,
            delimiter=delimiter,
            test=test,
            metric=metric,
            on_bad_row=on_bad_row,
            budget=None if budget is None else tables.seconds(budget),
            seed=seed,
            device=device,
            precision=precision,
            controls=tuple(control or CONTROLS),
            licence=licence,
            unlabelled=unlabelled,
            confidence=confidence,
            prefer=prefer,
            download=download,
            ledger=not no_ledger,
            time_by=time_by,
            folds=folds,
            repeats=repeats,
            learning_curve=learning_curve,
            ensemble=ensemble,
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
            result = run(
                order, output=output, overwrite=overwrite, progress=progress, say=say, callbacks=logs, began=began
            )
        if not first:
            return
        if json:
            print_json({**result.document(seconds=True), "output": str(output)})
        else:
            tables.result(result, output, file=sys.stdout)
