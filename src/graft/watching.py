"""Those who watch a fit: plain functions that are told of every epoch, and trackers that are told of the end too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from graft.contracts import Epoch

if TYPE_CHECKING:
    from graft.result import Result

__all__ = ["Callback", "Tracker", "of_trial"]

Callback = Callable[[str, int, Epoch], None]
"""Told of every epoch that ends: the trial's name, the epoch's place from 0, and how it went."""


@runtime_checkable
class Tracker(Protocol):
    """A callback that also wants to know how everything ended."""

    def __call__(self, trial: str, epoch: int, found: Epoch) -> None: ...

    def finish(self, result: Result) -> None:
        """Told once, when the models have been judged."""


def of_trial(callbacks: Sequence[Callback], trial: str) -> tuple[Callable[[int, Epoch], None], ...]:
    """The callbacks as the training of one trial calls them.

    What one of them raises ends the fit as it is, with a note that names the callback.
    """

    def told(callback: Callback) -> Callable[[int, Epoch], None]:
        def tell(epoch: int, found: Epoch) -> None:
            try:
                callback(trial, epoch, found)
            except Exception as exc:
                name = getattr(callback, "__qualname__", type(callback).__qualname__)
                exc.add_note(f"raised by the callback {name}, after epoch {epoch + 1} of {trial}")
                raise

        return tell

    return tuple(map(told, callbacks))
