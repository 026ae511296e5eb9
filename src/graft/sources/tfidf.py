"""Words counted."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import ClassVar

import numpy as np
import scipy.sparse as sp
from torch import nn

from graft.contracts import Backbone, Card, Examples, Source
from graft.data.preprocess.words import WordPreprocess
from graft.errors import RequestError

__all__ = ["Tfidf"]


class Tfidf(Source):
    """The words of a text, counted and weighted: features that never learnt, a control for texts.

    Parameters
    ----------
    longest
        Words in the longest group that is counted as one; 2 counts words and pairs.
    rows
        In how many training rows a word must occur; where no word occurs in so many, one is enough.
    limit
        How many words at most, the commonest; ``None`` for all.

    Examples
    --------
    >>> from graft.data.examples import TextExamples
    >>> backbone = Tfidf(longest=1).load().learn(TextExamples(["a red card", "a lost card"]))
    >>> backbone.preprocess.words
    ('card',)
    """

    modality: ClassVar[str] = "text"
    pretrained: ClassVar[bool] = False

    def __init__(self, longest: int = 2, rows: int = 2, limit: int | None = 200_000) -> None:
        self.longest = longest
        self.rows = rows
        self.limit = limit

    def load(self, weights: bool = True) -> Backbone:
        """Word features that still have to learn their words: ``learn(examples)`` gives those to use."""
        for name in ("longest", "rows", "limit"):
            value = getattr(self, name)
            if not (isinstance(value, int) and value >= 1) and not (name == "limit" and value is None):
                raise RequestError(f"{name} of tfidf is {value!r}; expected a whole number from 1.")
        return _backbone(WordPreprocess((), np.empty(0), self.longest), self)

    def rebuild(self, files: Mapping[str, bytes]) -> Backbone:
        return _backbone(WordPreprocess.from_files(files))

    @classmethod
    def local(cls) -> tuple[str, ...]:
        return ("tfidf",)


def _backbone(preprocess: WordPreprocess, learner: Tfidf | None = None) -> Backbone:
    return Backbone(
        module=nn.Identity(),
        dim=len(preprocess.words),
        preprocess=preprocess,
        stages=(),
        card=Card("tfidf", "text", parameters=0, bytes=0, pretraining="none"),
        files=preprocess.files(),
        learn=None if learner is None else partial(_learnt, learner),
        sparse=partial(_sparse, preprocess),
    )


def _learnt(source: Tfidf, examples: Examples) -> Backbone:
    return _backbone(WordPreprocess.learn(_texts(examples), source.longest, source.rows, source.limit))


def _sparse(preprocess: WordPreprocess, examples: Examples) -> sp.csr_array:
    return preprocess.matrix(_texts(examples))


def _texts(examples: Examples) -> list[str]:
    return [examples[row] for row in range(len(examples))]
