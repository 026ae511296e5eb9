"""``graft predict``: a saved model and new rows → a table of predictions."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Annotated, TextIO

import typer

from graft.cli.options import Code, Device, Input, Json, ModelFolder, Quiet
from graft.cli.outcome import print_json, reported

__all__ = ["predict"]


def predict(
    model: ModelFolder,
    data: Annotated[list[str], typer.Argument(help="A folder, a table, or image files; - reads texts from stdin.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="CSV file to write; standard output without it.")
    ] = None,
    input: Input = None,
    probabilities: Annotated[
        bool, typer.Option("--probabilities", "-p", help="One more column a class, with its probability.")
    ] = False,
    code: Code = None,
    device: Device = "auto",
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Predict rows with a saved model."""
    with reported():
        from graft import bundle
        from graft.cli import tables
        from graft.progress import for_stream

        fitted = bundle.load(model, device=device, code=code)
        examples = fitted.examples(tables.rows_given(data), input=input)
        for note in () if quiet or json else getattr(examples, "notes", ()):
            print(note, file=sys.stderr)
        outputs = fitted.outputs(examples, for_stream(quiet=quiet or json))
        table = tables.predictions(fitted, examples, outputs, probabilities)
        if json:
            print_json({"model": str(model), "rows": table})
            return
        cells = [{key: tables.cell(value) for key, value in row.items()} for row in table]
        if output is None:
            _write(sys.stdout, cells)
            return
        with tables.text_file(output) as file:
            _write(file, cells)
        if not quiet:
            print(f"wrote    {output} ({len(table)} rows)\nnext     graft evaluate {model} LABELLED-DATA")


def _write(file: TextIO, table: list[dict[str, object]]) -> None:
    writer = csv.DictWriter(file, fieldnames=list(table[0]) if table else ["row", "prediction"])
    writer.writeheader()
    writer.writerows(table)
