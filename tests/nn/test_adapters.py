from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from graft.compute import prepared
from graft.contracts import Machine
from graft.errors import RequestError
from graft.nn import architectures
from graft.nn.adapters import Bottleneck, biases, blocks, insert_adapters, norms, only
from graft.nn.encoder import TextEncoder


@pytest.mark.parametrize("shape", [(3, 6), (3, 5, 6), (3, 6, 4, 5), (3, 4, 5, 6)])
def test_values_and_gradients_are_those_of_the_paper(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    adapter = Bottleneck(6, 2).double()
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    assert torch.equal(adapter(x), x), "at first it changes nothing"
    with torch.no_grad():
        for value in adapter.parameters():
            value.add_(torch.randn_like(value))
    maps = len(shape) == 4 and shape[1] == 6
    letters = "ndhw,kd->nkhw" if maps else "...d,kd->...k"
    back = "nkhw,dk->ndhw" if maps else "...k,dk->...d"
    column = (slice(None), None, None) if maps else ()
    inner = torch.einsum(letters, x, adapter.down.weight) + adapter.down.bias[column]
    inner = inner * 0.5 * (1 + torch.erf(inner / 2**0.5))
    expected = x + torch.einsum(back, inner, adapter.up.weight) + adapter.up.bias[column]
    torch.testing.assert_close(adapter(x), expected, rtol=1e-12, atol=1e-12)
    values = [x, *adapter.parameters()]
    given, wanted = (torch.autograd.grad(made.square().sum(), values) for made in (adapter(x), expected))
    for one, other in zip(given, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


def test_where_a_shape_leaves_it_open_the_block_decides() -> None:
    x = torch.randn(1, 4, 3, 4)
    for last, axis in ((False, 1), (True, -1)):
        adapter = Bottleneck(4, 1, last)
        with torch.no_grad():
            adapter.up.bias.copy_(torch.arange(4.0))
        moved = (adapter(x) - x).movedim(axis, -1)
        torch.testing.assert_close(moved, torch.arange(4.0).expand_as(moved))


def test_a_block_of_another_width_is_named() -> None:
    with pytest.raises(RequestError, match=r"made for 4 features, and the block before it gives \(2, 5\)"):
        Bottleneck(4, 2)(torch.zeros(2, 5))


IMAGES = ["resnet10t", "vit_tiny_patch16_224", "convnext_atto", "mobilenetv2_100", "swin_tiny_patch4_window7_224"]


@pytest.mark.parametrize("name", IMAGES)
def test_networks_take_adapters_behind_their_blocks(name: str) -> None:
    torch.manual_seed(0)
    parts = architectures.build(f"timm/{name}")
    module, names = parts.module.eval(), [each for each, _ in parts.module.named_parameters()]
    images = torch.randint(0, 255, (1, 3, 224, 224), dtype=torch.uint8)
    chosen = blocks(module, parts.stages)
    with torch.no_grad():
        before = module(images)
        adapters = insert_adapters(module, chosen, 4)
        assert torch.equal(module(images), before)
        assert len(adapters) == len(chosen) >= 4
        for adapter in adapters:
            adapter.up.bias.fill_(0.1)
        after = module(images)
        assert not torch.equal(after, before)
        twin = copy.deepcopy(module)
        for each in twin.modules():
            if isinstance(each, Bottleneck):
                each.up.bias.zero_()
        assert torch.equal(twin(images), before), "a copy has adapters of its own"
        assert torch.equal(module(images), after)
        torch.testing.assert_close(prepared(module, Machine())(images), after, rtol=1e-4, atol=1e-5)
    new = [each for each, _ in module.named_parameters() if each not in names]
    assert len(new) == 4 * len(chosen)
    assert all(".adapter." in each and each.startswith(chosen) for each in new)


def test_a_bert_keeps_its_adapters_when_it_is_prepared() -> None:
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    config = BertConfig(vocab_size=9, hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=8)
    module = TextEncoder(BertModel(config, add_pooling_layer=False)).eval()
    stages = ("transformer.embeddings", "transformer.encoder.layer.0", "transformer.encoder.layer.1")
    assert blocks(module, stages) == stages[1:]
    adapters = insert_adapters(module, stages[1:], 2)
    batch = {"input_ids": torch.arange(6).view(2, 3)}
    with torch.no_grad():
        before = module(batch)
        adapters[0].up.bias.copy_(torch.randn(8))
        after = module(batch)
        assert not torch.allclose(after, before)
        torch.testing.assert_close(prepared(module, Machine())(batch), after)


class Pair(nn.Module):
    def __init__(self, made: str) -> None:
        super().__init__()
        self.one, self.two, self.made = nn.Linear(4, 4), nn.Linear(4, 4), made

    def forward(self, x: Tensor) -> object:
        y = self.two(self.one(x))
        return {"tuple": (y, x), "dict": {"y": y}, "list": [y]}[self.made]


def test_a_block_may_give_a_tuple_and_nothing_stranger() -> None:
    block = Pair("tuple")
    x = torch.randn(2, 4)
    (adapter,) = insert_adapters(nn.ModuleDict({"a": block}), ["a"], 2)
    with torch.no_grad():
        first = block(x)
        adapter.up.bias.fill_(1.0)
        torch.testing.assert_close(block(x)[0], first[0] + 1)
        assert block(x)[1] is x
    for made in ("dict", "list"):
        strange = Pair(made)
        insert_adapters(nn.ModuleDict({"a": strange}), ["a"], 2)
        with pytest.raises(RequestError, match=rf"the block Pair gives {made}"):
            strange(x)


def test_what_is_no_block_gets_none() -> None:
    module = nn.ModuleDict(
        {"a": nn.Linear(2, 2), "b": nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)), "c": nn.LayerNorm(2)}
    )
    assert blocks(module, ("a", "b", "c")) == ("b",)
    assert blocks(module, ("a", "c")) == ("a",), "where no stage has two layers, those with one"
    assert blocks(nn.ModuleDict({"l": nn.ModuleList([nn.Linear(2, 2)])}), ("l",)) == ()
    assert blocks(nn.ReLU(), ()) == ()


def test_the_second_time_nothing_is_added() -> None:
    module = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    first = insert_adapters(module, ["0", "1"], 1)
    assert all(one is other for one, other in zip(first, insert_adapters(module, ["0", "1"], 1), strict=True))
    assert len(module[0]._forward_hooks) == 1


def test_biases_and_norms_are_found_and_can_train_alone() -> None:
    module = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2), nn.BatchNorm1d(2), nn.RMSNorm(2), nn.GroupNorm(1, 2))
    assert len(biases(module)) == 4
    assert len(norms(module)) == 7
    module[0].bias.requires_grad_(False)
    only(module, biases(module))
    trains = [name for name, value in module.named_parameters() if value.requires_grad]
    assert trains == ["1.bias", "2.bias", "4.bias"], "what did not train does not begin to"
