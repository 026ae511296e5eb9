"""Networks of two towers against transformers itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors

import graft
from graft.checks import check_source
from graft.contracts import Machine
from graft.data.examples import ImageExamples
from graft.errors import BundleError, RequestError, WeightsError
from graft.features import extract
from graft.nn.hub.config import text_tower
from graft.nn.hub.towers import reach
from graft.sources.hf import HF
from graft.strategies.zero_shot import ZeroShot

WORDS = ["<pad>", "<eos>", "<start>", "a", "photo", "of", "cat", "dog", "house", "[UNK]"]
PICTURES = [np.random.default_rng(place).integers(0, 255, (40, 48, 3)).astype(np.uint8) for place in range(12)]
TEXT = {"vocab_size": 10, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
TEXT |= {"intermediate_size": 32, "max_position_embeddings": 9, "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2}
VISION = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
VISION |= {"image_size": 32, "patch_size": 8}


def _tokenizer(folder: Path) -> None:
    encoder = Tokenizer(models.WordLevel({word: place for place, word in enumerate(WORDS)}, unk_token="[UNK]"))
    encoder.pre_tokenizer = pre_tokenizers.Whitespace()
    encoder.post_processor = processors.TemplateProcessing(
        single="<start> $A <eos>", special_tokens=[("<start>", 2), ("<eos>", 1)]
    )
    encoder.save(str(folder / "tokenizer.json"))


@pytest.fixture(params=["clip", "siglip"])
def checkpoint(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Any]:
    torch.manual_seed(0)
    if request.param == "clip":
        config: Any = transformers.CLIPConfig(text_config=TEXT, vision_config=VISION, projection_dim=10)
        whole = transformers.CLIPModel(config)
    else:
        text = {**TEXT, "hidden_size": 24, "projection_size": 24}
        config = transformers.SiglipConfig(text_config=text, vision_config=VISION)
        whole = transformers.SiglipModel(config)
    folder = tmp_path / "towers"
    whole.save_pretrained(folder)
    _tokenizer(folder)
    (folder / "preprocessor_config.json").write_text(
        json.dumps({"size": 32, "crop_size": 32, "image_processor_type": "CLIPImageProcessor"})
    )
    return folder, whole.eval()


def test_images_and_words_are_in_one_space(checkpoint: tuple[Path, Any]) -> None:
    folder, whole = checkpoint
    backbone = HF(str(folder), joint=True).load()
    batch = backbone.preprocess.collate(backbone.preprocess.items([ImageExamples(PICTURES)[0]]))
    module: Any = backbone.module.eval()
    seen = {}
    module.network.register_forward_pre_hook(lambda part, given: seen.update(pixels=given[0]))
    with torch.inference_mode():
        features = module(batch)
        expected = whole.get_image_features(seen["pixels"])
    assert torch.allclose(features, getattr(expected, "pooler_output", expected), atol=1e-5)
    assert backbone.dim == features.shape[1]
    ids = torch.zeros(2, 9, dtype=torch.int64)
    ids[0, :4], ids[1, :6] = torch.tensor([2, 6, 1, 0]), torch.tensor([2, 3, 4, 5, 7, 1])
    with torch.inference_mode():
        expected = whole.get_text_features(input_ids=ids)
    assert backbone.words is not None
    found = backbone.words(["cat", "a photo of dog"])
    assert torch.allclose(found, getattr(expected, "pooler_output", expected), atol=1e-5)
    assert backbone.fingerprint != HF(str(folder)).load().fingerprint
    many = backbone.words(["cat"] * 70)
    assert torch.allclose(many, found[:1].expand(70, -1), atol=1e-5)


def test_it_is_a_source_like_any_other(checkpoint: tuple[Path, Any]) -> None:
    check_source(HF(str(checkpoint[0]), joint=True), ImageExamples(PICTURES[:3]))


def test_a_model_without_labels_is_saved_without_the_tower_for_texts(
    checkpoint: tuple[Path, Any], tmp_path: Path
) -> None:
    folder, _ = checkpoint
    labels = np.array(["cat", "dog", "house"] * 4, dtype=object)
    model = graft.Transfer(HF(str(folder), joint=True), strategy=ZeroShot("a photo of a {}"), precision="float32")
    model.fit(PICTURES, labels).save(tmp_path / "model")
    loaded = graft.load(tmp_path / "model")
    assert np.array_equal(loaded.predict_proba(PICTURES), model.predict_proba(PICTURES))
    names = list(safetensors.torch.load_file(tmp_path / "model" / "weights.safetensors"))
    assert not any("text" in name for name in names)
    with pytest.raises(RequestError, match="carry no tower for texts; load the checkpoint itself"):
        loaded.module.backbone.words(["cat"])


def test_without_weights_there_are_no_words(checkpoint: tuple[Path, Any]) -> None:
    backbone = HF(str(checkpoint[0]), joint=True).load(weights=False)
    assert backbone.words is not None
    with pytest.raises(RequestError, match="one without weights"):
        backbone.words(["cat"])
    assert extract(backbone, ImageExamples(PICTURES), machine=Machine()).shape == (12, backbone.dim)
    fresh: Any = backbone.module
    fresh.init_weights()


def test_a_checkpoint_of_one_tower(tmp_path: Path) -> None:
    folder = tmp_path / "vit"
    transformers.ViTModel(transformers.ViTConfig(**VISION), add_pooling_layer=False).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps({"size": {"height": 32, "width": 32}}))
    with pytest.raises(RequestError, match="joint is for networks of two towers, clip or siglip, and this is a vit"):
        HF(str(folder), joint=True).load()


def test_a_projection_that_is_missing(checkpoint: tuple[Path, Any]) -> None:
    folder, _ = checkpoint
    state = safetensors.torch.load_file(folder / "model.safetensors")
    if "visual_projection.weight" not in state:
        pytest.skip("SigLIP has none")
    del state["visual_projection.weight"]
    safetensors.torch.save_file(state, folder / "model.safetensors")
    with pytest.raises(WeightsError, match=r"has no visual_projection\.weight"):
        HF(str(folder), joint=True).load()


@pytest.mark.parametrize("text", [{"hidden_size": 10**12}, {"num_attention_heads": 5}, {"hidden_act": "os.system"}, 3])
def test_towers_that_cannot_be_built(checkpoint: tuple[Path, Any], text: Any) -> None:
    folder, _ = checkpoint
    stated = json.loads((folder / "config.json").read_text())
    stated["text_config"] = {**stated["text_config"], **text} if isinstance(text, dict) else text
    (folder / "config.json").write_text(json.dumps(stated))
    with pytest.raises(WeightsError, match=r"config\.json describes no"):
        HF(str(folder), joint=True).load()


def test_what_describes_no_two_towers() -> None:
    with pytest.raises(WeightsError, match="describes no tower for texts: 'bert'"):
        text_tower({"model_type": "bert"})
    assert "auto_map" not in text_tower({"model_type": "clip", "text_config": {"auto_map": {}, "hidden_size": 8}})
    assert reach({"model_type": "clip", "text_config": {**TEXT, "pad_token_id": 99}}) == (9, 0)


@pytest.mark.parametrize("held", [b"{", b"[]", b'{"width": -1}', b'{"width": "a"}'])
def test_a_saved_model_with_a_damaged_description(checkpoint: tuple[Path, Any], held: bytes) -> None:
    source = HF(str(checkpoint[0]), joint=True)
    backbone = source.load()
    with pytest.raises(BundleError, match=r"joint\.json is missing or damaged"):
        source.rebuild({**backbone.files, **backbone.preprocess.files(), "joint.json": held})
