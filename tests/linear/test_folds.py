"""Folds and units of rows that stay together."""

from __future__ import annotations

import numpy as np
import torch

from graft.linear.folds import folds_of, hard, units

KEYS = np.zeros((12, 16), np.uint8)
KEYS[:, 0] = [0, 0, *range(2, 12)]


def test_rows_of_a_group_and_equal_rows_have_one_number() -> None:
    groups = np.array(["", "", "a", "a", *[""] * 8], dtype=object)
    found = units(groups, KEYS)
    assert found[0] == found[1]
    assert found[2] == found[3]
    assert len(set(found.tolist())) == 10
    assert sorted(set(found.tolist())) == list(range(10))
    assert len(set(units(None, KEYS).tolist())) == 11


def test_soft_labels_are_held_out_as_their_likeliest_class() -> None:
    shares = torch.eye(2).repeat(10, 1) * 0.6 + 0.2
    classes = torch.arange(20) % 2
    assert torch.equal(hard(shares, "softmax"), classes)
    assert torch.equal(hard(shares, "sigmoid"), shares)
    assert np.array_equal(
        folds_of(shares, "softmax", None, None, 0, False), folds_of(classes, "softmax", None, None, 0, False)
    )


def test_too_few_rows_and_too_few_groups_have_no_folds() -> None:
    assert folds_of(torch.arange(4) % 2, "softmax", None, None, 0, False) is None
    together = np.array(["one"] * 12, dtype=object)
    assert folds_of(torch.arange(12) % 2, "softmax", together, KEYS, 0, False) is None
