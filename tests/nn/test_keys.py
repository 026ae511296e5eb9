"""Contrasts written out row by row, and queues as lists."""

from __future__ import annotations

from collections import deque

import torch
from torch import Tensor, nn
from torch.nn import functional

from graft.nn.keys import KeyQueue, MovingCopy, contrast, with_one


def theirs(own: Tensor, kept: Tensor, targets: Tensor, temperature: float) -> Tensor:
    """A row at a time, as the authors' code has it: a divergence from labels that share 1 among the positives."""
    total = torch.zeros((), dtype=own.dtype)
    for row, target in enumerate(targets.tolist()):
        others = torch.cat([kept[row, :target].flatten(), kept[row, target + 1 :].flatten()])
        logits = torch.cat([own[row : row + 1], kept[row, target], others]) / temperature
        wanted = torch.zeros_like(logits)
        wanted[: 1 + kept.shape[2]] = 1 / (1 + kept.shape[2])
        total = total - (wanted * functional.log_softmax(logits, 0)).sum()
    return total / len(targets)


def test_value_and_gradient_are_those_of_the_authors() -> None:
    torch.manual_seed(0)
    own, kept = (torch.randn(*shape, dtype=torch.float64, requires_grad=True) for shape in ((6,), (6, 3, 4)))
    targets = torch.tensor([0, 2, 1, 1, 0, 2])
    value = contrast(own, kept, torch.ones(3, 4, dtype=torch.bool), targets, 0.3).mean()
    expected = theirs(own, kept, targets, 0.3)
    torch.testing.assert_close(value, expected)
    for ours, other in zip(*(torch.autograd.grad(each, [own, kept]) for each in (value, expected)), strict=True):
        torch.testing.assert_close(ours, other)


def test_places_without_a_key_do_not_count() -> None:
    torch.manual_seed(0)
    own, kept = torch.randn(5, dtype=torch.float64), torch.randn(5, 2, 4, dtype=torch.float64, requires_grad=True)
    targets = torch.tensor([0, 1, 1, 0, 1])
    filled = torch.tensor([[True, True, False, False], [True, True, False, False]])
    value = contrast(own, kept, filled, targets, 0.5).mean()
    torch.testing.assert_close(value, theirs(own, kept[:, :, :2], targets, 0.5))
    value.backward()
    assert not kept.grad[:, :, 2:].any()  # type: ignore[index]
    assert not contrast(own, kept, torch.zeros(2, 4, dtype=torch.bool), targets).any()


def test_a_queue_keeps_the_latest_of_each_class() -> None:
    torch.manual_seed(0)
    queue, lists = KeyQueue(3, 4, (2, 1)), [deque(maxlen=4) for _ in range(3)]  # type: ignore[var-annotated]
    for size in (5, 1, 9, 30, 3):
        first, second, targets = torch.randn(size, 2), torch.randn(size, 1), torch.randint(0, 3, (size,))
        queue.add(first, second, targets)
        for row, target in enumerate(targets.tolist()):
            lists[target].append((first[row], second[row]))
        for target, held in enumerate(lists):
            assert queue.filled[target].sum() == len(held)
            for kept, place in ((queue.first, 0), (queue.second, 1)):
                found = sorted(kept[target][queue.filled[target]].tolist())
                assert found == sorted(each[place].tolist() for each in held)


def test_the_copy_moves_slowly_and_learns_nothing() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    copied, batch = MovingCopy(module), torch.randn(4, 3)
    assert torch.equal(copied.train()(batch), module.eval()(batch))
    before = copied.state()["0.weight"].clone()
    with torch.no_grad():
        module[0].weight.add_(1.0)
    module.train()(batch)
    copied.follow(module, 0.9)
    torch.testing.assert_close(copied.state()["0.weight"], 0.9 * before + 0.1 * module[0].weight)
    assert torch.equal(copied.state()["1.running_mean"], module[1].running_mean)
    assert not copied(batch).requires_grad
    assert not list(copied.parameters())
    assert len(copied.state_dict()) == len(module.state_dict()), "all of it survives a kill"


def test_a_network_that_asks_for_its_parameters_finds_them() -> None:
    class Asks(nn.Linear):
        def forward(self, batch: Tensor) -> Tensor:
            return super().forward(batch.to(next(self.parameters()).dtype))

    copied = MovingCopy(Asks(3, 2))
    assert copied(torch.ones(4, 3).double()).shape == (4, 2)


def test_weights_that_are_shared_move_once() -> None:
    tied = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    tied[1].weight = tied[0].weight
    copied, batch = MovingCopy(tied), torch.randn(4, 2)
    with torch.no_grad():
        tied[0].weight.add_(1.0)
    copied.follow(tied, 0.0)
    torch.testing.assert_close(copied(batch), tied(batch))


def test_a_one_at_the_end_meets_the_bias() -> None:
    features = torch.tensor([[3.0, 0.0]])
    torch.testing.assert_close(with_one(features), torch.tensor([[3.0, 0.0, 1.0]]) / 10**0.5)
