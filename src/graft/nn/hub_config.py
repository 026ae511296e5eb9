"""What a hub folder's ``config.json`` may decide: sizes and names of an architecture that we know, nothing else.

Configurations come from strangers, and libraries have followed them into running code
(CVE-2026-4372: a key that fetched a kernel; CVE-2026-5241: one that switched remote code on).  So
a configuration is parsed here, its architecture must be on the list below, and keys that could
name code are dropped before transformers sees it.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from graft.errors import UnknownNameError, WeightsError
from graft.nn.initialise import seeded

__all__ = ["TEXT_ENCODERS", "clean", "is_size", "read_json", "text_encoder"]

TEXT_ENCODERS = frozenset(
    {
        "albert",
        "bert",
        "big_bird",
        "camembert",
        "convbert",
        "deberta",
        "deberta-v2",
        "distilbert",
        "electra",
        "ernie",
        "megatron-bert",
        "mobilebert",
        "modernbert",
        "mpnet",
        "nomic_bert",
        "nystromformer",
        "rembert",
        "roberta",
        "roformer",
        "squeezebert",
        "xlm-roberta",
    }
)
"""Values of ``model_type`` that are built: encoders whose code is part of transformers itself."""

_DROPPED = {"auto_map", "trust_remote_code", "attn_implementation", "torch_dtype", "dtype", "transformers_version"}
_DROPPED_PARTS = ("kernel", "quantization", "custom_", "remote_code")
_FIXED = {"is_decoder": False, "add_cross_attention": False, "use_cache": False, "tie_word_embeddings": False}
_LARGEST = 64 * 1024 * 1024

_MOST = {
    **dict.fromkeys(("hidden_size", "dim", "embedding_size", "d_embed"), 65_536),
    **dict.fromkeys(("intermediate_size", "hidden_dim", "type_vocab_size", "num_labels"), 1_000_000),
    **dict.fromkeys(("num_hidden_layers", "n_layers"), 1_000),
    **dict.fromkeys(("num_attention_heads", "n_heads"), 65_536),
    **dict.fromkeys(("vocab_size", "max_position_embeddings"), 10_000_000),
}
"""Sizes that a configuration may ask for, far above any encoder's: building a larger one takes the machine down."""


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file of a checkpoint.

    Raises
    ------
    WeightsError
        Where it is missing, damaged, no object, or absurdly large.
    """
    try:
        if path.stat().st_size > _LARGEST:
            raise WeightsError(f"{path} is larger than {_LARGEST >> 20} MB; that is no configuration.")
        held = json.loads(path.read_bytes())
    except FileNotFoundError as exc:
        raise WeightsError(f"{path} is missing; expected a folder as transformers saves it.") from exc
    except (OSError, ValueError, RecursionError) as exc:
        raise WeightsError(f"{path} is damaged: {exc}. Fetch it again.") from exc
    if not isinstance(held, dict):
        raise WeightsError(f"{path} holds {type(held).__name__}; expected a JSON object.")
    return held


def clean(config: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a configuration that describes an architecture.

    Raises
    ------
    UnknownNameError
        Where its ``model_type`` is not one that is built.
    WeightsError
        Where a size is no whole number, or absurdly large.
    """
    kind = config.get("model_type")
    if not isinstance(kind, str) or kind not in TEXT_ENCODERS:
        raise UnknownNameError("text encoder that Graft builds, of model_type", str(kind), TEXT_ENCODERS)
    for name, most in _MOST.items():
        value = config.get(name)
        if value is not None and not is_size(value, most):
            raise WeightsError(
                f"config.json describes no {kind} that can be built: {name} is {value!r}; "
                f"expected a whole number up to {most:_}. Fetch it again, or choose another checkpoint."
            )
    kept: dict[str, Any] = _harmless(config)
    return {**kept, **{name: value for name, value in _FIXED.items() if name in kept}}


def is_size(value: object, most: int) -> bool:
    """Whether ``value`` is a whole number from 0 to ``most``."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most


def _harmless(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _harmless(held) for name, held in value.items() if _allowed(str(name))}
    return [_harmless(held) for held in value] if isinstance(value, list) else value


def _allowed(name: str) -> bool:
    known = name in ("embedding_kernel_size", "conv_kernel_size", "vocab_size")  # plain numbers of ConvBERT and kin
    return known or not (name.startswith("_") or name in _DROPPED or any(part in name for part in _DROPPED_PARTS))


def text_encoder(config: Mapping[str, Any], seed: int = 0) -> nn.Module:
    """The untrained transformers module that a configuration describes, without the pooler that pre-training used.

    Raises
    ------
    WeightsError
        Where transformers refuses the configuration.
    """
    from huggingface_hub.errors import StrictDataclassError
    from transformers import MODEL_MAPPING, AutoConfig

    described = dict(clean(config))
    try:
        settings = AutoConfig.for_model(described.pop("model_type"), **described)
        build = MODEL_MAPPING[type(settings)]
        options = {"add_pooling_layer": False} if "add_pooling_layer" in inspect.signature(build).parameters else {}
        settings._attn_implementation = "sdpa" if build._supports_sdpa else "eager"
        with seeded(seed):
            module: nn.Module = build(settings, **options)
    except (
        StrictDataclassError,
        TypeError,
        ValueError,
        LookupError,
        AttributeError,
        RuntimeError,
        ArithmeticError,
    ) as exc:
        raise WeightsError(f"config.json describes no {config['model_type']} that can be built: {exc}.") from exc
    return module.float()
