"""What a fit keeps on disk while it runs, beside the folder that it will write, so that a kill costs little."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Self

from graft import processes
from graft.errors import GraftError, MachineError
from graft.storage import Journal, digest, disk_errors, is_temporary, sweep

__all__ = ["Workspace"]

_BEST = "best"
_OURS = frozenset({_BEST, "journal.jsonl", "lock", "trials"})

_PLANNED = frozenset({"request", "field"})
"""Steps of the journal that are no work yet."""


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
        self.found: str | None = None
        self._lock: IO[bytes] | None = None

    @property
    def path(self) -> Path | None:
        """Where the run keeps its state."""
        return None if self.output is None else self.output.with_name(self.output.name + ".partial")

    @property
    def best(self) -> Path | None:
        """Where the model of whatever leads a race is kept while the race runs."""
        return None if self.path is None else self.path / _BEST

    def __enter__(self) -> Self:
        """Make or take up the folder; ``found`` says what was there, if anything.

        Raises
        ------
        MachineError
            Where another run works there, or the folder is none of Graft's.
        """
        if self.path is None or self.output is None:
            return self
        if processes.place():  # the first process keeps the folder for all
            processes.wait()
            return self
        _refuse_strangers(self.path)
        self._lock = _locked(self.path)
        kept = self._journal(self.path).read().get("request")
        if kept is not None and kept["digest"] == self.request:
            self.found = f"{self.path} holds what an earlier run of this command finished"
        else:
            if kept is not None:
                self.found = f"{self.path} was left by a run of other data or options; it is replaced"
                for name in ("trials", _BEST):
                    shutil.rmtree(self.path / name, ignore_errors=True)
                self._journal(self.path).path.unlink()
            self._journal(self.path).write("request", {"digest": self.request})
        sweep(self.path)
        sweep(self.output.parent)
        processes.wait()
        return self

    def __exit__(self, kind: type[BaseException] | None, *raised: object) -> None:
        if self._lock is None or self.path is None:
            return
        refused = kind is not None and issubclass(kind, GraftError)
        if refused and set(self._journal(self.path).read()) <= _PLANNED and not (self.path / "trials").exists():
            shutil.rmtree(self.path, ignore_errors=True)  # there is nothing to go on with
        self._lock.close()

    def remember(self, step: str, decide: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What ``decide`` gave when this step was first done: decisions that rest on measured time stay."""
        done = {} if self.path is None else self._journal(self.path).read()
        kept: dict[str, Any] = processes.agreed(done[step] if step in done else decide())
        if self.path is not None and step not in done and not processes.place():
            self._journal(self.path).write(step, kept)
        return kept

    def used(self, seconds: float) -> None:
        """Keep how much of the budget is used up, for a run that goes on from here."""
        if self.path is not None and not processes.place():
            self._journal(self.path).write("used", {"spent": seconds})

    def spent(self) -> float:
        """Seconds of the budget that earlier runs of this request had used when they last wrote anything."""
        done = {} if self.path is None else self._journal(self.path).read()
        return max((float(each.get("spent", 0.0)) for each in done.values()), default=0.0)

    def folder(self, name: str) -> Path | None:
        """Where a trial's result and unfinished state are kept."""
        return None if self.path is None else self.path / "trials" / digest(name)

    def clear(self) -> None:
        """The model is written: what was kept for a resume goes."""
        if self.path is not None and not processes.place():
            shutil.rmtree(self.path, ignore_errors=True)

    @staticmethod
    def _journal(path: Path) -> Journal:
        return Journal(path / "journal.jsonl")


def _refuse_strangers(folder: Path) -> None:
    """What is not of a run is not lived beside, as it would be removed in the end."""
    if not folder.exists():
        return
    held = list(folder.iterdir()) if folder.is_dir() else [folder]
    strange = [each.name for each in held if each.name not in _OURS and not is_temporary(each)]
    if strange:
        raise MachineError(
            f"{folder} is where this run would keep its state, and it holds something else ({strange[0]}); "
            "move it away, or choose another --output."
        )


def _locked(folder: Path) -> IO[bytes]:
    """Hold the folder for this process; the lock goes when the process does."""
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = open(folder / "lock", "wb")  # noqa: SIM115  held as long as the run
    try:
        import fcntl
    except ImportError:  # not on Windows
        return lock
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        lock.close()
        raise MachineError(f"another run works in {folder}; wait for it, or choose another --output.") from exc
    return lock
