from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from transformers import BertConfig, BertModel, Wav2Vec2Config, Wav2Vec2Model
from transformers.utils import logging

from graft.errors import WeightsError
from graft.nn.hub import network as hub_network
from graft.nn.hub.network import base_of, filled, lacks_pooler, stages_of, untrained, without

TINY = {
    "model_type": "bert",
    "vocab_size": 20,
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 8,
}


def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    sizes = {name: value for name, value in TINY.items() if name != "model_type"}
    return BertModel(BertConfig(**sizes), add_pooling_layer=False).state_dict()


def test_the_network_is_the_one_described_and_always_the_same() -> None:
    before = torch.random.get_rng_state()
    module, again = untrained(TINY), untrained(TINY)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert module.config._attn_implementation == "sdpa"
    assert module.embeddings.word_embeddings.weight.shape == (20, 8)
    assert not [name for name, _ in module.named_parameters() if "pooler" in name]
    pairs = zip(module.parameters(), again.parameters(), strict=True)
    assert all(torch.equal(one, other) and one.dtype == torch.float32 for one, other in pairs)
    assert module.training


@pytest.mark.parametrize("kind", ["roberta", "mpnet", "xlm-roberta", "camembert", "electra", "albert", "deberta-v2"])
def test_relatives_are_built(kind: str) -> None:
    sizes = {**TINY, "model_type": kind, "embedding_size": 8, "max_position_embeddings": 40}
    module = untrained(sizes).eval()
    output = module(input_ids=torch.tensor([[3, 4, 5]]), attention_mask=None).last_hidden_state
    assert output.shape == (1, 3, 8)


@pytest.mark.parametrize("wrong", [{"hidden_size": "large"}, {"num_attention_heads": 3}, {"hidden_size": -1}])
def test_a_configuration_that_describes_nothing_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(WeightsError, match="describes no bert that can be built"):
        untrained({**TINY, **wrong})


def test_weights_are_loaded_in_silence(capfd: pytest.CaptureFixture[str]) -> None:
    held = state()
    before, level = torch.random.get_rng_state(), logging.get_verbosity()
    module, left = filled(TINY, {**held, "cls.bias": torch.zeros(1)}, beside=("cls",))
    assert left == ("cls",)
    assert all(torch.equal(value, held[name]) for name, value in module.state_dict().items())
    assert module.training
    assert all(value.requires_grad for value in module.parameters())
    assert torch.equal(torch.random.get_rng_state(), before)
    assert logging.get_verbosity() == level
    assert capfd.readouterr() == ("", "")


def test_half_precision_becomes_whole() -> None:
    halves = {name: value.bfloat16() if value.is_floating_point() else value for name, value in state().items()}
    module, _ = filled(TINY, halves)
    assert {value.dtype for value in module.parameters()} == {torch.float32}


def test_what_does_not_fit_is_shown() -> None:
    held = state()
    held["encoder.layer.0.extra"] = held.pop("encoder.layer.0.output.dense.bias")
    held["embeddings.word_embeddings.weight"] = torch.zeros(3, 8)
    with pytest.raises(WeightsError, match=r"(?s)3 names do not.*- .*dense\.bias.*\+ .*extra.*! .*\(20, 8\).*\(3, 8\)"):
        filled(TINY, held)


def test_weights_that_are_no_numbers_are_refused() -> None:
    held = state()
    held["encoder.layer.0.output.dense.bias"][3] = float("nan")
    with pytest.raises(WeightsError, match=r"not finite numbers: .*output\.dense\.bias"):
        filled(TINY, held)


def test_a_network_far_larger_than_its_file_is_not_built(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(WeightsError, match=r"more than .* weights, far more than its file can fill"):
        filled({**TINY, "vocab_size": 9_000_000}, state())
    monkeypatch.setattr(hub_network, "_MOST_WEIGHTS", 100)
    with pytest.raises(WeightsError, match="more than 100 weights"):
        untrained(TINY)


def test_older_names_of_normalised_weights_are_known() -> None:
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    sizes |= {"conv_dim": [4], "conv_kernel": [4], "conv_stride": [2], "num_feat_extract_layers": 1}
    sizes |= {"num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2, "vocab_size": 4}
    whole = Wav2Vec2Model(Wav2Vec2Config(**sizes))
    new = "encoder.pos_conv_embed.conv.parametrizations.weight.original"
    old = "wav2vec2.encoder.pos_conv_embed.conv.weight_"
    held = {
        (name.replace(new + "0", old + "g").replace(new + "1", old + "v") if new in name else f"wav2vec2.{name}"): value
        for name, value in whole.state_dict().items()
    }
    module, _ = filled({"model_type": "wav2vec2", **sizes}, held, beside=("masked_spec_embed",))
    theirs = whole.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in module.state_dict().items())


def test_a_part_is_taken_off_and_the_rest_is_shared() -> None:
    whole = BertModel(BertConfig(**{name: value for name, value in TINY.items() if name != "model_type"}))
    bare = without(whole, "pooler")
    assert whole.pooler is not None
    assert not [name for name, _ in bare.named_parameters() if "pooler" in name]
    assert bare.embeddings is whole.embeddings
    ids = torch.tensor([[3, 4, 5]])
    torch.testing.assert_close(bare.eval()(ids).last_hidden_state, whole.eval()(ids).last_hidden_state)
    assert without(bare, "pooler") is bare


def test_the_encoder_is_found_inside_a_classifier() -> None:
    whole = untrained({**TINY, "id2label": {"0": "a", "1": "b"}}, whole=True)
    assert base_of(whole) is whole.bert
    bare = untrained(TINY)
    bare.encoder, layers = None, bare.encoder
    assert base_of(bare) is bare
    assert layers is not None


def test_stages_name_every_parameter_in_order() -> None:
    class Net(nn.Module):
        base_model_prefix = "x"

        def __init__(self) -> None:
            super().__init__()
            self.token = nn.Parameter(torch.zeros(1))
            self.embed = nn.Linear(1, 1)
            self.final_norm = nn.LayerNorm(1)
            self.body = nn.Module()
            self.body.layers = nn.ModuleList([nn.Linear(1, 1), nn.Linear(1, 1)])
            self.act = nn.ReLU()

    assert stages_of(Net(), "n.") == ("n.token", "n.embed", "n.body.layers.0", "n.body.layers.1", "n.final_norm")


def test_guessing_hidden_patches_trains_no_pooler() -> None:
    assert lacks_pooler({"model_type": "beit", "architectures": ["BeitForMaskedImageModeling"]})
    assert not lacks_pooler({"model_type": "beit", "architectures": ["BeitForImageClassification"]})
    assert not lacks_pooler({"model_type": "beit"})
