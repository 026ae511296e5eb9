from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from graft.nn import vocabulary
from graft.nn.vocabulary import by_rows


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vocabulary, "_LARGE", 1)
    monkeypatch.setattr(vocabulary, "_FEWEST", 2)


class Words(nn.Module):
    def __init__(self, v: int = 20) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.table = nn.Embedding(v, 3, padding_idx=0)
        self.head = nn.Linear(3, 1, bias=False)
        with torch.no_grad():
            for value in self.parameters():
                value.copy_(torch.randn(value.shape, generator=generator))
        self.double()

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.table(ids).mean(1)).square().mean()


STEPS = [
    torch.tensor([[1, 2, 2, 0]]),
    torch.tensor([[1, 5, 6, 7]]),
    torch.tensor([[2, 2, 2, 9]]),
    torch.tensor([[1, 0]]),
]


def trained(decay: float = 0.0, penalty: int | None = None) -> tuple[Words, torch.optim.Optimizer]:
    module = Words()
    optimiser = torch.optim.AdamW(module.parameters(), lr=0.1, weight_decay=decay, fused=True)
    with by_rows(module, optimiser) as tables:
        for step, ids in enumerate(STEPS * 3):
            for value in module.parameters():
                value.grad = None
            loss = module(ids) + (module.table.weight.square().sum() if step == penalty else 0.0)
            loss.backward()
            for table in tables:
                table.take()
            stepping = [value for group in optimiser.param_groups for value in group["params"]]
            nn.utils.clip_grad_norm_(stepping, 0.5)
            optimiser.step()
            for table in tables:
                table.put()
    return module, optimiser


def densely(decay: float = 0.0, penalty: int | None = None) -> Words:
    """AdamW on the whole table."""
    module = Words()
    optimiser = torch.optim.AdamW(module.parameters(), lr=0.1, weight_decay=decay, fused=True)
    for step, ids in enumerate(STEPS * 3):
        optimiser.zero_grad()
        (module(ids) + (module.table.weight.square().sum() if step == penalty else 0.0)).backward()
        nn.utils.clip_grad_norm_(module.parameters(), 0.5)
        optimiser.step()
    return module


def test_it_is_adamw_on_the_whole_table() -> None:
    module, _ = trained()
    expected = densely()
    torch.testing.assert_close(module.table.weight, expected.table.weight, rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(module.head.weight, expected.head.weight, rtol=1e-12, atol=1e-13)


def test_rows_decay_from_where_they_first_occur_and_others_stay_as_they_were() -> None:
    module, _ = trained(decay=0.5)
    held, before = module.table.weight, Words().table.weight
    expected = Words()
    optimiser = torch.optim.AdamW(expected.parameters(), lr=0.1, weight_decay=0.0, fused=True)
    occurred: set[int] = set()
    for ids in STEPS * 3:
        optimiser.zero_grad()
        expected(ids).backward()
        nn.utils.clip_grad_norm_(expected.parameters(), 0.5)
        occurred |= set(ids.flatten().tolist()) - {0}
        with torch.no_grad():
            expected.table.weight[sorted(occurred)] *= 1 - 0.1 * 0.5
            expected.head.weight *= 1 - 0.1 * 0.5
        optimiser.step()
    torch.testing.assert_close(held, expected.table.weight, rtol=1e-12, atol=1e-13)
    never = [row for row in range(20) if row not in occurred]
    assert torch.equal(held[never], before[never])


@pytest.mark.parametrize("penalty", [0, 5])
def test_a_gradient_for_all_rows_lets_all_join(penalty: int) -> None:
    module, _ = trained(penalty=penalty)
    torch.testing.assert_close(module.table.weight, densely(penalty=penalty).table.weight, rtol=1e-12, atol=1e-13)


def test_the_optimiser_holds_no_more_than_what_occurs() -> None:
    module, optimiser = trained()
    short, _ = (value for group in optimiser.param_groups for value in group["params"])
    assert short.shape == (8, 3)  # room for the 6 words
    assert {len(value) for value in optimiser.state[short].values() if value.ndim} == {8}
    assert module.table.weight not in optimiser.state


def test_a_table_that_does_not_train_is_left_alone() -> None:
    module = Words()
    optimiser = torch.optim.AdamW(module.parameters(), fused=True)
    with by_rows(module, optimiser) as (table,):
        module.table.weight.requires_grad_(False)
        module(STEPS[0]).backward()
        before = module.table.weight.clone()
        table.take()
        optimiser.step()
        table.put()
        assert torch.equal(module.table.weight, before)
        assert not len(table.rows)
    assert not module.table.sparse


@pytest.mark.parametrize("options", [{"max_norm": 1.0}, {"scale_grad_by_freq": True}, {"sparse": True}])
def test_tables_with_ways_of_their_own_learn_as_usual(options: dict) -> None:
    module = nn.Sequential(nn.Embedding(20, 3, **options))
    with by_rows(module, torch.optim.AdamW(module.parameters())) as tables:
        assert not tables


def test_small_tables_and_what_the_optimiser_does_not_hold_learn_as_usual(monkeypatch: pytest.MonkeyPatch) -> None:
    module = Words()
    with by_rows(module, torch.optim.AdamW(module.head.parameters())) as tables:
        assert not tables
    monkeypatch.setattr(vocabulary, "_LARGE", 61)
    with by_rows(module, torch.optim.AdamW(module.parameters())) as tables:
        assert not tables


def test_two_places_that_share_a_table_share_its_rows() -> None:
    module = nn.ModuleList([nn.Embedding(20, 3), nn.Embedding(20, 3)])
    module[1].weight = module[0].weight
    optimiser = torch.optim.AdamW(module.parameters())
    with by_rows(module, optimiser) as (table,):
        (module[0](torch.tensor([3])).sum() + module[1](torch.tensor([4])).sum()).backward()
        table.take()
        optimiser.step()
        table.put()
        assert table.rows.tolist() == [3, 4]
