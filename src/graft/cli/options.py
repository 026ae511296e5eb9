"""Arguments and options that several commands share, named as the field names them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "Budget",
    "Code",
    "Confidence",
    "Controls",
    "Data",
    "Delimiter",
    "Device",
    "GroupBy",
    "Input",
    "Json",
    "Licence",
    "LicenceFilter",
    "Metric",
    "ModelFolder",
    "NoLedger",
    "OnBadRow",
    "Overwrite",
    "Precision",
    "Quiet",
    "Repeats",
    "Seed",
    "Target",
    "TaskKind",
    "Test",
    "TimeBy",
    "Unlabelled",
    "Written",
]

Data = Annotated[
    str, typer.Argument(help="A folder of images or sounds, or a table: a CSV, TSV, Parquet or JSONL file.")
]
ModelFolder = Annotated[Path, typer.Argument(help="Folder that graft fit wrote.")]
Written = Annotated[Path, typer.Option("--output", "-o", help="Folder of the model to write.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the output folder.")]

Target = Annotated[
    list[str] | None,
    typer.Option("--target", "-t", help="Column of the label; repeat it for columns of each class's probability."),
]
Input = Annotated[str | None, typer.Option("--input", help="Column of the text or of the image path.")]
GroupBy = Annotated[
    str | None, typer.Option("--group-by", help="Column whose equal values stay together: a patient, an author.")
]
TimeBy = Annotated[
    str | None,
    typer.Option("--time-by", help="Column of numbers or dates: learn from the past, measure by what came after."),
]
Confidence = Annotated[
    str | None, typer.Option("--confidence", help="Column of how much each row counts while learning, 0 or more.")
]
Delimiter = Annotated[str | None, typer.Option("--delimiter", help="What separates several labels in one cell.")]
TaskKind = Annotated[str | None, typer.Option("--task", help="Kind of task (graft ls tasks).")]
Test = Annotated[str | None, typer.Option("--test", help="Rows to judge on, where they lie apart.")]
Unlabelled = Annotated[
    str | None, typer.Option("--unlabelled", help="More rows, without labels, for strategies that learn from such.")
]
OnBadRow = Annotated[str, typer.Option("--on-bad-row", help="fail, or skip and list them.")]

Metric = Annotated[str | None, typer.Option("--metric", help="What everything is chosen and ordered by.")]
Controls = Annotated[
    list[str] | None,
    typer.Option("--control", help="What transfer has to beat; repeat it. Default: majority, shallow, scratch."),
]
Licence = Annotated[
    str | None, typer.Option("--licence", help="Refuse a source whose licence is not permissive, or not this one.")
]
LicenceFilter = Annotated[
    str | None,
    typer.Option("--licence", help="Leave out sources whose licence is not permissive, or not this one."),
]
Repeats = Annotated[int, typer.Option("--repeats", help="How often the rows are dealt into folds anew.")]
Budget = Annotated[str, typer.Option("--budget", help="Time that the scratch control may train: 90s, 2m, 1h.")]
Seed = Annotated[int, typer.Option("--seed", help="Decides every random draw.")]

NoLedger = Annotated[bool, typer.Option("--no-ledger", help="Keep nothing of it in the ledger (graft ledger).")]

Code = Annotated[
    list[str] | None,
    typer.Option("--code", help="Your function that makes the model's network, nets.py:make; it will run."),
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1, …")]
Precision = Annotated[str, typer.Option("--precision", help="auto, float32 or bfloat16.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output, and nothing else.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print no progress and no steps.")]
