"""How large a source is."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from graft.contracts import Array, Score, Seen
from graft.errors import RequestError

__all__ = ["Size"]


class Size(Score):
    """How many weights a source has, in powers of ten: what any other score has to beat.

    Examples
    --------
    >>> import numpy as np
    >>> from graft.contracts import Card
    >>> Size().score(Seen(np.zeros((2, 1)), None, Card("a", "text", parameters=1000)), np.array([0, 1]))
    3.0
    """

    needs: ClassVar[str] = "a known number of weights"
    prior: ClassVar[bool] = True

    def score(self, seen: Seen, targets: Array) -> float:
        if seen.card.parameters is None:
            raise RequestError(f"size needs {self.needs}, and that of {seen.card.name} is not known.")
        return float(np.log10(max(seen.card.parameters, 1)))
