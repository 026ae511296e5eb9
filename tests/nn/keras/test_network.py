from __future__ import annotations

import copy
import importlib.util
from typing import Any

import pytest
import torch
from torch import nn

from graft import compute
from graft.errors import RequestError, UnknownNameError, WeightsError
from graft.nn.freeze import freeze, hold_still
from graft.nn.initialise import fresh, seeded
from graft.nn.keras.backend import architecture_only, keras
from graft.nn.keras.config import cleaned
from graft.nn.keras.graph import built, cut, ends, levels, multiply_adds, normalises, part_of
from graft.nn.keras.network import SCALES, KerasNetwork, Statistics, drawn, leaves, parts_of

if importlib.util.find_spec("keras") is None:
    pytest.skip("keras sources need keras", allow_module_level=True)


def _model(channels: int = 3, size: int = 16, top: str = "dense") -> Any:
    package = keras()
    k = package.layers
    with architecture_only():
        images = package.Input((size, size, channels))
        x = k.Conv2D(6, 3, 2, padding="same", name="first")(images)
        x = k.BatchNormalization(name="norm")(x)
        x = k.ReLU(name="relu")(x)
        y = k.SeparableConv2D(8, 3, padding="same", name="separable")(x)
        y = k.MaxPooling2D(3, 2, padding="same", name="pool")(y)
        x = k.Conv2D(8, 1, 2, use_bias=False, name="short")(x)
        x = k.Add(name="add")([x, y])
        if top == "dense":
            x = k.GlobalAveragePooling2D(name="mean")(x)
            x = k.Dropout(0.5, name="drop")(x)
            x = k.Dense(3, activation="softmax", name="top")(x)
        elif top == "convolution":
            x = k.GlobalAveragePooling2D(keepdims=True, name="mean")(x)
            x = k.Conv2D(3, 1, name="top")(x)
            x = k.Reshape((3,))(x)
            x = k.Activation("softmax")(x)
        elif top == "places":
            x = k.Conv2D(3, 3, padding="same", name="top")(x)
            x = k.GlobalAveragePooling2D(name="mean")(x)
            x = k.Softmax()(x)
        return package.Model(images, x)


def _network(model: Any, scale: str = "tf", pooling: str | None = "avg") -> KerasNetwork:
    with seeded(3):
        network = KerasNetwork(model, parts_of(model, drawn(model)), scale, pooling)
        for part in network.layers.values():
            if isinstance(part, Statistics):
                nn.init.normal_(part.running_mean)
                nn.init.uniform_(part.running_var, 0.5, 2)
    return network


def _images(n: int = 2, size: int = 16) -> torch.Tensor:
    with seeded(7):
        return torch.randint(0, 256, (n, size, size, 3), dtype=torch.uint8).permute(0, 3, 1, 2)


def _own(model: Any, network: KerasNetwork, pixels: torch.Tensor) -> torch.Tensor:
    """What Keras itself gives with the same values."""
    names = dict(leaves(model))
    for slot in network.graph.slots:
        assert slot.part in names
    again = keras().Model.from_config(model.get_config())
    for theirs, ours in zip(again.weights, _in_order(again, network), strict=True):
        theirs.assign(ours.detach())
    return again(pixels, training=False).detach()


def _in_order(again: Any, network: KerasNetwork) -> list[torch.Tensor]:
    from graft.nn.keras.network import variables_of

    held = {
        id(variable): getattr(network.layers[part], name)
        for part, layer in leaves(again)
        for name, variable in variables_of(layer).items()
    }
    return [held[id(variable)] for variable in again.weights]


@pytest.mark.parametrize("top", ["dense", "convolution", "places"])
def test_the_network_computes_what_keras_computes(top: str) -> None:
    model = _model(top=top)
    network, images = _network(model, pooling="flatten").eval(), _images()
    pixels = images.permute(0, 2, 3, 1).float() / 127.5 - 1
    torch.testing.assert_close(network(images), _own(model, network, pixels), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("scale", sorted(SCALES))
def test_pixels_are_scaled_as_keras_scales_them(scale: str) -> None:
    images = _images()
    pixels = images.permute(0, 2, 3, 1).float()
    utils = keras().applications.imagenet_utils
    if scale in ("tf", "torch", "caffe"):
        expected = torch.as_tensor(utils.preprocess_input(pixels.clone(), mode=scale))
    else:
        expected = pixels / 255 if scale == "unit" else pixels
    torch.testing.assert_close(_network(_model(), scale)._scaled(images), expected, rtol=1e-5, atol=1e-4)


def test_grey_networks_see_luma() -> None:
    images = torch.tensor([255, 0, 0], dtype=torch.uint8).view(1, 3, 1, 1).expand(1, 3, 16, 16)
    network = _network(_model(channels=1), "unit").eval()
    assert network._scaled(images).shape == (1, 16, 16, 1)
    torch.testing.assert_close(network._scaled(images), torch.full((1, 16, 16, 1), 0.299))
    assert network(images).shape == (1, 3)


def test_names_do_not_count_upwards_and_the_users_keras_goes_on_as_before() -> None:
    package = keras()
    package.layers.Dense(2)
    before = package.layers.Dense(2).name
    with architecture_only():
        first, second = package.layers.Dense(2).name, package.layers.Dense(2).name
    with architecture_only():
        assert package.layers.Dense(2).name == first == "dense"
    assert second == "dense_1"
    after = package.layers.Dense(2).name
    assert int(after.rpartition("_")[2]) == int(before.rpartition("_")[2]) + 1


def test_the_state_is_stable_and_loads_strictly() -> None:
    one, two = _network(_model()), _network(_model())
    assert list(one.state_dict()) == list(two.state_dict())
    assert "layers.norm.running_mean" in dict(one.named_buffers())
    assert "layers.separable.pointwise_kernel" in dict(one.named_parameters())
    fresh(two, 9)
    assert not torch.equal(one.eval()(_images()), two.eval()(_images()))
    two.load_state_dict(one.state_dict(), strict=True)
    assert torch.equal(one(_images()), two(_images()))


def test_a_fresh_start_draws_from_the_seed_alone() -> None:
    one, two = _network(_model()), _network(_model())
    state = torch.get_rng_state()
    fresh(one, 5)
    fresh(two, 5)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True))
    assert torch.equal(one.layers["norm"].running_mean, torch.zeros(6))
    assert torch.equal(one.layers["norm"].weight, torch.ones(6))
    fresh(two, 6)
    assert not torch.equal(one.layers["first"].kernel, two.layers["first"].kernel)
    assert one.layers["first"].kernel.abs().max() > 0


def test_training_reaches_all_weights_and_moves_statistics() -> None:
    network = _network(_model(top="places")).train()
    mean = network.layers["norm"].running_mean.clone()
    network(_images(8)).square().sum().backward()
    assert all(value.grad is not None for value in network.parameters())
    moved = network.layers["norm"].running_mean
    assert not torch.equal(moved, mean)
    network.eval()(_images(8))
    assert torch.equal(network.layers["norm"].running_mean, moved)


def test_what_is_frozen_stands_still_layer_by_layer() -> None:
    network = _network(_model())
    freeze(network, ["layers.norm"])
    before = copy.deepcopy(network.layers["norm"].state_dict())
    network.train()
    hold_still(network)
    with torch.no_grad():
        network(_images(8))
    assert all(torch.equal(value, before[name]) for name, value in network.layers["norm"].state_dict().items())
    assert network.training


def test_only_batch_norm_stands_still_where_a_recipe_says_so() -> None:
    network = _network(_model()).train()
    for part in network.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.eval()
    before = network.layers["norm"].running_mean.clone()
    torch.manual_seed(0)
    first, second = network(_images()), network(_images())
    assert not torch.equal(first, second)  # dropout goes on
    assert torch.equal(network.layers["norm"].running_mean, before)
    torch.manual_seed(0)
    assert torch.equal(network(_images()), first)


def test_copies_are_apart_and_halves_agree() -> None:
    network = _network(_model(top="places")).eval()
    twin = copy.deepcopy(network)
    with torch.no_grad():
        twin.layers["first"].kernel.zero_()
    assert not torch.equal(twin(_images()), network(_images()))
    halves = compute.prepared(network, compute.machine("cpu", "bfloat16"))
    with torch.inference_mode():
        outputs = halves(_images())
    assert outputs.dtype == torch.bfloat16
    torch.testing.assert_close(outputs.float(), network(_images()).detach(), rtol=0.1, atol=0.05)
    assert next(network.parameters()).dtype == torch.float32


@pytest.mark.parametrize(
    ("top", "features", "classifier"),
    [("dense", (None, 8), "top"), ("convolution", (None, 1, 1, 8), "top"), ("places", (None, 4, 4, 8), None)],
)
def test_the_classifier_is_found(top: str, features: tuple[int, ...], classifier: str | None) -> None:
    end = ends(_model(top=top))
    assert end.features.shape == features
    assert (end.classifier and end.classifier.name) == classifier
    assert end.outputs is not None
    assert end.outputs.shape[-1] == 3


def test_a_network_without_a_classifier_gives_its_own_outputs() -> None:
    end = ends(_model(top="none"))
    assert (end.features.shape, end.outputs) == ((None, 4, 4, 8), None)


def test_several_outputs_need_a_layer() -> None:
    model = _model()
    with architecture_only():
        two = keras().Model(model.inputs, [model.outputs[0], cut(model, "add")])
    with pytest.raises(RequestError, match="2 outputs"):
        ends(two)


def test_layers_are_found_by_name() -> None:
    model = _model()
    network = _network(part_of(model, cut(model, "pool")), pooling="max")
    assert network.eval()(_images()).shape == (2, 8)
    assert "short" not in network.layers
    with pytest.raises(UnknownNameError, match="Did you mean pool"):
        cut(model, "pol")


def test_maps_come_at_every_stride() -> None:
    model = _model()
    level = levels(model, ends(model).features)
    assert (level.channels, level.strides) == ((8, 8), (2, 4))
    network = KerasNetwork(
        part_of(model, list(level.tensors), "maps"), parts_of(model, drawn(model)), "tf", None, [(8, 8), (5, 5)]
    )
    maps = network.eval()(_images())
    assert [tuple(each.shape) for each in maps] == [(2, 8, 8, 8), (2, 8, 5, 5)]
    with architecture_only():
        images = keras().Input((4, 4, 3))
        flat = keras().Model(images, keras().layers.Dense(2)(keras().layers.Flatten()(images)))
    with pytest.raises(RequestError, match="no feature maps"):
        levels(flat, flat.outputs[0])


def test_multiply_adds_are_counted() -> None:
    # 8×8 places of the first; depthwise and pointwise at 8×8; 4×4 places of the shortcut; the top
    by_hand = 64 * 27 * 6 + 64 * (9 * 6 + 6 * 8) + 16 * 6 * 8 + 8 * 3
    assert multiply_adds(_model()) == by_hand


def test_scaling_inside_the_model_is_noticed() -> None:
    assert not normalises(_model())
    with architecture_only():
        images = keras().Input((16, 16, 3))
        inner = keras().layers.Rescaling(1 / 255)(images)
        assert normalises(keras().Model(images, keras().layers.Conv2D(2, 3)(inner)))


def test_statistics_of_a_normalization_layer_count() -> None:
    with architecture_only():
        images = keras().Input((16, 16, 3))
        model = keras().Model(images, keras().layers.Normalization(name="scaled")(images))
    network = _network(model, "none", "flatten")
    with torch.no_grad():
        network.layers["scaled"].mean.fill_(10)
        network.layers["scaled"].variance.fill_(4)
    expected = (_images().permute(0, 2, 3, 1).float() - 10) / 2
    torch.testing.assert_close(network.eval()(_images()), expected.flatten(1))


def test_what_keras_cannot_build_is_said() -> None:
    config = cleaned({"class_name": "Functional", "config": _model().get_config()})
    config["config"]["layers"][1]["config"]["filters"] = -1
    with pytest.raises(WeightsError, match="Keras cannot build"):
        built(config)


def test_layers_of_absurd_size_are_refused() -> None:
    config = cleaned({"class_name": "Functional", "config": _model().get_config()})
    config["config"]["layers"][0]["config"]["batch_shape"] = [None, 20_000, 20_000, 3]
    with pytest.raises(WeightsError, match="hostile"):
        built(config)


def test_models_of_no_images_are_refused() -> None:
    with architecture_only():
        words = keras().Input((12,))
        model = keras().Model(words, keras().layers.Dense(2)(words))
    with pytest.raises(RequestError, match="expected one input of images"):
        built(cleaned({"class_name": "Functional", "config": model.get_config()}))
