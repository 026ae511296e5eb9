"""What a fit keeps on disk while it runs, beside the folder that it will write, so that a kill costs little."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from graft.storage import Journal, digest, sweep

__all__ = ["Workspace"]


class Workspace:
    """A run's own folder, ``OUTPUT.partial``; without an output, nothing is kept.

    Parameters
    ----------
    output
        The folder that the run will write.
    request
        Digest of data and options: only a run of the same request is taken up again.
    """

    def __init__(self, output: Path | None, request: str) -> None:
        self.output = output
        self.request = request

    @property
    def path(self) -> Path | None:
        """Where the run keeps its state."""
        return None if self.output is None else self.output.with_name(self.output.name + ".partial")

    def open(self) -> str | None:
        """Make or take up the folder; says what was found there, if anything."""
        if self.path is None or self.output is None:
            return None
        found = None
        kept = self._journal(self.path).read().get("request")
        if kept is not None and kept["digest"] == self.request:
            found = f"{self.path} holds what an earlier run of this command finished"
        else:
            if self.path.exists():
                found = f"{self.path} was left by a run of other data or options; it is replaced"
                shutil.rmtree(self.path)
            self._journal(self.path).write("request", {"digest": self.request})
        sweep(self.path)
        sweep(self.output.parent)
        return found

    def remember(self, step: str, decide: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What ``decide`` gave when this step was first done: decisions that rest on measured time stay."""
        if self.path is None:
            return decide()
        journal = self._journal(self.path)
        done = journal.read()
        if step not in done:
            journal.write(step, decide())
            done = journal.read()
        kept: dict[str, Any] = done[step]
        return kept

    def folder(self, name: str) -> Path | None:
        """Where a trial's result and unfinished state are kept."""
        return None if self.path is None else self.path / "trials" / digest(name)

    def close(self) -> None:
        """The model is written: what was kept for a resume goes."""
        if self.path is not None:
            shutil.rmtree(self.path, ignore_errors=True)

    @staticmethod
    def _journal(path: Path) -> Journal:
        return Journal(path / "journal.jsonl")
