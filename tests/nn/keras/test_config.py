from __future__ import annotations

import copy
from typing import Any

import pytest

from graft.errors import WeightsError
from graft.nn.keras.config import cleaned, layers_of, with_input


def _layer(kind: str, name: str, /, **config: Any) -> dict[str, Any]:
    return {"class_name": kind, "config": {"name": name, **config}}


def _model(*layers: dict[str, Any]) -> dict[str, Any]:
    first = _layer("InputLayer", "in", batch_input_shape=[None, 8, 8, 3], dtype="uint8", sparse=False)
    return {"class_name": "Sequential", "config": {"name": "net", "layers": [first, *layers]}}


def test_an_architecture_of_keras_2_becomes_one_of_keras_3() -> None:
    old = _model(
        _layer("DepthwiseConv2D", "d", groups=1, kernel_size=[3, 3], depthwise_initializer={"class_name": "HeNormal"}),
        _layer("BatchNormalization", "b", axis=[3], gamma_regularizer={"class_name": "L2", "config": {"l2": 0.1}}),
        _layer("Dense", "f", units=2, activation="softmax", seed=5, dtype={"class_name": "Policy"}, trainable=False),
    )
    before = copy.deepcopy(old)
    first, depthwise, norm, dense = cleaned(old)["config"]["layers"]
    assert old == before
    assert first["config"] == {"name": "in", "batch_shape": [None, 8, 8, 3], "dtype": "float32"}
    assert depthwise["module"] == "keras.layers"
    assert depthwise["config"].keys() == {"name", "kernel_size", "depthwise_initializer"}
    assert depthwise["config"]["depthwise_initializer"]["module"] == "keras.initializers"
    assert norm["config"] == {"name": "b", "axis": 3}
    assert dense["config"] == {
        "name": "f", "units": 2, "activation": "softmax", "seed": None, "dtype": "float32", "trainable": False
    }  # fmt: skip
    assert cleaned(cleaned(old)) == cleaned(old)


def test_layers_of_inner_models_count() -> None:
    inner = {**_model(_layer("ReLU", "r")), "name": "inner"}
    assert [layer["config"]["name"] for layer in layers_of(cleaned(_model(inner)))] == ["in", "in", "r"]


def test_a_sequential_model_without_input_states_it_at_its_first_layer() -> None:
    model = {
        "class_name": "Sequential",
        "config": [_layer("Dense", "d", units=2, batch_input_shape=[None, 4, 4, 3])],
    }
    clean = with_input(cleaned(model), (6, 7))
    assert clean["config"]["layers"][0]["config"]["batch_shape"] == [None, 6, 7, 3]
    with pytest.raises(WeightsError, match="which input it takes"):
        with_input(cleaned({"class_name": "Sequential", "config": [_layer("Dense", "d", units=2)]}), None)


CODE = {"class_name": "__lambda__", "config": {"code": "4wEAAA==", "defaults": None, "closure": None}}


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (_layer("Lambda", "l", function=CODE), "'l' is a Lambda, which holds code"),
        (_layer("TFOpLambda", "l", function="math.add"), "holds code"),
        ({**_layer("Dense", "d", units=1), "module": "os"}, "none of the known layers"),
        ({**_layer("Evil", "e"), "module": "evil", "registered_name": "Evil"}, "none of the known layers"),
        (_layer("TextVectorization", "t", vocabulary="/etc/passwd"), "none of the known layers"),
        (_layer("Dense", "d", units=1, activation=CODE), "none of Keras's own"),
        (_layer("Dense", "d", units=1, activation={"class_name": "function", "config": "system"}), "'system'"),
        (_layer("Dense", "d", units=CODE), "no number or name"),
        (_layer("Dense", "d", units={"__import__": "os"}), "no number or name"),
        (_layer("Dense", "d", units=float("nan")), "finite"),
        (_layer("Dense", "d", units=1, kernel_initializer={"class_name": "Evil", "config": {}}), "'Evil'"),
        (_layer("Dense", "d", units=1, kernel_initializer=3), "initializer 3"),
        (_layer("Dense", "x" * 2000, units=1), "a name was expected"),
        (_layer("Conv2D", "c", data_format="channels_first"), "channels first"),
        (_layer("DepthwiseConv2D", "c", groups=2), "2 groups"),
        ({"config": {}}, "damaged"),
        ({"class_name": "Dense", "config": None}, "damaged"),
    ],
)
def test_what_could_run_or_is_damaged_is_refused(layer: dict[str, Any], said: str) -> None:
    with pytest.raises(WeightsError, match=said):
        cleaned(_model(layer))


@pytest.mark.parametrize("entry", [None, 3, [], {}, {"class_name": "Sequential"}])
def test_what_is_no_architecture_is_refused(entry: Any) -> None:
    with pytest.raises(WeightsError, match="damaged"):
        cleaned(entry)


def test_a_model_of_another_class_is_refused() -> None:
    with pytest.raises(WeightsError, match="is a MyModel"):
        cleaned({"class_name": "MyModel", "config": {"name": "m", "layers": []}})


def test_endless_architectures_are_refused() -> None:
    with pytest.raises(WeightsError, match="2000 layers"):
        cleaned(_model(*(_layer("ReLU", f"r{i}") for i in range(2_001))))
    links = [{**_layer("ReLU", f"r{i}"), "inbound_nodes": [[[f"r{i + 1}", 0, 0, {}]]]} for i in range(200)]
    config = {"name": "back", "layers": links, "input_layers": [["r199", 0, 0]], "output_layers": [["r0", 0, 0]]}
    with pytest.raises(WeightsError, match="199 layers before"):
        cleaned({"class_name": "Functional", "config": config})
    deep = _model()
    for _ in range(20):
        deep = _model(deep)
    with pytest.raises(WeightsError, match="12 deep"):
        cleaned(deep)


def test_the_mode_that_a_graph_was_saved_in_is_forgotten() -> None:
    new = {**_layer("ReLU", "r"), "inbound_nodes": [{"args": [1], "kwargs": {"training": True, "mask": None}}]}
    old = {**_layer("ReLU", "r"), "inbound_nodes": [[["in", 0, 0, {"training": False}]]]}
    assert cleaned(_model(new))["config"]["layers"][1]["inbound_nodes"] == [{"args": [1], "kwargs": {"mask": None}}]
    assert cleaned(_model(old))["config"]["layers"][1]["inbound_nodes"] == [[["in", 0, 0, {}]]]
