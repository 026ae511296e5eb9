"""A machine that holds the sources of a benchmark, and no others."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from graft.contracts import Source
from graft.select import offers

__all__ = ["holding"]


@contextmanager
def holding(sources: Collection[Source]) -> Iterator[None]:
    """Inside the block these are the sources that load without a network."""

    def held(known: Any, licence: str | None) -> Any:
        return offers.named(sources, known, licence)

    with mock.patch.object(offers, "on_this_machine", held):
        yield
