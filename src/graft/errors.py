"""The tree of errors, split by who must act.

::

    GraftError                    never raised itself
    ├── DataError             3   your data: missing, empty, unreadable, unlabelled, contradictory
    │   └── BadRowsError      3   rows that cannot be read, each by its name
    ├── RequestError          2   your request: an option or a combination that cannot work
    │   ├── UnknownNameError  2   a name that nothing carries; the nearest one is suggested
    │   └── DivergedError     2   training left the finite numbers; the quantity is named
    ├── WeightsError          5   the weights: they do not match, or they are not trusted
    │   └── BundleError       5   a saved model that is damaged or fails its self-test
    ├── UnavailableError      6   something that is not on this machine and cannot be fetched now
    └── MachineError          4   the machine: disk, permission
        └── MemoryLimitError  7   not enough memory

The number is the exit code of the command line.  A message says what was given, what was
expected and what to do; it never needs its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

__all__ = [
    "BadRowsError",
    "BundleError",
    "DataError",
    "DivergedError",
    "GraftError",
    "MachineError",
    "MemoryLimitError",
    "RequestError",
    "UnavailableError",
    "UnknownNameError",
    "WeightsError",
]


class GraftError(Exception):
    """Anything that Graft refuses or cannot do."""

    exit_code = 1


class DataError(GraftError, ValueError):
    """The data cannot serve the task: missing, empty, unlabelled or contradictory."""

    exit_code = 3


class BadRowsError(DataError):
    """Rows that cannot be read.

    Parameters
    ----------
    rows
        ``(name, reason)`` of every bad row.
    skippable
        Whether the command can go on without them.
    """

    def __init__(self, rows: Sequence[tuple[str, str]], skippable: bool = False) -> None:
        self.rows = tuple(rows)
        self.skippable = skippable
        shown = "\n".join(f"  {name}: {reason}" for name, reason in self.rows[:10])
        more = f"\n  … and {len(self.rows) - 10} more" if len(self.rows) > 10 else ""
        noun = "row" if len(self.rows) == 1 else "rows"
        super().__init__(
            f"{len(self.rows)} {noun} cannot be read:\n{shown}{more}\nRepair or remove them"
            + (", or go on without them with --on-bad-row skip." if skippable else ".")
        )


class RequestError(GraftError, ValueError):
    """An option, or a combination of options, that cannot work."""

    exit_code = 2


class UnknownNameError(RequestError):
    """A name that nothing carries.

    Parameters
    ----------
    kind
        What was looked for, such as ``"source"``.
    name
        What was given.
    known
        The names that exist; the nearest ones are suggested.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        self.kind, self.name, self.known = kind, name, tuple(sorted(known))
        near = difflib.get_close_matches(name, self.known, n=3, cutoff=0.5)
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        listed = ", ".join(self.known[:20]) + (", …" if len(self.known) > 20 else "")
        super().__init__(f"there is no {kind} {name!r}.{hint} Known: {listed or 'none'}.")


class DivergedError(RequestError):
    """Training left the finite numbers."""


class WeightsError(GraftError, ValueError):
    """Weights that do not match their architecture, or that are not trusted."""

    exit_code = 5


class BundleError(WeightsError):
    """A saved model that is damaged, incomplete or fails its self-test."""


class UnavailableError(GraftError):
    """Something that is not on this machine and cannot be fetched now."""

    exit_code = 6


class MachineError(GraftError):
    """The machine refuses: disk full, no permission."""

    exit_code = 4


class MemoryLimitError(MachineError):
    """There is not enough memory."""

    exit_code = 7
