"""``graft demo``: the main job, on texts and on images that every machine has."""

from __future__ import annotations

import json as plain_json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from graft.cli.options import Json, Quiet
from graft.cli.outcome import RESUMES, print_json, reported

if TYPE_CHECKING:
    from graft.order import Order
    from graft.result import Result

__all__ = ["demo"]

_TEXTS = (
    "Return a copy of the string with leading and trailing whitespace removed.",
    "Wait until the lock is free, then acquire it; other threads block meanwhile.",
    "Open a connection to the server and send the request headers.",
    "Return the square root of the variance of the sample.",
)
_LABELLED = 20
"""Digits of each class that the demo learns from."""


def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to work in.")] = Path("demo"),
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Sort docstrings of Python's standard library by area, then handwritten digits: real sources, real verdicts.

    The texts are built from the running interpreter, and whole modules stay on one side of the
    split; the digits come with scikit-learn, and 20 of each are labelled.
    """
    with reported(RESUMES):
        from graft import docstrings
        from graft.cli import tables
        from graft.order import Order

        silent = quiet or json
        say = tables.steps(silent)
        rows = docstrings.build(output)
        say("data", f"{rows}: docstrings of Python {sys.version.split()[0]}, to be sorted by what they are about")
        texts = Order(str(rows), source="minilm", target="area", input="text", group_by="module")
        sorted_texts = _tried(texts, output / "model", say, silent)
        fresh = _predict_in_a_fresh_process(output / "model")
        if not json:
            tables.result(sorted_texts, output / "model", file=sys.stdout)
            tables.texts_sorted(_TEXTS, fresh)
            print()
        say("data", f"scikit-learn's handwritten digits, 8 × 8 pixels; {_LABELLED} of each are labelled")
        sorted_digits = _tried(Order(_digits(), source="graft/tiny"), output / "digits-model", say, silent)
        if json:
            document = {**sorted_texts.document(seconds=True), "output": str(output / "model"), "fresh_process": fresh}
            digits = {**sorted_digits.document(seconds=True), "output": str(output / "digits-model")}
            print_json({"texts": document, "digits": digits})
            return
        tables.result(sorted_digits, output / "digits-model", file=sys.stdout)


def _tried(order: Order, model: Path, say: Callable[[str, str], None], silent: bool) -> Result:
    from graft.flow import run
    from graft.progress import for_stream

    return run(order, output=model, overwrite=True, progress=for_stream(quiet=silent), say=say)


def _digits() -> dict[str, Any]:
    """Images and labels, split so that few are labelled and many are there to judge by."""
    import numpy as np
    from sklearn.datasets import load_digits

    held = load_digits()
    images = (held.images * (255 / 16)).astype(np.uint8)
    labels = held.target.astype(str)
    draw = np.random.default_rng(0)
    few = np.concatenate([draw.permutation(np.flatnonzero(labels == label))[:_LABELLED] for label in np.unique(labels)])
    rest = np.setdiff1d(np.arange(len(labels)), few)
    return {"train": (images[np.sort(few)], labels[np.sort(few)]), "test": (images[rest], labels[rest])}


def _predict_in_a_fresh_process(model: Path) -> list[str]:
    script = (
        "import json, sys, graft\n"
        "texts = json.load(sys.stdin)\n"
        "json.dump(graft.load(sys.argv[1]).predict(texts).tolist(), sys.stdout)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(model)],
        input=plain_json.dumps(_TEXTS),
        capture_output=True,
        text=True,
        check=True,
    )
    predicted: list[str] = plain_json.loads(done.stdout)
    return predicted
