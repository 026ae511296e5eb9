"""``graft evaluate``: a saved model on labelled rows, every metric with its interval."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Annotated

import typer

from graft.cli.options import Device, Json, Quiet
from graft.cli.outcome import print_json, reported

__all__ = ["evaluate"]


def evaluate(
    model: Annotated[Path, typer.Argument(help="Folder that graft fit wrote.")],
    data: Annotated[str, typer.Argument(help="Labelled rows: a folder or a table.")],
    target: Annotated[
        list[str] | None,
        typer.Option("--target", "-t", help="Column of the label; repeat it for columns of each class's probability."),
    ] = None,
    input: Annotated[str | None, typer.Option("--input", help="Column of the text or of the image path.")] = None,
    group_by: Annotated[
        str | None, typer.Option("--group-by", help="Column of groups, whose rows are not independent.")
    ] = None,
    delimiter: Annotated[
        str | None, typer.Option("--delimiter", help="What separates several labels in one cell.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Decides the bootstrap's draws.")] = 0,
    code: Annotated[
        list[str] | None,
        typer.Option("--code", help="Your function that makes the model's network, nets.py:make; it will run."),
    ] = None,
    device: Device = "auto",
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure a saved model on labelled rows."""
    with reported():
        from graft import bundle, reading
        from graft.cli import tables
        from graft.contracts import Request
        from graft.progress import for_stream

        fitted = bundle.load(model, device=device, code=code)
        columns = None if not target else target[0] if len(target) == 1 else tuple(target)
        request = Request(columns, input, group_by, fitted.fitted.kind, delimiter, columns=fitted.columns)
        held = reading.read(data, request)
        held = dataclasses.replace(held, examples=fitted.accepted(held.examples))
        for note in () if quiet or json else getattr(held.examples, "notes", ()):
            print(note, file=sys.stderr)
        scores, parts = fitted.measure(held, seed=seed, progress=for_stream(quiet=quiet or json))
        if json:
            named = {name: dataclasses.asdict(value) for name, value in scores.items()}
            print_json({"model": str(model), "data": held.origin, "scores": named, "breakdown": parts.document()})
        else:
            tables.scores(scores, f"{model} on {held.origin}")
            tables.weakest(parts, fitted.fitted.metric, sys.stdout)
            print(f"next     graft predict {model} NEW-DATA")
