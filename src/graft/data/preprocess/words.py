"""Texts to weighted word counts (TF-IDF), for features that need no pretraining."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from torch import Tensor

from graft.contracts import Array
from graft.errors import BundleError, DataError, RequestError

__all__ = ["WordPreprocess"]

_FILE = "words.json"


class WordPreprocess:
    """From texts to rows of TF-IDF: ``(1 + log count) · idf``, brought to length 1.

    The numbers are those of scikit-learn's ``TfidfVectorizer(sublinear_tf=True)`` in float32.

    Parameters
    ----------
    words
        The d words and word groups that are counted, in the order of their columns.
    idf
        ``(d,)``: the weight of each; rare words weigh more.
    longest
        Words in the longest group.

    References
    ----------
    Salton and Buckley, Term-weighting approaches in automatic text retrieval, Information
    Processing & Management 24, 1988.
    """

    def __init__(self, words: Sequence[str], idf: Array, longest: int = 2) -> None:
        self.words = tuple(words)
        self.idf = np.asarray(idf, dtype=np.float32)
        self.longest = longest
        self._counter = _vectorizer(longest, vocabulary={word: column for column, word in enumerate(self.words)})
        if self.words:
            self._counter.idf_ = self.idf

    @classmethod
    def learn(cls, texts: Sequence[str], longest: int = 2, rows: int = 2, limit: int | None = None) -> WordPreprocess:
        """Collect the words of ``texts`` and their weights.

        Parameters
        ----------
        rows
            In how many texts a word must occur; where no word occurs in so many, one is enough.
        limit
            How many words at most, the commonest.

        Raises
        ------
        DataError
            Where no text has a word of two letters or more.
        """
        for least in (rows, 1):
            counter = _vectorizer(longest, min_df=min(least, max(1, len(texts))), max_features=limit)
            try:
                counter.fit(texts)
            except ValueError as exc:
                # an empty vocabulary: either no word is common enough, or there are none at all
                if "vocabulary" not in str(exc) and "no terms" not in str(exc):
                    raise
                continue
            return cls(counter.get_feature_names_out().tolist(), counter.idf_, longest)
        raise DataError(f"none of {len(texts)} texts has a word of two letters or more; there is nothing to count.")

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> WordPreprocess:
        """The preprocessing that ``files()`` described.

        Raises
        ------
        BundleError
            Where the description is absent or damaged.
        """
        try:
            held = json.loads(files[_FILE])
            words, idf, longest = held["words"], np.array(held["idf"], dtype=np.float32), int(held["longest"])
            if idf.shape != (len(words),) or len(set(words)) < len(words) or not np.isfinite(idf).all():
                raise ValueError("words and their weights do not fit together")
            return cls(words, idf, longest)
        except (KeyError, TypeError, ValueError) as exc:
            raise BundleError(
                f"{_FILE} of the saved model is absent or damaged ({exc}); save the model again, or copy it whole."
            ) from exc

    def matrix(self, texts: Sequence[str]) -> sp.csr_array:
        """``(n, d)`` float32 TF-IDF of the texts.

        Raises
        ------
        RequestError
            Where no words have been learnt yet.
        """
        if not self.words:
            raise RequestError("these word features have learnt no words yet; call the backbone's learn(examples).")
        counted = sp.csr_array(self._counter.transform(texts))
        counted.sort_indices()
        return counted

    def items(self, rows: Sequence[str], seeds: Sequence[int] | None = None) -> list[tuple[Array, Array]]:
        """Columns and values of each text; there is no training form."""
        counted = self.matrix(rows)
        ends = counted.indptr[1:-1]
        return list(zip(np.split(counted.indices, ends), np.split(counted.data, ends), strict=True))

    def cost(self, item: Any) -> int:
        return 1

    def collate(self, items: Sequence[tuple[Array, Array]]) -> Tensor:
        """Dense rows ``(n, d)``, float32."""
        rows = np.zeros((len(items), len(self.words)), dtype=np.float32)
        for row, (columns, values) in zip(rows, items, strict=True):
            row[columns] = values
        return torch.from_numpy(rows)

    def files(self) -> dict[str, bytes]:
        # the shortest decimals that give the same float32 again
        idf = [float(str(value)) for value in self.idf]
        return {_FILE: json.dumps({"longest": self.longest, "words": self.words, "idf": idf}).encode()}


def _vectorizer(
    longest: int, vocabulary: Mapping[str, int] | None = None, min_df: int = 1, max_features: int | None = None
) -> Any:
    return TfidfVectorizer(
        ngram_range=(1, longest),
        sublinear_tf=True,
        dtype=np.float32,
        vocabulary=vocabulary,
        min_df=min_df,
        max_features=max_features,
    )
