"""What is where in a Keras graph: its own classifier, a layer by name, maps by their stride, what it costs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from graft.errors import RequestError, UnknownNameError, WeightsError
from graft.nn.keras.backend import architecture_only, keras

__all__ = ["Ends", "Levels", "built", "cut", "ends", "graph_of", "levels", "multiply_adds", "normalises", "part_of"]

_LINKS = frozenset({"softmax", "sigmoid", "log_softmax"})
_STILL = frozenset({"Flatten", "Reshape", "Dropout", "SpatialDropout2D", "Identity", "ActivityRegularization"})
_LARGEST = 1 << 28  # numbers that one layer may make of one image


@dataclass(frozen=True)
class Ends:
    """Where a network's features and its own outputs are.

    Parameters
    ----------
    features
        The tensor of the features.
    outputs
        The tensor of its own outputs before a softmax or sigmoid; ``None`` where it has none.
    classifier
        The layer between the two, where it is a matrix on pooled features; else ``None``.
    bare
        Layers whose activation has to go, so that ``outputs`` are raw scores.
    """

    features: Any
    outputs: Any = None
    classifier: Any = None
    bare: list[Any] = field(default_factory=list)


@dataclass(frozen=True)
class Levels:
    """Tensors of feature maps, finest first, with their channels and strides."""

    tensors: tuple[Any, ...]
    channels: tuple[int, ...]
    strides: tuple[int, ...]


def built(config: Mapping[str, Any]) -> Any:
    """The Keras model of a harmless architecture (``keras.config.cleaned``), without values.

    Raises
    ------
    WeightsError
        Where Keras cannot make it, or it would make something absurdly large of one image.
    RequestError
        Where it does not take images, or has several inputs or outputs.
    """
    package = keras()
    inner = dict(config["config"])
    kind = package.Sequential if config["class_name"] == "Sequential" else package.Model
    try:
        with architecture_only():
            model = kind.from_config(inner)
    except Exception as exc:  # whatever a layer says of arguments that it cannot take
        raise WeightsError(f"Keras cannot build the architecture ({_brief(exc)}).") from exc
    graph = graph_of(model)
    if len(graph.inputs) != 1 or len(graph.inputs[0].shape) != 4 or graph.inputs[0].shape[-1] not in (1, 3):
        shapes = ", ".join(str(tuple(each.shape)) for each in graph.inputs)
        raise RequestError(f"the model takes {shapes}; expected one input of images, (n, h, w, 3) or (n, h, w, 1).")
    for tensor in _tensors(graph):
        if math.prod(edge or 1 for edge in tensor.shape) > _LARGEST:
            raise WeightsError(f"a layer would make {tuple(tensor.shape)} of one image: the architecture is hostile.")
    return model


def graph_of(model: Any) -> Any:
    """The functional model of a model: itself, or one of the same layers where it is sequential."""
    if hasattr(model, "_nodes_by_depth"):
        return model
    with architecture_only():
        return keras().Model(model.inputs, model.outputs, name=f"{model.name}_graph")


def _brief(exc: BaseException) -> str:
    lines = [line.strip() for line in str(exc).splitlines() if line.strip()]
    return lines[-1].removeprefix("Exception encountered: ")[:600] if lines else type(exc).__name__


def _layers(model: Any) -> list[Any]:
    return [each for each in graph_of(model).layers if type(each).__name__ != "InputLayer"]


def _tensors(graph: Any) -> Iterator[Any]:
    """What every operation of the graph gives, from input to output."""
    for nodes in (graph._nodes_by_depth[depth] for depth in sorted(graph._nodes_by_depth, reverse=True)):
        for node in nodes:
            yield from node.output_tensors


def _before(tensor: Any) -> tuple[Any, list[Any]]:
    """The operation that made a tensor, and what it took."""
    operation, place, _ = tensor._keras_history
    return operation, list(operation._inbound_nodes[place].input_tensors)


def ends(model: Any) -> Ends:
    """Find the classifier at the end: a softmax or not, a layer with weights, and what that works on.

    Raises
    ------
    RequestError
        Where the model has several outputs.
    """
    graph = graph_of(model)
    if len(graph.outputs) != 1:
        raise RequestError(f"the model has {len(graph.outputs)} outputs; say which layer gives features: layer=<name>.")
    tensor, linked = graph.outputs[0], False
    while True:  # off with the softmax, and with what only reshapes it
        operation, taken = _before(tensor)
        kind = type(operation).__name__
        if kind == "Softmax" or (kind == "Activation" and _activation(operation) in _LINKS):
            tensor, linked = taken[0], True
        elif (kind == "Activation" and _activation(operation) == "linear") or (kind in _STILL and len(taken) == 1):
            if math.prod(edge or 1 for edge in tensor.shape) != math.prod(edge or 1 for edge in taken[0].shape):
                break
            tensor = taken[0]
        else:
            break
    operation, taken = _before(tensor)
    if type(operation).__name__ in ("Dense", "Conv2D") and _activation(operation) in {*_LINKS, "linear"}:
        bare = [operation] if _activation(operation) in _LINKS else []
        if (linked or bare or type(operation).__name__ == "Dense") and _matrix(operation, taken[0]):
            return Ends(_undropped(taken[0]), tensor, operation, bare)
        if bare:
            return Ends(_undropped(taken[0]), tensor, None, bare)
    if linked:  # places are classified first and pooled then: features are what the last weights took
        outputs = tensor
        while not operation.weights if hasattr(operation, "weights") else len(taken) == 1:
            tensor = taken[0]
            operation, taken = _before(tensor)
            if not taken:
                return Ends(graph.outputs[0])
        return Ends(taken[0], outputs)
    return Ends(graph.outputs[0])


def _activation(operation: Any) -> str:
    return str(getattr(getattr(operation, "activation", None), "__name__", "linear"))


def _matrix(operation: Any, taken: Any) -> bool:
    """Whether the layer is a matrix on one vector a row: dense, or a convolution over a single place."""
    if type(operation).__name__ == "Dense":
        return len(taken.shape) == 2
    single = tuple(taken.shape[1:3]) == (1, 1) and tuple(operation.kernel_size) == (1, 1)
    return single and operation.groups == 1


def _undropped(tensor: Any) -> Any:
    """The tensor before dropout: a head for a new task brings its own."""
    operation, taken = _before(tensor)
    return _undropped(taken[0]) if type(operation).__name__ == "Dropout" else tensor


def cut(model: Any, layer: str) -> Any:
    """The tensor that the named layer gives.

    Raises
    ------
    UnknownNameError
        Where there is no such layer.
    """
    graph = graph_of(model)
    named = {each.name: each for each in _layers(model)}
    if layer not in named:
        raise UnknownNameError("Keras layer", layer, named)
    found = [tensor for tensor in _tensors(graph) if tensor._keras_history[0] is named[layer]]
    return found[-1]


def part_of(model: Any, tensors: Any, name: str = "features") -> Any:
    """The model from the same input to the given tensor, or tensors."""
    with architecture_only():
        return keras().Model(graph_of(model).inputs[0], tensors, name=name)


def levels(model: Any, last: Any) -> Levels:
    """Of every stride, a power of two, the last tensor on the way to ``last`` that keeps places apart.

    Raises
    ------
    RequestError
        Where no layer keeps places apart.
    """
    graph = part_of(model, last)
    height = graph.inputs[0].shape[1]
    found: dict[int, Any] = {}
    for tensor in _tensors(graph):
        shape = tensor.shape
        if len(shape) == 4 and 1 < shape[1] < height and shape[-1] > 1:
            found[2 ** round(math.log2(height / shape[1]))] = tensor
    found.pop(1, None)
    if not found:
        raise RequestError("the model gives one vector a row, and no feature maps: no layer of it keeps places apart.")
    strides = tuple(sorted(found))
    tensors = tuple(found[stride] for stride in strides)
    return Levels(tensors, tuple(int(each.shape[-1]) for each in tensors), strides)


def multiply_adds(model: Any) -> int:
    """Of the dense layers and convolutions, for one image."""
    total = 0
    graph = graph_of(model)
    for nodes in graph._nodes_by_depth.values():
        for node in nodes:
            layer = node.operation
            if hasattr(layer, "layers") and hasattr(layer, "get_layer"):
                total += multiply_adds(layer)
                continue
            shape = node.output_tensors[0].shape
            if "Transpose" in type(layer).__name__:
                shape = node.input_tensors[0].shape
            places = math.prod(edge or 1 for edge in shape[1:-1])
            kernels = [each for each in getattr(layer, "weights", ()) if each.name.endswith("kernel")]
            total += places * sum(math.prod(each.shape) for each in kernels)
    return total


def normalises(model: Any) -> bool:
    """Whether the model scales its pixels itself, before any layer that learnt."""
    for tensor in _tensors(graph_of(model)):
        operation, _ = _before(tensor)
        kind = type(operation).__name__
        if kind in ("Rescaling", "Normalization", "TrueDivide", "Divide"):
            return True
        if getattr(operation, "weights", None):
            return False
    return False
