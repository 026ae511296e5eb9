from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    ASTFeatureExtractor,
    AutoConfig,
    AutoModel,
    AutoModelForAudioClassification,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForCTC,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
)

from graft.contracts import Backbone, Sound
from graft.data.preprocess.hub_mels import HubMels
from graft.data.preprocess.hub_waves import HubWaves
from graft.nn.hub.config import clean, read_json
from graft.nn.hub.sounds import audio_backbone

WAVES = {
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 12,
    "conv_dim": (4, 4),
    "conv_kernel": (10, 3),
    "conv_stride": (5, 4),
    "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 6,
    "num_conv_pos_embedding_groups": 2,
    "classifier_proj_size": 5,
    "layerdrop": 0.0,
    "num_labels": 3,
    "vocab_size": 6,
}
WHISPER = {
    "d_model": 8,
    "encoder_layers": 2,
    "decoder_layers": 1,
    **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 2),
    **dict.fromkeys(("encoder_ffn_dim", "decoder_ffn_dim"), 12),
    "vocab_size": 20,
    "max_source_positions": 50,
    "classifier_proj_size": 5,
    "num_labels": 3,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 1,
}
AST = {
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 12,
    "max_length": 32,
    "num_mel_bins": 32,
    "num_labels": 3,
}
GROUP = {**WAVES, "feat_extract_norm": "group"}
LAYER = {**WAVES, "feat_extract_norm": "layer", "do_stable_layer_norm": True}
CASES = {
    "wav2vec2, group": ("wav2vec2", GROUP),
    "wav2vec2, layer": ("wav2vec2", LAYER),
    "hubert, group": ("hubert", GROUP),
    "wavlm, layer": ("wavlm", LAYER),
    "unispeech-sat": ("unispeech-sat", LAYER),
    "data2vec-audio": ("data2vec-audio", WAVES),
    "weighted, layer": ("wav2vec2", {**LAYER, "use_weighted_layer_sum": True}),
    "weighted, group": ("hubert", {**GROUP, "use_weighted_layer_sum": True}),
    "ast": ("audio-spectrogram-transformer", AST),
    "whisper": ("whisper", WHISPER),
}
SOUNDS = [
    Sound((np.random.default_rng(length).normal(size=length) * 0.1).astype(np.float32), 16000)
    for length in (3000, 1600, 3000, 801)
]


def drawn(whole: Any, folder: Path, kind: str) -> Any:
    """The network with random weights, none of them a plain 0 or 1, saved with its feature extractor."""
    generator = torch.Generator().manual_seed(0)
    for value in whole.parameters():
        torch.nn.init.normal_(value, std=0.3, generator=generator)
    whole.eval().save_pretrained(folder)
    extractor(kind).save_pretrained(folder)
    return whole


def extractor(kind: str) -> Any:
    if kind == "whisper":
        return WhisperFeatureExtractor(chunk_length=1)
    return (
        ASTFeatureExtractor(num_mel_bins=32, max_length=32) if kind.startswith("audio-") else Wav2Vec2FeatureExtractor()
    )


def build(folder: Path, **named: Any) -> Backbone:
    config = clean(read_json(folder / "config.json"))
    kind = HubMels if config["model_type"] in ("whisper", "audio-spectrogram-transformer") else HubWaves
    return audio_backbone(config, kind.from_folder(folder, config), name="toy", folder=folder, **named)


def batch(held: Backbone, sounds: list[Sound] = SOUNDS) -> Any:
    return held.preprocess.collate(held.preprocess.items(sounds))


def alone(kind: str, sound: Sound) -> dict[str, torch.Tensor]:
    given = extractor(kind)(sound.samples, sampling_rate=16000, return_tensors="pt")
    return {name: value for name, value in given.items() if name != "attention_mask"}


@pytest.mark.parametrize("case", CASES)
@torch.no_grad()
def test_features_are_those_of_transformers_for_every_clip_alone(case: str, tmp_path: Path) -> None:
    kind, stated = CASES[case]
    whole = drawn(AutoModel.from_config(AutoConfig.for_model(kind, **stated)), tmp_path, kind)
    held = build(tmp_path)
    features = held.module.eval()(batch(held))
    assert features.shape == (4, held.dim)
    for row, sound in enumerate(SOUNDS):
        given = alone(kind, sound)
        if kind == "whisper":
            heard = -(-len(sound.samples) // 320)
            expected = whole.encoder(given["input_features"]).last_hidden_state[0, :heard].mean(0)
        else:
            output = whole(**given)
            expected = output.pooler_output[0] if "ast" in case else output.last_hidden_state[0].mean(0)
        torch.testing.assert_close(features[row], expected, atol=2e-5, rtol=1e-4)
        torch.testing.assert_close(held.module(batch(held, [sound]))[0], features[row], atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("case", CASES)
@torch.no_grad()
def test_a_classifier_gives_its_own_outputs(case: str, tmp_path: Path) -> None:
    kind, stated = CASES[case]
    whole = drawn(AutoModelForAudioClassification.from_config(AutoConfig.for_model(kind, **stated)), tmp_path, kind)
    held = build(tmp_path)
    assert (held.head is None) == (case == "whisper" or "weighted" in case)
    own = held.head(held.module.eval()(batch(held))) if held.head else held.outputs.eval()(batch(held))
    expected = torch.cat([whole(**alone(kind, sound)).logits for sound in SOUNDS])
    torch.testing.assert_close(own, expected, atol=2e-5, rtol=1e-4)
    assert held.card.outputs == 3


@pytest.mark.parametrize("case", ["wav2vec2, group", "wav2vec2, layer", "ast", "whisper"])
def test_all_of_it_trains_and_its_files_build_it_again(case: str, tmp_path: Path) -> None:
    kind, stated = CASES[case]
    drawn(AutoModel.from_config(AutoConfig.for_model(kind, **stated)), tmp_path, kind)
    held = build(tmp_path)
    held.module(batch(held)).sum().backward()
    still = [name for name, value in held.module.named_parameters() if value.requires_grad and value.grad is None]
    assert still == []
    assert all(name.startswith(held.stages) for name, _ in held.module.named_parameters())
    config = clean(read_json(tmp_path / "config.json"))
    again = audio_backbone(config, type(held.preprocess).from_files(held.files), name="toy")
    again.module.load_state_dict(held.module.state_dict(), strict=True)
    with torch.no_grad():
        torch.testing.assert_close(
            again.module.eval()(batch(held)), held.module.eval()(batch(held)), atol=1e-6, rtol=1e-6
        )
    assert dict(again.files) == dict(held.files)
    assert (again.stages, again.card.pretraining, again.fingerprint) == (held.stages, "none", None)


@torch.no_grad()
def test_heads_of_transcription_are_left_out(tmp_path: Path) -> None:
    speech = drawn(Wav2Vec2ForCTC(AutoConfig.for_model("wav2vec2", **LAYER)), tmp_path / "ctc", "wav2vec2")
    held = build(tmp_path / "ctc")
    expected = speech.wav2vec2(**alone("wav2vec2", SOUNDS[0])).last_hidden_state.mean(1)
    torch.testing.assert_close(held.module.eval()(batch(held, SOUNDS[:1])), expected, atol=1e-5, rtol=1e-4)
    assert held.card.notes == ("left out of the checkpoint: lm_head, masked_spec_embed",)
    whole = WhisperForConditionalGeneration(AutoConfig.for_model("whisper", **WHISPER))
    drawn(whole, tmp_path / "whisper", "whisper")
    held = build(tmp_path / "whisper")
    expected = whole.model.encoder(alone("whisper", SOUNDS[0])["input_features"]).last_hidden_state[:, :10].mean(1)
    torch.testing.assert_close(held.module.eval()(batch(held, SOUNDS[:1])), expected, atol=1e-5, rtol=1e-4)
    assert held.card.notes == ("left out of the checkpoint: decoder",)
    assert held.card.parameters == sum(value.numel() for value in whole.model.encoder.parameters())
