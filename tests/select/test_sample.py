"""Samples grow, each holds the one before, and classes, groups and copies stay whole."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import torch

from graft.contracts import Rows, TransferData
from graft.data.examples import TableExamples
from graft.select.sample import growing_samples

ROWS = np.random.default_rng(0).normal(size=(3000, 2)).astype(np.float32)
CLASSES = torch.from_numpy(np.repeat([0, 1, 2], [2500, 470, 30]))
DATA = TransferData(Rows(TableExamples(ROWS), CLASSES))


def test_they_grow_by_four_and_hold_the_one_before() -> None:
    found = growing_samples(DATA, "softmax", 3)
    assert [len(each) for each in found] == [128, 512, 3000]
    for inner, outer in pairwise(found):
        assert set(inner) <= set(outer)
        assert list(inner) == sorted(set(inner))


def test_they_are_stratified() -> None:
    first = growing_samples(DATA, "softmax", 3)[0]
    assert np.bincount(CLASSES.numpy()[first]).tolist() == [107, 20, 1]


def test_many_classes_ask_for_more_rows() -> None:
    data = TransferData(Rows(TableExamples(ROWS), torch.arange(3000) % 150))
    found = growing_samples(data, "softmax", 150)
    assert [len(each) for each in found] == [600, 3000]


def test_few_rows_are_one_sample() -> None:
    data = TransferData(Rows(TableExamples(ROWS[:200]), CLASSES[:200]))
    assert [len(each) for each in growing_samples(data, "softmax", 3)] == [200]


def test_no_more_rows_than_are_asked_for() -> None:
    assert [len(each) for each in growing_samples(DATA, "softmax", 3, most=600)] == [128, 600]
    assert [len(each) for each in growing_samples(DATA, "softmax", 3, most=90)] == [90]


def test_groups_and_copies_stay_whole() -> None:
    rows = np.repeat(ROWS[:1000], 3, axis=0)
    copies = TransferData(Rows(TableExamples(rows), torch.arange(3000) // 3 % 2))
    for sample in growing_samples(copies, "softmax", 2)[:-1]:
        assert set(np.bincount(sample // 3, minlength=1000)) == {0, 3}
    grouped = replace(DATA, train=Rows(TableExamples(ROWS), torch.arange(3000) % 2), groups=np.arange(3000) // 10)
    for sample in growing_samples(grouped, "softmax", 2)[:-1]:
        assert set(np.bincount(sample // 10, minlength=300)) == {0, 10}


def test_rows_that_do_not_count_are_left_out() -> None:
    weights = torch.ones(3000)
    weights[::2] = 0
    data = replace(DATA, train=replace(DATA.train, weights=weights))
    assert all((sample % 2 == 1).all() for sample in growing_samples(data, "softmax", 3))


def test_numbers_and_labels_are_evened_out() -> None:
    numbers = torch.from_numpy(ROWS)
    first = growing_samples(TransferData(Rows(TableExamples(ROWS), numbers)), "identity", 2)[0]
    assert abs(np.median(ROWS[first, 0])) < 0.1
    labels = (torch.arange(3000)[:, None] % torch.tensor([2, 5]) == 0).float()
    first = growing_samples(TransferData(Rows(TableExamples(ROWS), labels)), "sigmoid", 2)[0]
    assert np.allclose(labels.numpy()[first].mean(axis=0), [0.5, 0.2], atol=0.02)


def test_the_seed_decides_which_rows() -> None:
    one, other = (growing_samples(replace(DATA, seed=seed), "softmax", 3)[0] for seed in (0, 1))
    assert not np.array_equal(one, other)
    assert np.array_equal(one, growing_samples(DATA, "softmax", 3)[0])
