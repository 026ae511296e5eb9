from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from graft.data.preprocess.words import WordPreprocess
from graft.errors import BundleError, DataError, RequestError

TEXTS = ["The red card, the RED one", "a red card was lost", "lost: the card", "ünïcode \ud800 card", ""]


@pytest.mark.parametrize(("longest", "limit"), [(2, None), (1, None), (2, 4)])
def test_the_numbers_are_those_of_scikit_learn(longest: int, limit: int | None) -> None:
    words = WordPreprocess.learn(TEXTS, longest, limit=limit)
    theirs = TfidfVectorizer(
        ngram_range=(1, longest), sublinear_tf=True, min_df=2, max_features=limit, dtype=np.float32
    )
    expected = theirs.fit_transform(TEXTS).toarray()
    assert list(words.words) == theirs.get_feature_names_out().tolist()
    np.testing.assert_array_equal(words.matrix(TEXTS).toarray(), expected)
    np.testing.assert_array_equal(words.collate(words.items(TEXTS)).numpy(), expected)
    new = ["a lost red thing", "nothing of it"]
    np.testing.assert_array_equal(words.collate(words.items(new)).numpy(), theirs.transform(new).toarray())
    assert {words.cost(item) for item in words.items(TEXTS)} == {1}


def test_files_give_the_same_numbers_again() -> None:
    words = WordPreprocess.learn(TEXTS)
    again = WordPreprocess.from_files(words.files())
    assert again.words == words.words
    np.testing.assert_array_equal(again.idf, words.idf)
    np.testing.assert_array_equal(again.matrix(TEXTS).toarray(), words.matrix(TEXTS).toarray())


def test_one_row_is_enough_where_no_word_occurs_twice() -> None:
    assert WordPreprocess.learn(["alpha", "beta"]).words == ("alpha", "beta")
    assert WordPreprocess.learn(["alpha"]).words == ("alpha",)


@pytest.mark.parametrize("texts", [["", "?!"], []])
def test_texts_without_words_are_refused(texts: list[str]) -> None:
    with pytest.raises(DataError, match=f"none of {len(texts)} texts has a word"):
        WordPreprocess.learn(texts)


def test_nothing_is_counted_before_words_are_learnt() -> None:
    with pytest.raises(RequestError, match="learnt no words"):
        WordPreprocess((), np.empty(0)).items(["a card"])


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"words.json": b"{"},
        {"words.json": json.dumps({"longest": 1, "words": ["a"], "idf": []}).encode()},
        {"words.json": json.dumps({"longest": 1, "words": ["a", "a"], "idf": [1, 1]}).encode()},
    ],
)
def test_damaged_files_are_refused(files: dict[str, bytes]) -> None:
    with pytest.raises(BundleError, match=r"words\.json"):
        WordPreprocess.from_files(files)
