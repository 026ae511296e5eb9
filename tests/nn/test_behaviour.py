"""Distances between maps as the authors' code computes them, and what a channel is worth."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from graft.nn.behaviour import attention, behaviour_distance, by_channel, removal_rises, removal_slopes

DRAW = torch.Generator().manual_seed(0)


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=DRAW, dtype=torch.float64)


def theirs(now: Tensor, before: Tensor, weights: Tensor) -> Tensor:
    """The sum over channels and rows, one pair at a time, over the rows."""
    b, c, h, w = now.shape
    total = torch.zeros((), dtype=torch.float64)
    for row in range(b):
        for channel in range(c):
            apart = torch.linalg.vector_norm(now[row, channel] - before[row, channel]) ** 2
            total = total + 0.5 * c * weights[channel] * apart / (h * w)
    return total / b


def test_value_and_gradient_are_those_of_the_authors() -> None:
    now, before = drawn(3, 4, 5, 6).requires_grad_(True), drawn(3, 4, 5, 6).requires_grad_(True)
    weights = torch.softmax(drawn(4), 0)
    value, expected = behaviour_distance(now, before, weights).mean(), theirs(now, before, weights)
    torch.testing.assert_close(value, expected)
    slopes = [torch.autograd.grad(each, now)[0] for each in (value, expected)]
    torch.testing.assert_close(*slopes)
    assert not behaviour_distance(now.detach(), before, weights).requires_grad, "the source gets no gradient"
    plain = behaviour_distance(now, before).mean()
    torch.testing.assert_close(plain, theirs(now, before, torch.full((4,), 0.25, dtype=torch.float64)))


def test_tokens_and_features_have_their_channels_last() -> None:
    maps = drawn(3, 4, 5, 6)
    tokens = maps.flatten(2).transpose(1, 2)
    assert torch.equal(by_channel(maps), tokens)
    assert torch.equal(by_channel(tokens), tokens)
    assert by_channel(drawn(3, 7)).shape == (3, 1, 7)


def test_attention_is_the_softmax_of_scores_over_five() -> None:
    rises = drawn(9).numpy()
    scores = (rises - np.mean(rises)) / np.std(rises) / 5
    expected = np.exp(scores) / np.exp(scores).sum()
    np.testing.assert_allclose(attention(torch.from_numpy(rises)), expected)
    np.testing.assert_allclose(attention(torch.zeros(4)), 0.25)


def test_slopes_tell_what_a_linear_loss_would_rise_by() -> None:
    maps, slopes = drawn(3, 4, 5, 6).requires_grad_(True), drawn(3, 4, 5, 6)

    def loss(seen: Tensor) -> Tensor:
        return (seen * slopes).sum()

    beside = {"fixed": drawn(3, 2), "unused": drawn(3, 2).requires_grad_(True)}
    every = removal_slopes({"last": maps, **beside}, loss(maps))
    assert every.keys() == {"last"}
    found = every["last"]
    for channel in range(4):
        without = maps.detach().clone()
        without[:, channel] = 0
        torch.testing.assert_close(found[channel], loss(without) - loss(maps.detach()))


def test_maps_with_their_channels_last_are_the_same_maps() -> None:
    now, before, weights = drawn(3, 4, 5, 6), drawn(3, 4, 5, 6), torch.softmax(drawn(4), 0)
    turned = [each.permute(0, 2, 3, 1) for each in (now, before)]
    expected = behaviour_distance(now, before, weights)
    torch.testing.assert_close(behaviour_distance(*turned, weights, last=True), expected)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.part = nn.Identity()

        def forward(self, maps: Tensor) -> Tensor:
            return self.part(maps)  # type: ignore[no-any-return]

    net, slopes = Net(), drawn(3, 4, 5, 6)
    first = removal_rises(lambda: (net(now) * slopes).sum(), net, ["part"])
    again = removal_rises(lambda: (net(turned[0]) * slopes.permute(0, 2, 3, 1)).sum(), net, ["part"], last=True)
    torch.testing.assert_close(first, again)
    seen = turned[0].clone().requires_grad_(True)
    found = removal_slopes({"part": seen}, (seen * slopes.permute(0, 2, 3, 1)).sum(), last=True)
    torch.testing.assert_close(found, first)


def test_padding_is_no_place() -> None:
    now, before = drawn(2, 5, 3), drawn(2, 5, 3)
    real = torch.tensor([[1.0, 1, 1, 0, 0], [1, 1, 1, 1, 1]])
    found = behaviour_distance(now, before, real=real)
    for row, length in enumerate((3, 5)):
        alone = behaviour_distance(now[row : row + 1, :length], before[row : row + 1, :length])
        torch.testing.assert_close(found[row : row + 1], alone)
