"""A text network from its recipe: built, filled with the checkpoint's weights, and described."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from graft.contracts import Backbone, Card, Preprocess
from graft.nn.encoder import Finish, OwnOutputs, TextEncoder
from graft.nn.hub.config import TEXT_DECODERS
from graft.nn.hub.folder import hold, tensors
from graft.nn.hub.network import base_of, filled, stages_of, untrained, without
from graft.nn.hub.recipe import ACTIVATIONS, Recipe, weight_files
from graft.nn.initialise import seeded
from graft.nn.state_files import read_state
from graft.nn.weights import match

__all__ = ["backbone"]

# What checkpoints carry beside the network: heads of pre-training and of earlier tasks.
# fmt: off
_BESIDE = (
    "pooler", "cls", "lm_head", "head", "classifier", "pre_classifier", "qa_outputs", "predictions",
    "sop_classifier", "decoder", "score", "lm_predictions", "mask_predictions", "discriminator_predictions",
    "generator_predictions", "generator_lm_head", "vocab_transform", "vocab_layer_norm", "vocab_projector",
    "embed_out", "output_projection",
)
# fmt: on

# The classifiers on the first token's vector: names of their two layers, and what is between them.
_HEADS = {
    "bert": ("pooler.dense", "Tanh", "classifier"),
    "distilbert": ("pre_classifier", "ReLU", "classifier"),
    **dict.fromkeys(("roberta", "xlm-roberta", "camembert"), ("classifier.dense", "Tanh", "classifier.out_proj")),
}


_AT_ONCE = 64
"""Texts that are read together as names."""


def backbone(
    recipe: Recipe,
    preprocess: Preprocess,
    *,
    name: str,
    folder: Path | None = None,
    weights: bool = True,
    revision: str | None = None,
) -> Backbone:
    """Build the network, and fill it with the weights in ``folder``.

    Parameters
    ----------
    name, revision
        For the card; without a revision, the weights' own digest names them.
    folder
        The checkpoint; ``None`` where only the recipe is known.
    weights
        False leaves the network untrained.

    Raises
    ------
    WeightsError
        Where the weights do not fit.
    """
    files = recipe.files()
    finish = _finish(recipe)
    facts: dict[str, Any] = {"pretraining": "none"}
    fingerprint = None
    if folder is not None and weights:
        sources = weight_files(folder)
        held = hold(folder, sources, revision)
        plain = len(sources) - len(recipe.dense)
        whole, left = filled(recipe.config, tensors(sources[:plain]), _BESIDE, bool(recipe.outputs))
        for number, path in enumerate(sources[plain:]):
            _dense(finish, number, path)
        facts = held.facts(left)
        fingerprint = held.fingerprint(files, preprocess.files())
    else:
        whole = untrained(recipe.config, bool(recipe.outputs))
    base, head, outputs = _parts(whole, recipe)
    module = TextEncoder(base, recipe.pooling, finish)
    return Backbone(
        module=module,
        dim=_width(module, recipe),
        preprocess=preprocess,
        stages=(*stages_of(base, "transformer."), *(["finish"] if any(True for _ in finish.parameters()) else [])),
        card=Card(
            name=name,
            modality="text",
            parameters=sum(value.numel() for value in module.parameters()),
            outputs=recipe.outputs,
            **facts,
        ),
        head=head,
        outputs=outputs,
        files={**files, **preprocess.files()},
        fingerprint=fingerprint,
        words=partial(_read, module, preprocess),
    )


def _read(module: nn.Module, preprocess: Preprocess, texts: Sequence[str]) -> Tensor:
    """``(c, d)``: the features of a few texts, such as the names of classes."""
    before = [(part, part.training) for part in module.modules()]
    device = next(module.parameters()).device
    try:
        with torch.no_grad():
            found = []
            for start in range(0, len(texts), _AT_ONCE):
                batch = preprocess.collate(preprocess.items(list(texts[start : start + _AT_ONCE])))
                given = {name: value.to(device) for name, value in cast("dict[str, Tensor]", batch).items()}
                found.append(module.eval()(given).float().cpu())
            return torch.cat(found)
    finally:
        for part, mode in before:
            part.training = mode


def _finish(recipe: Recipe) -> Finish:
    layers: list[nn.Module] = []
    with seeded(0):
        for stated in recipe.dense:
            layers += [nn.Linear(stated["in"], stated["out"], bias=stated["bias"]), _activation(stated["activation"])]
    return Finish(nn.Sequential(*layers) if layers else None, recipe.normalise)


def _activation(name: str) -> nn.Module:
    made: nn.Module = getattr(nn, ACTIVATIONS[ACTIVATIONS.index(name)])()
    return made


def _dense(finish: Finish, number: int, path: Path) -> None:
    linear = finish.after[2 * number]  # type: ignore[index]
    match(linear, {name.removeprefix("linear."): value for name, value in read_state(path).items()})


def _parts(whole: nn.Module, recipe: Recipe) -> tuple[nn.Module, nn.Module | None, nn.Module | None]:
    """The encoder, its head where that is a layer on the features, else its outputs."""
    if not recipe.outputs:
        return whole, None, None
    kind = recipe.config["model_type"]
    base = base_of(whole)
    bare = base if kind == "squeezebert" else without(base, "pooler")  # which cannot do without
    if kind in TEXT_DECODERS and recipe.pooling == "lasttoken":
        return bare, whole.get_submodule("score"), None
    if kind in _HEADS and recipe.pooling == "cls":
        first, between, last = _HEADS[kind]
        layer = base.get_submodule(first) if kind == "bert" else whole.get_submodule(first)
        return bare, nn.Sequential(layer, _activation(between), whole.get_submodule(last)), None
    return bare, None, OwnOutputs(whole, "lasttoken" if kind in TEXT_DECODERS else None)


def _width(module: TextEncoder, recipe: Recipe) -> int:
    if recipe.dense:
        return int(recipe.dense[-1]["out"])
    config: Any = module.transformer.config
    return int(getattr(config, "word_embed_proj_dim", None) or config.hidden_size)
