"""Image encoders of transformers as feature maps: the grid of a transformer's patches, or the stages of a pyramid."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from graft.contracts import Backbone, FeatureMaps
from graft.errors import RequestError
from graft.nn.architectures import Vision

__all__ = ["image_maps"]

_STAGED = frozenset({"convnext", "convnextv2", "focalnet", "regnet", "resnet", "swin", "swinv2"})
"""Values of ``model_type`` that narrow an image stage by stage."""
_UNMAPPED = frozenset({"dinov3_convnext"})


class _Maps(nn.Module):
    """Normalised images → maps, finest first.

    Parameters
    ----------
    transformer
        An image encoder of transformers.
    patch
        Edge of a patch in pixels; ``None`` takes the stages.
    interpolated
        Whether positions are stretched to images of another size.
    """

    def __init__(self, transformer: nn.Module, patch: int | None, interpolated: bool) -> None:
        super().__init__()
        self.transformer = transformer
        self.patch = patch
        self.interpolated = interpolated

    def forward(self, pixels: Tensor) -> list[Tensor]:
        network: Any = self.transformer
        if self.patch is None:
            given = network(pixels, output_hidden_states=True)
            held = getattr(given, "reshaped_hidden_states", None) or given.hidden_states
            # The first is the image in patches; of several at one resolution, the last has seen most.
            return list({each.shape[-1]: each for each in held[1:]}.values())
        given = network(pixels, **({"interpolate_pos_encoding": True} if self.interpolated else {}))
        tall, wide = pixels.shape[2] // self.patch, pixels.shape[3] // self.patch
        places = given.last_hidden_state[:, -tall * wide :]  # before them are tokens of the whole image
        return [places.transpose(1, 2).reshape(len(pixels), -1, tall, wide)]


def image_maps(backbone: Backbone) -> FeatureMaps:
    """The feature maps of what :func:`graft.nn.hub.images.image_backbone` built; weights are shared.

    Raises
    ------
    RequestError
        Where the network has none.
    """
    vision = cast("Vision", backbone.module)
    network: Any = vision.network
    config = network.transformer.config
    if config.model_type in _UNMAPPED:
        raise RequestError(f"{backbone.card.name} is a {config.model_type}, of which Graft takes no feature maps.")
    patch = None if config.model_type in _STAGED else int(config.patch_size)
    maps = _Maps(network.transformer, patch, network.interpolated)
    module = Vision(maps, vision.mean, vision.std, _Again(vision, patch, network.interpolated))
    height, width = (int(edge) for edge in backbone.preprocess.size)  # type: ignore[attr-defined]
    with torch.inference_mode():
        found = module.eval()(torch.zeros(1, 3, height, width, dtype=torch.uint8))
    module.train()
    return FeatureMaps(
        module=module,
        channels=tuple(each.shape[1] for each in found),
        strides=tuple(round(height / each.shape[2]) for each in found),
        preprocess=backbone.preprocess,
        card=backbone.card,
    )


class _Again:
    """Makes the maps' network anew, untrained."""

    def __init__(self, vision: Vision, patch: int | None, interpolated: bool) -> None:
        self.again = vision.again
        self.patch = patch
        self.interpolated = interpolated

    def __call__(self) -> nn.Module:
        made: Any = self.again()
        return _Maps(made.transformer, self.patch, self.interpolated)
