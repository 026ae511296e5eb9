"""Networks of two towers, for images and for texts, whose features are in one space."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from graft.contracts import Backbone, Preprocess
from graft.errors import BundleError, RequestError, WeightsError
from graft.nn.architectures import Vision
from graft.nn.ceiling import ceiling
from graft.nn.hub.config import is_size, text_tower
from graft.nn.hub.folder import tensors, weights_in
from graft.nn.hub.images import Pooled
from graft.nn.initialise import seeded
from graft.nn.weights import match
from graft.storage import digest

__all__ = ["joined", "reach", "rejoined"]

_FILE = "joint.json"
_AT_ONCE = 64
_WIDEST = 65_536
_BUFFER = "position_ids"
_PROJECTED = "clip"
_USUAL = 512
_SLACK = 8 << 20
"""Bytes that a tower may take beyond twice what its file holds."""


def reach(config: Mapping[str, Any]) -> tuple[int, int]:
    """How many tokens the tower for texts takes, and the id that fills up shorter rows.

    Raises
    ------
    RequestError
        Where the checkpoint has no tower for texts.
    WeightsError
        Where it is none that can be built.
    """
    if config.get("model_type") not in ("clip", "siglip"):
        raise RequestError(
            f"joint is for networks of two towers, clip or siglip, and this is a {config.get('model_type')}; "
            "leave joint out."
        )
    settings, _ = _described(config)
    pad = settings.pad_token_id
    return int(settings.max_position_embeddings), int(pad) if is_size(pad, settings.vocab_size - 1) else 0


def joined(backbone: Backbone, config: Mapping[str, Any], folder: Path, tokens: Preprocess | None) -> Backbone:
    """The tower for images with features in the space of texts, and the other one to read words by.

    Parameters
    ----------
    backbone
        Of the tower for images.
    config
        The checkpoint's own configuration.
    folder
        The checkpoint.
    tokens
        From texts to tokens; ``None`` leaves both towers untrained.

    Raises
    ------
    WeightsError
        Where the weights do not fit.
    """
    width = int(config.get("projection_dim") or _USUAL) if config["model_type"] == _PROJECTED else 0
    found = _projected(backbone, width)
    if tokens is None:
        return replace(found, words=_gone)
    state = tensors(weights_in(folder))
    if width:
        held = state.get("visual_projection.weight")
        if held is None:
            raise WeightsError(f"{folder} has no visual_projection.weight, which leads into the space of texts.")
        match(cast("Any", found.module).network.projection, {"weight": held})
    own = {name: value for name, value in state.items() if name.startswith(("text_model.", "text_projection."))}
    tower = _tower(config, {name: value for name, value in own.items() if not name.endswith(_BUFFER)})
    return replace(found, words=partial(_read, tower, tokens, None if width else reach(config)))


def rejoined(backbone: Backbone, files: Mapping[str, bytes]) -> Backbone:
    """What :func:`joined` made, from the files of a saved model: without the tower for texts."""
    if _FILE not in files:
        return backbone
    try:
        width = json.loads(files[_FILE])["width"]
        if not is_size(width, _WIDEST):
            raise ValueError(f"the width is {width!r}")
    except (KeyError, TypeError, ValueError) as exc:
        raise BundleError(f"{_FILE} is missing or damaged ({exc!r}); save or fetch the model again.") from exc
    return replace(_projected(backbone, width), words=_gone)


def _projected(backbone: Backbone, width: int) -> Backbone:
    files = {**backbone.files, _FILE: json.dumps({"width": width}).encode()}
    print_ = None if backbone.fingerprint is None else digest("joint", backbone.fingerprint)
    found = replace(backbone, files=files, fingerprint=print_, head=None, outputs=None)
    if not width:
        return found
    vision = cast("Vision", backbone.module)
    module = Vision(
        _with_projection(cast("Pooled", vision.network), width),
        vision.mean,
        vision.std,
        lambda: _with_projection(cast("Pooled", vision.again()), width),
    )
    card = replace(backbone.card, parameters=sum(value.numel() for value in module.parameters()))
    return replace(found, module=module, dim=width, stages=(*backbone.stages, "network.projection"), card=card)


def _with_projection(pooled: Pooled, width: int) -> Pooled:
    hidden = cast("Any", pooled.transformer).config.hidden_size
    with seeded(0):
        return Pooled(pooled.transformer, pooled.how, pooled.interpolated, nn.Linear(hidden, width, bias=False))


def _described(config: Mapping[str, Any]) -> tuple[Any, Any]:
    """The settings of the tower for texts, as transformers has them, and the class to build."""
    import transformers

    build: Any
    if config["model_type"] == _PROJECTED:
        kind, build = transformers.CLIPTextConfig, transformers.CLIPTextModelWithProjection
    else:
        kind, build = transformers.SiglipTextConfig, transformers.SiglipTextModel
    with _refusals():
        return kind(**text_tower(config)), build


def _tower(config: Mapping[str, Any], state: Mapping[str, Tensor]) -> nn.Module:
    settings, build = _described(config)
    with _refusals(), ceiling(2 * sum(4 * value.numel() for value in state.values()) + _SLACK), seeded(0):
        tower: nn.Module = build(settings).float()
    match(tower, state)
    return tower.eval().requires_grad_(False)


@contextlib.contextmanager
def _refusals() -> Iterator[None]:
    from huggingface_hub.errors import StrictDataclassError

    try:
        yield
    except WeightsError:
        raise
    except (StrictDataclassError, TypeError, ValueError, LookupError, RuntimeError, ArithmeticError) as exc:
        reason = (str(exc).splitlines() or [type(exc).__name__])[0].rstrip(".")
        raise WeightsError(f"config.json describes no tower for texts that can be built: {reason}.") from exc


def _read(tower: nn.Module, tokens: Preprocess, filled: tuple[int, int] | None, texts: Sequence[str]) -> Tensor:
    """``(c, d)``; ``filled``, of a tower trained on rows filled up to its last place: that place, and with what."""
    found = []
    with torch.no_grad():
        for start in range(0, len(texts), _AT_ONCE):
            batch = cast("dict[str, Tensor]", tokens.collate(tokens.items(list(texts[start : start + _AT_ONCE]))))
            if filled is not None:
                ids, (longest, pad) = batch["input_ids"], filled
                batch = {"input_ids": nn.functional.pad(ids, (0, longest - ids.shape[1]), value=pad)}
            given: Any = tower(**batch)
            found.append(given.text_embeds if filled is None else given.pooler_output)
    return torch.cat(found).float()


def _gone(texts: Sequence[str]) -> Tensor:
    raise RequestError("a saved model, and one without weights, carry no tower for texts; load the checkpoint itself.")
