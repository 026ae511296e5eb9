from __future__ import annotations

import numpy as np

from graft.checks import check_source
from graft.data.examples import TableExamples
from graft.data.preprocess.columns import ColumnPreprocess
from graft.sources.columns import Columns


def test_scales_are_learnt_from_the_training_rows_and_rebuilt_without_them() -> None:
    bare = Columns().load()
    assert bare.dim == 0
    assert bare.learn is not None
    values = np.array([[1.0, 10.0], [3.0, np.nan], [5.0, 30.0]], dtype=np.float32)
    backbone = bare.learn(TableExamples(values))
    assert (backbone.dim, backbone.learn, backbone.sparse) == (2, None, None)
    again = Columns().rebuild(dict(backbone.files))
    features = [each.module(each.preprocess.collate(each.preprocess.items(list(values)))) for each in (backbone, again)]
    assert features[0].equal(features[1])
    np.testing.assert_allclose(features[0].mean(dim=0), [0, 0], atol=1e-6)
    np.testing.assert_allclose(features[0].std(dim=0, correction=0), [1, 1], rtol=1e-5)


def test_the_columns_keep_their_names() -> None:
    learn = Columns().load().learn
    assert learn is not None
    backbone = learn(TableExamples(np.array([[1.0, 2.0], [3.0, 4.0]]), columns=["b", "a"]))
    again = Columns().rebuild(dict(backbone.files)).preprocess
    assert isinstance(again, ColumnPreprocess)
    assert again.schema.names == ("b", "a")


def test_it_is_a_plain_source_of_tables() -> None:
    card = Columns().load(weights=False).card
    assert (card.name, card.modality, card.pretraining, card.parameters) == ("columns", "table", "none", 0)
    assert (Columns.pretrained, Columns().reads(), Columns.local()) == (False, "table", ("columns",))
    assert Columns().load().fingerprint is None


def test_words_are_features_too() -> None:
    learn = Columns().load().learn
    assert learn is not None
    rows = TableExamples(np.array([[1, 0], [2, 1], [3, np.nan]]), columns=["a", "b"], words=[None, ["x", "y"]])
    backbone = learn(rows)
    assert backbone.dim == 3
    check_source(Columns(), rows)
