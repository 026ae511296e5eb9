"""Names and options of image networks: what the libraries carry, and what may be said of it.

Options are allow-listed and bounded, because a saved model names them and a saved model is not trusted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from graft.errors import RequestError, UnknownNameError

__all__ = ["check_name", "check_options", "torchvision_entry"]

# fmt: off
_TIMM_OPTIONS = frozenset({
    "act_layer", "bn_eps", "bn_momentum", "class_token", "drop_path_rate", "drop_rate", "dynamic_img_size",
    "global_pool", "img_size", "init_values", "norm_layer", "num_classes", "pad_type", "proj_drop_rate",
    "reg_tokens", "width",
})
# fmt: on
_TORCHVISION_OPTIONS = frozenset(["dropout", "num_classes", "stochastic_depth_prob"])

# How large a number in an option may be: far above what networks have, and what this machine can build.
_MOST = {"num_classes": 200_000, "img_size": 2048}
_MOST_OTHERS = 1024


def check_name(name: str) -> None:
    """Whether one of the libraries carries the architecture, and the tag where there is one.

    Raises
    ------
    UnknownNameError
        Suggests the nearest names.
    """
    library, _, model = name.partition("/")
    bare, _, tag = model.partition(".")
    if library == "timm":
        import timm

        if not timm.is_model(bare) or bare in (gone := timm.models.get_deprecated_models()):
            current = None if not timm.is_model(bare) else gone[bare]
            raise UnknownNameError("timm architecture", bare, [current] if current else timm.list_models())
        tags = timm.models.get_arch_pretrained_cfgs(bare) if tag else {}
        if tag and model not in tags:
            raise UnknownNameError(f"tag of timm's {bare}", model, tags)
    elif library == "torchvision":
        from torchvision import models

        if bare not in (known := models.list_models(module=models)):
            raise UnknownNameError("torchvision architecture", bare, known)
        entries = models.get_model_weights(bare).__members__
        if tag and tag not in entries:
            raise UnknownNameError(f"tag of torchvision's {bare}", model, [f"{bare}.{each}" for each in entries])
    else:
        raise UnknownNameError("library of architectures", library, ("timm", "torchvision"))


def check_options(name: str, options: Mapping[str, Any]) -> None:
    """Whether the options of an architecture are among those that may be given, and of a size that can be.

    Raises
    ------
    RequestError
        Names those that are not.
    """
    known = _TIMM_OPTIONS if name.startswith("timm/") else _TORCHVISION_OPTIONS
    if unknown := sorted(options.keys() - known):
        raise RequestError(
            f"{name} does not take the option {', '.join(unknown)}; it may take {', '.join(sorted(known))}."
        )
    if options.get("global_pool", "avg") == "":
        raise RequestError("global_pool is empty, but features must be pooled; leave it out, or say 'avg' or 'token'.")
    for key, value in options.items():
        most = _MOST.get(key, _MOST_OTHERS)
        numbers = value if isinstance(value, list | tuple) else [value]
        if any(isinstance(each, int | float) and not abs(each) <= most for each in numbers):
            raise RequestError(f"the option {key}={value!r} of {name} is beyond what can be built; the most is {most}.")


def torchvision_entry(model: str) -> Any:
    """The weights that ``<name>`` (its default ones) or ``<name>.<tag>`` means in torchvision's table."""
    from torchvision import models

    bare, _, tag = model.partition(".")
    return models.get_model_weights(bare)[tag or "DEFAULT"]
