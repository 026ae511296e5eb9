"""Networks of columns: what they compute, and where they start."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from graft.nn.initialise import fresh, seeded
from graft.nn.tabular import FeatureTokenizer, TabularMLP, _Block


def batch(n: int = 6) -> dict[str, Tensor]:
    with seeded(1):
        codes = torch.stack([torch.randint(0, 4, (n,)), torch.tensor([0, 4, 5, 4, 5, 0])[:n]], dim=1)
        return {"numbers": torch.randn(n, 2), "codes": codes, "known": torch.ones(n, 4, dtype=torch.bool)}


def net(name: str, numbers: int = 2, words: tuple[int, ...] = (3, 2)) -> TabularMLP | FeatureTokenizer:
    with seeded(0):
        if name == "mlp":
            return TabularMLP(numbers, words, hidden=(12, 8)).eval()
        return FeatureTokenizer(numbers, words, dim=8, depth=2, heads=2).eval()


def test_the_dense_network_is_one_on_words_in_places_of_their_own() -> None:
    module, rows = net("mlp"), batch()
    assert isinstance(module, TabularMLP)
    places = nn.functional.one_hot(rows["codes"], 6).sum(1)[:, 1:].float()
    weight = torch.cat([module.first.weight, module.spoken.vectors.T], dim=1)
    inner = torch.relu(nn.functional.linear(torch.cat([rows["numbers"], places], dim=1), weight, module.first.bias))
    torch.testing.assert_close(module(rows), torch.relu(module.layers[0](inner)))


def test_a_block_attends_as_torch_does() -> None:
    with seeded(0):
        block, tokens = _Block(8, 2, 0.0).eval(), torch.randn(3, 5, 8)
        theirs = nn.MultiheadAttention(8, 2, batch_first=True)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(block.mix.weight)
        theirs.in_proj_bias.copy_(block.mix.bias)
        theirs.out_proj.weight.copy_(block.out.weight)
        theirs.out_proj.bias.copy_(block.out.bias)
    normal = block.before(tokens)
    middle = tokens + theirs(normal, normal, normal, need_weights=False)[0]
    value, gate = block.widen(block.between(middle)).chunk(2, dim=-1)
    torch.testing.assert_close(block(tokens), middle + block.narrow(value * torch.relu(gate)))


def test_a_token_is_its_column_and_its_cell() -> None:
    module, rows = net("ft"), batch()
    assert isinstance(module, FeatureTokenizer)
    seen: list[Tensor] = []
    module.blocks[0].register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    module(rows)
    (tokens,) = seen
    assert tokens.shape == (6, 5, 8)
    torch.testing.assert_close(tokens[3, 2], rows["numbers"][3, 1] * module.first.weight[1] + module.first.bias[1])
    torch.testing.assert_close(tokens[1, 4], module.spoken.vectors[3] + module.places.vectors[1])
    torch.testing.assert_close(tokens[0, 4], module.places.vectors[1]), "a missing word adds nothing"


@pytest.mark.parametrize("name", ["mlp", "ft"])
@pytest.mark.parametrize(("numbers", "words"), [(2, (3, 2)), (2, ()), (0, (3, 2)), (2, (0, 5))])
def test_any_columns_will_do_and_every_parameter_has_a_stage(name: str, numbers: int, words: tuple[int, ...]) -> None:
    module, rows = net(name, numbers, words), batch()
    given = {"numbers": rows["numbers"][:, :numbers], "codes": rows["codes"][:, : len(words)]}
    assert module(given).shape == (6, 8)
    module(given).sum().backward()
    stages = module.stages
    for parameter, value in module.named_parameters():
        assert any(parameter.startswith(f"{stage}.") for stage in stages), parameter
        assert value.grad is not None or not value.numel()


@pytest.mark.parametrize("name", ["mlp", "ft"])
def test_it_starts_anew_from_a_seed(name: str) -> None:
    module = net(name)
    one, other, again = (fresh(copy.deepcopy(module), seed).state_dict() for seed in (3, 4, 3))
    for key, value in module.state_dict().items():
        assert torch.equal(one[key], again[key])
        assert (
            key.endswith(("before.weight", "before.bias", "between.weight", "between.bias"))
            or "last" in key
            or (not torch.equal(one[key], value) and not torch.equal(one[key], other[key]))
        )
