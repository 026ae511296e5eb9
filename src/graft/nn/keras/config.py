"""A Keras architecture as JSON, made harmless: known layers, numbers and names, and nothing that could run.

A model file may hold code: ``Lambda`` layers carry marshalled functions, and a custom class names a
module to import.  What is not on the lists below is refused, never looked up.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from graft.errors import WeightsError

__all__ = ["MODELS", "cleaned", "layers_of", "with_input"]

MODELS = frozenset({"Functional", "Model", "Sequential"})
"""Classes of a whole model; it may also be a layer of another one."""

_LAYERS = frozenset(
    {"InputLayer", "Dense", "EinsumDense", "Embedding", "Identity", "Activation", "ReLU", "LeakyReLU", "PReLU", "ELU"}
    | {"Softmax", "Dropout", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", "GaussianDropout"}
    | {"GaussianNoise", "AlphaDropout", "ActivityRegularization", "BatchNormalization", "LayerNormalization"}
    | {"GroupNormalization", "UnitNormalization", "RMSNormalization", "Normalization", "Rescaling", "Resizing"}
    | {"CenterCrop", "RandomFlip", "RandomRotation", "RandomZoom", "RandomTranslation", "RandomContrast"}
    | {"RandomBrightness", "Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate", "Dot"}
    | {"Flatten", "Reshape", "Permute", "RepeatVector", "MultiHeadAttention", "Attention"}
    | {f"{kind}{n}D" for kind in ("Conv", "ZeroPadding", "Cropping", "UpSampling") for n in (1, 2, 3)}
    | {f"Conv{n}DTranspose" for n in (1, 2, 3)}
    | {f"{kind}Conv{n}D" for kind in ("Depthwise", "Separable") for n in (1, 2)}
    | {f"{kind}{n}D" for kind in ("MaxPooling", "AveragePooling") for n in (1, 2, 3)}
    | {f"Global{kind}{n}D" for kind in ("MaxPooling", "AveragePooling") for n in (1, 2, 3)}
)

# What arithmetic on the tensors of a model turns into, such as a preprocess_input() inside it.
_OPERATIONS = frozenset({"Add", "Subtract", "Multiply", "Divide", "TrueDivide", "Negative"})

# Layers that keras.applications defines beside the networks that use them.
_BESIDE = {
    "LayerScale": "keras.src.applications.convnext",
    "CustomScaleLayer": "keras.src.applications.inception_resnet_v2",
}

_ACTIVATIONS = frozenset(
    {"celu", "elu", "exponential", "gelu", "glu", "hard_shrink", "hard_sigmoid", "hard_silu", "hard_swish"}
    | {"hard_tanh", "leaky_relu", "linear", "log_sigmoid", "log_softmax", "mish", "relu", "relu6", "selu", "sigmoid"}
    | {"silu", "soft_shrink", "softmax", "softplus", "softsign", "sparse_plus", "squareplus", "swish", "tanh"}
    | {"tanh_shrink"}
)

_INITIALIZERS = frozenset(
    {"Constant", "GlorotNormal", "GlorotUniform", "HeNormal", "HeUniform", "LecunNormal", "LecunUniform", "Ones"}
    | {"Orthogonal", "RandomNormal", "RandomUniform", "TruncatedNormal", "VarianceScaling", "Zeros"}
)

# Losses on weights and rules for an optimiser of Keras: Graft trains with its own.
_DROPPED = ("_regularizer", "_constraint", "activity_regularizer")
_NO_LONGER = frozenset(
    {"batch_input_shape", "batch_shape", "batch_size", "fused", "virtual_batch_size", "adjustment", "stateful"}
    | {"quantization_config", "shared_object_id", "autocast", "implementation", "time_major", "build_config"}
)
# Keras 2 wrote these for layers that Keras 3 gives no such argument.
_PLAIN = frozenset({"groups", "kernel_initializer", "kernel_regularizer", "kernel_constraint"})
_WITHOUT_KERNEL = frozenset({"DepthwiseConv1D", "DepthwiseConv2D", "SeparableConv1D", "SeparableConv2D"})

_MOST_LAYERS = 2_000
_MOST_AHEAD = 100  # layers that come before what they take; Keras writes them in order
_DEEPEST = 12
_LONGEST = 1_000  # letters of a name


def cleaned(entry: Any) -> dict[str, Any]:
    """A model's ``{"class_name", "config", …}``, of Keras 2 or 3, as Keras 3 reads it, and harmless.

    Raises
    ------
    WeightsError
        For a layer that is not known to be harmless, or what is no architecture at all.
    """
    try:
        model = _model(entry, 0)
    except (KeyError, TypeError, AttributeError, IndexError, RecursionError) as exc:
        raise WeightsError(f"the architecture is damaged ({exc!r}); fetch the file again.") from exc
    if sum(1 for _ in layers_of(model)) > _MOST_LAYERS:
        raise WeightsError(f"the architecture has more than {_MOST_LAYERS} layers, which no image network has.")
    return model


def layers_of(model: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """All layers, those of models inside it too, in the order of the file."""
    found: list[Mapping[str, Any]] = []
    for layer in model["config"]["layers"]:
        found += layers_of(layer) if layer["class_name"] in MODELS else [layer]
    return found


def with_input(model: Mapping[str, Any], size: tuple[int, int] | None) -> dict[str, Any]:
    """The same, for images of this size; ``None`` keeps the size that the architecture states.

    Raises
    ------
    WeightsError
        Where it does not say what it takes.
    """
    layers = list(model["config"]["layers"])
    place = next((i for i, layer in enumerate(layers) if layer["class_name"] == "InputLayer"), None)
    if place is None:
        raise WeightsError("the architecture does not say which input it takes; save it again after calling it once.")
    stated = layers[place]["config"]["batch_shape"]
    if size is not None and len(stated) == 4:
        stated = [None, *size, stated[3]]
    layers[place] = {**layers[place], "config": {**layers[place]["config"], "batch_shape": stated}}
    return {**model, "config": {**model["config"], "layers": layers}}


def _model(entry: Any, depth: int) -> dict[str, Any]:
    if depth > _DEEPEST:
        raise WeightsError(f"the architecture has models nested more than {_DEEPEST} deep.")
    name = str(entry["class_name"])
    if name not in MODELS:
        raise _refused(name, entry)
    config = entry["config"]
    if isinstance(config, Sequence):  # Sequential models of Keras 1 and 2.0
        config = {"layers": config}
    kind = "Sequential" if name == "Sequential" else "Functional"
    clean: dict[str, Any] = {"name": _text(config.get("name") or kind.lower())}
    if isinstance(config.get("trainable"), bool):
        clean["trainable"] = config["trainable"]
    clean["layers"] = [_layer(layer, depth) for layer in config["layers"]]
    if kind == "Functional":
        clean |= {key: _value(config[key]) for key in ("input_layers", "output_layers")}
        _in_order(clean["layers"])
    elif not clean["layers"] or clean["layers"][0]["class_name"] != "InputLayer":
        clean["layers"] = [*_first(config, entry), *clean["layers"]]
    module = "keras" if kind == "Sequential" else "keras.src.models.functional"
    registered = None if kind == "Sequential" else "Functional"
    return {"module": module, "class_name": kind, "config": clean, "registered_name": registered}


def _in_order(layers: Sequence[Mapping[str, Any]]) -> None:
    """Keras goes through the layers again for every one that comes too early, which a long list makes endless."""
    place = {layer["name"]: i for i, layer in enumerate(layers)}
    ahead = sum(
        any(place.get(name, 0) > i for name in _taken(layer.get("inbound_nodes", []))) for i, layer in enumerate(layers)
    )
    if ahead > _MOST_AHEAD:
        raise WeightsError(f"the architecture lists {ahead} layers before what they take, which Keras never does.")


def _taken(node: Any) -> Iterator[str]:
    """Names of the layers whose outputs a harmless node takes."""
    if isinstance(node, Mapping):
        if "keras_history" in node:
            yield str(node["keras_history"][0])
        for value in node.values():
            yield from _taken(value)
    elif isinstance(node, list):
        if len(node) > 2 and isinstance(node[0], str) and isinstance(node[1], int):
            yield node[0]
        for value in node:
            yield from _taken(value)


def _first(config: Mapping[str, Any], entry: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The input that a sequential model states at its first layer, or as what it was built for."""
    stated: Any = None
    if config["layers"]:
        inner = config["layers"][0]["config"]
        if isinstance(inner, Mapping):
            stated = inner.get("batch_input_shape") or inner.get("batch_shape")
    stated = stated or config.get("build_input_shape") or (entry.get("build_config") or {}).get("input_shape")
    return [] if not stated else [_input("input_layer", stated)]


def _input(name: str, shape: Any) -> dict[str, Any]:
    edges = [None if edge is None else int(edge) for edge in shape]
    config = {"name": _text(name), "batch_shape": edges, "dtype": "float32"}
    return {"module": "keras.layers", "class_name": "InputLayer", "config": config, "registered_name": None}


def _layer(entry: Any, depth: int) -> dict[str, Any]:
    name, module, given = str(entry["class_name"]), entry.get("module"), entry["config"]
    if name in MODELS:
        clean = _model(entry, depth + 1)
        label = clean["config"]["name"]
    else:
        label = _text(given["name"])
        clean = _known(name, module, given, entry)
    # A functional model repeats the name beside the configuration, and says what flows into the layer.
    clean["name"] = _text(entry.get("name") or label)
    if "inbound_nodes" in entry:
        clean["inbound_nodes"] = [_node(node) for node in entry["inbound_nodes"]]
    return clean


def _known(name: str, module: Any, given: Mapping[str, Any], entry: Mapping[str, Any]) -> dict[str, Any]:
    if name == "InputLayer":
        return _input(given["name"], given.get("batch_shape") or given["batch_input_shape"])
    official = module is None or str(module).split(".", 1)[0] in ("keras", "tf_keras", "tensorflow")
    if name in _BESIDE and official:
        home: dict[str, str | None] = {"module": _BESIDE[name], "class_name": name, "registered_name": name}
    elif name in _OPERATIONS and official and ("ops" in str(module).split(".") or "trainable" not in given):
        return {
            "module": "keras.src.ops.numpy",
            "class_name": name,
            "config": {"name": _text(given["name"])},
            "registered_name": name,
        }
    elif name in _LAYERS and official:
        home = {"module": "keras.layers", "class_name": name, "registered_name": None}
    else:
        raise _refused(name, entry)
    return {**home, "config": _config(name, given)}


def _config(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    clean: dict[str, Any] = {}
    for key, value in given.items():
        if key in _NO_LONGER or key.endswith(_DROPPED) or (name in _WITHOUT_KERNEL and key in _PLAIN):
            if key == "groups" and value not in (None, 1):
                raise WeightsError(f"the layer {given['name']!r} is a {name} in {value} groups, which Keras 3 lacks.")
            continue
        if key == "dtype":
            clean[key] = "float32"
        elif key == "seed":
            clean[key] = None
        elif key == "activation" or key.endswith("_activation"):
            clean[key] = _activation(value)
        elif key.endswith("_initializer"):
            clean[key] = _initializer(value)
        else:
            clean[key] = _value(value)
    axis = clean.get("axis")
    if name == "BatchNormalization" and isinstance(axis, list) and len(axis) == 1:  # as TensorFlow's Keras wrote it
        clean["axis"] = axis[0]
    if clean.get("data_format") == "channels_first":
        raise WeightsError(
            f"the layer {clean.get('name')!r} works channels first; expected channels last. Convert the model in Keras."
        )
    return clean


def _activation(value: Any) -> str | None:
    if isinstance(value, Mapping):  # Keras 3 writes some of its functions in long form
        value = value.get("config") if value.get("class_name") == "function" else value.get("class_name")
    if value is None or value in _ACTIVATIONS:
        return value  # type: ignore[no-any-return]
    raise WeightsError(f"the activation {value!r} is none of Keras's own, and nothing else is run: {_READABLE}")


def _initializer(value: Any) -> Any:
    config: Mapping[str, Any] = {}
    if isinstance(value, str):
        name = _camel(value)
    elif isinstance(value, Mapping):
        name, config = str(value["class_name"]), value.get("config") or {}
    elif value is None:
        return None
    else:
        raise WeightsError(f"the initializer {value!r} is none of Keras's own; {_READABLE}")
    if name not in _INITIALIZERS:
        raise WeightsError(f"the initializer {name!r} is none of Keras's own; {_READABLE}")
    kept = {key: _value(each) for key, each in config.items() if key not in ("seed", "dtype")}
    return {"module": "keras.initializers", "class_name": name, "config": kept, "registered_name": None}


def _camel(name: str) -> str:
    return name if name[:1].isupper() else "".join(part.capitalize() for part in name.split("_"))


def _node(node: Any) -> Any:
    """What flows into a layer; the network's mode is set from outside, at every call."""
    if isinstance(node, Mapping) and "args" in node:
        kwargs = {str(key): _value(each) for key, each in node["kwargs"].items() if key != "training"}
        return {"args": _value(node["args"]), "kwargs": kwargs}
    return [
        [
            *(_value(each) for each in link[:3]),
            *({k: _value(v) for k, v in x.items() if k != "training"} for x in link[3:]),
        ]
        for link in node
    ]


def _value(value: Any) -> Any:
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise WeightsError(f"the architecture holds the number {value}; expected finite ones.")
        return value
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, Sequence):
        return [_value(each) for each in value]
    if isinstance(value, Mapping):
        name = value.get("class_name")
        if name == "__tuple__":
            return {"class_name": name, "items": [_value(each) for each in value["items"]]}
        if name == "__keras_tensor__":
            config = {key: _value(value["config"][key]) for key in ("shape", "dtype", "keras_history")}
            return {"class_name": name, "config": config}
        if name is None and not any(str(key).startswith("__") for key in value):
            return {_text(key): _value(each) for key, each in value.items() if key not in _NO_LONGER}
    raise WeightsError(f"the architecture holds {str(value)[:80]!r}, which is no number or name; {_READABLE}")


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > _LONGEST or re.search(r"[\x00-\x1f]", value):
        raise WeightsError(f"the architecture holds {str(value)[:80]!r} where a name was expected; fetch it again.")
    return value


_READABLE = "models of Keras's own layers and functions are read, since anything else could run code."


def _refused(name: str, entry: Mapping[str, Any]) -> WeightsError:
    config = entry.get("config")
    label = config.get("name") if isinstance(config, Mapping) else None
    where = f"the layer {str(label)[:80]!r} is a {name[:80]}" if label else f"the model is a {name[:80]}"
    why = "which holds code" if name in ("Lambda", "TFOpLambda") else "which is none of the known layers of Keras"
    return WeightsError(f"{where}, {why}; {_READABLE} Take the layer out in Keras, and save the rest.")
