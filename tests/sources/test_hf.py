from __future__ import annotations

import json
from pathlib import Path

import huggingface_hub
import pytest
import torch
from huggingface_hub import constants
from sklearn.base import clone
from transformers import BertConfig, BertModel

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
