from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel, RobertaConfig, RobertaModel

from graft.compute import prepared
from graft.contracts import Machine
from graft.nn import packed
from graft.nn.encoder import Finish, TextEncoder
from graft.nn.packed import PackedEncoder, lay_out, layers_of

SIZES = {
    "vocab_size": 50,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 320,
    "pad_token_id": 0,
}
CPU = torch.device("cpu")


def encoder(kind: str = "bert", pooling: str = "mean", act: str = "gelu") -> TextEncoder:
    torch.manual_seed(0)
    if kind == "bert":
        transformer = BertModel(BertConfig(**SIZES, hidden_act=act), add_pooling_layer=False)
    else:
        transformer = RobertaModel(RobertaConfig(**{**SIZES, "pad_token_id": 1}), add_pooling_layer=False)
    with torch.no_grad():  # as after training: nothing is 0 or 1 any more
        for value in transformer.parameters():
            value.add_(torch.randn_like(value) * 0.05)
    return TextEncoder(transformer, pooling, Finish(normalise=True)).eval()


def batch(*lengths: int, pad: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    ids = torch.full((len(lengths), max(lengths)), pad)
    for row, length in zip(ids, lengths, strict=True):
        row[:length] = torch.randint(3, 50, (length,), generator=generator)
    mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()
    return {"input_ids": ids} | ({"attention_mask": mask} if min(lengths) < max(lengths) else {})


MIXTURES = [
    (1,),
    (7,),
    (32,),
    (16, 16),
    (3, 20),
    (300,),
    (12,) * 40,
    (5, 5),
    tuple(range(2, 40)),
    (64, 65, 128, 3, 300, 1, 9, 63, 64),
]


@pytest.mark.parametrize("lengths", MIXTURES)
@pytest.mark.parametrize("pooling", ["mean", "cls", "max", "lasttoken"])
@torch.no_grad()
def test_packed_features_equal_transformers(lengths: tuple[int, ...], pooling: str) -> None:
    module = encoder(pooling=pooling)
    compact = module.compact(CPU)
    assert isinstance(compact, PackedEncoder)
    rows = batch(*lengths)
    torch.testing.assert_close(compact(rows), module(rows), rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_positions_that_start_after_the_padding() -> None:
    module, rows = encoder("roberta"), batch(4, 30, 17, pad=1)
    torch.testing.assert_close(module.compact(CPU)(rows), module(rows), rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_bfloat16_features_point_the_same_way() -> None:
    module, rows = encoder(), batch(*range(2, 80, 3))
    low = prepared(module, Machine(CPU, "bfloat16"))
    assert low.layers.words.dtype == torch.bfloat16
    assert torch.nn.functional.cosine_similarity(low(rows).float(), module(rows)).min() >= 0.9995


@torch.no_grad()
@pytest.mark.parametrize("act", ["gelu", "relu"])
def test_a_torch_without_ordered_weights_gives_the_same(monkeypatch: pytest.MonkeyPatch, act: str) -> None:
    module, rows = encoder(act=act), batch(*range(2, 80, 3))
    usual = prepared(module, Machine(CPU, "bfloat16"))(rows)
    monkeypatch.setattr(packed, "_orders", lambda dtype: False)
    plain = prepared(module, Machine(CPU, "bfloat16"))(rows)
    assert torch.nn.functional.cosine_similarity(usual.float(), plain.float()).min() >= 0.9999


@torch.no_grad()
def test_a_row_does_not_depend_on_its_neighbours() -> None:
    compact = encoder().compact(CPU)
    rows = batch(9, 20, 31)
    others = {"input_ids": rows["input_ids"].clone(), "attention_mask": rows["attention_mask"]}
    others["input_ids"][1:] = 7
    torch.testing.assert_close(compact(rows)[0], compact(others)[0], rtol=1e-6, atol=1e-6)


def test_no_two_texts_share_a_place() -> None:
    lengths = np.random.default_rng(0).integers(1, 200, size=300)
    layout = lay_out(lengths)
    places = np.concatenate([start + np.arange(length) for start, length in zip(layout.starts, lengths, strict=True)])
    assert len(set(places.tolist())) == lengths.sum()
    assert places.min() >= 0
    assert places.max() < layout.total
    for start, length in zip(layout.starts, lengths, strict=True):  # every text lies inside one block
        first, _, size = next(group for group in reversed(layout.groups) if group[0] <= start)
        assert (start - first) // size == (start + length - 1 - first) // size


def test_blocks_fill_up_and_sizes_repeat() -> None:
    lengths = np.random.default_rng(0).integers(4, 40, size=200)
    layout = lay_out(lengths)
    assert layout.total % 128 == 0
    assert layout.total <= 1.1 * lengths.sum()
    assert sum(count * size for _, count, size in layout.groups) == layout.total


def test_only_encoders_of_berts_family_are_packed() -> None:
    assert layers_of(torch.nn.Linear(2, 2)) is None
    assert layers_of(BertModel(BertConfig(**SIZES, is_decoder=True), add_pooling_layer=False)) is None
    assert encoder().compact(torch.device("meta")) is None


def test_training_never_sees_the_packed_form() -> None:
    module = encoder()
    prepared(module, Machine(CPU))
    assert isinstance(module.transformer, BertModel)
    assert all(value.requires_grad for value in module.parameters())
