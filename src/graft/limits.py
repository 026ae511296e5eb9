"""What an argument may be: looked at before anything is built, and everything that is wrong said at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import Any

from graft.errors import RequestError

__all__ = ["Limit", "above", "all_of", "among", "at_least", "between", "check", "faults", "flag", "refuse", "whole"]


@dataclass(frozen=True)
class Limit:
    """What is expected of an argument.

    Parameters
    ----------
    words
        What follows ``expected``.
    fits
        Whether a value that is no number, or is one of the right kind, is within the limit.
    kind
        What numbers have to be; ``None`` where anything else is to be looked at.
    free
        Whether ``None`` is allowed too.
    """

    words: str
    fits: Callable[[Any], bool]
    kind: type | None = Real
    free: bool = False

    def or_none(self) -> Limit:
        """The same, or ``None``."""
        return replace(self, words=f"{self.words} or none", free=True)

    def misses(self, value: Any) -> str | None:
        """What was expected instead of ``value``; ``None`` where it fits."""
        if value is None and self.free:
            return None
        if self.kind is not None and (isinstance(value, bool) or not isinstance(value, self.kind)):
            return ("a whole number" if self.kind is Integral else "a number") + (" or none" if self.free else "")
        return None if self.fits(value) else self.words


def whole(least: int = 1) -> Limit:
    """A whole number from ``least``."""
    return Limit(f"at least {least}" if least else "0 or more", lambda value: value >= least, Integral)


def above(least: float = 0) -> Limit:
    """A finite number above ``least``."""
    return Limit(f"a number above {least}", lambda value: least < value < math.inf)


def at_least(least: float = 0) -> Limit:
    """A finite number from ``least``."""
    return Limit(f"{least} or more", lambda value: least <= value < math.inf)


def between(least: float, most: float, words: str, *, ends: tuple[bool, bool] = (True, True)) -> Limit:
    """A number from ``least`` to ``most``; ``ends`` tell which of the two it may be itself."""

    def fits(value: float) -> bool:
        return (value >= least if ends[0] else value > least) and (value <= most if ends[1] else value < most)

    return Limit(words, fits)


def among(names: Sequence[str]) -> Limit:
    """One of some words."""
    listed = f"{' or '.join(names)}" if len(names) < 3 else f"one of {', '.join(names)}"
    return Limit(listed, lambda value: isinstance(value, str) and value in names, kind=None)


def flag() -> Limit:
    """True or false."""
    return Limit("true or false", lambda value: isinstance(value, bool), kind=None)


def all_of(limit: Limit, words: str) -> Limit:
    """One or more values, all of which are within a limit."""

    def fits(values: Any) -> bool:
        held = [] if isinstance(values, str) or not isinstance(values, Iterable) else list(values)
        return bool(held) and all(limit.misses(value) is None for value in held)

    return Limit(words, fits, kind=None)


def faults(given: Any, limits: Mapping[str, Limit]) -> list[str]:
    """A sentence without its point for each attribute of ``given`` that is beyond its limit.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> faults(SimpleNamespace(epochs=0, lr=0.1), {"epochs": whole(), "lr": above()})
    ['epochs is 0, expected at least 1']
    """
    found = []
    for name, limit in limits.items():
        value = getattr(given, name)
        if (expected := limit.misses(value)) is not None:
            shown = f"{value!r}" if isinstance(value, str) else f"{value}"
            found.append(f"{name} is {shown}, expected {expected}")
    return found


def refuse(found: Sequence[str]) -> None:
    """Refuse where there are faults.

    Raises
    ------
    RequestError
        With all of them.
    """
    if found:
        raise RequestError("; ".join(found) + ".")


def check(given: Any, limits: Mapping[str, Limit]) -> None:
    """Refuse a thing of which attributes are beyond their limits.

    Raises
    ------
    RequestError
        That lists all of them.
    """
    refuse(faults(given, limits))
