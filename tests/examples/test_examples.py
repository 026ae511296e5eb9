"""The worked examples run as they stand, on small data; where a hub would be asked, a small stand-in is named."""

from __future__ import annotations

import ast
import json
import re
import runpy
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from graft import registry

EXAMPLES = Path(__file__).parents[2] / "examples"
SCRIPTS = sorted(path.name for path in EXAMPLES.glob("*.py"))
RANDOM = np.random.default_rng(0)

Run = Callable[..., str]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a script with these arguments in an empty folder; what it prints."""
    monkeypatch.chdir(tmp_path)

    def go(name: str, *given: object) -> str:
        monkeypatch.setattr("sys.argv", [name, *map(str, given)])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out

    return go


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of noise, one of them brighter on the left."""
    folder = tmp_path_factory.mktemp("photos")
    for name, bright in (("left", np.s_[:, :12]), ("right", np.s_[:, 12:])):
        (folder / name).mkdir()
        for place in range(24):
            pixels = RANDOM.integers(0, 120, (24, 24, 3)).astype(np.uint8)
            pixels[bright] += 110
            Image.fromarray(pixels).save(folder / name / f"{place}.png")
    return folder


@pytest.fixture(scope="module")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A table of texts in two classes, and a small BERT."""
    import torch
    from transformers import BertConfig, BertModel

    folder = tmp_path_factory.mktemp("text")
    rows = [
        (f"{('warm', 'cold')[n % 2]} {('day', 'night', 'hour')[n % 3]} {n}", ("good", "bad")[n % 2]) for n in range(60)
    ]
    pd.DataFrame(rows, columns=["text", "label"]).to_csv(folder / "reviews.csv", index=False)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "warm", "cold", "day", "night", "hour"]
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64
    )
    BertModel(config).save_pretrained(folder / "bert")
    (folder / "bert" / "vocab.txt").write_text("\n".join(words))
    return folder / "reviews.csv", folder / "bert"


@pytest.fixture(scope="module")
def keras_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small convolutional network as Keras saves it."""
    from graft.errors import UnavailableError
    from graft.nn.keras.backend import keras as keras_on_torch

    try:
        keras = keras_on_torch()
    except UnavailableError as exc:
        pytest.skip(str(exc))
    layers = keras.layers
    network = keras.Sequential(
        [
            keras.Input((24, 24, 3)),
            layers.Conv2D(8, 3, activation="relu", name="first"),
            layers.MaxPooling2D(4, name="pool"),
        ]
    )
    path = tmp_path_factory.mktemp("keras") / "small.keras"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of numpy's, about how Keras writes an array
        network.save(path)
    return path


@pytest.mark.parametrize("name", SCRIPTS)
def test_it_is_short_and_listed(name: str) -> None:
    text = (EXAMPLES / name).read_text(encoding="utf-8")
    code = [line for line in ast.unparse(ast.parse(text)).splitlines() if line.strip()]
    assert len(code) <= 35, "an example has no more lines than what it replaces"
    assert f"`{name}`" in (EXAMPLES / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_source_and_strategy_that_it_names_exists(name: str) -> None:
    words = [
        node.value for node in ast.walk(ast.parse((EXAMPLES / name).read_bytes())) if isinstance(node, ast.Constant)
    ]
    kinds = {"sources": registry.names("sources"), "strategies": registry.names("strategies")}
    for word in (word for word in words if isinstance(word, str) and re.fullmatch(r"[\w/?=&.\-]+", word)):
        for kind, names in kinds.items():
            if word.partition("?")[0].partition("/")[0] in names:
                assert registry.build(kind, word) is not None


@pytest.mark.slow
def test_features_of_a_network_for_images(run: Run, photos: Path) -> None:
    assert "over" in run("resnet50_cifar10.py", photos, "graft/tiny")
    assert Path("cifar10-model/manifest.json").is_file()


@pytest.mark.slow
def test_bert(run: Run, reviews: tuple[Path, Path]) -> None:
    table, folder = reviews
    out = run("bert_two_classes.py", table, f"hf/{folder}?pooling=cls")
    assert out.splitlines()[-1].startswith("['")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "model"), [("vgg19_keras.py", "vgg19-model"), ("vgg16_frozen.py", "cats-and-dogs-model")]
)
def test_keras(run: Run, photos: Path, keras_file: Path, script: str, model: str) -> None:
    run(script, photos, f"keras/{keras_file}?pooling=flatten&scale=unit")
    assert "keras" in json.loads(Path(model, "manifest.json").read_text())["result"]["tried"][0]["source"]


@pytest.mark.slow
def test_a_swapped_layer(
    run: Run, photos: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    import torchvision

    home = tmp_path_factory.mktemp("torch")
    monkeypatch.setenv("TORCH_HOME", str(home))
    name = "shufflenet_v2_x0_5"
    url = torchvision.models.get_model_weights(name).DEFAULT.url
    (home / "hub/checkpoints").mkdir(parents=True)
    torch.save(torchvision.models.get_model(name).state_dict(), home / "hub/checkpoints" / url.rsplit("/", 1)[-1])
    assert run("swap_the_last_layer.py", photos, name).startswith("['left' 'right']")
    assert Path("photos-model/manifest.json").is_file()


@pytest.mark.slow
def test_an_autoencoder_first(run: Run) -> None:
    assert len(run("autoencoder_first.py").splitlines()) == 2


@pytest.mark.slow
def test_a_twin(run: Run) -> None:
    assert float(run("twin_of_a_small_network.py")) > 0.5
