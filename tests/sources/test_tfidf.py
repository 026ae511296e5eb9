from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import clone

from graft.data.examples import TextExamples
from graft.errors import RequestError
from graft.sources.tfidf import Tfidf

TEXTS = TextExamples(["lost my card", "my card is lost", "a new loan", "the new loan rate"])


def test_words_are_learnt_from_the_training_rows_and_rebuilt_without_them() -> None:
    bare = Tfidf().load()
    assert bare.dim == 0
    assert bare.learn is not None
    backbone = bare.learn(TEXTS)
    assert backbone.dim == len(backbone.preprocess.words) > 0
    assert backbone.learn is None
    again = Tfidf().rebuild(dict(backbone.files))
    assert (again.dim, again.learn) == (backbone.dim, None)
    rows = ["lost my loan", "nothing"]
    features = [each.module(each.preprocess.collate(each.preprocess.items(rows))) for each in (backbone, again)]
    assert features[0].shape == (2, backbone.dim)
    assert features[0].equal(features[1])


def test_sparse_features_equal_the_dense_ones() -> None:
    learn = Tfidf().load().learn
    assert learn is not None
    backbone = learn(TEXTS)
    assert backbone.sparse is not None
    matrix = backbone.sparse(TEXTS)
    assert isinstance(matrix, sp.csr_array)
    assert matrix.dtype == np.float32
    items = backbone.preprocess.items([TEXTS[row] for row in range(len(TEXTS))])
    np.testing.assert_array_equal(matrix.toarray(), backbone.module(backbone.preprocess.collate(items)).numpy())


def test_it_is_a_plain_source_of_texts() -> None:
    card = Tfidf().load(weights=False).card
    assert (card.name, card.modality, card.pretraining, card.parameters) == ("tfidf", "text", "none", 0)
    assert (Tfidf.pretrained, Tfidf().reads(), Tfidf.local()) == (False, "text", ("tfidf",))
    assert clone(Tfidf(1, 3, None)).get_params() == {"longest": 1, "rows": 3, "limit": None}
    assert Tfidf().load().fingerprint is None


@pytest.mark.parametrize("option", [{"longest": 0}, {"rows": 0}, {"limit": 0}, {"longest": "two"}, {"rows": None}])
def test_options_that_cannot_be_are_refused(option: dict[str, Any]) -> None:
    with pytest.raises(RequestError, match=f"{next(iter(option))} of tfidf is"):
        Tfidf(**option).load()
