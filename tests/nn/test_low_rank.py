from __future__ import annotations

import copy
import sys
from typing import Any

import pytest
import torch
from timm.layers import Conv2dSame, StdConv2d
from timm.models.vision_transformer import Attention
from torch import Tensor, nn

from graft.compute import prepared
from graft.contracts import Machine
from graft.errors import RequestError, UnavailableError, UnknownNameError
from graft.nn.encoder import TextEncoder
from graft.nn.low_rank import low_rank, low_rank_layers

RANK, ALPHA = 3, 6.0


@pytest.fixture(autouse=True)
def _peft(request: pytest.FixtureRequest) -> None:
    if "without_peft" not in request.node.name:
        pytest.importorskip("peft", reason="peft is not installed")


def adapted(module: nn.Module, layers: tuple[str, ...], dora: bool = False, dropout: float = 0.0) -> Any:
    return low_rank(module, layers, rank=RANK, alpha=ALPHA, dropout=dropout, dora=dora, seed=5)


def disturb(module: nn.Module) -> dict[str, Tensor]:
    """As after training: nothing is 0 any more."""
    generator = torch.Generator().manual_seed(1)
    learning = {name: value for name, value in module.named_parameters() if value.requires_grad}
    with torch.no_grad():
        for value in learning.values():
            value.add_(0.3 * torch.randn(value.shape, generator=generator, dtype=value.dtype))
    return learning


def part(learning: dict[str, Tensor], name: str) -> Tensor:
    (found,) = [value for key, value in learning.items() if name in key]
    return found


def changed(weight: Tensor, down: Tensor, up: Tensor, length: Tensor | None) -> Tensor:
    """The weight by the papers' formulas, rows flat."""
    rows = weight.flatten(1) + ALPHA / RANK * up.flatten(1) @ down.flatten(1)
    if length is not None:  # DoRA §4.3: the norm counts as a constant
        rows = length.flatten()[:, None] * rows / rows.norm(dim=1, keepdim=True).detach()
    return rows.view(weight.shape)


LAYERS = {
    "linear": (lambda: nn.Linear(5, 4), (7, 5), lambda layer, x, w: nn.functional.linear(x, w, layer.bias)),
    "bare": (lambda: nn.Linear(5, 4, bias=False), (7, 5), lambda layer, x, w: x @ w.T),
    "conv": (
        lambda: nn.Conv2d(3, 4, 3, stride=2, padding=1),
        (2, 3, 9, 9),
        lambda layer, x, w: nn.functional.conv2d(x, w, layer.bias, 2, 1),
    ),
    "pointwise": (
        lambda: nn.Conv2d(3, 4, 1, bias=False),
        (2, 3, 4, 4),
        lambda layer, x, w: nn.functional.conv2d(x, w),
    ),
    "same": (
        lambda: Conv2dSame(3, 4, 3, stride=2),
        (2, 3, 9, 9),
        lambda layer, x, w: nn.functional.conv2d(nn.functional.pad(x, (1, 1, 1, 1)), w, layer.bias, 2),
    ),
}


@pytest.mark.parametrize("dora", [False, True])
@pytest.mark.parametrize("kind", sorted(LAYERS))
def test_values_and_gradients_are_those_of_the_papers(kind: str, dora: bool) -> None:
    make, shape, run = LAYERS[kind]
    torch.manual_seed(0)
    module = nn.Sequential(make()).double().requires_grad_(False)
    layer, weight = module[0], module[0].weight.clone()
    x = torch.randn(shape, dtype=torch.float64)
    towards = torch.randn(run(layer, x, weight).shape, dtype=torch.float64)
    with adapted(module, ("0",), dora):
        learning = disturb(module)
        outputs = module(x)
        given = torch.autograd.grad((outputs * towards).sum(), list(learning.values()))
        down, up = part(learning, "lora_A"), part(learning, "lora_B")
        expected = run(layer, x, changed(weight, down, up, part(learning, "magnitude") if dora else None))
        wanted = torch.autograd.grad((expected * towards).sum(), list(learning.values()))
    torch.testing.assert_close(outputs, expected, rtol=1e-9, atol=1e-9)
    for one, other in zip(given, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-8)
    assert module[0] is layer
    torch.testing.assert_close(module(x), expected.detach(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dora", [False, True])
def test_a_fused_layer_is_one_layer(dora: bool) -> None:
    torch.manual_seed(0)
    module, x = nn.Sequential(Attention(8, num_heads=2, qkv_bias=True)).eval(), torch.randn(2, 5, 8)
    before = module(x).detach()
    layers = low_rank_layers(module, ["qkv"])
    assert layers == ("0.qkv",)
    with adapted(module, layers, dora):
        torch.testing.assert_close(module(x), before, rtol=1e-6, atol=1e-6)
        learning = disturb(module)
        assert part(learning, "lora_B").shape == (24, RANK)
        during = module(x).detach()
    torch.testing.assert_close(module(x), during, rtol=1e-5, atol=1e-6)
    assert not torch.allclose(during, before, atol=1e-3)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3)
        self.depthwise = nn.Conv2d(4, 4, 3, groups=4)
        self.dilated = nn.Conv2d(4, 4, 3, dilation=2)
        self.standardised = StdConv2d(4, 4, 3)
        self.mirrored = nn.Conv2d(4, 4, 3, padding_mode="reflect")
        self.attention = nn.MultiheadAttention(4, 2)
        self.block = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
        self.one, self.twin = nn.Linear(4, 4), nn.Linear(4, 4)
        self.twin.weight = self.one.weight
        self.alone = nn.Linear(4, 4)


def test_layers_that_do_more_than_multiply_are_left_out() -> None:
    assert low_rank_layers(Net(), ["*"]) == ("stem", "alone")


def test_all_linear_takes_convolutions_where_they_hold_the_weights() -> None:
    assert low_rank_layers(nn.Sequential(nn.Conv2d(3, 4, 1), nn.Linear(4, 9))) == ("1",)
    assert low_rank_layers(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Linear(4, 9))) == ("0", "1")
    assert low_rank_layers(nn.Sequential(nn.ReLU())) == ()


def test_patterns_are_of_whole_names_or_their_ends() -> None:
    module = nn.ModuleDict(
        {"qkv": nn.Linear(2, 2), "block": nn.ModuleDict({"qkv": nn.Linear(2, 2), "fc1": nn.Linear(2, 2)})}
    )
    assert low_rank_layers(module, ("qkv",)) == ("qkv", "block.qkv")
    assert low_rank_layers(module, "block.*") == ("block.qkv", "block.fc1")
    assert low_rank_layers(module, ("fc?", "block.qkv")) == ("block.qkv", "block.fc1")
    with pytest.raises(UnknownNameError, match="fc1"):
        low_rank_layers(module, ("fc9",))


@pytest.mark.parametrize("dora", [False, True])
def test_no_trace_is_left(dora: bool) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 4)).requires_grad_(False)
    module[0].weight.requires_grad_(True)
    before = copy.deepcopy(module)
    with adapted(module, ("0",), dora):
        disturb(module)
        assert next(name for name, value in module.named_parameters() if value.requires_grad).startswith("0.lora_A")
    assert repr(module) == repr(before)
    assert all(
        vars(one).keys() == vars(other).keys() for one, other in zip(module.modules(), before.modules(), strict=True)
    )
    assert [name for name, value in module.named_parameters() if value.requires_grad] == ["0.weight"]
    moved = [name for name, value in module.state_dict().items() if not torch.equal(value, before.state_dict()[name])]
    assert moved == ["0.weight"]


def test_after_an_error_the_weights_are_as_they_were() -> None:
    module = nn.Sequential(nn.Linear(4, 4))
    before = copy.deepcopy(module)

    def fail() -> None:
        with adapted(module, ("0",)):
            disturb(module)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert repr(module) == repr(before)
    assert torch.equal(module[0].weight, before[0].weight)
    assert all(value.requires_grad for value in module.parameters())


def test_the_start_is_the_source_and_of_the_seed_alone() -> None:
    drawn = []
    for noise in (1, 2):
        torch.manual_seed(noise)
        module, x = nn.Sequential(nn.Linear(4, 4).requires_grad_(False)), torch.ones(1, 4)
        before, standing = module(x), torch.get_rng_state()
        with adapted(module, ("0",)):
            assert torch.equal(module(x), before)
            drawn.append(part(dict(module.named_parameters()), "lora_A").clone())
        assert torch.equal(torch.get_rng_state(), standing)
    assert torch.equal(*drawn)


def test_dropout_hides_inputs_from_the_product_alone() -> None:
    torch.manual_seed(0)
    module, x = nn.Sequential(nn.Linear(400, 4, bias=False)), torch.ones(1, 400)
    with adapted(module, ("0",), dropout=0.5):
        assert torch.equal(module.train()(x), module.eval()(x)), "as long as the product is 0"
        disturb(module)
        assert not torch.equal(module.train()(x), module.eval()(x))


def test_a_bert_that_was_changed_is_not_packed() -> None:
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    config = BertConfig(vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
    module, batch = (
        TextEncoder(BertModel(config, add_pooling_layer=False)).eval(),
        {"input_ids": torch.arange(6).view(2, 3)},
    )
    assert not isinstance(prepared(module, Machine()), TextEncoder)
    with adapted(module, low_rank_layers(module)), torch.no_grad():
        disturb(module)
        during = module(batch)
        torch.testing.assert_close(prepared(module, Machine())(batch), during)
    assert not isinstance(prepared(module, Machine()), TextEncoder)
    torch.testing.assert_close(prepared(module, Machine())(batch), during, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dora", [False, True])
def test_a_prepared_network_computes_the_same(dora: bool) -> None:
    torch.manual_seed(0)
    module, images = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3)).eval(), torch.randn(2, 3, 9, 9)
    with adapted(module, ("0", "2"), dora), torch.no_grad():
        disturb(module)
        torch.testing.assert_close(prepared(module, Machine())(images), module(images), rtol=1e-5, atol=1e-5)
        module.to(memory_format=torch.channels_last)
        during = module(images)
    torch.testing.assert_close(module(images), during, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("layer", [nn.Linear(5, 4), nn.Conv2d(5, 4, 1)])
def test_a_row_of_zeros_has_no_direction_and_stays(layer: nn.Linear | nn.Conv2d) -> None:
    """Real checkpoints have dead filters; the length of such a row is divided by."""
    module, rows = nn.Sequential(copy.deepcopy(layer)), torch.randn(3, 5, 2, 2)
    if isinstance(layer, nn.Linear):
        rows = rows[..., 0, 0]
    with torch.no_grad():
        module[0].weight[1] = 0.0
    before = module(rows)
    with adapted(module, ("0",), dora=True):
        torch.testing.assert_close(module(rows), before)
        learning = {name: value for name, value in module.named_parameters() if value.requires_grad}
        slopes = torch.autograd.grad(module(rows).square().sum(), list(learning.values()))
        assert all(slope.isfinite().all() for slope in slopes)
        with torch.no_grad():
            part(learning, "lora_B").normal_()
        during = module(rows)
    torch.testing.assert_close(module(rows), during)
    assert not module[0].weight[1].any()


def test_without_peft_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    module = nn.Sequential(nn.Linear(4, 4))
    with pytest.raises(UnavailableError, match=r"pip install 'graft-transfer\[peft\]'"), adapted(module, ("0",)):
        pass


def test_numbers_that_cannot_be_are_refused_together() -> None:
    with (
        pytest.raises(RequestError, match=r"rank is 0, .*; alpha is 0, .*; dropout is 1.0, "),
        low_rank(nn.Linear(2, 2), (), rank=0, alpha=0, dropout=1.0, dora=False, seed=0),
    ):
        pass
