"""The order of rows depends on seed, epoch and place, and on nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from graft.data.order import alike, cut, mixed, shuffled


def test_the_order_is_a_permutation_that_seed_and_epoch_decide() -> None:
    orders = {(seed, epoch): tuple(shuffled(50, seed, epoch)) for seed in (0, 1) for epoch in (0, 1)}
    assert all(sorted(order) == list(range(50)) for order in orders.values())
    assert len(set(orders.values())) == 4
    assert orders[0, 1] == tuple(shuffled(50, 0, 1))


def test_the_order_is_the_same_on_every_machine() -> None:
    assert shuffled(8, 0, 3).tolist() == [5, 0, 6, 3, 2, 4, 1, 7]
    assert mixed(0, 1, 2) == 736596180554976673


@pytest.mark.parametrize(("rows", "size"), [(10, 3), (33, 32), (5, 8), (64, 16)])
def test_no_part_is_left_over(rows: int, size: int) -> None:
    parts = cut(np.arange(rows), size)
    assert np.concatenate(parts).tolist() == list(range(rows))
    lengths = [len(part) for part in parts]
    assert max(lengths) <= size
    assert max(lengths) - min(lengths) <= 1


def test_items_of_like_cost_share_a_batch() -> None:
    costs = [5, 90, 6, 91, 4, 92]
    batches = alike(costs, 3, 0, 0)
    assert sorted(sorted(batch.tolist()) for batch in batches) == [[0, 2, 4], [1, 3, 5]]
    firsts = {int(alike(costs, 3, 0, epoch)[0][0]) for epoch in range(20)}
    assert len(firsts) == 2, "which batch comes first changes from epoch to epoch"
