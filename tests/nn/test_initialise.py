from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from graft.nn.architectures import build
from graft.nn.initialise import fresh, seeded


class _Raw(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.full((1, 8), 7.0))
        self.gain = nn.Parameter(torch.full((8,), 7.0))
        self.bias = nn.Parameter(torch.full((8,), 7.0))
        self.linear = nn.Linear(8, 8)
        self.norm = nn.BatchNorm1d(8)
        self.attention = nn.MultiheadAttention(8, 2)


def _state(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def _same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(left[name], right[name]) for name in left)


def test_everything_is_drawn_anew_by_the_seed_alone():
    module, other = _Raw(), _Raw()
    with torch.no_grad():
        for value in (*module.parameters(), module.norm.running_mean):
            value.fill_(9.0)
    first, again, third = _state(fresh(module, 1)), _state(fresh(other, 1)), _state(fresh(other, 2))
    assert _same(first, again)
    assert not _same(first, third)
    assert not any((value == 9.0).all() for value in first.values())
    assert (first["gain"] == 1).all()
    assert (first["bias"] == 0).all()
    assert first["token"].abs().max() <= 0.04


def test_the_global_generator_goes_on_as_before():
    torch.manual_seed(3)
    expected = torch.rand(4)
    module = _Raw()
    torch.manual_seed(3)
    fresh(module, 0)
    with seeded(5):
        torch.rand(10)
    assert torch.equal(torch.rand(4), expected)


def test_seeded_draws_from_the_seed():
    with seeded(4):
        first = torch.rand(2)
    assert torch.equal(first, torch.rand(2, generator=torch.Generator().manual_seed(4)))


def test_what_trains_stays_what_trains():
    module = _Raw().requires_grad_(False)
    assert not any(value.requires_grad for value in fresh(module, 0).parameters())


@pytest.mark.parametrize("name", ["timm/test_efficientnet", "timm/test_vit", "torchvision/squeezenet1_1"])
def test_an_image_network_starts_as_its_author_lets_it_start(name: str):
    import timm
    import torchvision

    module = build(name).module
    with torch.no_grad():
        for value in module.parameters():
            value.fill_(9.0)
    fresh(module, 11)
    library, _, model = name.partition("/")
    with seeded(11):
        author = timm.create_model(model) if library == "timm" else torchvision.models.get_model(model)
    expected = author.state_dict()
    for key, value in module.network.state_dict().items():
        assert not (value == 9.0).all()
        if value.numel() >= 50:
            assert torch.allclose(value.std(), expected[key].std(), rtol=0.35, atol=1e-3)
    assert _same(_state(module), _state(fresh(copy.deepcopy(module), 11)))


def test_a_transformer_starts_as_its_author_lets_it_start():
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        vocab_size=50, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64
    )
    module = transformers.BertModel(config)
    for part in (*module.modules(), *module.parameters()):
        part._is_hf_initialized = True  # as after from_pretrained
    with torch.no_grad():
        for value in module.parameters():
            value.fill_(9.0)
    first = _state(fresh(module, 1))
    assert first["encoder.layer.0.intermediate.dense.weight"].std().item() == pytest.approx(0.02, rel=0.1)
    assert not any((value == 9.0).all() for value in first.values())
    assert _same(first, _state(fresh(module, 1)))
