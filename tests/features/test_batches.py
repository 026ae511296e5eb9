from __future__ import annotations

import numpy as np
import pytest
import torch

from graft.features.batches import Budget, budget_for, deal, elements, group

COSTS = np.random.default_rng(0).integers(3, 40, size=500)
BUDGET = Budget(cost=256, elements=10_000, rows=64)


def split(way: str, costs, budget: Budget = BUDGET, sizes=None):
    return deal(costs, budget) if way == "deal" else group(costs, costs if sizes is None else sizes, budget)


@pytest.mark.parametrize("way", ["deal", "group"])
def test_every_row_is_in_exactly_one_batch(way: str) -> None:
    rows = np.concatenate(split(way, COSTS))
    assert sorted(rows.tolist()) == list(range(500))
    assert split(way, COSTS[:0]) == []


def test_groups_stay_within_the_budget_padding_included() -> None:
    for batch in group(COSTS, COSTS, BUDGET):
        assert len(batch) * COSTS[batch].max() <= BUDGET.cost
        assert len(batch) <= BUDGET.rows


def test_groups_hardly_pad() -> None:
    padded = sum(len(batch) * COSTS[batch].max() for batch in group(COSTS, COSTS, BUDGET))
    assert padded < 1.1 * COSTS.sum()


def test_common_lengths_need_no_padding_at_all() -> None:
    costs = np.repeat([5, 9], 100)
    assert all(len(set(costs[batch].tolist())) == 1 for batch in group(costs, costs, BUDGET))


def test_large_items_are_limited_by_their_size() -> None:
    ones = np.ones(40, np.int64)
    assert max(map(len, group(ones, ones * 3000, BUDGET))) == 3
    assert [len(batch) for batch in group(ones[:2], ones[:2] * 99_999, BUDGET)] == [1, 1]


def test_a_row_above_the_budget_goes_alone() -> None:
    costs = np.array([300, 4, 4, 900])
    assert {len(batch) for batch in group(costs, costs, BUDGET) if costs[batch].max() > 256} == {1}


def test_dealt_batches_weigh_alike() -> None:
    weights = [int(COSTS[batch].sum()) for batch in deal(COSTS, BUDGET)]
    assert max(weights) - min(weights) <= COSTS.max()
    assert np.mean(weights) <= BUDGET.cost


def test_half_a_budget_ends_at_one() -> None:
    assert Budget(3, 1, 1).half() == Budget(1, 1, 1)
    assert Budget(64, 100, 10).half() == Budget(32, 50, 5)


def test_a_budget_suits_its_device() -> None:
    cpu = torch.device("cpu")
    assert budget_for(cpu, True).cost < budget_for(cpu, False).cost < budget_for(torch.device("cuda"), False).cost


def test_items_tell_their_size() -> None:
    assert [elements(item) for item in (torch.ones(3, 4), np.ones(5), "text")] == [12, 5, 1]
