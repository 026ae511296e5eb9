from __future__ import annotations

import importlib.util
import threading
from pathlib import Path

import pytest
import torch
from torch import nn

from graft.errors import RequestError
from graft.nn import own_networks
from graft.nn.factories import resolve

_FILE = Path(__file__).parents[1] / "sources" / "nets.py"
_SPEC = importlib.util.spec_from_file_location("graft_test_nets", _FILE)
nets = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(nets)

BLANK = own_networks.blank_images((24, 24))


def _apart(network: nn.Module, head: str | None = None) -> own_networks.Own:
    found, _ = own_networks.classifier_of(network, BLANK, head, "it")
    return own_networks.take_apart(network, BLANK, found, "it")


@torch.no_grad()
def test_the_layer_that_gives_the_outputs_is_the_head():
    network = nets.small().eval()
    expected = network(BLANK)
    own = _apart(network)
    assert own.dim == 8
    assert own.head.out_features == 5
    torch.testing.assert_close(own.head(own.module(BLANK)), expected)
    assert own.stages == ("network.features.0", "network.features.1")


@pytest.mark.parametrize(
    ("make", "head", "name", "dim"),
    [
        (nets.small, "none", None, 5),
        (nets.small, "fc", "fc", 8),
        (nets.maps, None, None, 8),
        (nets.softmaxed, None, None, 5),
        (nets.everywhere, None, None, 4),
        (nets.everywhere, "2", "2", 6),
    ],
)
def test_heads_are_found_named_or_not_there(make, head, name, dim):
    network = make()
    found, _ = own_networks.classifier_of(network, BLANK, head, "it")
    own = own_networks.take_apart(network, BLANK, found, "it")
    assert (found, own.dim) == (name, dim)
    assert own.module(BLANK).shape == (2, dim)
    assert (own.head is not None) == (name == "fc")


def test_a_container_stands_for_its_last_layer():
    network = nn.Sequential(nn.Flatten(), nn.Sequential(nn.Linear(1728, 4), nn.ReLU(), nn.Linear(4, 2)))
    assert own_networks.classifier_of(network, BLANK, "1", "it")[0] == "1.2"


def test_what_was_found_is_told():
    assert "fc was taken" in own_networks.classifier_of(nets.small(), BLANK, None, "it")[1][0]
    late = nn.Sequential()
    late.fc, late.end = nn.Linear(24, 3), nn.Softmax(-1)
    late.forward = lambda x: late.end(late.fc(x[:, 0, 0]))
    assert "fc does not give its outputs" in own_networks.classifier_of(late, BLANK, None, "it")[1][0]
    assert "classifies every place" in _apart(nets.everywhere(), "2").notes[0]


@pytest.mark.parametrize(
    ("make", "head", "reason"),
    [
        (nets.weightless, None, "no weights at all"),
        (nets.tokens, None, r"a tensor of shape \(2, 8, 144\) for 2 rows"),
        (nets.softmaxed, "small.features.0", "does not end in features|fails at"),
        (nets.small, "linear", "has no part 'linear'; its linear layers and convolutions are: features.0, fc"),
        (nets.small, "features.1", "is a BatchNorm2d"),
        (nets.broken_forward, None, r"nets\.py:\d+: KeyError: 'stem'"),
    ],
)
def test_networks_that_give_no_features_say_so(make, head, reason):
    with pytest.raises(RequestError, match=reason):
        _apart(make(), head)


def test_looking_changes_nothing():
    network = nets.small().train()
    network.features.eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    state = torch.random.get_rng_state()
    own_networks.classifier_of(network, BLANK, None, "it")
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert network.training
    assert not network.features[0].training
    assert torch.equal(torch.random.get_rng_state(), state)
    assert not network.fc._forward_hooks


def test_a_copy_is_fresh_and_trainable():
    network = nets.small().half().requires_grad_(False)
    copy = own_networks.copied(network)
    assert copy.fc.weight.dtype == torch.float32
    assert all(value.requires_grad for value in copy.parameters())
    network.lock = threading.Lock()
    with pytest.raises(RequestError, match="cannot be copied"):
        own_networks.copied(network)


def test_pooling_runs_in_the_precision_of_the_weights():
    own = _apart(nets.maps())
    assert own.module.to(torch.bfloat16)(BLANK).dtype == torch.bfloat16
    words = own_networks.Pooled(nn.EmbeddingBag(9, 4))
    assert words.half()(torch.zeros(2, 3, dtype=torch.int64)).shape == (2, 4)


def test_channels_are_reversed():
    seen = own_networks.Reversed(nn.Identity())(torch.arange(6).view(1, 3, 1, 2))
    assert seen[0, :, 0, 0].tolist() == [4, 2, 0]


def test_a_function_must_make_a_network():
    with pytest.raises(RequestError, match="returns NoneType; expected"):
        own_networks.called(resolve(f"{_FILE}:nothing"), {})


def test_a_network_made_anew_draws_from_the_seed_and_has_no_classifier():
    code = resolve(f"{_FILE}:small")
    state = torch.random.get_rng_state()
    first, second = (own_networks.called(code, {"width": 4}) for _ in range(2))
    assert torch.equal(first.fc.weight, second.fc.weight)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(1)
    again = own_networks.anew(code, {"width": 4}, "fc")
    assert isinstance(again.network.fc, nn.Identity)
    assert not torch.equal(again.network.features[0].weight, first.features[0].weight)


def test_restarting_draws_in_place():
    own = _apart(nets.small())
    before = own.module.network.features[0].weight.detach().clone()
    assert own_networks.restarted(own.module) is own.module
    assert not torch.equal(own.module.network.features[0].weight, before)
