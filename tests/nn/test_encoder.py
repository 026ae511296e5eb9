from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from graft.errors import RequestError
from graft.nn.encoder import Finish, TextEncoder, pool

TOKENS = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0))
LENGTHS = [5, 2, 1]
MASK = torch.tensor([[1] * length + [0] * (5 - length) for length in LENGTHS])

BY_HAND = {
    "mean": lambda rows: rows.mean(0),
    "cls": lambda rows: rows[0],
    "max": lambda rows: rows.max(0),
    "lasttoken": lambda rows: rows[-1],
}


@pytest.mark.parametrize("how", BY_HAND)
def test_pooling_sees_no_padding(how) -> None:
    expected = [BY_HAND[how](row[:length].numpy()) for row, length in zip(TOKENS, LENGTHS, strict=True)]
    np.testing.assert_allclose(pool(TOKENS, MASK, how), np.stack(expected), rtol=1e-6)
    np.testing.assert_allclose(pool(TOKENS, None, how)[0], BY_HAND[how](TOKENS[0].numpy()), rtol=1e-6)


class Words(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(9, 4)

    def forward(self, input_ids, attention_mask=None):
        return SimpleNamespace(last_hidden_state=self.table(input_ids))


IDS = torch.tensor([[1, 2, 3], [4, 0, 0]])
IDS_MASK = torch.tensor([[1, 1, 1], [1, 0, 0]])


def test_layers_and_scaling_follow_the_pooling() -> None:
    linear = nn.Linear(4, 2)
    encoder = TextEncoder(Words(), "cls", Finish(nn.Sequential(linear, nn.Tanh()), normalise=True))
    features = encoder({"input_ids": IDS, "attention_mask": IDS_MASK})
    expected = torch.tanh(linear(encoder.transformer.table(IDS[:, 0])))
    torch.testing.assert_close(features, expected / expected.norm(dim=1, keepdim=True))


def test_gradients_reach_the_embeddings() -> None:
    encoder = TextEncoder(Words())
    encoder({"input_ids": IDS, "attention_mask": IDS_MASK}).sum().backward()
    touched = encoder.transformer.table.weight.grad.abs().sum(1) > 0
    assert touched.tolist() == [False, True, True, True, True, *[False] * 4]


def test_networks_that_cannot_be_packed_stay_as_they_are() -> None:
    assert TextEncoder(Words()).compact(torch.device("cpu")) is None


def test_an_unknown_pooling_is_refused() -> None:
    with pytest.raises(RequestError, match="expected one of mean, cls, max, lasttoken"):
        TextEncoder(Words(), "median")
