"""Rows of a table as they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from torch import nn

from graft.contracts import Backbone, Card, Examples, Source
from graft.data.examples import TableExamples
from graft.data.preprocess.columns import ColumnPreprocess

__all__ = ["Columns"]


class Columns(Source):
    """Rows that already are features: numbers and words, or embeddings computed elsewhere.

    Every column of numbers is brought to mean 0 and deviation 1, and a missing number becomes the
    column's median, all as the training rows have them.  A column of words becomes a column of 0 and
    1 for each word that they hold; other words count as missing.

    Examples
    --------
    >>> from graft.data.examples import TableExamples
    >>> Columns().load().learn(TableExamples([[1.0, 5.0], [3.0, 7.0]])).dim
    2
    """

    modality: ClassVar[str] = "table"
    pretrained: ClassVar[bool] = False

    def load(self, weights: bool = True) -> Backbone:
        """Columns whose scale is not known yet: ``learn(examples)`` gives those to use."""
        return _backbone(ColumnPreprocess(*np.empty((3, 0))), learns=True)

    def rebuild(self, files: Mapping[str, bytes]) -> Backbone:
        return _backbone(ColumnPreprocess.from_files(files))

    @classmethod
    def local(cls) -> tuple[str, ...]:
        return ("columns",)


def _backbone(preprocess: ColumnPreprocess, learns: bool = False) -> Backbone:
    return Backbone(
        module=nn.Identity(),
        dim=preprocess.dim,
        preprocess=preprocess,
        stages=(),
        card=Card("columns", "table", parameters=0, bytes=0, pretraining="none"),
        files=preprocess.files(),
        learn=_learnt if learns else None,
    )


def _learnt(examples: Examples) -> Backbone:
    schema = examples.schema if isinstance(examples, TableExamples) else None
    return _backbone(ColumnPreprocess.learn(np.stack([examples[row] for row in range(len(examples))]), schema))
