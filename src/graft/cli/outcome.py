"""How a command ends: one message, one exit code, one document."""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import typer

from graft.errors import GraftError

__all__ = ["RESUMES", "Terminated", "print_json", "reported"]

RESUMES = "the same command goes on where it was"


class Terminated(BaseException):
    """The process was asked to end (SIGTERM)."""


@contextlib.contextmanager
def reported(again: str = "") -> Iterator[None]:
    """Run a command's body; a failure becomes one message on standard error and its exit code.

    ``GRAFT_DEBUG=1`` shows tracebacks instead.

    Parameters
    ----------
    again
        What an interrupted command is told of going on; nothing where it would begin anew.
    """

    def stop(number: int, frame: object) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    except (typer.Exit, typer.BadParameter):
        raise
    except BaseException as exc:
        if os.environ.get("GRAFT_DEBUG"):
            raise
        code, message = _ending(exc, again)
        sys.stdout.flush()
        if not _follows() or code == 1:
            print(message, file=sys.stderr)
        raise typer.Exit(code) from None
    finally:
        signal.signal(signal.SIGTERM, before)


def _follows() -> bool:
    """Whether torchrun started another process that says the same."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and os.environ.get("RANK", "0") != "0"


def _ending(exc: BaseException, again: str) -> tuple[int, str]:
    notes = getattr(exc, "__notes__", [])
    if isinstance(exc, GraftError):
        return exc.exit_code, "\n".join([f"error: {exc}", *notes])
    if isinstance(exc, KeyboardInterrupt | Terminated):
        code = 130 if isinstance(exc, KeyboardInterrupt) else 143
        return code, "; ".join(["stopped", *notes, *([again] if again else [])])
    if isinstance(exc, MemoryError):
        return 7, "error: there is not enough memory; close other programs, or give fewer rows"
    if isinstance(exc, BrokenPipeError):
        return 0, ""
    if isinstance(exc, OSError) and exc.filename is not None:
        return 4, f"error: {exc.filename}: {exc.strerror}; free space, or choose a place that can be read and written"
    return 1, (
        f"error: {type(exc).__name__}: {exc}\nThis is a fault of Graft itself. The same command with GRAFT_DEBUG=1 "
        "shows where it lies; please report that with the output of graft doctor."
    )


def _valid(value: Any) -> Any:
    """JSON has no word for a number that is none; ``null`` is the nearest."""
    if isinstance(value, Mapping):
        return {str(key): _valid(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_valid(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def print_json(document: Mapping[str, Any]) -> None:
    """One JSON document on standard output."""
    json.dump(_valid(document), sys.stdout, indent=2, ensure_ascii=False, allow_nan=False, default=str)
    sys.stdout.write("\n")
