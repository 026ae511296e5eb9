from __future__ import annotations

import numpy as np
import pytest
import torch

from graft.data.examples import TableExamples, TextExamples
from graft.data.pairs import PairPreprocess, Pairs, draw_pairs
from graft.data.preprocess.columns import ColumnPreprocess
from graft.data.preprocess.images import ImagePreprocess

UNEVEN = torch.tensor([0] * 30 + [1] * 4 + [5] * 2)


def test_pairs_are_of_one_class_and_classes_come_evenly():
    pairs = draw_pairs(UNEVEN, 90, seed=3)
    classes = UNEVEN[torch.from_numpy(pairs)]
    assert (classes[:, 0] == classes[:, 1]).all()
    assert torch.unique(classes[:, 0], return_counts=True)[1].tolist() == [30, 30, 30]
    assert (pairs[:, 0] != pairs[:, 1]).all()


def test_rows_of_a_class_come_evenly():
    counts = np.bincount(draw_pairs(UNEVEN, 90, seed=3).ravel(), minlength=36)
    assert set(counts[:30]) == {2}
    assert set(counts[30:34]) == {15}
    assert set(counts[34:]) == {30}


def test_the_draw_depends_on_the_seed_alone():
    torch.manual_seed(0)
    first = draw_pairs(UNEVEN, 20, seed=1)
    torch.manual_seed(1)
    assert np.array_equal(first, draw_pairs(UNEVEN, 20, seed=1))
    assert not np.array_equal(first, draw_pairs(UNEVEN, 20, seed=2))


def test_a_class_of_one_row_pairs_it_with_itself():
    pairs = draw_pairs(torch.tensor([0, 0, 1]), 6, seed=0)
    assert sorted(map(tuple, pairs[pairs[:, 0] == 2].tolist())) == [(2, 2)] * 3


def test_sets_share_a_label_or_have_none():
    sets = torch.tensor([[1.0, 1, 0], [0, 1, 0], [0, 0, 0], [0, 0, 0], [1, 0, 0], [0, 0, 0]])
    for first, second in draw_pairs(sets, 60, seed=0).tolist():
        assert (sets[first] * sets[second]).any() or not (sets[first].any() or sets[second].any())


def test_soft_labels_count_as_their_largest():
    soft = torch.tensor([[0.9, 0.1], [0.7, 0.3], [0.2, 0.8], [0.5, 0.5]])
    met = {tuple(sorted(pair)) for pair in draw_pairs(soft, 200, seed=0).tolist()}
    assert met == {(0, 1), (0, 3), (1, 3), (2, 3)}


def test_many_rows_take_no_room_for_all_their_pairs():
    pairs = draw_pairs(torch.arange(200_000) % 7, 64, seed=0)
    assert len(np.unique(pairs)) == 128


def test_pairs_are_examples():
    texts = TextExamples(["a", "b", "c"])
    pairs = Pairs(texts, np.array([[0, 2], [1, 1]]))
    assert len(pairs) == 2
    assert pairs[0] == ("a", "c")
    assert pairs.modality == "text"
    assert pairs.name(0) == f"{texts.name(0)} and {texts.name(2)}"
    assert pairs.take(np.array([1]))[0] == ("b", "b")
    assert pairs.keys().shape == (2, 16)
    assert len(np.unique(Pairs(texts, np.array([[0, 1], [1, 0], [0, 0], [1, 1]])).keys(), axis=0)) == 4


def test_a_batch_holds_pair_after_pair():
    values = np.arange(12, dtype=np.float32).reshape(4, 3)
    inner = ColumnPreprocess.learn(values)
    pairs, preprocess = Pairs(TableExamples(values), np.array([[3, 0], [2, 1]])), PairPreprocess(inner)
    items = preprocess.items([pairs[0], pairs[1]])
    assert torch.equal(preprocess.collate(items), inner.collate(inner.items(list(values[[3, 0, 2, 1]]))))
    assert preprocess.cost(items[0]) == 1
    assert preprocess.files() == inner.files()


def test_the_two_rows_of_a_pair_are_varied_apart():
    from PIL import Image

    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 60, 3)).astype(np.uint8))
    preprocess = PairPreprocess(ImagePreprocess((16, 16), (0.5,) * 3, (0.5,) * 3))
    ((first, second),) = preprocess.items([(picture, picture)], [7])
    ((again, _),) = preprocess.items([(picture, picture)], [7])
    assert not torch.equal(first, second)
    assert torch.equal(first, again)


@pytest.mark.parametrize("count", [1, 5])
def test_as_many_pairs_as_asked_for(count: int):
    assert draw_pairs(UNEVEN, count, seed=0).shape == (count, 2)
