from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from transformers import ASTFeatureExtractor, WhisperFeatureExtractor

from graft.contracts import Sound
from graft.data.preprocess.hub_mels import HubMels
from graft.errors import BundleError, RequestError, WeightsError

AST = {"model_type": "audio-spectrogram-transformer", "num_mel_bins": 64, "max_length": 64}
WHISPER = {"model_type": "whisper", "num_mel_bins": 80, "max_source_positions": 100}


def noise(length: int, rate: int = 16000) -> Sound:
    return Sound((np.random.default_rng(length).normal(size=length) * 0.1).astype(np.float32), rate)


def ast(folder: Path, seconds: float = 30.0, **options: object) -> tuple[HubMels, ASTFeatureExtractor]:
    theirs = ASTFeatureExtractor(num_mel_bins=64, max_length=64, **options)
    theirs.save_pretrained(folder)
    return HubMels.from_folder(folder, AST, seconds), theirs


def whisper(folder: Path, seconds: float = 30.0) -> tuple[HubMels, WhisperFeatureExtractor]:
    theirs = WhisperFeatureExtractor(chunk_length=2)
    theirs.save_pretrained(folder)
    return HubMels.from_folder(folder, WHISPER, seconds), theirs


@pytest.mark.parametrize("options", [{}, {"mean": -3.0, "std": 2.0}, {"do_normalize": False}])
def test_ast_sees_what_its_own_extractor_makes(options: dict, tmp_path: Path) -> None:
    held, theirs = ast(tmp_path, **options)
    rows = [noise(length) for length in (400, 401, 5000, 10479, 10480, 20000)]
    wanted = theirs([row.samples for row in rows], sampling_rate=16000, return_tensors="np")["input_values"]
    np.testing.assert_allclose(held.collate(held.items(rows)).numpy(), wanted, atol=1e-5)


@pytest.mark.parametrize("length", [100, 300, 16000, 31500, 31790, 31960, 32000, 40000])
def test_whisper_sees_what_its_own_extractor_makes(length: int, tmp_path: Path) -> None:
    held, theirs = whisper(tmp_path)
    row = noise(length)
    batch = held.collate(held.items([row]))
    wanted = theirs(row.samples, sampling_rate=16000, return_tensors="np")["input_features"]
    np.testing.assert_allclose(batch["input_features"].numpy(), wanted, atol=1e-5)
    assert batch["lengths"].tolist() == [min(200, -(-length // 160))]


def test_whisper_hears_silence(tmp_path: Path) -> None:
    held, theirs = whisper(tmp_path)
    row = Sound(np.zeros(500, np.float32), 16000)
    wanted = theirs(row.samples, sampling_rate=16000, return_tensors="np")["input_features"]
    np.testing.assert_allclose(held.collate(held.items([row]))["input_features"].numpy(), wanted, atol=1e-6)


def test_short_and_strange_sounds_are_taken(tmp_path: Path) -> None:
    held, _ = ast(tmp_path)
    batch = held.collate(held.items([noise(30), noise(44100, 44100)]))
    assert batch.shape == (2, 64, 64)
    assert np.isfinite(batch.numpy()).all()
    assert held.collate([]).shape == (0, 64, 64)
    assert held.cost(held.items([noise(30)])[0]) == 32


def test_long_sounds_are_cut_and_said_to_be(tmp_path: Path) -> None:
    held, _ = ast(tmp_path)
    assert (held.most, held.notes()) == (64 * 160 + 240, ())
    held.items([noise(10480), noise(10481)])
    assert held.notes() == ("1 sounds are longer than 0.655 s; the rest of them is not heard.",)
    short, _ = whisper(tmp_path, seconds=0.5)
    assert short.most == 8000
    assert short.items([noise(9000)])[0][1] == 50
    one, same, other = (short.items([noise(9000)], [seed])[0][0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_it_survives_its_files_and_copies(tmp_path: Path) -> None:
    for held, _ in (ast(tmp_path), whisper(tmp_path)):
        for again in (HubMels.from_files(held.files()), copy.deepcopy(held), pickle.loads(pickle.dumps(held))):
            assert again.files() == held.files()
    for damaged in (
        {},
        {"preprocess.json": b'{"kind": "waves"}'},
        {"preprocess.json": b'{"kind": "mels", "style": 1}'},
    ):
        with pytest.raises(BundleError, match="missing or damaged"):
            HubMels.from_files(damaged)


@pytest.mark.parametrize(
    ("values", "config"),
    [
        ({"num_mel_bins": 128, "max_length": 64}, AST),
        ({"num_mel_bins": 64, "max_length": 65}, AST),
        ({"num_mel_bins": 64, "max_length": 64, "sampling_rate": 8000}, AST),
        ({"feature_size": 128, "chunk_length": 2}, WHISPER),
        ({"feature_size": 80, "chunk_length": 30}, WHISPER),
        ({"feature_size": 80, "chunk_length": 2, "hop_length": 80}, WHISPER),
    ],
)
def test_spectrograms_that_the_network_does_not_take_are_refused(values: dict, config: dict, tmp_path: Path) -> None:
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(values))
    with pytest.raises(WeightsError, match=r"the network in config\.json takes others"):
        HubMels.from_folder(tmp_path, config)


def test_nothing_is_no_clip() -> None:
    with pytest.raises(RequestError, match=r"the network needs 0\.025 s at least"):
        HubMels("kaldi", 64, 64, seconds=0)
