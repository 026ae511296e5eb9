"""``graft evaluate``: a saved model on labelled rows, every metric with its interval."""

from __future__ import annotations

import dataclasses
import sys
from typing import Annotated

import typer

from graft.cli.options import Code, Delimiter, Device, GroupBy, Input, Json, ModelFolder, Quiet, Seed, Target
from graft.cli.outcome import print_json, reported

__all__ = ["evaluate"]


def evaluate(
    model: ModelFolder,
    data: Annotated[str, typer.Argument(help="Labelled rows: a folder or a table.")],
    target: Target = None,
    input: Input = None,
    group_by: GroupBy = None,
    delimiter: Delimiter = None,
    seed: Seed = 0,
    code: Code = None,
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
