"""Every plug-in file is found, loaded and held to its contract."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from graft import bundle, registry
from graft.bridges.sentence import Sentence
from graft.bridges.spectrogram import Spectrogram
from graft.checks import check_bridge, check_reader, check_score, check_source, check_strategy, check_task
from graft.contracts import Card, Examples, Machine, Rows, Seen, Sound, Source, Strategy, Task, TransferData
from graft.data.cells import objects
from graft.data.examples import AudioExamples, ImageExamples, TableExamples, TextExamples
from graft.errors import RequestError, UnavailableError
from graft.select.candidates import candidate, graft_backbone
from graft.select.trial import run_trial
from graft.sources.bridged import Bridged
from graft.sources.columns import Columns
from graft.sources.module import Module
from graft.sources.nothing import Nothing
from graft.sources.pixels import Pixels
from graft.sources.tfidf import Tfidf
from graft.tasks.classification import Classification
from graft.tasks.regression import Regression

RANDOM = np.random.default_rng(0)
TEXTS = [f"{('warm', 'cold')[place % 2]} {('day', 'night', 'hour')[place % 3]} number {place}" for place in range(24)]
PICTURES = [RANDOM.integers(0, 200, (40, 48, 3)).astype(np.uint8) + np.uint8(50 * (place % 2)) for place in range(24)]
ROWS = RANDOM.normal(size=(24, 4)).astype(np.float32) + np.arange(24)[:, None] % 2
CLIPS = [Sound(RANDOM.normal(size=1600 + 80 * place).astype(np.float32) / 9, 8000) for place in range(8)]
LABELS = np.array([("odd", "even")[place % 2] for place in range(24)], dtype=object)


def examples_of(modality: str) -> Examples:
    return {
        "text": TextExamples(TEXTS),
        "image": ImageExamples(PICTURES),
        "table": TableExamples(ROWS),
        "audio": AudioExamples(CLIPS),
        "any": TableExamples(ROWS),
    }[modality]


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint folder as the hub lays them out, small and random."""
    import safetensors.torch
    from transformers import BertConfig, BertModel

    folder = tmp_path_factory.mktemp("hub") / "tiny"
    folder.mkdir()
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "warm", "cold", "day", "night", "hour", "number"]
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32
    )
    model = BertModel(config)
    safetensors.torch.save_file(model.state_dict(), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({**config.to_dict(), "architectures": ["BertModel"]}, default=str))
    (folder / "vocab.txt").write_text("\n".join(words))
    return folder


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights of a small vision network."""
    import safetensors.torch
    import timm

    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    model = timm.create_model("resnet10t", num_classes=7)
    safetensors.torch.save_file(model.state_dict(), path)
    return path


@pytest.fixture(scope="session")
def fitted_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved model, to start another task from."""
    import graft

    path = tmp_path_factory.mktemp("fitted") / "model"
    graft.Transfer(registry.build("sources", "table/mlp?hidden=[6]"), precision="float32").fit(ROWS, LABELS).save(path)
    return path


@pytest.fixture(scope="session")
def keras_file(tmp_path_factory: pytest.TempPathFactory) -> Path | None:
    """A model as Keras saves it; ``None`` where there is no Keras."""
    from graft.nn.keras.backend import keras as keras_on_torch

    try:
        keras = keras_on_torch()
    except UnavailableError:
        return None
    layers = keras.layers
    network = keras.Sequential([keras.Input((24, 24, 3)), layers.Conv2D(8, 3), layers.BatchNormalization()])
    path = tmp_path_factory.mktemp("keras") / "small.keras"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of numpy's, about how Keras writes an array
        network.save(path)
    return path


def network_of_ones_own() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU())


HELD_ELSEWHERE = {
    "timm": "its weights come from a hub; sources/test_timm.py holds it to the contract on a local cache",
    "torchvision": "its weights come from a server; sources/test_torchvision.py holds it to the contract",
}


def sources(tiny_bert: Path, checkpoint: Path) -> dict[str, Source]:
    made = {
        "columns": "columns",
        "file": f"file/{checkpoint}?architecture=timm/resnet10t&size=32",
        "graft": "graft/tiny",
        "hf": f"hf/{tiny_bert}",
        "mels": "mels",
        "nothing": "nothing",
        "pixels": "pixels",
        "several": "pixels?size=4 + pixels?size=8",
        "table": "table/mlp?hidden=[6]",
        "tfidf": "tfidf",
    }
    if "minilm" in registry.load("sources", "minilm").local():
        made["minilm"] = "minilm"
    return {name: registry.build("sources", spec) for name, spec in made.items()}


@pytest.mark.parametrize("name", registry.names("sources"))
def test_sources(name: str, tiny_bert: Path, checkpoint: Path, fitted_model: Path, keras_file: Path | None) -> None:
    if name in HELD_ELSEWHERE:
        pytest.skip(HELD_ELSEWHERE[name])
    made = sources(tiny_bert, checkpoint)
    made["bridged"] = Bridged(Pixels(size=8), Spectrogram())
    made["fitted"] = registry.build("sources", f"fitted/{fitted_model}")
    made["module"] = Module(f"{__file__}:network_of_ones_own", size=16)
    if keras_file is not None:
        made["keras"] = registry.build("sources", f"keras/{keras_file}")
    if name not in made:
        assert name in ("minilm", "keras"), f"no example of the source {name!r} is known here: add one"
        pytest.skip("the package that carries it is not installed")
    check_source(made[name], examples_of(made[name].reads()))


@pytest.mark.parametrize("name", registry.names("bridges"))
def test_bridges(name: str) -> None:
    bridges = {"sentence": Sentence(), "spectrogram": Spectrogram(n_mels=32)}
    assert name in bridges, f"no example of the bridge {name!r} is known here: add one"
    check_bridge(bridges[name], examples_of(bridges[name].takes))


@pytest.mark.parametrize("name", registry.names("tasks"))
def test_tasks(name: str) -> None:
    labels: dict[str, Any] = {
        "classification": LABELS,
        "multilabel": objects([("a", "b"), ("b",), (), ("a",)] * 6),
        "regression": np.linspace(-3, 9, 24).astype(object),
    }
    assert name in labels, f"no labels for the task {name!r} are known here: add some"
    check_task(registry.build("tasks", name), labels[name])


SEEN = Seen(
    np.random.default_rng(2).normal(size=(24, 7)).astype(np.float32) + np.arange(24, dtype=np.float32)[:, None] % 2,
    np.random.default_rng(3).normal(size=(24, 5)).astype(np.float32),
    Card("made up", "table", parameters=1000, top1=0.5),
)
TARGETS = {
    "classes": np.arange(24) % 2,
    "labels": (np.arange(24)[:, None] % [2, 3] == 0).astype(np.float32),
    "numbers": np.linspace(-1, 1, 24, dtype=np.float32)[:, None],
}


@pytest.mark.parametrize("name", registry.names("scores"))
@pytest.mark.parametrize("kind", TARGETS)
def test_scores(name: str, kind: str) -> None:
    check_score(registry.build("scores", name), SEEN, TARGETS[kind])


PLAIN = {"text": Tfidf(), "image": Pixels(), "table": Columns(), "any": Nothing()}
SHORT = {
    "adapter": "adapter?epochs=2",
    "bi_tuning": "bi_tuning?epochs=2&keys=4&width=4",
    "bitfit": "bitfit?epochs=2",
    "bss": "bss?epochs=2",
    "co_teaching": "co_teaching?epochs=2",
    "co_tuning": "co_tuning?epochs=2",
    "contrastive": "contrastive?max_steps=2&folds=2",
    "delta": "delta?epochs=2",
    "dora": "dora?epochs=2",
    "fine_tune": "fine_tune?epochs=2",
    "kl_anchor": "kl_anchor?epochs=2",
    "l2_sp": "l2_sp?epochs=2",
    "lora": "lora?epochs=2",
    "lp_ft": "lp_ft?epochs=2",
    "mlp_head": "mlp_head?epochs=2",
    "pretrain": "pretrain?epochs=1&then=linear_probe",
    "scratch": "scratch?epochs=2",
    "soup": "soup?epochs=1&lrs=[0.0001,0.001]&seeds=[0]",
    "stoch_norm": "stoch_norm?epochs=2",
    "wise_ft": "wise_ft?epochs=2",
}
HOLDS_ON = {"bi_tuning", "bss", "co_tuning", "delta", "kl_anchor", "l2_sp", "lp_ft", "soup", "stoch_norm", "wise_ft"}
TRAINS = {"contrastive", "fine_tune", "pretrain", "scratch"} | HOLDS_ON


@pytest.mark.parametrize("name", registry.names("strategies"))
@pytest.mark.parametrize("family", ["hf", "file", "columns"])
def test_strategies(name: str, family: str, tiny_bert: Path, checkpoint: Path) -> None:
    source = sources(tiny_bert, checkpoint)[family]
    strategy = registry.build("strategies", SHORT.get(name, name))
    if family == "columns" and name in TRAINS:
        pytest.skip("columns have no weights to train")
    examples = examples_of(source.reads())
    if strategy.needs and not serves(strategy, source, Classification(), examples, LABELS):
        pytest.skip(f"{family} is not {strategy.needs}")
    check_strategy(strategy, source, Classification(), examples, LABELS)


def serves(strategy: Strategy, source: Source, task: Task, examples: Examples, labels: Any) -> bool:
    """Whether a source and a task have what a strategy needs; where not, it says so."""
    backbone = graft_backbone(candidate(source, strategy, examples.modality), examples)
    try:
        strategy.build(backbone, task.start(labels))
    except RequestError as exc:
        if strategy.needs not in str(exc):
            raise
        return False
    return True


@pytest.mark.parametrize("family", ["hf", "file"])
@pytest.mark.parametrize("labels", [LABELS, np.linspace(0, 1, 24).astype(object)], ids=["classes", "numbers"])
def test_a_student_with_a_teacher(family: str, labels: Any, tiny_bert: Path, checkpoint: Path, tmp_path: Path) -> None:
    source = sources(tiny_bert, checkpoint)[family]
    rows, task = examples_of(source.reads()), Classification() if labels is LABELS else Regression()
    plain, fitted = registry.plain_source(source.reads())(), task.start(labels)
    data = TransferData(Rows(rows, fitted.encode(labels)), machine=Machine(precision="float32"))
    taught = run_trial(
        candidate(plain, registry.build("strategies", "linear_probe"), rows.modality), task, fitted, data
    )
    bundle.save(taught.model, tmp_path / "teacher", rows=rows)
    strategy = registry.build("strategies", f"distill/{tmp_path}/teacher?epochs=1&how=hints")
    check_strategy(strategy, source, task, rows, labels)


def test_strategies_take_numbers_too(tiny_bert: Path, checkpoint: Path) -> None:
    for name in registry.names("strategies"):
        source = sources(tiny_bert, checkpoint)["hf"]
        strategy = registry.build("strategies", SHORT.get(name, name))
        numbers = np.linspace(0, 1, 24).astype(object)
        if strategy.needs and not serves(strategy, source, Regression(), TextExamples(TEXTS), numbers):
            continue
        check_strategy(strategy, source, Regression(), TextExamples(TEXTS), np.linspace(0, 1, 24).astype(object))


READS_LAYERS = ("knn", "linear_probe", "mlp_head?epochs=2", "prototypes", "svm")


@pytest.mark.parametrize("spec", READS_LAYERS)
@pytest.mark.parametrize("family", ["hf", "file"])
def test_strategies_on_several_layers(spec: str, family: str, tiny_bert: Path, checkpoint: Path) -> None:
    source = sources(tiny_bert, checkpoint)[family]
    strategy = registry.build("strategies", f"{spec}{'&' if '?' in spec else '?'}layers=1")
    check_strategy(strategy, source, Classification(), examples_of(source.reads()), LABELS)


@pytest.mark.parametrize("name", registry.names("readers"))
def test_readers(name: str, tmp_path: Path) -> None:
    frame = pd.DataFrame({"text": TEXTS, "label": LABELS})
    data: Any = tmp_path / "rows"
    if name == "image_folder":
        for place, picture in enumerate(PICTURES):
            target = data / str(LABELS[place]) / f"{place}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(target)
    elif name == "audio_folder":
        soundfile = pytest.importorskip("soundfile", reason="soundfile is not installed")
        for place, label in enumerate(LABELS):
            target = data / str(label) / f"{place}.wav"
            target.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(target, RANDOM.normal(size=800) / 9, 8000)
    elif name == "table_folder":
        data.mkdir()
        frame[:16].to_csv(data / "train.csv", index=False)
        frame[16:].to_csv(data / "test.csv", index=False)
    elif name == "delimited":
        frame.to_csv(data := tmp_path / "rows.tsv", sep="\t", index=False)
    elif name == "parquet":
        frame.to_parquet(data := tmp_path / "rows.parquet")
    elif name == "jsonl":
        frame.to_json(data := tmp_path / "rows.jsonl", orient="records", lines=True)
    else:
        assert name == "memory", f"no example for the reader {name!r} is known here: add one"
        data = frame
    check_reader(registry.load("readers", name)(), data, 24)
