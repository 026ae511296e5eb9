"""A sound encoder of transformers from its cleaned configuration: built, filled with weights, and described."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from graft.contracts import Backbone, Batch, Card, Preprocess
from graft.nn.hub.config import classes
from graft.nn.hub.folder import hold, tensors, weights_in
from graft.nn.hub.network import base_of, filled, stages_of, untrained

__all__ = ["MelEncoder", "WaveEncoder", "audio_backbone"]

_FILE = "encoder.json"
_CLASSIFIERS = ("ForAudioClassification", "ForSequenceClassification")

# What checkpoints carry beside the encoder: heads of pre-training and of transcription, and Whisper's decoder.
# fmt: off
_BESIDE = (
    "adapter", "classifier", "decoder", "dropout", "layer_norm_for_extract", "lm_head", "masked_spec_embed",
    "pooler", "proj_out", "project_hid", "project_q", "projector", "quantizer", "final_proj", "label_embeddings_concat",
    "speaker_proj", "pretraining_head", "embed_positions.inv_freq",
)
# fmt: on
_UNMASKED = frozenset({"data2vec-audio", "wavlm"})
"""Values of ``model_type`` whose masks leave something of the silence behind a clip, or that torch is about to drop."""


class WaveEncoder(nn.Module):
    """Samples ``(n, t)`` with their lengths → the mean over time of their vectors, ``(n, d)``.

    A clip's features do not depend on what it is batched with, up to rounding.

    Parameters
    ----------
    transformer
        wav2vec 2.0 or one of its kin.
    masked
        Whether the network can leave out the silence behind a shorter clip.  Those that normalise
        over time in their first layer cannot; their clips are computed length by length.
    """

    def __init__(self, transformer: nn.Module, masked: bool) -> None:
        super().__init__()
        self.transformer = transformer
        self.masked = masked

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        return _by_length(batch, self._pooled, self.masked, next(self.transformer.parameters()).dtype)

    def _pooled(self, values: Tensor, mask: Tensor | None) -> Tensor:
        network: Any = self.transformer
        vectors: Tensor = network(values, attention_mask=mask).last_hidden_state
        if mask is None:
            return vectors.float().mean(1)
        count: Tensor = network._get_feat_extract_output_lengths(mask.sum(1))
        heard = torch.arange(vectors.shape[1], device=vectors.device) < count[:, None]
        return (vectors.float() * heard[:, :, None]).sum(1) / count[:, None]


class MelEncoder(nn.Module):
    """Spectrograms → features ``(n, d)``.

    Parameters
    ----------
    transformer
        AST, whose pooled vector is taken, or Whisper's encoder, whose vectors of the moments that
        were heard are averaged.
    """

    def __init__(self, transformer: nn.Module) -> None:
        super().__init__()
        self.transformer = transformer

    def forward(self, batch: Batch) -> Tensor:
        dtype = next(self.transformer.parameters()).dtype
        if isinstance(batch, Tensor):
            return cast("Tensor", self.transformer(batch.to(dtype)).pooler_output)
        vectors: Tensor = self.transformer(batch["input_features"].to(dtype)).last_hidden_state
        # The second convolution takes every other moment.
        count = (batch["lengths"] + 1) // 2
        heard = torch.arange(vectors.shape[1], device=vectors.device) < count[:, None]
        return (vectors.float() * heard[:, :, None]).sum(1) / count[:, None]


class _Logits(nn.Module):
    """A batch → the checkpoint's own outputs ``(n, c)``."""

    def __init__(self, whole: nn.Module, masked: bool) -> None:
        super().__init__()
        self.whole = whole
        self.masked = masked

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        dtype = next(self.whole.parameters()).dtype
        if "input_features" in batch:
            return cast("Tensor", self.whole(batch["input_features"].to(dtype)).logits)
        return _by_length(batch, self._own, self.masked, dtype)

    def _own(self, values: Tensor, mask: Tensor | None) -> Tensor:
        return cast("Tensor", self.whole(values, attention_mask=mask).logits)


def _by_length(
    batch: dict[str, Tensor], compute: Callable[[Tensor, Tensor | None], Tensor], masked: bool, dtype: torch.dtype
) -> Tensor:
    values, lengths = batch["input_values"].to(dtype), batch["lengths"]
    different = sorted(set(lengths.tolist()))
    if len(different) == 1:
        return compute(values[:, : different[0]], None)
    if masked:
        mask = torch.arange(values.shape[1], device=values.device) < lengths[:, None]
        return compute(values, mask.long())
    rows = [(lengths == length).nonzero()[:, 0] for length in different]
    parts = [compute(values[row, :length], None) for row, length in zip(rows, different, strict=True)]
    return torch.cat(parts)[torch.cat(rows).argsort()]


def audio_backbone(
    config: Mapping[str, Any],
    preprocess: Preprocess,
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
    name, revision
        For the card; without a revision, the weights' own digest names them.
    folder
        The checkpoint; ``None`` where only the configuration is known.
    weights
        False leaves the encoder untrained.

    Raises
    ------
    WeightsError
        Where the weights do not fit.
    """
    files = {_FILE: json.dumps({"config": config}, indent=1, sort_keys=True).encode(), **preprocess.files()}
    outputs = classes(config, *_CLASSIFIERS)
    facts: dict[str, Any] = {"pretraining": "none"}
    fingerprint = None
    if folder is not None and weights:
        sources = weights_in(folder)
        held = hold(folder, sources, revision)
        state, apart = _own_part(tensors(sources), config, bool(outputs))
        whole, left = filled(config, state, _BESIDE, bool(outputs))
        facts, fingerprint = held.facts((*apart, *left)), held.fingerprint(files)
    else:
        whole = untrained(config, bool(outputs))
    base: Any = base_of(whole) if outputs else whole
    module, head, own = _parts(whole, base, config, outputs)
    return Backbone(
        module=module,
        dim=int(base.config.hidden_size),
        preprocess=preprocess,
        stages=stages_of(base, "transformer."),
        card=Card(
            name=name,
            modality="audio",
            parameters=sum(value.numel() for value in module.parameters()),
            outputs=outputs,
            **facts,
        ),
        head=head,
        outputs=own,
        files=files,
        fingerprint=fingerprint,
    )


def _parts(
    whole: nn.Module, base: nn.Module, config: Mapping[str, Any], outputs: int
) -> tuple[nn.Module, nn.Module | None, nn.Module | None]:
    """The encoder, its head where that is a layer on the features, else its outputs."""
    kind = config["model_type"]
    if kind == "audio-spectrogram-transformer":
        return MelEncoder(base), whole.get_submodule("classifier") if outputs else None, None
    if kind == "whisper":  # its own classifier averages over the silence too
        return MelEncoder(base), None, _Logits(whole, False) if outputs else None
    masked = config.get("feat_extract_norm", "group") == "layer" and kind not in _UNMASKED
    module = WaveEncoder(base, masked)
    if not outputs:
        return module, None, None
    if config.get("use_weighted_layer_sum"):
        return module, None, _Logits(whole, masked)
    # The projection of a mean is the mean of the projections.
    return module, nn.Sequential(whole.get_submodule("projector"), whole.get_submodule("classifier")), None


def _own_part(
    state: Mapping[str, Tensor], config: Mapping[str, Any], whole: bool
) -> tuple[Mapping[str, Tensor], tuple[str, ...]]:
    """Without Whisper's decoder; names of what was left out."""
    if config["model_type"] != "whisper" or whole:
        return state, ()
    bare = {name.removeprefix("model."): value for name, value in state.items()}
    own = {name.removeprefix("encoder."): value for name, value in bare.items() if name.startswith("encoder.")}
    return own, tuple(sorted({name.partition(".")[0] for name in bare if not name.startswith("encoder.")}))
