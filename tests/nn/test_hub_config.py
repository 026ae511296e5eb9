from __future__ import annotations

from pathlib import Path

import pytest
import torch

from graft.errors import UnknownNameError, WeightsError
from graft.nn import hub_config
from graft.nn.hub_config import clean, read_json, text_encoder

TINY = {
    "model_type": "bert",
    "vocab_size": 20,
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 8,
}


def test_what_could_name_code_is_dropped_at_any_depth() -> None:
    hostile = {
        **TINY,
        "_attn_implementation_internal": "stranger/kernel",
        "_name_or_path": "x",
        "attn_implementation": "stranger/kernel",
        "auto_map": {"AutoModel": "evil.Model"},
        "trust_remote_code": True,
        "use_kernels": True,
        "quantization_config": {"quant_method": "x"},
        "custom_pipelines": {"a": 1},
        "torch_dtype": "float16",
        "text_config": {"_attn_implementation": "x", "trust_remote_code": True, "hidden_size": 3},
        "listed": [{"auto_map": 1, "kept": 2}],
    }
    assert clean(hostile) == {**TINY, "text_config": {"hidden_size": 3}, "listed": [{"kept": 2}]}


def test_encoders_stay_encoders() -> None:
    assert clean({**TINY, "is_decoder": True, "add_cross_attention": True})["is_decoder"] is False


@pytest.mark.parametrize("kind", ["llama", None, "bret", ["bert"]])
def test_other_architectures_are_refused(kind: str | None) -> None:
    with pytest.raises(UnknownNameError, match="text encoder"):
        clean({**TINY, "model_type": kind})


def test_the_encoder_is_the_one_described_and_always_the_same() -> None:
    before = torch.random.get_rng_state()
    module, again = text_encoder(TINY), text_encoder(TINY)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert module.config._attn_implementation == "sdpa"
    assert module.embeddings.word_embeddings.weight.shape == (20, 8)
    assert not [name for name, _ in module.named_parameters() if "pooler" in name]
    pairs = zip(module.parameters(), again.parameters(), strict=True)
    assert all(torch.equal(one, other) and one.dtype == torch.float32 for one, other in pairs)


@pytest.mark.parametrize("kind", ["roberta", "mpnet", "xlm-roberta", "camembert", "electra", "albert", "deberta-v2"])
def test_relatives_are_built(kind: str) -> None:
    sizes = {**TINY, "model_type": kind, "embedding_size": 8, "max_position_embeddings": 40}
    module = text_encoder(sizes).eval()
    output = module(input_ids=torch.tensor([[3, 4, 5]]), attention_mask=None).last_hidden_state
    assert output.shape == (1, 3, 8)


@pytest.mark.parametrize("wrong", [{"hidden_size": "large"}, {"num_attention_heads": 3}, {"hidden_size": -1}])
def test_a_configuration_that_describes_nothing_is_refused(wrong: dict) -> None:
    with pytest.raises(WeightsError, match="describes no bert that can be built"):
        text_encoder({**TINY, **wrong})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("hidden_size", 65_537),
        ("num_hidden_layers", 1_001),
        ("vocab_size", 10_000_001),
        ("intermediate_size", 1_000_001),
        ("max_position_embeddings", 1e6),
        ("num_attention_heads", True),
    ],
)
def test_absurd_sizes_are_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(WeightsError, match=f"{name} is {value}; expected a whole number up to"):
        clean({**TINY, name: value})


def test_files_are_read_or_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "config.json"
    with pytest.raises(WeightsError, match="is missing"):
        read_json(file)
    file.write_text('{"a": 1}')
    assert read_json(file) == {"a": 1}
    file.write_text("[1]")
    with pytest.raises(WeightsError, match="holds list"):
        read_json(file)
    for damaged in ("{", "[" * 100_000):
        file.write_text(damaged)
        with pytest.raises(WeightsError, match="is damaged"):
            read_json(file)
    monkeypatch.setattr(hub_config, "_LARGEST", 3)
    with pytest.raises(WeightsError, match="no configuration"):
        read_json(file)
