"""A Keras graph as a torch module: Keras says what is computed, torch holds what is learnt.

Keras keeps all variables as parameters, statistics too, under names that count upwards in a process.
Here every layer's values live in a torch module of that layer's name, weights as parameters and
statistics as buffers, and are handed to the graph at each call (``keras.StatelessScope``).  So
freezing, casting, copying, saving and the optimiser see an ordinary network.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from graft.nn.keras.backend import architecture_only, keras

__all__ = ["SCALES", "KerasNetwork", "Part", "Statistics", "drawn", "leaves", "parts_of", "variables_of"]

SCALES: Mapping[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "tf": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "torch": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "caffe": ((123.68 / 255, 116.779 / 255, 103.939 / 255), (1 / 255, 1 / 255, 1 / 255)),
    "unit": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    "none": ((0.0, 0.0, 0.0), (1 / 255, 1 / 255, 1 / 255)),
}
"""Mean and width of red, green and blue on the scale [0, 1], by Keras's names of the ways to scale;
``caffe`` also turns the channels round."""

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow turns colours grey

# Torch's names for what a BatchNorm layer holds.
_BATCHNORM = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}

_PER_THREAD = threading.local()


class Part(nn.Module):
    """What one Keras layer holds; it computes nothing itself.

    Parameters
    ----------
    values
        By name.
    learnt
        Which of them are weights; the others are statistics.
    """

    def __init__(self, values: Mapping[str, Tensor], learnt: Sequence[str]) -> None:
        super().__init__()
        _hold(self, values, learnt)


class Statistics(nn.modules.batchnorm._BatchNorm):
    """What a BatchNorm layer of Keras holds, under torch's names, so that whoever looks for BatchNorm finds it.

    Parameters
    ----------
    values, learnt
        As for :class:`Part`.
    eps, momentum
        As torch means them: ``momentum`` is the share of the new.
    """

    def __init__(self, values: Mapping[str, Tensor], learnt: Sequence[str], eps: float, momentum: float) -> None:
        nn.Module.__init__(self)
        self.eps, self.momentum = eps, momentum
        self.track_running_stats = False  # no counter of batches: Keras has none
        self.affine = False  # reset_parameters() leaves it to the whole network
        _hold(self, values, learnt)
        self.num_features = len(next(iter(values.values())))


def _hold(module: nn.Module, values: Mapping[str, Tensor], learnt: Sequence[str]) -> None:
    for name, value in values.items():
        if name in learnt:
            module.register_parameter(name, nn.Parameter(value))
        else:
            module.register_buffer(name, value)


@dataclass(frozen=True)
class _Slot:
    """Where the value of a Keras variable is held."""

    variable: Any
    part: str
    name: str


class _Graph:
    """A Keras model and where the values of its variables are; it holds none itself, so copies share it."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.slots = [
            _Slot(variable, part, name)
            for part, layer in leaves(model)
            for name, variable in variables_of(layer).items()
        ]
        self.seeds = [
            generator.state for _, layer in leaves(model) for generator in getattr(layer, "_seed_generators", ())
        ]
        self.adapted = [layer for _, layer in leaves(model) if type(layer).__name__ == "Normalization"]
        for part, layer in leaves(model):
            if getattr(layer, "_call_has_training_arg", False) and variables_of(layer):
                layer.call = _obeying(layer.call, part)
            if type(layer).__name__ == "Conv2D" and tuple(layer.kernel_size) == (1, 1) and max(layer.strides) > 1:
                layer.convolution_op = _strided(layer)

    def __deepcopy__(self, memo: dict[int, Any]) -> _Graph:
        return self

    def run(self, pixels: Tensor, parts: nn.ModuleDict, training: bool) -> Any:
        """The graph's outputs; statistics that it moved are written back into the parts."""
        held = [getattr(parts[slot.part], slot.name) for slot in self.slots]
        state = [(slot.variable, value) for slot, value in zip(self.slots, held, strict=True)]
        if training:
            state += [(seed, torch.randint(2**31, seed.shape)) for seed in self.seeds]
        still = frozenset(name for name, part in parts.items() if not part.training)
        with (
            _modes(still),
            keras().device(str(pixels.device)),
            keras().StatelessScope(state, initialize_variables=False) as scope,
        ):
            before = [scope.get_current_value(slot.variable) for slot in self.slots]
            for layer in self.adapted:
                layer.finalize_state()
            outputs = self.model(pixels, training=training)
            after = [scope.get_current_value(slot.variable) for slot in self.slots]
        if training:
            with torch.no_grad():
                for value, old, new in zip(held, before, after, strict=True):
                    if new is not old:
                        value.copy_(new)
        return outputs


@contextlib.contextmanager
def _modes(still: frozenset[str]) -> Iterator[None]:
    outer: frozenset[str] = getattr(_PER_THREAD, "still", frozenset())
    _PER_THREAD.still = still
    try:
        yield
    finally:
        _PER_THREAD.still = outer


def _obeying(call: Any, part: str) -> Any:
    """The layer's own ``call``, in training mode only where the part that holds its values is."""

    def obey(*args: Any, training: bool | None = None, **kwargs: Any) -> Any:
        still = part in getattr(_PER_THREAD, "still", frozenset())
        return call(*args, training=bool(training) and not still, **kwargs)

    return obey


def _strided(layer: Any) -> Any:
    """A 1×1 convolution of the places that its stride keeps.

    oneDNN writes past its memory in the gradient of the strided form, where there are fewer than 16
    channels (https://github.com/uxlfoundation/oneDNN/issues/6035).
    """
    down, across = layer.strides

    def convolve(inputs: Tensor, kernel: Tensor) -> Any:
        return keras().ops.conv(inputs[:, ::down, ::across], kernel, strides=1, padding="valid")

    return convolve


class KerasNetwork(nn.Module):
    """Scales uint8 images where they are, as Keras wants them, and runs the graph.

    Parameters
    ----------
    model
        A Keras model built by :func:`graft.nn.keras.backend.architecture_only`; images
        ``(n, h, w, 3)`` or grey ``(n, h, w, 1)`` → one output, or several.
    parts
        By the names that :func:`parts_of` gives; may hold more than the model needs, and then
        shares what it takes.
    scale
        One of ``SCALES``.
    pooling
        How places become one vector: ``"avg"``, ``"max"``, ``"flatten"``; ``None`` gives maps
        ``(n, c, h, w)``, each resized to the edges in ``edges``.
    edges
        Of each map.
    """

    def __init__(
        self,
        model: Any,
        parts: Mapping[str, nn.Module],
        scale: str,
        pooling: str | None = "avg",
        edges: Sequence[tuple[int, int]] = (),
    ) -> None:
        super().__init__()
        self.graph = _Graph(model)
        self.layers = nn.ModuleDict({name: parts[name] for name, layer in leaves(model) if variables_of(layer)})
        self.channels = int(model.inputs[0].shape[-1])
        self.scale, self.pooling, self.edges = scale, pooling, tuple(edges)

    def forward(self, images: Tensor) -> Any:
        pixels = self._scaled(images)
        weight = next(self.parameters(), pixels)
        halves = weight.dtype == torch.bfloat16
        # Keras casts to the widths its layers were built with; autocast brings matrices back to halves.
        with torch.autocast(pixels.device.type, torch.bfloat16) if halves else contextlib.nullcontext():
            outputs = self.graph.run(pixels, self.layers, self.training)
        if self.pooling is None:
            outputs = outputs if isinstance(outputs, list | tuple) else [outputs]
            return [_map(each, edge) for each, edge in zip(outputs, self.edges, strict=True)]
        features = _pooled(outputs, self.pooling)
        return features.to(weight.dtype) if halves else features

    def init_weights(self) -> None:
        """Start again as Keras lets the layers start; draws from torch's generator."""
        values = drawn(self.graph.model)
        with torch.no_grad():
            for slot in self.graph.slots:
                getattr(self.layers[slot.part], slot.name).copy_(values[slot.part][slot.name])

    def _scaled(self, images: Tensor) -> Tensor:
        """Bytes ``(n, 3, h, w)`` → floats ``(n, h, w, channels)``; Python's numbers, which no cast can round."""
        pixels = images.permute(0, 2, 3, 1).float()
        mean, std = SCALES[self.scale]
        if self.channels == 1:
            grey = pixels @ torch.tensor(_LUMA, device=pixels.device)
            return ((grey / 255 - mean[0]) / std[0]).unsqueeze(-1)
        factor = torch.tensor([1 / (255 * s) for s in std], device=pixels.device)
        shift = torch.tensor([-m / s for m, s in zip(mean, std, strict=True)], device=pixels.device)
        pixels = pixels * factor + shift
        return pixels.flip(-1) if self.scale == "caffe" else pixels


def _pooled(values: Tensor, pooling: str) -> Tensor:
    if values.ndim == 2:
        return values
    if pooling == "flatten":
        return values.flatten(1)
    places = values.flatten(1, -2)
    return places.amax(1) if pooling == "max" else places.mean(1)


def _map(values: Tensor, edges: tuple[int, int]) -> Tensor:
    channels_first = values.permute(0, 3, 1, 2)
    if channels_first.shape[-2:] == edges:
        return channels_first
    return nn.functional.interpolate(channels_first, edges, mode="bilinear")


def leaves(model: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Layers with their names, those of models inside it too, from input to output."""
    for layer in model.layers:
        name = prefix + layer.name.replace(".", "_")
        if hasattr(layer, "layers") and hasattr(layer, "get_layer"):
            yield from leaves(layer, f"{name}/")
        else:
            yield name, layer


def variables_of(layer: Any) -> dict[str, Any]:
    """Its variables by the last part of their path; by two parts, or a number, where that is not enough."""
    found: dict[str, Any] = {}
    batchnorm = type(layer).__name__ == "BatchNormalization"
    ends = [variable.path.split("/") for variable in layer.weights]
    for place, (path, variable) in enumerate(zip(ends, layer.weights, strict=True)):
        name = path[-1] if sum(path[-1] == other[-1] for other in ends) == 1 else "_".join(path[-2:])
        name = f"{name}_{place}" if name in found else name
        name = name.replace(".", "_")
        found[_BATCHNORM.get(name, name) if batchnorm else name] = variable
    return found


def drawn(model: Any) -> dict[str, dict[str, Tensor]]:
    """Fresh values of all variables by part and name, as their initializers draw them from torch's generator."""
    values: dict[str, dict[str, Tensor]] = {}
    with architecture_only():
        for part, layer in leaves(model):
            for name, variable in variables_of(layer).items():
                start = variable._initializer
                if hasattr(start, "seed"):  # each would draw the same numbers for ever
                    start.seed = int(torch.randint(2**31 - 1, ()))
                value = cast("Tensor", start(variable.shape, dtype=variable.dtype))
                values.setdefault(part, {})[name] = value.detach().clone()
    return values


def parts_of(model: Any, values: Mapping[str, Mapping[str, Tensor]]) -> dict[str, nn.Module]:
    """A torch module for every layer that holds anything.

    Parameters
    ----------
    values
        By part and name, as :func:`drawn` gives them.
    """
    parts: dict[str, nn.Module] = {}
    for part, layer in leaves(model):
        names = variables_of(layer)
        if not names:
            continue
        learning = {id(variable) for variable in layer.trainable_weights}
        learnt = [name for name, variable in names.items() if id(variable) in learning]
        if type(layer).__name__ == "BatchNormalization" and "running_mean" in names:
            parts[part] = Statistics(values[part], learnt, float(layer.epsilon), 1 - float(layer.momentum))
        else:
            parts[part] = Part(values[part], learnt)
    return parts
