"""``graft demo``: the main job on data that every machine has."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from graft.cli.options import Json, Quiet
from graft.cli.outcome import print_json, reported

__all__ = ["demo"]

_TEXTS = (
    "Return a copy of the string with leading and trailing whitespace removed.",
    "Wait until the lock is free, then acquire it; other threads block meanwhile.",
    "Open a connection to the server and send the request headers.",
    "Return the square root of the variance of the sample.",
)


def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to work in.")] = Path("demo"),
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Sort docstrings of Python's standard library by area: a real source, a real task, a verdict.

    The rows are built from the running interpreter; whole modules stay on one side of the split.
    """
    with reported():
        from graft import docstrings
        from graft.cli import show
        from graft.flow import run
        from graft.order import Order
        from graft.progress import for_stream

        silent = quiet or json
        say, progress = show.steps(silent), for_stream(quiet=silent)
        rows = docstrings.build(output)
        say("data", f"{rows}: docstrings of Python {sys.version.split()[0]}, to be sorted by what they are about")
        model = output / "model"
        order = Order(str(rows), source="minilm", target="area", input="text", group_by="module")
        result = run(order, output=model, overwrite=True, progress=progress, say=say)
        fresh = _predict_in_a_fresh_process(model)
        if json:
            print_json({**result.document(seconds=True), "output": str(model), "fresh_process": fresh})
            return
        show.result(result, model, file=sys.stdout)
        show.texts_sorted(_TEXTS, fresh)


def _predict_in_a_fresh_process(model: Path) -> list[str]:
    script = (
        "import json, sys, graft\n"
        "texts = json.load(sys.stdin)\n"
        "json.dump(graft.load(sys.argv[1]).predict(texts).tolist(), sys.stdout)"
    )
    import json

    done = subprocess.run(
        [sys.executable, "-c", script, str(model)], input=json.dumps(_TEXTS), capture_output=True, text=True, check=True
    )
    predicted: list[str] = json.loads(done.stdout)
    return predicted
