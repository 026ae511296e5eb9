"""Texts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from graft.data.examples.views import Views, key
from graft.errors import DataError

__all__ = ["TextExamples"]


class TextExamples(Views):
    """Texts.

    Parameters
    ----------
    texts
        ``n`` strings.
    names
        Where each comes from; the default counts the rows of ``origin`` from 1.
    origin
        What was read, for a person: ``train.csv``.

    Raises
    ------
    DataError
        Where a row is no string.

    Examples
    --------
    >>> TextExamples(["a card", "a loan"], origin="train.csv").name(1)
    'train.csv row 2'
    """

    modality = "text"

    def __init__(self, texts: Sequence[str], names: Sequence[str] | None = None, origin: str = "") -> None:
        super().__init__(len(texts), names, origin)
        self._texts = texts
        for row, text in enumerate(texts):
            if not isinstance(text, str):
                raise DataError(
                    f"{self._name(row)} is of type {type(text).__name__}: {text!r:.60}; a text (str) was expected. "
                    "Convert it, or give numbers as an array of rows and columns."
                )

    def __getitem__(self, row: int) -> str:
        return self._texts[int(self._rows[row])]

    def _digest(self, stored: int) -> npt.NDArray[np.uint8]:
        # A lone surrogate is no UTF-8, yet it is content: two such texts differ.
        return key(self._texts[stored].encode("utf-8", "surrogatepass"))

    def _check(self, stored: int) -> str | None:
        self._remember(stored, self._digest(stored))
        return None if self._texts[stored].strip() else "the text is empty"
