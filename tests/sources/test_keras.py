from __future__ import annotations

import copy
import importlib.util
import json
import sys
import types
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.base import clone

from graft import bundle, compute, registry
from graft.checks import check_source
from graft.contracts import Rows, TransferData
from graft.data.examples import ImageExamples
from graft.errors import BundleError, RequestError, UnavailableError, UnknownNameError, WeightsError
from graft.nn.initialise import fresh, seeded
from graft.nn.keras import applications as keras_applications
from graft.nn.keras.backend import keras
from graft.select.candidates import candidate
from graft.select.trial import run_trial
from graft.sources.file import File
from graft.sources.keras import Keras
from graft.strategies.fine_tune import FineTune
from graft.strategies.linear_probe import LinearProbe
from graft.tasks.classification import Classification

if importlib.util.find_spec("keras") is None:
    pytest.skip("keras sources need keras", allow_module_level=True)

# Keras's own reading and writing of values is not up to NumPy 2; ours does not go through it.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

COLOURS = ["blue", "green", "red"]
QUARTER = {"alpha": 0.25}


def _rows(n: int = 24, size: int = 20) -> list[Image.Image]:
    """Noise in one of three colours."""
    draw = np.random.default_rng(0)
    pixels = draw.integers(0, 100, (n, size, size, 3), dtype=np.uint8)
    for row in range(n):
        pixels[row, :, :, row % 3] += 120
    return [Image.fromarray(each) for each in pixels]


def _batch(backbone: Any, rows: list[Image.Image] | None = None) -> torch.Tensor:
    batch: torch.Tensor = backbone.preprocess.collate(backbone.preprocess.items(rows or _rows(4)))
    return batch


def _small(**options: Any) -> Any:
    """A trained-like model of a user: BatchNorm with statistics, dropout, a softmax."""
    package = keras()
    k = package.layers
    images = package.Input((16, 16, options.get("channels", 3)))
    x = k.Rescaling(1 / 255)(images) if options.get("rescaling") else images
    x = k.Conv2D(8, 3, 2, padding="same", name="first", kernel_regularizer="l2")(x)
    x = k.BatchNormalization(name="norm")(x)
    x = k.ReLU(name="relu")(x)
    x = k.Conv2D(12, 1, 2, name="second")(x)
    x = k.GlobalAveragePooling2D(name="mean")(x)
    x = k.Dropout(0.2)(x)
    model = package.Model(images, k.Dense(3, activation="softmax", name="top")(x), name="own")
    draw = np.random.default_rng(1)
    model.set_weights([np.abs(draw.normal(size=each.shape)) * 0.5 for each in model.get_weights()])
    model.compile(loss="mse")
    return model


def _nested(**options: Any) -> Any:
    """What transfer in Keras itself saves: a frozen base inside a sequential model."""
    package = keras()
    base = package.Model(*(lambda m: (m.inputs, m.get_layer("second").output))(_small()), name="base")
    base.trainable = False
    k = package.layers
    model = package.Sequential([base, k.GlobalAveragePooling2D(), k.Dense(2, activation="sigmoid", name="top")])
    model.build((None, 16, 16, 3))
    return model


def _saved(model: Any, path: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own writing is not up to NumPy 2
        (model.save_weights if ".weights" in path.name else model.save)(str(path))
    return path


def _expected(model: Any, pixels: torch.Tensor) -> torch.Tensor:
    outputs: torch.Tensor = model(pixels, training=False).detach()
    return outputs


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of Keras of its own, without a network."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "home" / "models").mkdir(parents=True)
    return tmp_path / "home" / "models"


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("make", [_small, _nested])
@torch.no_grad()
def test_saved_models_give_their_own_outputs(make: Callable[[], Any], suffix: str, tmp_path: Path) -> None:
    model = make()
    backbone = Keras(str(_saved(model, tmp_path / f"m{suffix}"))).load()
    batch = _batch(backbone)
    expected = _expected(model, batch.permute(0, 2, 3, 1).float() / 255)
    outputs = backbone.head(backbone.module.eval()(batch))
    probabilities = outputs.softmax(1) if make is _small else outputs.sigmoid()
    torch.testing.assert_close(probabilities, expected, rtol=1e-4, atol=1e-5)
    assert backbone.dim == 12
    assert backbone.preprocess.size == (16, 16)
    assert "'unit'" in backbone.card.notes[0]
    assert backbone.card.outputs == expected.shape[1]
    assert backbone.card.bytes == (tmp_path / f"m{suffix}").stat().st_size
    assert backbone.card.parameters == sum(each.numel() for each in backbone.module.parameters())
    assert backbone.card.pretraining is None


@torch.no_grad()
def test_a_named_layer_gives_features_and_the_model_its_outputs(tmp_path: Path) -> None:
    model = _small()
    path = str(_saved(model, tmp_path / "m.keras"))
    batch = _batch(Keras(path).load())
    pixels = batch.permute(0, 2, 3, 1).float() / 255
    inner = _expected(keras().Model(model.inputs, model.get_layer("relu").output), pixels)
    for pooling, expected in {
        "avg": inner.mean((1, 2)), "max": inner.amax((1, 2)), "flatten": inner.flatten(1)
    }.items():  # fmt: skip
        backbone = Keras(path, layer="relu", pooling=pooling).load()
        torch.testing.assert_close(backbone.module.eval()(batch), expected, rtol=1e-4, atol=1e-5)
        assert backbone.dim == expected.shape[1]
        assert backbone.head is None
        logits = backbone.outputs.eval()(batch)
        torch.testing.assert_close(logits.softmax(1), _expected(model, pixels), rtol=1e-4, atol=1e-5)
        inside = {id(value) for value in backbone.outputs.parameters()}
        assert {id(value) for value in backbone.module.parameters()} < inside


def test_a_layer_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = str(_saved(_small(), tmp_path / "m.keras"))
    with pytest.raises(UnknownNameError, match=r"no Keras layer 'secnd'.*second"):
        Keras(path, layer="secnd").load()
    with pytest.raises(UnknownNameError, match="no Keras layer"):
        Keras(path, layer="secnd").maps()


@pytest.mark.parametrize("channels", [1, 3])
def test_the_contract_holds_for_a_file(channels: int, tmp_path: Path) -> None:
    path = _saved(_small(channels=channels), tmp_path / "m.keras")
    check_source(Keras(str(path), layer="second", scale="tf"), ImageExamples(_rows(4)))


def test_the_contract_holds_for_an_application(home: Path) -> None:
    source = Keras("MobileNet", options=QUARTER, size=160)
    model = keras().applications.MobileNet(alpha=0.25, weights=None, input_shape=(160, 160, 3))
    _saved(model, home / "mobilenet_2_5_160_tf.weights.h5").rename(home / "mobilenet_2_5_160_tf.h5")
    check_source(source, ImageExamples(_rows(2)))
    card = source.load().card
    assert (card.name, card.licence, card.pretraining) == ("keras/MobileNet", "Apache-2.0", "ImageNet-1k")
    assert (card.outputs, card.top1) == (1000, None)  # top-1 is known of the usual width alone
    assert card.flops == pytest.approx(21e6, rel=0.05)


def test_every_load_is_fresh_and_the_generators_go_on_as_before(tmp_path: Path) -> None:
    source = clone(Keras(str(_saved(_small(), tmp_path / "m.keras"))))
    state = torch.get_rng_state()
    first, second = source.load(), source.load()
    bare = source.load(weights=False)
    assert torch.equal(torch.get_rng_state(), state)
    assert first.fingerprint == second.fingerprint
    assert first.fingerprint != Keras(source.name, scale="tf").load().fingerprint
    assert bare.fingerprint is None
    assert bare.card.pretraining == "none"
    weights = [each.module.layers["first"].kernel for each in (first, bare)]
    assert not torch.equal(*weights)
    again = source.load(weights=False)
    assert torch.equal(weights[1], again.module.layers["first"].kernel)
    with seeded(4):
        fresh(again.module, 1)
    assert not torch.equal(weights[1], again.module.layers["first"].kernel)


def test_files_make_the_same_network_without_the_original(tmp_path: Path) -> None:
    path = _saved(_small(), tmp_path / "m.keras")
    backbone = Keras(str(path), layer="second", pooling="max").load()
    path.unlink()
    again = Keras("elsewhere.keras").rebuild(backbone.files)
    again.module.load_state_dict(backbone.module.state_dict(), strict=True)
    batch = _batch(backbone)
    assert torch.equal(again.module.eval()(batch), backbone.module.eval()(batch))
    assert (again.files, again.preprocess, again.stages) == (backbone.files, backbone.preprocess, backbone.stages)
    assert "l2" not in backbone.files["keras.json"].decode().lower()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda held: None,
        lambda held: b"[",
        lambda held: json.dumps({**held, "scale": "wrong"}).encode(),
        lambda held: json.dumps({**held, "config": {"class_name": "Lambda", "config": {"name": "l"}}}).encode(),
        lambda held: json.dumps(held).replace('"filters": 8', f'"filters": {10**17}').encode(),
    ],
)
def test_damaged_bundles_are_refused(spoil: Callable[[Any], bytes | None], tmp_path: Path) -> None:
    files = dict(Keras(str(_saved(_small(), tmp_path / "m.keras"))).load().files)
    spoilt = spoil(json.loads(files.pop("keras.json")))
    with pytest.raises(BundleError, match=r"keras\.json"):
        Keras("m.keras").rebuild(files if spoilt is None else {**files, "keras.json": spoilt})


def _data(source: Keras, rows: int = 24) -> tuple[Any, TransferData]:
    labels = np.array([COLOURS[row % 3] for row in range(rows)], dtype=object)
    fitted = Classification().start(labels)
    examples, targets = ImageExamples(_rows(rows)), fitted.encode(labels)
    train, valid = np.arange(rows - 6), np.arange(rows - 6, rows)
    data = TransferData(
        train=Rows(examples.take(train), targets[: rows - 6]),
        valid=Rows(examples.take(valid), targets[rows - 6 :]),
        machine=compute.machine("cpu", "float32"),
    )
    return fitted, data


def test_fine_tuning_trains_it_and_keeps_the_statistics(tmp_path: Path) -> None:
    source = Keras(str(_saved(_small(), tmp_path / "m.keras")))
    fitted, data = _data(source)
    before = copy.deepcopy(source.load().module.state_dict())
    chosen = candidate(source, FineTune(epochs=2, lr=1e-2, batch_size=6, patience=None), "image")
    trial = run_trial(chosen, Classification(), fitted, data)
    module = trial.model.module.trunk
    moved = {name for name, value in module.state_dict().items() if not torch.equal(value.cpu(), before[name])}
    assert moved == {name for name, _ in module.named_parameters()}
    assert len(trial.history.epochs) == 2
    assert trial.history.epochs[1].loss < trial.history.epochs[0].loss


def test_a_probe_leaves_it_bit_identical_and_its_bundle_predicts_the_same(tmp_path: Path) -> None:
    source = Keras(str(_saved(_small(), tmp_path / "m.keras")), layer="second")
    fitted, data = _data(source)
    before = source.load().module.state_dict()
    trial = run_trial(candidate(source, LinearProbe(), "image"), Classification(), fitted, replace(data, valid=None))
    after = trial.model.module.trunk.state_dict()
    assert all(torch.equal(after[name].cpu(), value) for name, value in before.items())
    examples = data.train.examples
    outputs = trial.model.outputs(examples)
    assert (outputs.argmax(1) == data.train.targets.numpy()).mean() > 0.9
    bundle.save(trial.model, tmp_path / "saved", rows=examples)
    (tmp_path / "m.keras").unlink()
    loaded = bundle.load(tmp_path / "saved", device="cpu")
    assert np.array_equal(loaded.outputs(examples), outputs)


def test_maps_keep_places_apart(tmp_path: Path) -> None:
    source = Keras(str(_saved(_small(), tmp_path / "m.keras")))
    maps = source.maps()
    batch = _batch(maps)
    made = maps.module.eval()(batch)
    assert (maps.channels, maps.strides) == ((8, 12), (2, 4))
    assert [tuple(each.shape) for each in made] == [(4, 8, 8, 8), (4, 12, 4, 4)]
    torch.testing.assert_close(made[1].mean((2, 3)), source.load().module.eval()(batch))


def test_a_model_that_scales_its_pixels_is_given_them_as_they_are(tmp_path: Path) -> None:
    model = _small(rescaling=True)
    backbone = Keras(str(_saved(model, tmp_path / "m.keras"))).load()
    batch = _batch(backbone)
    expected = _expected(model, batch.permute(0, 2, 3, 1).float())
    torch.testing.assert_close(backbone.head(backbone.module.eval()(batch)).softmax(1), expected, rtol=1e-4, atol=1e-5)
    assert backbone.card.notes == ()


def test_another_size_is_taken(tmp_path: Path) -> None:
    path = str(_saved(_small(), tmp_path / "m.keras"))
    backbone = Keras(path, size=[24, 32]).load()
    assert _batch(backbone).shape == (4, 3, 24, 32)
    assert backbone.module.eval()(_batch(backbone)).shape == (4, 12)
    images = keras().Input((None, None, 3))
    free = _saved(keras().Model(images, keras().layers.Conv2D(4, 3)(images)), tmp_path / "free.keras")
    assert Keras(str(free), size=12).load().dim == 4
    with pytest.raises(RequestError, match="say which: size=224"):
        Keras(str(free)).load()


def test_weights_alone_need_an_architecture(tmp_path: Path) -> None:
    model = keras().applications.MobileNet(alpha=0.25, weights=None, input_shape=(32, 32, 3), classes=5)
    path = str(_saved(model, tmp_path / "a.weights.h5"))
    options = {**QUARTER, "classes": 5}
    backbone = Keras(path, architecture="MobileNet", options=options, size=32).load()
    batch = _batch(backbone)
    expected = _expected(model, batch.permute(0, 2, 3, 1).float() / 127.5 - 1)
    torch.testing.assert_close(backbone.head(backbone.module.eval()(batch)).softmax(1), expected, rtol=1e-4, atol=1e-5)
    assert backbone.card.licence is None
    with pytest.raises(RequestError, match="weights without an architecture"):
        Keras(path).load()
    with pytest.raises(WeightsError, match="do not fit"):
        Keras(path, architecture="MobileNet", options=QUARTER, size=32).load()
    with pytest.raises(WeightsError, match=r"needs .* bytes of weights"):
        Keras(path, architecture="VGG16", size=32).load()


def test_weights_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    model = _small()
    model.get_layer("second").bias.assign(np.full(12, np.nan))
    with pytest.raises(WeightsError, match=r"not finite numbers: second\.bias"):
        Keras(str(_saved(model, tmp_path / "m.keras"))).load()


def test_weights_that_are_missing_are_named(tmp_path: Path) -> None:
    import h5py

    path = _saved(_small(), tmp_path / "m.h5")
    with h5py.File(path, "a") as file:
        del file["model_weights/top/own/top/kernel" if "own" in file["model_weights/top"] else "model_weights/top"]
    with pytest.raises(WeightsError, match="do not fit or are damaged"):
        Keras(str(path)).load()


def test_an_architecture_larger_than_its_weights_is_refused(tmp_path: Path) -> None:
    import h5py

    path = _saved(_small(), tmp_path / "m.h5")
    with h5py.File(path, "a") as file:
        file.attrs["model_config"] = file.attrs["model_config"].replace('"units": 3', f'"units": {10**6}')
    for weights in (True, False):
        with pytest.raises(WeightsError, match="far larger"):
            Keras(str(path)).load(weights=weights)


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"pooling": "sum"}, UnknownNameError, "no pooling 'sum'"),
        ({"scale": "bytes"}, UnknownNameError, "no scale of pixels 'bytes'"),
        ({"size": -1}, RequestError, "image size"),
        ({"architecture": "VGG16"}, RequestError, "is no file"),
        ({"options": {"weights": "/etc/passwd"}}, RequestError, "does not take the option weights"),
        ({"options": {"alpha": "wide"}}, RequestError, "cannot be built with alpha='wide'"),
        ({"name": "MobileNett"}, UnknownNameError, "no Keras application 'MobileNett'.*MobileNet"),
        ({"name": "m.keras", "options": {"alpha": 1}}, RequestError, "options are for an application"),
        ({"name": "absent.keras"}, UnavailableError, "no Keras file"),
    ],
)
def test_what_cannot_be_asked_for_is_said(arguments: dict[str, Any], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        Keras(**{"name": "MobileNet", **arguments}).load(weights=False)


def test_another_size_keeps_the_graph_that_the_weights_were_made_for() -> None:
    usual, other = (
        json.loads(Keras("EfficientNetB0", size=size).load(weights=False).files["keras.json"]) for size in (None, 64)
    )
    kinds = [[layer["class_name"] for layer in each["config"]["config"]["layers"]] for each in (usual, other)]
    assert kinds[0] == kinds[1]
    assert kinds[0].count("Rescaling") == 2  # the second one is there only where there are weights


def test_a_spec_says_it_all() -> None:
    spec = "keras/MobileNet?layer=conv_pw_5_relu&pooling=max&size=64&options.alpha=0.25&options.include_top=false"
    source = registry.build("sources", spec)
    backbone = source.load(weights=False)
    assert (backbone.dim, backbone.preprocess.size, backbone.head, backbone.outputs) == (64, (64, 64), None, None)
    assert source.reads() == "image"


def test_every_application_has_its_facts() -> None:
    theirs = {name for name in dir(keras().applications) if callable(getattr(keras().applications, name))}
    assert theirs - set(keras_applications.APPLICATIONS) == {"NASNetLarge", "NASNetMobile"}  # not on torch


def test_weights_that_keras_does_not_offer_are_said(home: Path) -> None:
    with pytest.raises(RequestError, match="no ImageNet weights for MobileNet"):
        Keras("MobileNet", options={"alpha": 0.3}).load()


def test_absent_weights_name_the_command_that_fetches_them(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        UnavailableError, match=r"HF_HUB_OFFLINE is set.*curl .*/models/mobilenet_2_5_224_tf\.h5 --create-dirs https"
    ):
        Keras("MobileNet", options=QUARTER).load()
    assert list(home.iterdir()) == []


def test_weights_are_fetched_into_keras_cache(home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    model = keras().applications.MobileNet(alpha=0.25, weights=None, input_shape=(128, 128, 3), include_top=False)
    there = _saved(model, tmp_path / "there.h5")
    asked = []

    def fetch(url: str, place: Path) -> Path:
        asked.append(url)
        place.write_bytes(there.read_bytes())
        return place

    monkeypatch.setattr(keras_applications, "fetch", fetch)
    source = Keras("MobileNet", options={**QUARTER, "include_top": False}, size=128)
    assert source.load().dim == source.load().dim == 256
    assert [url.rsplit("/", 1)[1] for url in asked] == ["mobilenet_2_5_128_tf_no_top.h5"]


def test_weights_with_another_digest_are_removed(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(url: str, place: Path) -> Path:
        place.write_bytes(b"something else")
        return place

    monkeypatch.setattr(keras_applications, "fetch", fetch)
    for sha in ("0" * 32, "0" * 64):
        asked = keras_applications.Asked("vgg16.h5", "https://example.org/vgg16.h5", sha)
        with pytest.raises(WeightsError, match="not what Keras states"):
            keras_applications.fetched("VGG16", asked)
    assert list(home.iterdir()) == []


def test_what_is_in_kerass_cache_is_listed(home: Path) -> None:
    assert Keras.local() == ()
    for file in (
        "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "resnet50_weights_tf_dim_ordering_tf_kernels.h5",
        "efficientnetv2-b0.h5",
        "mobilenet_2_5_224_tf.h5",
    ):
        (home / file).touch()
    assert Keras.local() == ("keras/EfficientNetV2B0", "keras/ResNet50")


def test_keras_without_the_extra_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.delitem(sys.modules, "keras")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "h5py" else found(name, *rest))
    with pytest.raises(UnavailableError, match=r"h5py, not installed here: pip install 'graft-transfer\[keras\]'"):
        Keras("VGG16").load(weights=False)
    assert Keras.local() == ()


@pytest.mark.parametrize(
    ("version", "backend", "said"),
    [("3.12.0", "jax", "jax backend.*KERAS_BACKEND=torch"), ("2.15.0", "torch", "3.10"), ("new", "torch", "3.10")],
)
def test_another_keras_in_the_process_is_said(
    version: str, backend: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = types.ModuleType("keras")
    other.__version__ = version  # type: ignore[attr-defined]
    other.config = types.SimpleNamespace(backend=lambda: backend)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "keras", other)
    with pytest.raises(UnavailableError, match=said):
        Keras("VGG16").load(weights=False)


def test_a_keras_that_cannot_be_imported_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise ImportError("libwrong.so")

    monkeypatch.setattr(importlib, "import_module", fail)
    with pytest.raises(UnavailableError, match="libwrong"):
        Keras("VGG16").load(weights=False)


@pytest.mark.parametrize(
    "name", ["VGG16", "ResNet50", "EfficientNetB0", "MobileNetV3Small", "ConvNeXtTiny", "Xception"]
)
@pytest.mark.slow
@torch.no_grad()
def test_applications_are_built_and_rebuilt(name: str) -> None:
    backbone = Keras(name, size=75, options={"include_top": False}).load(weights=False)
    batch = _batch(backbone)
    features = backbone.module.eval()(batch)
    again = Keras(name).rebuild(backbone.files)
    again.module.load_state_dict(backbone.module.state_dict())
    assert features.shape == (4, backbone.dim)
    assert torch.equal(again.module.eval()(batch), features)


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("VGG16", "vgg16"), ("ResNet50", "resnet"), ("ResNet50V2", "resnet_v2"), ("InceptionV3", "inception_v3"),
        ("InceptionResNetV2", "inception_resnet_v2"), ("Xception", "xception"), ("MobileNet", "mobilenet"),
        ("MobileNetV2", "mobilenet_v2"), ("MobileNetV3Small", "mobilenet_v3"), ("DenseNet121", "densenet"),
        ("EfficientNetB0", "efficientnet"), ("EfficientNetV2B0", "efficientnet_v2"), ("ConvNeXtTiny", "convnext"),
    ],
)  # fmt: skip
def test_pixels_are_scaled_as_each_application_does_it(name: str, module: str) -> None:
    from graft.nn.keras.network import SCALES

    pixels = np.random.default_rng(0).uniform(0, 255, (2, 3, 3, 3)).astype(np.float32)
    theirs = getattr(keras().applications, module).preprocess_input(pixels.copy())
    scale = keras_applications.APPLICATIONS[name].scale
    mean, std = (np.array(each, dtype=np.float32) for each in SCALES[scale])
    ours = (pixels / 255 - mean) / std
    np.testing.assert_allclose(ours[..., ::-1] if scale == "caffe" else ours, theirs, rtol=1e-4, atol=1e-3)


# --- real weights ---


def _photos(real_data: Path, kind: str, count: int = 60) -> list[Image.Image]:
    files = sorted((real_data / "images/pacs_subset/photo" / kind).glob("*.jpg"))[:count]
    return [Image.open(file).convert("RGB") for file in files]


@pytest.mark.slow
@torch.no_grad()
def test_mobilenet_of_keras_is_the_network_that_timm_has(real_data: Path) -> None:
    folder = real_data / "weights"
    ours = Keras(str(folder / "mobilenet_v1_0.25_224_imagenet.h5")).load()
    theirs = File(
        str(folder / "mobilenetv1_025_224_imagenet_float.timm.safetensors"),
        "timm/mobilenetv1_100",
        {"width": 0.25, "pad_type": "same", "bn_eps": 1e-3},
        mean=[0.5] * 3,
        std=[0.5] * 3,
    ).load()
    rows = [image for kind in ("dog", "elephant", "guitar", "horse") for image in _photos(real_data, kind, 4)]
    batch = _batch(ours, rows)
    logits = [each.head(each.module.eval()(batch)) for each in (ours, theirs)]
    torch.testing.assert_close(*logits, rtol=1e-3, atol=1e-2)
    assert torch.equal(logits[0].argmax(1), logits[1].argmax(1))


@pytest.mark.slow
@torch.no_grad()
def test_mobilenet_of_keras_names_what_it_sees(real_data: Path) -> None:
    backbone = Keras(str(real_data / "weights/mobilenet_v1_0.25_224_imagenet.h5")).load()
    # ImageNet's own classes: dogs, African and Indian elephants and tuskers, acoustic and electric guitars
    wanted = {"dog": set(range(151, 269)), "elephant": {101, 385, 386}, "guitar": {402, 546}}
    for kind, classes in wanted.items():
        logits = backbone.head(backbone.module.eval()(_batch(backbone, _photos(real_data, kind, 30))))
        seen = [bool(set(row.tolist()) & classes) for row in logits.topk(5).indices]
        assert np.mean(seen) > 0.6, kind
    assert backbone.card.flops == pytest.approx(41e6, rel=0.02)
    weights_alone = Keras(str(real_data / "weights/vww_96.h5"), architecture="MobileNet", options=QUARTER)
    with pytest.raises(WeightsError, match=r"vww_96\.h5.*do not fit"):
        weights_alone.load()


@pytest.mark.slow
@torch.no_grad()
def test_visual_wake_words_tell_people_from_other_photos(real_data: Path) -> None:
    backbone = Keras(str(real_data / "weights/vww_96.h5")).load()
    person = {}
    for kind in ("person", "dog", "guitar", "house"):
        logits = backbone.head(backbone.module.eval()(_batch(backbone, _photos(real_data, kind))))
        person[kind] = float(logits.argmax(1).float().mean())
    others = np.mean([person[kind] for kind in ("dog", "guitar", "house")])
    assert (person["person"] + 1 - others) / 2 > 0.75, person


@pytest.mark.slow
@torch.no_grad()
def test_the_emotions_network_is_better_than_its_untrained_twin(real_data: Path) -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    source = Keras(str(real_data / "weights/fer2013_mini_XCEPTION.102-0.66.hdf5"), scale="tf")
    backbone, twin = source.load(), source.load(weights=False)
    assert backbone.head is None
    assert backbone.card.outputs == 7
    rows = [image for kind in ("person", "horse", "house", "guitar") for image in _photos(real_data, kind)]
    labels = np.repeat(np.arange(4), 60)
    batch = _batch(backbone, rows)
    assert backbone.outputs.eval()(batch).shape == (240, 7)
    score = {}
    for name, each in (("learnt", backbone), ("untrained", twin)):
        features = each.module.eval()(batch).numpy()
        probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
        score[name] = cross_val_score(probe, features, labels, cv=5).mean()
    assert score["learnt"] > score["untrained"] + 0.05, score
