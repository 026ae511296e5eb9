"""Options that several commands share, named as the field names them."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["Device", "Json", "Quiet"]

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output, and nothing else.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print no progress and no steps.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1, …")]
