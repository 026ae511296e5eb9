from __future__ import annotations

import json
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import torch
from huggingface_hub import constants
from PIL import Image
from sklearn.base import clone
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForSequenceClassification,
    BertConfig,
    BertModel,
    ViTForImageClassification,
    ViTImageProcessor,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2Model,
)

from graft.checks import check_source
from graft.contracts import Sound
from graft.data.preprocess.tokens import wordpiece
from graft.errors import BundleError, RequestError, UnavailableError, UnknownNameError, WeightsError
from graft.sources.hf import HF

REVISION = "0123456789abcdef0123456789abcdef01234567"
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "card", "lost", "my"]


def fill(folder: Path) -> Path:
    """A tiny BERT as transformers saves it."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    BertModel(BertConfig(vocab_size=8, max_position_embeddings=24, **sizes)).save_pretrained(folder)
    (folder / "tokenizer.json").write_bytes(wordpiece("\n".join(WORDS).encode()))
    return folder


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hub cache of its own, without a network."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


def snapshot(hub: Path, name: str = "someone/tiny") -> Path:
    held = hub / f"models--{name.replace('/', '--')}"
    (held / "refs").mkdir(parents=True)
    (held / "refs" / "main").write_text(REVISION)
    folder = held / "snapshots" / REVISION
    folder.mkdir(parents=True)
    return folder


@torch.no_grad()
def test_a_folder_gives_transformers_features(tmp_path: Path) -> None:
    held = HF(str(fill(tmp_path))).load()
    theirs = BertModel.from_pretrained(tmp_path, local_files_only=True).eval()
    batch = held.preprocess.collate(held.preprocess.items(["my card", "a card lost a card"]))
    tokens = theirs(**batch).last_hidden_state
    mask = batch["attention_mask"][:, :, None]
    torch.testing.assert_close(held.module.eval()(batch), (tokens * mask).sum(1) / mask.sum(1))
    assert held.preprocess.max_length == 24
    assert held.card.revision != REVISION


@torch.no_grad()
def test_pooling_is_an_option(tmp_path: Path) -> None:
    fill(tmp_path)
    mean, first = HF(str(tmp_path)).load(), HF(str(tmp_path), pooling="cls").load()
    batch = mean.preprocess.collate(mean.preprocess.items(["my card"]))
    assert not torch.equal(mean.module.eval()(batch), first.module.eval()(batch))
    with pytest.raises(RequestError, match="pooling is 'median'"):
        HF(str(tmp_path), pooling="median").load()


def test_a_name_is_looked_up_in_the_cache(hub: Path) -> None:
    fill(snapshot(hub))
    for revision in (None, "main", REVISION):
        card = HF("someone/tiny", revision=revision).load().card
        assert (card.name, card.revision) == ("hf/someone/tiny", REVISION)
    assert HF.local() == ("hf/someone/tiny",)


def test_the_architecture_alone_needs_no_weights(hub: Path) -> None:
    (fill(snapshot(hub)) / "model.safetensors").unlink()
    assert HF("someone/tiny").load(weights=False).dim == 8
    assert HF.local() == ()
    with pytest.raises(UnavailableError, match="hf download someone/tiny"):
        HF("someone/tiny").load()


def test_what_is_absent_is_named_with_its_command(hub: Path) -> None:
    with pytest.raises(UnavailableError, match="hf download someone/other --revision v1"):
        HF("someone/other", revision="v1").load()
    with pytest.raises(UnavailableError, match="there is no folder"):
        HF("./nowhere").load()
    with pytest.raises(RequestError, match="is no name of the hub"):
        HF("some one/?").load()


def test_a_snapshot_with_a_hole_is_not_gone_on_with(hub: Path) -> None:
    folder = fill(snapshot(hub))
    whole = (folder / "model.safetensors").read_bytes()
    for file in ("tokenizer.json", "config.json", "model.safetensors"):
        kept = (folder / file).read_bytes()
        (folder / file).unlink()
        with pytest.raises(UnavailableError, match=f"{file} is missing"):
            HF("someone/tiny").load()
        assert HF.local() == ()
        (folder / file).write_bytes(kept)
    (folder / "model.safetensors").rename(folder / "model-1.safetensors")
    places = {"a": "model-1.safetensors", "b": "model-2.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    with pytest.raises(UnavailableError, match=r"model-2\.safetensors is missing"):
        HF("someone/tiny").load()
    (folder / "model.safetensors").write_bytes(whole)
    (folder / "modules.json").write_text('[{"type": "evil.Module", "path": ""}]')
    with pytest.raises(WeightsError, match="runs no code"):
        HF("someone/tiny").load()


def test_a_transfer_that_breaks_off_is_unavailable(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class RemoteProtocolError(Exception):
        """As the transport's own errors are: of no family that we know."""

    def fetch(name, revision=None, local_files_only=False, allow_patterns=None, ignore_patterns=None):
        if local_files_only:
            return held
        raise RemoteProtocolError("peer closed connection.")

    held = fill(snapshot(hub))
    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    HF("someone/tiny").load()
    (held / "tokenizer.json").unlink()
    with pytest.raises(UnavailableError, match=r"\(tokenizer.json is missing: peer closed connection\)"):
        HF("someone/tiny").load()


def test_only_data_is_ever_fetched(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def fetch(name, revision=None, local_files_only=False, allow_patterns=None, ignore_patterns=None):
        if local_files_only:
            raise huggingface_hub.errors.LocalEntryNotFoundError("not cached")
        asked.append(allow_patterns)
        return fill(snapshot(hub)) if len(asked) == 1 else next(hub.glob("*/snapshots/*"))

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    HF("someone/tiny").load()
    HF("someone/tiny").load(weights=False)
    with_weights, without = asked
    assert not any(pattern.endswith(("bin", "py", "pt", "*")) for pattern in with_weights)
    assert set(with_weights) - set(without) == {"*.safetensors"}


def test_hostile_configurations_are_disarmed_or_refused(tmp_path: Path) -> None:
    fill(tmp_path)
    (tmp_path / "evil.py").write_text("raise SystemExit('ran')")
    config = json.loads((tmp_path / "config.json").read_text())
    hostile = {**config, "auto_map": {"AutoModel": "evil.Evil"}, "_attn_implementation_internal": "x/kernel"}
    (tmp_path / "config.json").write_text(json.dumps(hostile))
    held = HF(str(tmp_path)).load()
    assert type(held.module.transformer) is BertModel
    assert b"evil" not in held.files["encoder.json"]
    (tmp_path / "config.json").write_text(json.dumps({**config, "model_type": "evil"}))
    with pytest.raises(UnknownNameError, match="evil"):
        HF(str(tmp_path)).load()


def test_pickles_are_refused(tmp_path: Path) -> None:
    (fill(tmp_path) / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(WeightsError, match="can run code"):
        HF(str(tmp_path)).load()


@torch.no_grad()
def test_a_saved_model_needs_no_folder(tmp_path: Path) -> None:
    source = HF(str(fill(tmp_path)), pooling="max")
    held = source.load()
    for file in tmp_path.iterdir():
        file.unlink()
    again = clone(source).rebuild(held.files)
    again.module.load_state_dict(held.module.state_dict())
    batch = held.preprocess.collate(again.preprocess.items(["my card", "a lost card"]))
    assert torch.equal(again.module.eval()(batch), held.module.eval()(batch))
    with pytest.raises(BundleError, match="missing or damaged"):
        source.rebuild({})


GPT2 = {"vocab_size": 9, "n_embd": 8, "n_layer": 1, "n_head": 2, "n_positions": 12, "num_labels": 3}
VIT = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8, "num_labels": 3}
VIT |= {"image_size": 16, "patch_size": 8}
WAVES = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8, "vocab_size": 4}
WAVES |= {"conv_dim": [4], "conv_kernel": [10], "conv_stride": [5], "num_feat_extract_layers": 1}
WAVES |= {"num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2, "feat_extract_norm": "layer"}


class Rows:
    """Examples of any modality, as a check takes them."""

    def __init__(self, modality: str, rows: list) -> None:
        self.modality = modality
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, row: int):
        return self.rows[row]


def decoder(folder: Path) -> Path:
    """A tiny GPT-2 with a classifier, and a tokenizer that adds nothing to a text."""
    torch.manual_seed(0)
    config = AutoConfig.for_model("gpt2", **GPT2, pad_token_id=None, bos_token_id=8, eos_token_id=8)
    AutoModelForSequenceClassification.from_config(config).save_pretrained(folder)
    words = {word: number for number, word in enumerate(["?", "a", "card", "lost", "my", "the", "bank", "ate", "."])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def vision(folder: Path) -> Path:
    torch.manual_seed(0)
    ViTForImageClassification(AutoConfig.for_model("vit", **VIT)).save_pretrained(folder)
    ViTImageProcessor(size={"height": 16, "width": 16}).save_pretrained(folder)
    return folder


def audio(folder: Path) -> Path:
    torch.manual_seed(0)
    Wav2Vec2Model(AutoConfig.for_model("wav2vec2", **WAVES)).save_pretrained(folder)
    Wav2Vec2FeatureExtractor().save_pretrained(folder)
    return folder


def rows_of(modality: str) -> Rows:
    draw = np.random.default_rng(0)
    rows = {
        "text": ["my card", "the bank ate my card .", ""],
        "image": [Image.fromarray(draw.integers(0, 256, (20, 24, 3), dtype=np.uint8)) for _ in range(3)],
        "audio": [Sound(draw.normal(size=size).astype(np.float32), 8000) for size in (900, 300, 5)],
    }
    return Rows(modality, rows[modality])


@pytest.mark.parametrize(("fill_in", "modality"), [(decoder, "text"), (vision, "image"), (audio, "audio")])
def test_every_modality_keeps_the_contract(fill_in, modality: str, tmp_path: Path) -> None:
    source = HF(str(fill_in(tmp_path)))
    assert source.reads() == modality
    check_source(source, rows_of(modality))
    card = source.load().card
    assert card.parameters
    assert card.bytes == (tmp_path / "model.safetensors").stat().st_size
    assert card.outputs == (0 if modality == "audio" else 3)


@torch.no_grad()
def test_a_decoder_without_a_padding_token_classifies(tmp_path: Path) -> None:
    held = HF(str(decoder(tmp_path))).load()
    whole = AutoModelForSequenceClassification.from_pretrained(tmp_path, local_files_only=True).eval()
    given = held.head(held.module.eval()(held.preprocess.collate(held.preprocess.items(["my card", "a lost card ."]))))
    for row, ids in enumerate(([4, 2], [1, 3, 2, 8])):
        torch.testing.assert_close(given[row], whole(torch.tensor([ids])).logits[0])
    assert held.preprocess.max_length == 12
    held.preprocess.items([" ".join(["card"] * 20)])
    assert held.preprocess.notes() == ("1 texts are longer than 12 tokens; the rest of them is not read.",)


@torch.no_grad()
def test_an_image_encoder_is_transformers_own(tmp_path: Path) -> None:
    source = HF(str(vision(tmp_path)))
    held = source.load()
    image = Image.fromarray(np.random.default_rng(1).integers(0, 256, (16, 16, 3), dtype=np.uint8))
    whole = ViTForImageClassification.from_pretrained(tmp_path, local_files_only=True).eval()
    pixels = ViTImageProcessor.from_pretrained(tmp_path, local_files_only=True)(image, return_tensors="pt")
    given = held.head(held.module.eval()(held.preprocess.collate(held.preprocess.items([image]))))
    torch.testing.assert_close(given, whole(**pixels).logits, atol=1e-5, rtol=1e-4)
    assert (source.maps().channels, source.maps(weights=False).strides) == ((8,), (8,))


@torch.no_grad()
def test_a_sound_encoder_is_transformers_own(tmp_path: Path) -> None:
    held = HF(str(audio(tmp_path)), seconds=0.05).load()
    samples = np.random.default_rng(1).normal(size=2000).astype(np.float32)
    theirs = Wav2Vec2FeatureExtractor.from_pretrained(tmp_path, local_files_only=True)
    values = theirs(samples[:800], sampling_rate=16000, return_tensors="pt")["input_values"]
    whole = AutoModel.from_pretrained(tmp_path, local_files_only=True).eval()
    batch = held.preprocess.collate(held.preprocess.items([Sound(samples, 16000)]))
    expected = whole(values).last_hidden_state.mean(1)
    torch.testing.assert_close(held.module.eval()(batch), expected, atol=1e-5, rtol=1e-4)
    assert held.preprocess.notes()
    with pytest.raises(RequestError, match="only image encoders have feature maps"):
        HF(str(tmp_path)).maps()


@pytest.mark.parametrize("fill_in", [vision, audio])
def test_pooling_is_for_text(fill_in, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="pools as it was trained to"):
        HF(str(fill_in(tmp_path)), pooling="mean").load()


def test_the_cache_holds_all_modalities(hub: Path) -> None:
    for name, fill_in in (("a/text", fill), ("b/image", vision), ("c/sound", audio), ("d/words", decoder)):
        fill_in(snapshot(hub, name))
    (snapshot(hub, "e/other") / "config.json").write_text('{"model_type": "t5"}')
    assert HF.local() == ("hf/a/text", "hf/b/image", "hf/c/sound", "hf/d/words")
    assert [HF(spec.removeprefix("hf/")).reads() for spec in HF.local()] == ["text", "image", "audio", "text"]
    with pytest.raises(UnknownNameError, match="t5"):
        HF("e/other").reads()
    preprocessor = next(hub.glob("models--b--image/snapshots/*/preprocessor_config.json"))
    preprocessor.unlink()
    assert "hf/b/image" not in HF.local()
    with pytest.raises(UnavailableError, match=r"preprocessor_config\.json is missing"):
        HF("b/image").load()


def test_what_it_reads_takes_the_configuration_alone(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def fetch(name: str, file: str, revision: str | None = None) -> str:
        asked.append((name, file, revision))
        path = snapshot(hub) / file
        path.write_text('{"model_type": "whisper"}')
        return str(path)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fetch)
    assert HF("someone/tiny").reads() == "audio"
    assert HF("someone/tiny").reads() == "audio"
    assert asked == [("someone/tiny", "config.json", None)]


def test_what_it_reads_may_be_out_of_reach(hub: Path) -> None:
    with pytest.raises(UnavailableError, match="hf download someone/other --revision v1"):
        HF("someone/other", revision="v1").reads()
    with pytest.raises(UnavailableError, match="there is no folder"):
        HF("./nowhere").reads()
    with pytest.raises(RequestError, match="is no name of the hub"):
        HF("some one/?").reads()


def test_a_revision_is_kept_to(hub: Path) -> None:
    fill(snapshot(hub))
    with pytest.raises(UnavailableError, match="hf download someone/tiny --revision v2"):
        HF("someone/tiny", revision="v2").load()
    other = "f" * 40
    held = hub / "models--someone--tiny"
    (held / "refs" / "v2").write_text(other)
    vision(held / "snapshots" / other)
    assert HF("someone/tiny", revision="v2").load().card.revision == other
    assert (HF("someone/tiny", revision="v2").reads(), HF("someone/tiny").reads()) == ("image", "text")


def test_grafts_own_switch_keeps_it_from_the_network(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAFT_OFFLINE", "1")
    for act in (HF("someone/tiny").load, HF("someone/tiny").reads):
        with pytest.raises(UnavailableError, match=r"GRAFT_OFFLINE is set.*hf download someone/tiny"):
            act()
    fill(snapshot(hub))
    assert HF("someone/tiny").load().dim == 8


def test_joint_is_for_images_and_texts(tmp_path: Path) -> None:
    folder = tmp_path / "bert"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(RequestError, match=r"joint is for networks of images and texts; .* reads text alone"):
        HF(str(folder), joint=True).load()
