"""A Keras model with its values, from a file or an application, taken apart into features and outputs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from graft.errors import RequestError, WeightsError
from graft.nn.initialise import seeded
from graft.nn.keras import applications
from graft.nn.keras.backend import keras
from graft.nn.keras.config import cleaned, with_input
from graft.nn.keras.files import opened
from graft.nn.keras.graph import Ends, built, cut, ends, graph_of, levels, normalises, part_of
from graft.nn.keras.network import KerasNetwork, drawn, leaves, parts_of, variables_of
from graft.nn.keras.weights import read_values

__all__ = ["Found", "Taken", "from_application", "from_file", "maps_of", "network_of", "stages_of", "taken_apart"]


@dataclass(frozen=True)
class Found:
    """A Keras model, and what is known of it.

    Parameters
    ----------
    model
        Without values of its own.
    values
        By part and name.
    file
        That the values came from; ``None`` where they were drawn.
    application
        The network of ``keras.applications`` that it is, where that is known.
    scale
        How its pixels are scaled, where that is known.
    top
        Whether it is an application with its usual options and classes.
    """

    model: Any
    values: Mapping[str, Mapping[str, Tensor]]
    file: Path | None = None
    application: str | None = None
    scale: str | None = None
    top: bool = False

    @property
    def size(self) -> tuple[int, int]:
        """Of its images, in pixels."""
        _, height, width, _ = graph_of(self.model).inputs[0].shape
        return int(height), int(width)


@dataclass(frozen=True)
class Taken:
    """A model taken apart.

    Parameters
    ----------
    config
        Harmless architecture of the features, from which ``network_of`` makes them again.
    module
        uint8 images ``(n, 3, h, w)`` → features ``(n, d)``.
    head
        Features → the model's own outputs before their softmax, where that is a layer.
    outputs
        uint8 images → those outputs, sharing weights with ``module``, where it is not.
    classes
        How many outputs; 0 for none.
    stages
        Parameter-name prefixes of ``module`` from input to output.
    """

    config: dict[str, Any]
    module: KerasNetwork
    head: nn.Module | None = None
    outputs: nn.Module | None = None
    classes: int = 0
    stages: tuple[str, ...] = field(default=())

    @property
    def dim(self) -> int:
        """Features a row."""
        return _width_of(self.module)


def _width_of(network: KerasNetwork) -> int:
    """How many features the network gives a row."""
    shape = network.graph.model.outputs[0].shape[1:]
    return int(math.prod(shape) if network.pooling == "flatten" else shape[-1])


def from_application(
    name: str,
    options: Mapping[str, Any],
    size: tuple[int, int] | None,
    weights: bool,
    file: Path | None = None,
) -> Found:
    """A network of ``keras.applications``; ``file`` holds its weights instead of Keras's cache.

    Raises
    ------
    UnknownNameError, RequestError
        For a name or an option that Keras lacks, or where it offers no weights for them.
    UnavailableError
        Where its weights are not here, and cannot be fetched.
    WeightsError
        Where they do not fit.
    """
    model, asked, why = applications.application(name, options, size)
    values: Mapping[str, Mapping[str, Tensor]]
    if weights and file is None:
        if asked is None:
            raise RequestError(f"Keras has no ImageNet weights for {name} with these options: {why}.")
        file = applications.fetched(name, asked)
    if weights and file is not None:
        with opened(file) as held:
            values = read_values(model, held)
    else:
        with seeded(0):
            values, file = drawn(model), None
    known = applications.APPLICATIONS[name]
    usual = asked is not None and options.keys() <= {"include_top"} and size in (None, (known.size, known.size))
    return Found(model, values, file, name, known.scale, usual)


def from_file(path: Path, size: tuple[int, int] | None, weights: bool) -> Found:
    """A model that Keras saved whole.

    Raises
    ------
    UnavailableError
        Where there is no such file.
    WeightsError
        Where it is damaged, or holds what is not run, or weights alone.
    RequestError
        Where it does not take images, or does not say of which size.
    """
    with opened(path) as held:
        if held.config is None:
            raise RequestError(
                f"{path} holds weights without an architecture; name the network that they belong to: "
                f"keras/{path}?architecture=MobileNet&options.alpha=0.25 (any of keras.applications)."
            )
        config = with_input(held.config, size)
        model = built(config)
        shape = graph_of(model).inputs[0].shape
        if None in shape[1:]:
            raise RequestError(f"{path} takes images of any size; say which: size=224, or size=[height,width].")
        if 4 * sum(math.prod(each.shape) for each in model.weights) > 2 * held.total + (1 << 20):
            raise WeightsError(f"{path} declares layers far larger than the weights that it holds.")
        with seeded(0):
            values = read_values(model, held) if weights else drawn(model)
    # Whether it was frozen when it was saved says in which order its weights are, and nothing of their use here.
    model.trainable = True
    name = applications.guessed(str(config["config"]["name"]))
    scale = "none" if normalises(model) else name and applications.APPLICATIONS[name].scale
    return Found(model, values, path if weights else None, name, scale)


def taken_apart(found: Found, scale: str, pooling: str, layer: str | None) -> Taken:
    """Features, up to the named layer or up to the classifier, and the model's own outputs.

    Raises
    ------
    UnknownNameError
        For a layer that the model lacks.
    RequestError
        Where the model has several outputs, and no layer is named.
    """
    model = found.model
    parts = parts_of(model, found.values)
    end = _end(model, layer)
    for bare in end.bare:
        bare.activation = keras().activations.linear
    features = part_of(model, end.features)
    config = cleaned({"class_name": "Functional", "config": features.get_config()})
    module = KerasNetwork(features, parts, scale, pooling)
    head = outputs = None
    classes = 0
    if end.outputs is not None:
        classes = math.prod(end.outputs.shape[1:])
        if end.classifier is not None:
            head = _linear(end.classifier, found.values)
        else:
            outputs = KerasNetwork(part_of(model, end.outputs, "outputs"), parts, scale, "flatten")
    return Taken(config, module, head, outputs, classes, stages_of(module))


def _end(model: Any, layer: str | None) -> Ends:
    if layer is None:
        return ends(model)
    tensor = cut(model, layer)
    if len(graph_of(model).outputs) != 1:
        return Ends(tensor)
    end = ends(model)
    if end.outputs is None or end.features is tensor:
        return Ends(tensor, end.outputs, end.classifier, end.bare)
    return Ends(tensor, end.outputs, None, end.bare)


def network_of(config: Mapping[str, Any], scale: str, pooling: str) -> KerasNetwork:
    """The network of a harmless architecture; its weights are not set.

    Raises
    ------
    WeightsError
        Where Keras cannot build it.
    """
    model = built(config)
    empty = {
        part: {
            name: torch.empty(each.shape, dtype=getattr(torch, str(each.dtype)))
            for name, each in variables_of(layer).items()
        }
        for part, layer in leaves(model)
    }
    return KerasNetwork(model, parts_of(model, empty), scale, pooling)


def stages_of(network: KerasNetwork) -> tuple[str, ...]:
    """Prefixes of all parameters from input to output, a layer each."""
    return tuple(f"layers.{name}" for name, part in network.layers.items() if any(True for _ in part.parameters()))


def maps_of(found: Found, scale: str, layer: str | None) -> tuple[KerasNetwork, tuple[int, ...], tuple[int, ...]]:
    """The network as feature maps, with their channels and strides.

    Raises
    ------
    RequestError
        Where it has none.
    UnknownNameError
        For a layer that the model lacks.
    """
    model = found.model
    level = levels(model, _end(model, layer).features)
    height, width = found.size
    edges = [(height // stride, width // stride) for stride in level.strides]
    graph = part_of(model, list(level.tensors), "maps")
    module = KerasNetwork(graph, parts_of(model, found.values), scale, None, edges)
    return module, level.channels, level.strides


def _linear(layer: Any, values: Mapping[str, Mapping[str, Tensor]]) -> nn.Linear:
    held = values[layer.name.replace(".", "_")]
    kernel = held["kernel"].flatten(0, -2)
    with seeded(0):
        head = nn.Linear(kernel.shape[0], kernel.shape[1], bias="bias" in held)
    with torch.no_grad():
        head.weight.copy_(kernel.T)
        if "bias" in held:
            head.bias.copy_(held["bias"])
    return head
