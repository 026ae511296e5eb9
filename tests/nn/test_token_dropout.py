from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel

from graft.data.preprocess.tokens import TokenPreprocess, wordpiece
from graft.errors import RequestError
from graft.nn.encoder import TextEncoder
from graft.nn.packed import PackedEncoder, layers_of
from graft.nn.token_dropout import drop_tokens

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz"]


@pytest.fixture(autouse=True)
def leaves_the_generator_alone():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def batch(texts: list[str]) -> dict[str, torch.Tensor]:
    preprocess = TokenPreprocess(wordpiece("\n".join(WORDS).encode()), 64)
    return preprocess.collate(preprocess.items(texts))


def rows(made: dict[str, torch.Tensor]) -> list[list[int]]:
    mask = made.get("attention_mask", torch.ones_like(made["input_ids"]))
    lengths = mask.sum(1).tolist()
    assert all(row.tolist() == [1] * n + [0] * (mask.shape[1] - n) for row, n in zip(mask, lengths, strict=True))
    return [row[:n].tolist() for row, n in zip(made["input_ids"], lengths, strict=True)]


def is_part_of(short: list[int], long: list[int]) -> bool:
    ahead = iter(long)
    return all(each in ahead for each in short)


TEXTS = ["a b c d e f g h", "i j k", "l m n o p q r s t u v w x y z"]


@pytest.mark.parametrize("texts", [TEXTS, TEXTS[:1] * 3])
def test_what_stays_is_in_order_between_the_first_and_the_last(texts: list[str]):
    given = batch(texts)
    for _ in range(20):
        for short, long in zip(rows(drop_tokens(given, 0.4)), rows(given), strict=True):
            assert (short[0], short[-1]) == (long[0], long[-1])
            assert is_part_of(short, long)


def test_about_the_share_is_left_out():
    given = batch(TEXTS)
    inner = sum(len(row) - 2 for row in rows(given))
    left = np.mean([sum(len(row) - 2 for row in rows(drop_tokens(given, 0.3))) / inner for _ in range(200)])
    assert 0.66 < left < 0.74
    assert rows(drop_tokens(given, 0.0)) == rows(given)


def test_replaced_tokens_keep_their_places():
    given = batch(TEXTS)
    made = drop_tokens(given, 0.5, replace=4)
    assert torch.equal(made["attention_mask"], given["attention_mask"])
    for short, long in zip(rows(made), rows(given), strict=True):
        assert (short[0], short[-1]) == (long[0], long[-1])
        assert all(ours in (theirs, 4) for ours, theirs in zip(short, long, strict=True))
    hit = made["input_ids"] == 4
    assert hit.any()
    assert not hit[given["attention_mask"] == 0].any()


def test_the_network_reads_it_as_the_shorter_text():
    transformer = BertModel(
        BertConfig(
            vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32
        ),
        add_pooling_layer=False,
    )
    encoder = TextEncoder(transformer).eval()
    layers = layers_of(transformer)
    assert layers is not None
    made = drop_tokens(batch(TEXTS), 0.5)
    again = batch([" ".join(WORDS[each] for each in row[1:-1]) for row in rows(made)])
    with torch.no_grad():
        for network in (encoder, PackedEncoder(layers, "mean", encoder.finish)):
            torch.testing.assert_close(network(made), encoder(again), rtol=1e-4, atol=1e-5)


def test_other_values_of_a_batch_are_kept():
    given = {**batch(TEXTS), "token_type_ids": batch(TEXTS)["input_ids"] * 2, "weight": torch.ones(3)}
    made = drop_tokens(given, 0.5)
    mask = made["attention_mask"].bool()
    assert torch.equal(made["token_type_ids"][mask], 2 * made["input_ids"][mask])
    assert torch.equal(made["weight"], given["weight"])
    even = batch(TEXTS[:1] * 2)
    assert "attention_mask" not in drop_tokens({**even, "attention_mask": torch.ones_like(even["input_ids"])}, 0.0)


@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
def test_a_share_is_one(share: float):
    with pytest.raises(RequestError, match="expected a share from 0"):
        drop_tokens(batch(TEXTS), share)


@pytest.mark.parametrize("given", [torch.zeros(2, 3), {"numbers": torch.zeros(2, 3)}])
def test_only_texts_have_words(given):
    with pytest.raises(RequestError, match="this source reads none"):
        drop_tokens(given, 0.1)
