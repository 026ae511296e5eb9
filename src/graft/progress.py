"""How far a long step is: a bar on a terminal, a line every ten seconds elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import Protocol

__all__ = ["Advance", "Enough", "Lines", "Progress", "Say", "Silent", "Terminal", "for_stream"]

Say = Callable[[str, str], None]
"""Told of each step: its name, and a sentence."""


class Enough(Exception):  # noqa: N818 - no error: the way to say that no further epoch is wanted
    """Raised by a callback after an epoch, it ends training there; the best epoch's weights are kept."""


class Advance(Protocol):
    """Call it with the number of units that were just done."""

    def __call__(self, done: int = 1, /) -> None: ...


class Progress(Protocol):
    """Shows the progress of steps; passed to whatever may take over a second."""

    def step(self, label: str, total: int) -> contextlib.AbstractContextManager[Advance]:
        """Open a step of ``total`` units; the context yields its :class:`Advance`."""


class Silent:
    """Shows nothing."""

    @contextlib.contextmanager
    def step(self, label: str, total: int) -> Iterator[Advance]:
        def advance(done: int = 1, /) -> None:
            return None

        yield advance


class Lines:
    """Writes a plain line at most every ``every`` seconds, for logs and pipes."""

    def __init__(self, every: float = 10.0) -> None:
        self.every = every

    @contextlib.contextmanager
    def step(self, label: str, total: int) -> Iterator[Advance]:
        started = last = time.monotonic()
        count = 0

        def advance(done: int = 1, /) -> None:
            nonlocal count, last
            count += done
            now = time.monotonic()
            if now - last >= self.every:
                last = now
                print(f"{label}: {count}/{total} after {now - started:.0f} s", file=sys.stderr, flush=True)

        yield advance


class Terminal:
    """Draws a bar that vanishes when its step is done; steps under a second stay unseen."""

    def __init__(self, delay: float = 1.0) -> None:
        self.delay = delay

    @contextlib.contextmanager
    def step(self, label: str, total: int) -> Iterator[Advance]:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars

        bars = Bars(
            TextColumn("{task.description:<8}"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        started = time.monotonic()
        bar = bars.add_task(label, total=total)
        live = False

        def advance(done: int = 1, /) -> None:
            nonlocal live
            bars.advance(bar, done)
            if not live and time.monotonic() - started >= self.delay:
                bars.start()
                live = True

        try:
            yield advance
        finally:
            if live:
                bars.stop()


def for_stream(quiet: bool = False) -> Progress:
    """The progress display that fits standard error: bar, lines, or nothing."""
    if quiet:
        return Silent()
    return Terminal() if sys.stderr.isatty() else Lines()
