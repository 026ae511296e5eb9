"""Networks of transformers from cleaned configurations, untrained or filled with a checkpoint's weights.

Transformers builds them and knows the older names of their weights; it is given tensors, never a
place to load from, and what it leaves open is an error here.
"""

from __future__ import annotations

import contextlib
import copy
import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from graft.errors import WeightsError
from graft.nn.hub.config import clean, modality_of
from graft.nn.initialise import seeded
from graft.nn.undrawn import check_finite

__all__ = ["base_of", "filled", "lacks_pooler", "stages_of", "untrained", "without"]

_MOST_WEIGHTS = 50 * 10**9
_SLACK = 2_000_000
"""Parameters that a network may have beyond twice what its file holds, before the file is said not to fit."""

# Buffers that older versions of transformers kept in checkpoints.
_BUFFERS = re.compile(
    r"(^|\.)(position_ids|token_type_ids|masked_bias|inv_freq|num_batches_tracked|relative_position_index)$"
    r"|\.(attn|attention)\.(attention\.)?bias$"
)
_POOLED = frozenset({"beit", "data2vec-vision", "swin", "swinv2", "focalnet"})
"""Values of ``model_type`` whose pooler belongs to their features, and can be left out."""

_TOWERS = {"clip_vision_model": "CLIP", "siglip_vision_model": "Siglip"}
"""Towers whose classifiers are built around networks of two, of which they use one."""
_MAPPINGS = {
    "text": "MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING",
    "image": "MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING",
    "audio": "MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING",
}
"""Where transformers lists its classifiers."""

_BUILD_ERRORS = (TypeError, ValueError, LookupError, AttributeError, RuntimeError, ArithmeticError, AssertionError)


def untrained(config: Mapping[str, Any], whole: bool = False, seed: int = 0) -> nn.Module:
    """The transformers module that a configuration describes, always with the same random weights.

    Parameters
    ----------
    whole
        With the checkpoint's own classifier; else the bare encoder, without the pooler that
        pre-training used where the architecture can do without.

    Raises
    ------
    WeightsError
        Where transformers refuses the configuration.
    """
    with _refusals(config), _limited(_MOST_WEIGHTS), seeded(seed):
        build, settings = _class(config, whole)
        return cast("nn.Module", build(settings, **_options(build, config))).float().train()


def filled(
    config: Mapping[str, Any], state: Mapping[str, Tensor], beside: Sequence[str] = (), whole: bool = False
) -> tuple[nn.Module, tuple[str, ...]]:
    """The module that a configuration describes, with the weights of ``state``, in float32.

    Parameters
    ----------
    beside
        First parts of names that a checkpoint may carry beside the network.

    Returns
    -------
    module, left
        ``left`` has the first parts of the names that nothing here has a place for.

    Raises
    ------
    WeightsError
        Where a weight is missing, unknown, of another shape or not finite, or the configuration is refused.
    """
    held = sum(value.numel() for value in state.values())
    with _refusals(config), _limited(2 * held + _SLACK), _quiet(), seeded(0):
        build, settings = _class(config, whole)
        module, info = build.from_pretrained(
            None,
            config=settings,
            state_dict=dict(state),
            dtype=torch.float32,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            **_options(build, config),
        )
    prefix = f"{build.base_model_prefix}."
    extra = [name.removeprefix(prefix) for name in info["unexpected_keys"]]
    left = [name for name in extra if not _BUFFERS.search(name)]
    unknown = [name for name in left if name not in beside and not name.startswith(tuple(f"{a}." for a in beside))]
    missing = [name for name in info["missing_keys"] if not _BUFFERS.search(name)]
    if missing or unknown or info["mismatched_keys"]:
        raise WeightsError(_explain(missing, unknown, sorted(info["mismatched_keys"])))
    check_finite(module, "the checkpoint")
    return module.train(), tuple(sorted({name.partition(".")[0] for name in left}))


def base_of(whole: nn.Module) -> nn.Module:
    """The encoder inside a network with a classifier."""
    named: Any = whole
    for name in (named.base_model_prefix, "vision_model", "encoder"):
        if isinstance(found := getattr(whole, name, None), nn.Module):
            return found
    return whole


def without(module: nn.Module, part: str) -> nn.Module:
    """``module`` without one of its parts; the others are shared, and ``module`` itself stays whole."""
    if getattr(module, part, None) is None:
        return module
    bare = copy.copy(module)
    bare._modules = {name: held for name, held in module._modules.items() if name != part}
    bare._modules[part] = None
    return bare


def lacks_pooler(config: Mapping[str, Any]) -> bool:
    """Whether a checkpoint comes straight from guessing hidden patches, which trains no pooler."""
    named = [str(name) for name in config.get("architectures") or ()]
    masked = any(name.endswith("ForMaskedImageModeling") for name in named)
    return masked or (config["model_type"] == "data2vec-vision" and "Data2VecVisionModel" in named)


def stages_of(module: nn.Module, prefix: str = "") -> tuple[str, ...]:
    """Prefixes of all parameters' names from input to output; lists of layers are opened."""
    stages = [prefix + name for name, _ in module.named_parameters(recurse=False)]
    last: list[str] = []
    for name, child in module.named_children():
        if not any(True for _ in child.parameters()):
            continue
        if type(child) is nn.ModuleList:  # what weight normalisation adds is one too, by inheritance
            found = [f"{prefix}{name}.{number}" for number in range(len(child))]
        elif any(type(part) is nn.ModuleList for part in child.modules()):
            found = list(stages_of(child, f"{prefix}{name}."))
        else:
            found = [prefix + name]
        # Some networks name what they end with before their layers.
        (last if name.startswith(("final", "pooler", "project_out")) else stages).extend(found)
    return (*stages, *last)


def _class(config: Mapping[str, Any], whole: bool) -> tuple[Any, Any]:
    """The class that transformers builds for a configuration, and its settings."""
    import transformers
    from transformers import AutoConfig

    described = clean(config)
    kind = described.pop("model_type")
    settings = AutoConfig.for_model(kind, **described)
    build: Any
    if whole:
        settings, build = _classifier(settings, described, modality_of(config))
    elif kind == "whisper":
        from transformers.models.whisper.modeling_whisper import WhisperEncoder

        build = WhisperEncoder
    else:
        build = transformers.MODEL_MAPPING[type(settings)]
    settings.use_cache = False
    settings._attn_implementation = "sdpa" if build._supports_sdpa else "eager"
    return build, settings


def _classifier(settings: Any, described: Mapping[str, Any], modality: str) -> tuple[Any, Any]:
    import transformers

    if tower := _TOWERS.get(settings.model_type):
        around = {name: described[name] for name in ("id2label", "num_labels") if name in described}
        outer = getattr(transformers, f"{tower}Config")(vision_config=settings.to_dict(), **around)
        return outer, getattr(transformers, f"{tower}ForImageClassification")
    teacher = [name for name in described.get("architectures") or () if str(name).endswith("WithTeacher")]
    if settings.model_type == "deit" and teacher:
        return settings, transformers.DeiTForImageClassificationWithTeacher
    build = getattr(transformers, _MAPPINGS[modality])[type(settings)]
    return settings, build[0] if isinstance(build, tuple) else build


def _options(build: Any, config: Mapping[str, Any]) -> dict[str, Any]:
    """Without a pooler where the features do not come from it."""
    if "add_pooling_layer" not in inspect.signature(build).parameters:
        return {}
    return {"add_pooling_layer": config["model_type"] in _POOLED and not lacks_pooler(config)}


@contextlib.contextmanager
def _refusals(config: Mapping[str, Any]) -> Iterator[None]:
    from huggingface_hub.errors import StrictDataclassError

    try:
        yield
    except WeightsError:
        raise
    except (StrictDataclassError, *_BUILD_ERRORS) as exc:
        reason = (str(exc).splitlines() or [type(exc).__name__])[0].rstrip(".")
        raise WeightsError(f"config.json describes no {config.get('model_type')} that can be built: {reason}.") from exc


@contextlib.contextmanager
def _limited(most: int) -> Iterator[None]:
    """Stop a network that grows beyond ``most`` parameters, before memory is filled with it."""
    count = 0

    def measure(module: nn.Module, name: str, value: nn.Parameter | None) -> None:
        nonlocal count
        count += 0 if value is None else value.numel()
        if count > most:
            raise WeightsError(
                f"config.json describes a network of more than {most:_} weights, "
                "far more than its file can fill. Fetch it again, or choose another checkpoint."
            )

    handle = register_module_parameter_registration_hook(measure)
    try:
        yield
    finally:
        handle.remove()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """What transformers prints while it loads is said by errors and the card here."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging._tqdm_active
    logging.set_verbosity_error()
    logging._tqdm_active = False
    try:
        yield
    finally:
        logging.set_verbosity(level)
        logging._tqdm_active = bars


def _explain(missing: Sequence[str], unknown: Sequence[str], differ: Sequence[tuple[str, Any, Any]]) -> str:
    count = len(missing) + len(unknown) + len(differ)
    lines = [f"the weights do not fit: {count} {'name does' if count == 1 else 'names do'} not."]
    sides = (
        ("the network needs, the weights lack", "-", missing),
        ("the weights have, the network lacks", "+", unknown),
    )
    for title, sign, names in sides:
        if names:
            lines += [f"{title} ({len(names)}):", *(f"  {sign} {name}" for name in sorted(names)[:20])]
            lines += [f"  {sign} … and {len(names) - 20} more"] if len(names) > 20 else []
    if differ:
        lines.append(f"of another shape ({len(differ)}):")
        lines += [f"  ! {name}: the network {tuple(own)}, the weights {tuple(held)}" for name, held, own in differ[:20]]
    lines.append("config.json and the weights belong to different checkpoints, or one of them is damaged; fetch both.")
    return "\n".join(lines)
