from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path

import pytest
import torch

from graft.data.preprocess.tokens import TokenPreprocess, wordpiece
from graft.errors import BundleError, WeightsError

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "card", "lost", "my", "##s", "i"]
JSON = wordpiece("\n".join(WORDS).encode())


def ids(preprocess: TokenPreprocess, *texts: str) -> list[list[int]]:
    return [item.tolist() for item in preprocess.items(texts)]


def test_texts_become_the_ids_of_their_tokens() -> None:
    preprocess = TokenPreprocess(JSON, 16)
    assert ids(preprocess, "I lost my cards", "", "zebra") == [[2, 9, 6, 7, 5, 8, 3], [2, 3], [2, 1, 3]]


def test_a_tokenizer_file_equals_transformers() -> None:
    from transformers import BertTokenizer

    theirs = BertTokenizer(vocab={word: number for number, word in enumerate(WORDS)}, do_lower_case=True)
    texts = ["I lost my CARD!", "a  card,cards", "Éa"]
    assert ids(TokenPreprocess(JSON, 16), *texts) == theirs(texts)["input_ids"]


def test_only_rows_of_different_length_get_a_mask() -> None:
    preprocess = TokenPreprocess(JSON, 16, pad=7)
    even = preprocess.collate(preprocess.items(["a card", "my card"]))
    assert set(even) == {"input_ids"}
    uneven = preprocess.collate(preprocess.items(["a card", "a"]))
    assert uneven["input_ids"].tolist() == [[2, 4, 5, 3], [2, 4, 3, 7]]
    assert uneven["attention_mask"].tolist() == [[1, 1, 1, 1], [1, 1, 1, 0]]
    assert uneven["input_ids"].dtype == torch.int64


def test_long_texts_are_cut_and_counted() -> None:
    preprocess = TokenPreprocess(JSON, 4)
    assert ids(preprocess, "a card", "a card a card", "a") == [[2, 4, 5, 3], [2, 4, 5, 3], [2, 4, 3]]
    assert preprocess.truncated == 1


def test_costs_are_tokens() -> None:
    preprocess = TokenPreprocess(JSON, 16)
    assert [preprocess.cost(item) for item in preprocess.items(["a card", ""])] == [4, 2]


def test_lowercase_is_done_before_the_tokenizer() -> None:
    cased = wordpiece("\n".join(WORDS).encode(), lowercase=False)
    assert ids(TokenPreprocess(cased, 16), "CARD") == [[2, 1, 3]]
    assert ids(TokenPreprocess(cased, 16, lowercase=True), "CARD") == [[2, 5, 3]]


def test_half_a_surrogate_pair_disturbs_no_other_row() -> None:
    found = ids(TokenPreprocess(JSON, 16), "a \ud800 card", "a card")
    assert found[1] == [2, 4, 5, 3]
    assert found[0][:2] == [2, 4]


@pytest.mark.parametrize("again", [copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))])
def test_copies_do_the_same(again) -> None:
    preprocess = TokenPreprocess(JSON, 4, pad=3, lowercase=True)
    twin = again(preprocess)
    assert twin.files() == preprocess.files()
    assert ids(twin, "A card a card") == ids(preprocess, "A card a card")


def test_files_make_it_again() -> None:
    preprocess = TokenPreprocess(JSON, 4, pad=3, lowercase=True)
    twin = TokenPreprocess.from_files(preprocess.files())
    assert twin.files() == preprocess.files()


@pytest.mark.parametrize(
    "change",
    [
        {"preprocess.json": b"{"},
        {"preprocess.json": b'{"kind": "image"}'},
        {"preprocess.json": b'{"kind": "tokens"}'},
        {"tokenizer.json": b"{}"},
    ],
)
def test_damaged_files_are_refused(change: dict[str, bytes]) -> None:
    with pytest.raises(BundleError, match="missing or damaged"):
        TokenPreprocess.from_files({**TokenPreprocess(JSON, 4).files(), **change})


def test_what_is_no_tokenizer_is_refused() -> None:
    with pytest.raises(WeightsError, match=r"tokenizer\.json is damaged"):
        TokenPreprocess(b"nonsense", 16)
    with pytest.raises(WeightsError, match=r"lacks \[UNK\], \[SEP\]"):
        wordpiece(b"[CLS]\na\n")


def test_a_folder_states_the_limits(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_bytes(JSON)
    assert TokenPreprocess.from_folder(tmp_path).max_length == 512
    assert TokenPreprocess.from_folder(tmp_path, longest=40, pad=5).pad == 5
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 1e30}))
    assert TokenPreprocess.from_folder(tmp_path, longest=40).max_length == 40
    (tmp_path / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 9, "do_lower_case": True}))
    held = TokenPreprocess.from_folder(tmp_path, longest=40)
    assert (held.max_length, held.lowercase) == (9, True)


def test_a_folder_with_a_vocabulary_alone(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS))
    assert ids(TokenPreprocess.from_folder(tmp_path), "A card") == [[2, 4, 5, 3]]
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    assert ids(TokenPreprocess.from_folder(tmp_path), "A card") == [[2, 1, 5, 3]]


def test_a_folder_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="save_pretrained"):
        TokenPreprocess.from_folder(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text("[")
    with pytest.raises(WeightsError, match="is damaged"):
        TokenPreprocess.from_folder(tmp_path)
