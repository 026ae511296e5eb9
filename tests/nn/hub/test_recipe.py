from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from graft.errors import BundleError, WeightsError
from graft.nn.hub.recipe import Recipe, read, transformer_folder, weight_files

BERT = {"model_type": "bert", "hidden_size": 8, "max_position_embeddings": 40, "pad_token_id": 0}
TRANSFORMER = ("sentence_transformers.models.Transformer", "")
POOLING = ("sentence_transformers.models.Pooling", "1_Pooling")
DENSE = ("sentence_transformers.models.Dense", "2_Dense")
NORMALISE = ("sentence_transformers.models.Normalize", "3_Normalize")


def folder(path: Path, config: dict[str, Any] = BERT, modules: tuple = (), **files: Any) -> Path:
    def write(name: str, content: Any) -> None:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(json.dumps(content))

    write("config.json", config)
    if modules:
        listed = [{"idx": i, "type": kind, "path": place} for i, (kind, place) in enumerate(modules)]
        write("modules.json", listed)
    for name, content in files.items():
        write(name, content)
    return path


def sentence(path: Path, pooling: dict[str, Any], *more: tuple[str, str], **files: Any) -> Path:
    files = {"1_Pooling/config.json": pooling, **files}
    return folder(path, modules=(TRANSFORMER, POOLING, *more), **files)


def test_a_plain_folder_takes_the_mean(tmp_path: Path) -> None:
    recipe = read(folder(tmp_path))
    assert recipe == Recipe(BERT, "mean")
    assert read(tmp_path, pooling="max").pooling == "max"
    assert transformer_folder(tmp_path) == tmp_path


@pytest.mark.parametrize(
    ("stated", "pooling"),
    [
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}, "mean"),
        ({"pooling_mode_cls_token": True}, "cls"),
        ({"pooling_mode_max_tokens": True}, "max"),
        ({"pooling_mode": "lasttoken"}, "lasttoken"),
    ],
)
def test_a_sentence_folder_says_how_it_pools(tmp_path: Path, stated: dict, pooling: str) -> None:
    recipe = read(sentence(tmp_path, stated, NORMALISE))
    assert (recipe.pooling, recipe.normalise) == (pooling, True)


@pytest.mark.parametrize(
    "stated",
    [
        {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True},
        {"pooling_mode_weightedmean_tokens": True},
        {"pooling_mode": 3},
        {},
    ],
)
def test_other_poolings_are_refused_unless_one_is_chosen(tmp_path: Path, stated: dict) -> None:
    sentence(tmp_path, stated)
    with pytest.raises(WeightsError, match="Graft knows mean, cls, max, lasttoken"):
        read(tmp_path)
    assert read(tmp_path, pooling="cls").pooling == "cls"


def test_dense_layers_are_described(tmp_path: Path) -> None:
    dense = {"in_features": 8, "out_features": 3, "activation_function": "torch.nn.modules.activation.Tanh"}
    recipe = read(sentence(tmp_path, {"pooling_mode_cls_token": True}, DENSE, **{"2_Dense/config.json": dense}))
    assert recipe.dense == ({"in": 8, "out": 3, "bias": True, "activation": "Tanh"},)


@pytest.mark.parametrize(
    "wrong", [{"activation_function": "os.system"}, {"in_features": "8"}, {"out_features": -3}, {"use_residual": True}]
)
def test_other_dense_layers_are_refused(tmp_path: Path, wrong: dict) -> None:
    dense = {"in_features": 8, "out_features": 3, **wrong}
    sentence(tmp_path, {"pooling_mode_cls_token": True}, DENSE, **{"2_Dense/config.json": dense})
    with pytest.raises(WeightsError, match="Graft builds plain ones"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("modules", "said"),
    [
        ((("evil.module.Transformer", ""),), "runs no code"),
        ((TRANSFORMER, ("sentence_transformers.models.CNN", "1")), "runs no code"),
        ((POOLING, TRANSFORMER), "chains"),
        ((POOLING,), "chains"),
        ((TRANSFORMER, ("sentence_transformers.models.Pooling", "../../etc")), "leads out"),
    ],
)
def test_modules_that_are_not_ours_are_refused(tmp_path: Path, modules: tuple, said: str) -> None:
    with pytest.raises(WeightsError, match=said):
        read(folder(tmp_path, modules=modules, **{"1_Pooling/config.json": {"pooling_mode": "mean"}}))


def test_a_damaged_listing_is_named(tmp_path: Path) -> None:
    folder(tmp_path)
    (tmp_path / "modules.json").write_text('[{"path": ""}]')
    with pytest.raises(WeightsError, match=r"modules\.json is damaged"):
        read(tmp_path)


def test_a_transformer_in_a_folder_of_its_own(tmp_path: Path) -> None:
    folder(tmp_path / "0_Transformer")
    listed = [{"type": TRANSFORMER[0], "path": "0_Transformer"}]
    (tmp_path / "modules.json").write_text(json.dumps(listed))
    (tmp_path / "0_Transformer" / "model.safetensors").touch()
    assert read(tmp_path).config == BERT
    assert transformer_folder(tmp_path) == tmp_path / "0_Transformer"
    assert weight_files(tmp_path) == (tmp_path / "0_Transformer" / "model.safetensors",)


def test_a_classifier_makes_it_read_the_first_token(tmp_path: Path) -> None:
    labels = {"architectures": ["BertForSequenceClassification"], "id2label": {"0": "a", "1": "b", "2": "c"}}
    recipe = read(folder(tmp_path, {**BERT, **labels}))
    assert (recipe.pooling, recipe.outputs) == ("cls", 3)
    assert read(tmp_path, pooling="mean").outputs == 3
    other = read(folder(tmp_path, {**BERT, **labels, "model_type": "modernbert", "classifier_pooling": "mean"}))
    assert (other.pooling, other.outputs) == ("mean", 3)


def test_a_decoder_is_read_at_its_last_token(tmp_path: Path) -> None:
    assert read(folder(tmp_path, {"model_type": "gpt2"})).pooling == "lasttoken"
    assert read(tmp_path, pooling="mean").pooling == "mean"


def test_a_checkpoint_that_reads_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="is a vit, which reads image; expected text"):
        read(folder(tmp_path, {"model_type": "vit"}))


def test_the_position_table_limits_the_length() -> None:
    assert Recipe(BERT).longest == 40
    assert Recipe({**BERT, "model_type": "roberta", "pad_token_id": 1}).longest == 38
    assert Recipe({"model_type": "deberta-v2", "max_position_embeddings": -1}).longest is None
    assert Recipe({"model_type": "gpt2", "n_positions": 1024}).longest == 1024


@pytest.mark.parametrize(
    ("stated", "pad"),
    [
        ({"pad_token_id": None}, 0),
        ({"pad_token_id": 3}, 3),
        ({"pad_token_id": -1, "eos_token_id": 2}, 2),
        ({"eos_token_id": [5, 6]}, 5),
        ({"pad_token_id": 99, "vocab_size": 50, "eos_token_id": []}, 0),
    ],
)
def test_what_fills_up_rows_is_a_token_that_there_is(stated: dict, pad: int) -> None:
    assert Recipe({"model_type": "bert", **stated}).pad == pad


ODD = [
    json.dumps({"config": BERT, "dense": [{"in": 8, "out": 3, "bias": True, "activation": "Tanh", **odd}]}).encode()
    for odd in ({"activation": "Module"}, {"activation": []}, {"in": 0}, {"out": 10**9}, {"bias": "yes"})
] + [json.dumps({"config": BERT, "dense": [], "outputs": -1}).encode()]


def test_a_recipe_survives_its_files() -> None:
    recipe = Recipe(BERT, "cls", True, ({"in": 8, "out": 3, "bias": True, "activation": "Tanh"},), 2)
    assert Recipe.from_files(recipe.files()) == recipe


@pytest.mark.parametrize(
    "content", [b"{", b"[]", b'{"config": {"model_type": "evil"}, "dense": []}', b'{"a": 1}', *ODD]
)
def test_a_damaged_recipe_is_refused(content: bytes) -> None:
    with pytest.raises(BundleError, match="missing or damaged"):
        Recipe.from_files({"encoder.json": content})


def test_sharded_weights_stay_inside_the_folder(tmp_path: Path) -> None:
    names = {"a": "model-1.safetensors", "b": "../../model-2.safetensors"}
    folder(tmp_path, **{"model.safetensors.index.json": {"weight_map": names}})
    assert weight_files(tmp_path) == (tmp_path / "model-1.safetensors", tmp_path / "model-2.safetensors")


@pytest.mark.parametrize("places", [[], {}, "model"])
def test_an_index_that_names_nothing_is_refused(tmp_path: Path, places: object) -> None:
    folder(tmp_path, **{"model.safetensors.index.json": {"weight_map": places}})
    with pytest.raises(WeightsError, match="for no weight"):
        weight_files(tmp_path)


def test_pickled_weights_are_refused_with_the_way_to_convert_them(tmp_path: Path) -> None:
    folder(tmp_path)
    with pytest.raises(WeightsError, match=r"has no model\.safetensors\. Where"):
        weight_files(tmp_path)
    (tmp_path / "pytorch_model.bin").touch()
    with pytest.raises(WeightsError, match=r"only pytorch_model\.bin, which can run code.*save_pretrained"):
        weight_files(tmp_path)
