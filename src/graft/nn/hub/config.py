"""What a hub folder's ``config.json`` may decide: sizes and names of an architecture that we know, nothing else.

Configurations come from strangers, and libraries have followed them into running code
(CVE-2026-4372: a key that fetched a kernel; CVE-2026-5241: one that switched remote code on).  So
a configuration is parsed here, its architecture must be on the lists below, and keys that could
name code are dropped before transformers sees it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from graft.errors import UnknownNameError, WeightsError

__all__ = [
    "IMAGE_ENCODERS",
    "MODALITIES",
    "SOUND_ENCODERS",
    "TEXT_DECODERS",
    "TEXT_ENCODERS",
    "classes",
    "clean",
    "is_size",
    "modality_of",
    "read_json",
    "text_tower",
]

# fmt: off
TEXT_ENCODERS = frozenset({
    "albert", "bert", "big_bird", "camembert", "convbert", "deberta", "deberta-v2", "distilbert", "electra",
    "ernie", "megatron-bert", "mobilebert", "modernbert", "mpnet", "nomic_bert", "nystromformer", "rembert",
    "roberta", "roformer", "squeezebert", "xlm-roberta",
})
"""Values of ``model_type`` that are built as text encoders: every token sees every other."""

TEXT_DECODERS = frozenset({
    "biogpt", "bloom", "codegen", "cohere", "falcon", "gemma", "gemma2", "gemma3_text", "gpt2", "gpt_bigcode",
    "gpt_neo", "gpt_neox", "gptj", "granite", "helium", "llama", "mistral", "mpt", "olmo", "olmo2", "opt", "phi",
    "phi3", "qwen2", "qwen3", "smollm3", "stablelm", "starcoder2", "xglm",
})
"""Values of ``model_type`` of language models: a token sees those before it."""

IMAGE_ENCODERS = frozenset({
    "beit", "clip_vision_model", "convnext", "convnextv2", "data2vec-vision", "deit", "dinov2",
    "dinov2_with_registers", "dinov3_convnext", "dinov3_vit", "focalnet", "regnet", "resnet", "siglip_vision_model",
    "swin", "swinv2", "vit", "vit_msn",
})
"""Values of ``model_type`` of image encoders."""

SOUND_ENCODERS = frozenset({
    "audio-spectrogram-transformer", "data2vec-audio", "hubert", "unispeech", "unispeech-sat", "wav2vec2", "wavlm",
    "whisper",
})
"""Values of ``model_type`` of sound encoders."""
# fmt: on

MODALITIES: Mapping[str, frozenset[str]] = {
    "text": TEXT_ENCODERS | TEXT_DECODERS,
    "image": IMAGE_ENCODERS,
    "audio": SOUND_ENCODERS,
}
"""What is built, by what it reads; the code of all of them is part of transformers itself."""

# Networks of two towers, of which the one that sees images is taken.
_TOWERS = {"clip": "clip_vision_model", "siglip": "siglip_vision_model"}

# fmt: off
_DROPPED = {
    "auto_map", "trust_remote_code", "attn_implementation", "experts_implementation", "torch_dtype", "dtype",
    "transformers_version", "transformers_weights", "name_or_path", "task_specific_params", "distributed_config",
    "return_dict", "use_return_dict", "output_hidden_states", "output_attentions", "torchscript",
    "gradient_checkpointing", "pruned_heads",
}
_DROPPED_PARTS = ("kernel", "quantization", "custom_", "remote_code", "fusion")
_PLAIN = {
    "embedding_kernel_size", "conv_kernel", "conv_kernel_size", "kernel_sizes", "vocab_size", "adapter_kernel_size",
    "tdnn_kernel", "conv_pos_kernel_size",
}
"""Plain numbers whose names look like those above."""
# fmt: on

_FIXED = {
    "is_decoder": False,
    "add_cross_attention": False,
    "use_cache": False,
    "tie_word_embeddings": False,
    # Noise on the spectrum while training draws from numpy's global generator, and fails on short clips.
    "apply_spec_augment": False,
    "mask_time_prob": 0.0,
    "mask_feature_prob": 0.0,
}
_LARGEST = 64 * 1024 * 1024

_WIDTH, _WIDE, _DEEP, _LONG = 65_536, 1_000_000, 1_000, 10_000_000
# fmt: off
_MOST = {
    **dict.fromkeys((
        "hidden_size", "hidden_sizes", "dim", "embedding_size", "d_embed", "n_embd", "d_model", "embed_dim", "conv_dim",
        "word_embed_proj_dim", "num_attention_heads", "n_heads", "n_head", "num_heads", "encoder_attention_heads",
        "num_key_value_heads", "head_dim", "image_size", "patch_size", "window_size", "num_channels", "num_mel_bins",
        "max_source_positions", "projection_dim", "num_conv_pos_embeddings", "conv_kernel", "conv_stride",
        "classifier_proj_size",
    ), _WIDTH),
    **dict.fromkeys((
        "intermediate_size", "hidden_dim", "n_inner", "ffn_dim", "ffn_hidden_size", "encoder_ffn_dim",
        "type_vocab_size", "num_labels",
    ), _WIDE),
    **dict.fromkeys((
        "num_hidden_layers", "n_layers", "n_layer", "num_layers", "encoder_layers", "depths", "num_feat_extract_layers",
        "num_register_tokens",
    ), _DEEP),
    **dict.fromkeys(("vocab_size", "max_position_embeddings", "n_positions", "max_seq_len"), _LONG),
}
# fmt: on
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


def modality_of(config: Mapping[str, Any]) -> str:
    """What the network that a configuration describes reads: ``text``, ``image`` or ``audio``.

    Raises
    ------
    UnknownNameError
        Where its ``model_type`` is not one that is built.
    """
    kind = config.get("model_type")
    kind = _TOWERS.get(kind, kind) if isinstance(kind, str) else None
    for modality, kinds in MODALITIES.items():
        if kind in kinds:
            return modality
    known = frozenset(_TOWERS).union(*MODALITIES.values())
    raise UnknownNameError("encoder that Graft builds, of model_type", str(config.get("model_type")), known)


def clean(config: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a configuration that describes an architecture; of two towers, the one for images.

    Raises
    ------
    UnknownNameError
        Where its ``model_type`` is not one that is built.
    WeightsError
        Where a size is no whole number, or absurdly large.
    """
    modality_of(config)
    return _checked(_tower(config))


def text_tower(config: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a configuration of two towers that describes the one for texts; no ``model_type`` is in it.

    Raises
    ------
    WeightsError
        Where there is none, or a size is no whole number, or absurdly large.
    """
    kind = config.get("model_type")
    own = config.get("text_config") or config.get("text_config_dict") or {}
    if kind not in _TOWERS or not isinstance(own, Mapping):
        raise WeightsError(f"config.json describes no tower for texts: {kind!r} with text_config {own!r}.")
    around = {"projection_dim": config["projection_dim"]} if "projection_dim" in config else {}
    own = {name: value for name, value in own.items() if name not in ("id2label", "label2id", "architectures")}
    found = _checked({**own, **around, "model_type": f"{kind}_text_model"})
    del found["model_type"]
    return found


def _checked(config: Mapping[str, Any]) -> dict[str, Any]:
    kind = str(config["model_type"])
    for name, most in _MOST.items():
        value = config.get(name)
        for each in value if isinstance(value, list | tuple) else [] if value is None else [value]:
            if not is_size(each, most):
                raise WeightsError(
                    f"config.json describes no {kind} that can be built: {name} is {value!r}; "
                    f"expected a whole number up to {most:_}. Fetch it again, or choose another checkpoint."
                )
    kept: dict[str, Any] = _harmless(config)
    return {**kept, **{name: value for name, value in _FIXED.items() if name in kept}}


def classes(config: Mapping[str, Any], *suffixes: str) -> int:
    """How many outputs a checkpoint's classifier has; 0 where its class's name ends in none of ``suffixes``."""
    listed, labels = config.get("architectures"), config.get("id2label")
    named = [str(name) for name in listed] if isinstance(listed, list) else []
    if not any(name.endswith(suffixes) for name in named):
        return 0
    return (len(labels) if isinstance(labels, dict) else 0) or int(config.get("num_labels") or 2)


def is_size(value: object, most: int) -> bool:
    """Whether ``value`` is a whole number from 0 to ``most``."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most


def _tower(config: Mapping[str, Any]) -> Mapping[str, Any]:
    kind = config["model_type"]
    if kind not in _TOWERS:
        return config
    own = config.get("vision_config") or config.get("vision_config_dict") or {}
    if not isinstance(own, Mapping):
        raise WeightsError(f"config.json describes no {kind} that can be built: vision_config is {own!r}.")
    around = {name: config[name] for name in ("architectures", "id2label", "num_labels") if name in config}
    # A tower repeats the labels of its own defaults, which say nothing.
    own = {name: value for name, value in own.items() if name not in ("id2label", "label2id", "architectures")}
    return {**own, **around, "model_type": _TOWERS[kind]}


def _harmless(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _harmless(held) for name, held in value.items() if _allowed(str(name))}
    return [_harmless(held) for held in value] if isinstance(value, list) else value


def _allowed(name: str) -> bool:
    if name in _PLAIN:
        return True
    return not (name.startswith("_") or name in _DROPPED or any(part in name for part in _DROPPED_PARTS))
