from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from graft.contracts import Backbone
from graft.errors import WeightsError
from graft.nn.hub.recipe import Recipe, read
from graft.nn.hub.texts import backbone

SIZES = {
    "vocab_size": 30,
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 12,
    "max_position_embeddings": 40,
    "num_labels": 3,
}
IDS = {"input_ids": torch.tensor([[2, 7, 9, 3], [2, 8, 4, 3]])}


class Nothing:
    def files(self) -> dict[str, bytes]:
        return {"preprocess.json": b"{}"}


def build(folder: Path, pooling: str | None = None, **named: Any) -> Backbone:
    return backbone(read(folder, pooling), Nothing(), name="toy", folder=folder, **named)


@pytest.fixture
def bert(tmp_path: Path) -> BertModel:
    torch.manual_seed(0)
    module = BertModel(BertConfig(**SIZES)).eval()
    module.save_pretrained(tmp_path)
    return module


@torch.no_grad()
def test_features_are_those_of_transformers(bert: BertModel, tmp_path: Path) -> None:
    held = build(tmp_path)
    expected = bert(**IDS).last_hidden_state.mean(1)
    torch.testing.assert_close(held.module.eval()(IDS), expected)
    assert (held.dim, held.head) == (8, None)
    assert held.card.notes == ("left out of the checkpoint: pooler",)
    assert held.stages == (
        "transformer.embeddings",
        "transformer.encoder.layer.0",
        "transformer.encoder.layer.1",
    )


@pytest.mark.usefixtures("bert")
def test_every_load_is_fresh_and_trainable(tmp_path: Path) -> None:
    one, other = build(tmp_path), build(tmp_path)
    with torch.no_grad():
        next(one.module.parameters()).zero_()
    assert next(other.module.parameters()).abs().sum() > 0
    assert all(value.requires_grad for value in other.module.parameters())


@pytest.mark.usefixtures("bert")
def test_the_fingerprint_names_weights_and_recipe(tmp_path: Path) -> None:
    first = build(tmp_path)
    assert build(tmp_path).fingerprint == first.fingerprint
    assert build(tmp_path, "cls").fingerprint != first.fingerprint
    state = load_file(tmp_path / "model.safetensors")
    state["embeddings.LayerNorm.bias"] += 1
    save_file(state, tmp_path / "model.safetensors")
    changed = build(tmp_path)
    assert changed.fingerprint != first.fingerprint
    assert changed.card.revision != first.card.revision
    assert build(tmp_path, revision="abc").card.revision == "abc"


@pytest.mark.usefixtures("bert")
def test_without_weights_it_is_the_architecture_alone(tmp_path: Path) -> None:
    trained = build(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    bare = build(tmp_path, weights=False)
    assert (bare.fingerprint, bare.card.revision, bare.card.pretraining) == (None, None, "none")
    names = [name for name, _ in bare.module.named_parameters()]
    assert names == [name for name, _ in trained.module.named_parameters()]
    assert not torch.equal(next(bare.module.parameters()), next(trained.module.parameters()))


@pytest.mark.usefixtures("bert")
@torch.no_grad()
def test_its_files_build_it_again(tmp_path: Path) -> None:
    held = build(tmp_path, "max")
    again = backbone(Recipe.from_files(held.files), Nothing(), name="toy")
    again.module.load_state_dict(held.module.state_dict())
    torch.testing.assert_close(again.module.eval()(IDS), held.module.eval()(IDS), atol=1e-6, rtol=1e-6)
    assert dict(again.files) == dict(held.files)


@pytest.mark.parametrize("prefix", ["", "bert."])
@torch.no_grad()
def test_names_of_older_and_wrapped_checkpoints(bert: BertModel, tmp_path: Path, prefix: str) -> None:
    state = {}
    for name, value in bert.state_dict().items():
        old = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
        state[prefix + old] = value.clone()
    state["cls.predictions.bias"] = torch.zeros(30)
    save_file(state, tmp_path / "model.safetensors")
    held = build(tmp_path)
    torch.testing.assert_close(held.module.eval()(IDS), bert(**IDS).last_hidden_state.mean(1))
    assert held.card.notes == ("left out of the checkpoint: cls, pooler",)


def test_weights_that_do_not_fit_show_both_sides(bert: BertModel, tmp_path: Path) -> None:
    state = {name: value.clone() for name, value in bert.state_dict().items()}
    state["encoder.layer.7.extra"] = state.pop("encoder.layer.1.output.dense.bias")
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(WeightsError, match=r"(?s)- .*layer\.1\.output\.dense\.bias.*\+ encoder\.layer\.7\.extra"):
        build(tmp_path)


@pytest.mark.parametrize(
    "model",
    [
        lambda: BertForSequenceClassification(BertConfig(**SIZES)),
        lambda: RobertaForSequenceClassification(RobertaConfig(**SIZES)),
        lambda: DistilBertForSequenceClassification(
            DistilBertConfig(vocab_size=30, dim=8, n_layers=2, n_heads=2, hidden_dim=12, num_labels=3)
        ),
    ],
)
@torch.no_grad()
def test_a_classifiers_own_head_gives_its_own_outputs(model, tmp_path: Path) -> None:
    torch.manual_seed(0)
    whole = model().eval()
    whole.save_pretrained(tmp_path)
    held = build(tmp_path)
    torch.testing.assert_close(held.head(held.module.eval()(IDS)), whole(**IDS).logits)
    assert build(tmp_path, "mean").head is None


@torch.no_grad()
def test_dense_layers_are_loaded(bert: BertModel, tmp_path: Path) -> None:
    modules = ["Transformer", "Pooling", "Dense", "Normalize"]
    listed = [
        {"type": f"sentence_transformers.models.{name}", "path": name * (i > 0)} for i, name in enumerate(modules)
    ]
    (tmp_path / "modules.json").write_text(json.dumps(listed))
    for name, stated in (("Pooling", {"pooling_mode": "cls"}), ("Dense", {"in_features": 8, "out_features": 5})):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps(stated))
    weight, bias = torch.randn(5, 8), torch.randn(5)
    save_file({"linear.weight": weight, "linear.bias": bias}, tmp_path / "Dense" / "model.safetensors")
    held = build(tmp_path)
    expected = torch.tanh(bert(**IDS).last_hidden_state[:, 0] @ weight.T + bias)
    torch.testing.assert_close(held.module.eval()(IDS), torch.nn.functional.normalize(expected, dim=1))
    assert (held.dim, held.stages[-1]) == (5, "finish")


@pytest.mark.usefixtures("bert")
def test_the_card_tells_what_the_model_card_says(tmp_path: Path) -> None:
    assert build(tmp_path).card.licence is None
    (tmp_path / "README.md").write_text("---\nlicense: apache-2.0\ndatasets:\n- s2orc\n- ms_marco\ntags:\n- x\n---\nHi")
    card = build(tmp_path).card
    assert (card.licence, card.pretraining, card.modality) == ("apache-2.0", "s2orc, ms_marco", "text")
    assert card.bytes == (tmp_path / "model.safetensors").stat().st_size
    assert card.parameters == sum(value.numel() for value in build(tmp_path).module.parameters())


SMALL = {
    "vocab_size": 30,
    "hidden_size": 8,
    "embedding_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 12,
    "max_position_embeddings": 40,
    "num_labels": 3,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
GROUPED = {**SMALL, "num_key_value_heads": 1, "head_dim": 4}
GPT = {"vocab_size": 30, "n_embd": 8, "n_layer": 2, "n_head": 2, "n_positions": 40, "num_labels": 3, "pad_token_id": 0}
ENCODERS = {
    "albert": SMALL,
    "deberta-v2": {**SMALL, "relative_attention": True, "pos_att_type": ["p2c", "c2p"]},
    "electra": SMALL,
    "modernbert": {**SMALL, "classifier_pooling": "mean", "local_attention": 8, "cls_token_id": 1, "sep_token_id": 2},
    "mpnet": SMALL,
    "squeezebert": {
        **SMALL,
        **dict.fromkeys(("q_groups", "k_groups", "v_groups", "post_attention_groups"), 1),
        **dict.fromkeys(("intermediate_groups", "output_groups"), 1),
    },
}
DECODERS = {
    "gemma2": GROUPED,
    "gpt2": GPT,
    "gpt_neox": SMALL,
    "llama": GROUPED,
    "mistral": GROUPED,
    "opt": {**SMALL, "ffn_dim": 12, "word_embed_proj_dim": 4},
    "phi": SMALL,
    "qwen2": GROUPED,
    "qwen3": GROUPED,
}
UNEVEN = {
    "input_ids": torch.tensor([[3, 7, 9, 8, 11], [12, 8, 4, 0, 0]]),
    "attention_mask": torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]),
}


def drawn(build: Any, kind: str, folder: Path, **stated: Any) -> Any:
    """A random network of transformers, no weight of which is a plain 0 or 1."""
    whole = build.from_config(AutoConfig.for_model(kind, **stated)).eval()
    generator = torch.Generator().manual_seed(0)
    for value in whole.parameters():
        torch.nn.init.normal_(value, std=0.3, generator=generator)
    whole.save_pretrained(folder)
    return whole


def own_outputs(held: Backbone, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """By either of the two ways in which a backbone may have them."""
    assert (held.head is None) != (held.outputs is None)
    if held.head is not None:
        return held.head(held.module.eval()(batch))
    return held.outputs.eval()(batch)


@pytest.mark.parametrize("kind", [*ENCODERS, *DECODERS])
@torch.no_grad()
def test_every_familys_classifier_gives_its_own_outputs(kind: str, tmp_path: Path) -> None:
    stated = {**ENCODERS, **DECODERS}[kind]
    whole = drawn(AutoModelForSequenceClassification, kind, tmp_path, **stated)
    held = build(tmp_path)
    torch.testing.assert_close(own_outputs(held, UNEVEN), whole(**UNEVEN).logits)
    assert held.card.outputs == 3
    names = [name for name, _ in held.module.named_parameters()]
    assert all(name.startswith(held.stages) for name in names)
    again = backbone(Recipe.from_files(held.files), Nothing(), name="toy")
    again.module.load_state_dict(held.module.state_dict(), strict=True)
    # weights that lie elsewhere in memory may be multiplied in another order
    torch.testing.assert_close(again.module.eval()(UNEVEN), held.module.eval()(UNEVEN), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", DECODERS)
@torch.no_grad()
def test_a_decoder_is_read_at_its_last_token_whatever_is_beside_it(kind: str, tmp_path: Path) -> None:
    whole = drawn(AutoModel, kind, tmp_path, **{**DECODERS[kind], "pad_token_id": None})
    held = build(tmp_path)
    features = held.module.eval()(UNEVEN)
    assert features.shape == (2, held.dim)
    for row, length in enumerate((5, 3)):
        ids = UNEVEN["input_ids"][row : row + 1, :length]
        torch.testing.assert_close(features[row], whole(input_ids=ids).last_hidden_state[0, -1])
        mean = build(tmp_path, "mean").module.eval()(UNEVEN)[row]
        torch.testing.assert_close(mean, whole(input_ids=ids).last_hidden_state[0].mean(0))


@pytest.mark.parametrize("tied", [True, False])
@torch.no_grad()
def test_the_head_of_a_language_model_is_left_out(tied: bool, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    whole = drawn(AutoModelForCausalLM, "llama", tmp_path, **GROUPED, tie_word_embeddings=tied)
    held = build(tmp_path)
    ids = UNEVEN["input_ids"][:1]
    expected = whole.model(input_ids=ids).last_hidden_state[:, -1]
    torch.testing.assert_close(held.module.eval()({"input_ids": ids}), expected)
    assert held.card.notes == (() if tied else ("left out of the checkpoint: lm_head",))
    assert (held.head, held.outputs, held.card.outputs) == (None, None, 0)


@torch.no_grad()
def test_a_decoders_classifier_needs_no_padding_token(tmp_path: Path) -> None:
    stated = {**GPT, "pad_token_id": None}
    whole = drawn(AutoModelForSequenceClassification, "gpt2", tmp_path, **stated)
    for held in (build(tmp_path), build(tmp_path, "mean")):
        given = own_outputs(held, UNEVEN)
        for row, length in enumerate((5, 3)):
            ids = UNEVEN["input_ids"][row : row + 1, :length]
            torch.testing.assert_close(given[row], whole(input_ids=ids).logits[0])


def test_outputs_share_their_weights_with_the_features(tmp_path: Path) -> None:
    drawn(AutoModelForSequenceClassification, "electra", tmp_path, **SMALL)
    held = build(tmp_path)
    shared = {id(value) for value in held.outputs.parameters()}
    assert all(id(value) in shared for value in held.module.parameters())
    held.module(UNEVEN).sum().backward()
    assert all(value.grad is not None for value in held.module.parameters())
