"""The command line: one thin file a command; parse, call, print, exit code."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Annotated

import typer

from graft.cli import (
    cache,
    compare,
    curves,
    demo,
    distill,
    doctor,
    evaluate,
    fit,
    ledger,
    ls,
    plan,
    predict,
    rank,
    show,
)
from graft.version import __version__

__all__ = ["app", "main"]

app = typer.Typer(
    name="graft",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 1 a fault of Graft, 2 request, 3 data, 4 disk, 5 weights, 6 unavailable, 7 memory, "
    "130 interrupted, 143 asked to end.",
)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _graft(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Choose a pretrained model, transfer it to your task, and prove whether it helped."""


app.command("fit")(fit.fit)
app.command("plan")(plan.plan)
app.command("rank")(rank.rank)
app.command("compare")(compare.compare)
app.command("curves")(curves.curves)
app.command("distill")(distill.distill)
app.command("predict")(predict.predict)
app.command("evaluate")(evaluate.evaluate)
app.command("ls")(ls.ls)
app.command("show")(show.show)
app.command("cache")(cache.cache)
app.command("ledger")(ledger.ledger)
app.command("doctor")(doctor.doctor)
app.command("demo")(demo.demo)


def main() -> None:
    """Run the command line.

    The process ends without taking the loaded libraries apart, which would cost most of a second:
    all files are written and synced by then.
    """
    code: object = 0
    try:
        app()
    except SystemExit as exc:
        code = exc.code
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))
