"""How messages name many things: the first of them, and how many more there are."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["listed"]


def listed(names: Iterable[str], most: int = 10) -> str:
    """Names as part of a sentence; where there are more than ``most``, the first so many and the number of the others.

    Examples
    --------
    >>> listed(["a", "b"])
    'a, b'
    >>> listed("abcdef", most=4)
    'a, b, c, d and 2 more'
    """
    held = list(names)
    more = len(held) - most
    return ", ".join(held[:most]) + (f" and {more} more" if more > 0 else "")
