"""An image encoder of transformers from its cleaned configuration: built, filled with weights, and described."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast

from torch import Tensor, nn

from graft.contracts import Backbone, Card, Preprocess
from graft.errors import WeightsError
from graft.nn.architectures import Images, Vision
from graft.nn.hub.config import classes
from graft.nn.hub.folder import hold, tensors, weights_in
from graft.nn.hub.network import base_of, filled, lacks_pooler, stages_of, untrained, without

__all__ = ["Pooled", "image_backbone"]

_FILE = "encoder.json"

# What checkpoints carry beside the encoder: heads of pre-training, and the tower that reads text.
# fmt: off
_BESIDE = (
    "pooler", "classifier", "cls_classifier", "distillation_classifier", "head", "lm_head", "decoder", "layernorm",
    "embeddings.mask_token", "text_model", "text_projection", "visual_projection", "logit_scale", "logit_bias",
)
# fmt: on
_CLASSIFIERS = ("ForImageClassification", "ForImageClassificationWithTeacher")
_BY_FIRST = frozenset({"deit", "vit", "vit_msn"})
"""Values of ``model_type`` whose features are the vector of the first token; the others pool themselves."""
_OTHERWISE = frozenset({"clip_vision_model", "dinov2", "dinov2_with_registers", "siglip_vision_model"})
"""Values of ``model_type`` whose classifiers look at more, or at other vectors, than the features."""

How = Literal["pooler", "first", "mean"]


class Pooled(nn.Module):
    """Normalised images ``(n, 3, h, w)`` → features ``(n, d)``.

    Parameters
    ----------
    transformer
        An image encoder of transformers.
    how
        ``pooler`` takes the vector that it pools itself, ``first`` that of the first token, ``mean``
        the mean over the others.
    interpolated
        Whether its positions are stretched to images of another size than it was made for.
    projection
        What the pooled vector goes through to stand beside those of texts; ``None`` for nothing.
    """

    def __init__(
        self,
        transformer: nn.Module,
        how: How = "pooler",
        interpolated: bool = False,
        projection: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.transformer = transformer
        self.how = how
        self.interpolated = interpolated
        if projection is not None:
            self.projection = projection

    def forward(self, pixels: Tensor) -> Tensor:
        given: Any = self.transformer(pixels, **({"interpolate_pos_encoding": True} if self.interpolated else {}))
        if self.how == "first":
            return cast("Tensor", given.last_hidden_state[:, 0])
        if self.how == "mean":
            return cast("Tensor", given.last_hidden_state[:, 1:].mean(1))
        pooled = given.pooler_output.flatten(1)
        return cast("Tensor", self.projection(pooled) if hasattr(self, "projection") else pooled)


class _Logits(nn.Module):
    """Normalised images → the checkpoint's own outputs ``(n, c)``."""

    def __init__(self, whole: nn.Module, interpolated: bool) -> None:
        super().__init__()
        self.whole = whole
        self.interpolated = interpolated

    def forward(self, pixels: Tensor) -> Tensor:
        whole: Any = self.whole
        return cast("Tensor", whole(pixels, **({"interpolate_pos_encoding": True} if self.interpolated else {})).logits)


def image_backbone(
    config: Mapping[str, Any],
    preprocess: Preprocess,
    images: Images,
    *,
    name: str,
    folder: Path | None = None,
    weights: bool = True,
    revision: str | None = None,
) -> Backbone:
    """Build the encoder, and fill it with the weights in ``folder``.

    Parameters
    ----------
    config
        As :func:`graft.nn.hub.config.clean` gives it.
    images
        What the preprocessing makes.
    name, revision
        For the card; without a revision, the weights' own digest names them.
    folder
        The checkpoint; ``None`` where only the configuration is known.
    weights
        False leaves the encoder untrained.

    Raises
    ------
    WeightsError
        Where the weights do not fit, or the encoder takes no RGB images.
    """
    if (channels := config.get("num_channels", 3)) != 3:
        raise WeightsError(f"the checkpoint reads images of {channels} channels; Graft gives three, RGB.")
    files = {_FILE: json.dumps({"config": config}, indent=1, sort_keys=True).encode(), **preprocess.files()}
    outputs = classes(config, *_CLASSIFIERS)
    facts: dict[str, Any] = {"pretraining": "none"}
    fingerprint = None
    if folder is not None and weights:
        sources = weights_in(folder)
        held = hold(folder, sources, revision)
        whole, left = filled(config, tensors(sources), _BESIDE, bool(outputs))
        facts, fingerprint = held.facts(left), held.fingerprint(files)
    else:
        whole = untrained(config, bool(outputs))
    network = _pooled(whole, config, images)
    again = partial(_again, dict(config), images)
    module = Vision(network, images.mean, images.std, again)
    head, own = None, None
    if outputs and config["model_type"] not in _OTHERWISE and hasattr(whole, "classifier"):
        head = whole.get_submodule("classifier")
    elif outputs:
        own = Vision(_Logits(whole, network.interpolated), images.mean, images.std, again)
    return Backbone(
        module=module,
        dim=_width(network.transformer),
        preprocess=preprocess,
        stages=stages_of(network.transformer, "network.transformer."),
        card=Card(
            name=name,
            modality="image",
            parameters=sum(value.numel() for value in module.parameters()),
            outputs=outputs,
            **facts,
        ),
        head=head,
        outputs=own,
        files=files,
        fingerprint=fingerprint,
    )


def _pooled(whole: nn.Module, config: Mapping[str, Any], images: Images) -> Pooled:
    kind = str(config["model_type"])
    base: Any = base_of(whole) if classes(config, *_CLASSIFIERS) else whole
    how: How = "first" if kind in _BY_FIRST else "mean" if lacks_pooler(config) else "pooler"
    made = getattr(base.config, "image_size", None)
    made = (made, made) if isinstance(made, int) else made and tuple(made)
    stretches = "interpolate_pos_encoding" in inspect.signature(type(base).forward).parameters
    return Pooled(
        base if how == "pooler" else without(base, "pooler"), how, bool(stretches and made and made != images.size)
    )


def _again(config: Mapping[str, Any], images: Images) -> nn.Module:
    whole = untrained(config, bool(classes(config, *_CLASSIFIERS)))
    return _pooled(whole, config, images)


def _width(transformer: nn.Module) -> int:
    held: Any = transformer
    sizes = getattr(held.config, "hidden_sizes", None)
    last = sizes[-1] if isinstance(sizes, list | tuple) else held.config.hidden_size
    return int(getattr(held, "num_features", None) or last)
