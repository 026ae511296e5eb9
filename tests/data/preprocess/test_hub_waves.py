from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from transformers import Wav2Vec2FeatureExtractor

from graft.contracts import Sound
from graft.data.preprocess.hub_waves import HubWaves, excerpt
from graft.errors import BundleError, RequestError, WeightsError


def noise(length: int, rate: int = 16000) -> Sound:
    return Sound((np.random.default_rng(length).normal(size=length) * 0.1 + 0.2).astype(np.float32), rate)


@pytest.mark.parametrize("normalise", [True, False])
def test_batches_are_those_of_the_checkpoints_own_extractor(normalise: bool, tmp_path: Path) -> None:
    theirs = Wav2Vec2FeatureExtractor(do_normalize=normalise, return_attention_mask=True)
    theirs.save_pretrained(tmp_path)
    held = HubWaves.from_folder(tmp_path, {"model_type": "wav2vec2"})
    rows = [noise(3000), noise(1600), noise(2201)]
    wanted = theirs([row.samples for row in rows], sampling_rate=16000, padding=True, return_tensors="np")
    batch = held.collate(held.items(rows))
    np.testing.assert_allclose(batch["input_values"].numpy(), wanted["input_values"], atol=1e-6)
    assert batch["lengths"].tolist() == wanted["attention_mask"].sum(1).tolist() == [3000, 1600, 2201]


def test_the_convolutions_say_how_short_a_clip_may_be(tmp_path: Path) -> None:
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"sampling_rate": 8000}))
    held = HubWaves.from_folder(tmp_path, {"model_type": "wav2vec2"})
    assert (held.rate, held.shortest, held.stride) == (8000, 400, 320)
    small = HubWaves.from_folder(tmp_path, {"conv_kernel": [10, 3], "conv_stride": [5, 2]})
    assert (small.shortest, small.stride) == (20, 10)
    item = small.items([noise(7, 8000)])[0]
    assert len(item) == 20
    assert not item[7:].any()
    assert (small.cost(item), small.cost(item[:3])) == (2, 1)


def test_sounds_of_another_rate_are_resampled() -> None:
    time = np.arange(44100) / 44100
    held = HubWaves(16000, normalise=False)
    item = held.items([Sound(np.sin(2 * np.pi * 440 * time).astype(np.float32), 44100)])[0]
    expected = np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
    np.testing.assert_allclose(item[200:-200], expected[200:-200], atol=5e-3)


def test_long_sounds_are_cut_and_said_to_be() -> None:
    held = HubWaves(16000, normalise=False, seconds=0.1)
    assert held.notes() == ()
    rows = [noise(1600), noise(1601), noise(9000)]
    assert [len(item) for item in held.items(rows)] == [1600] * 3
    np.testing.assert_array_equal(held.items(rows[2:])[0], rows[2].samples[:1600])
    assert held.truncated == 3
    assert held.notes() == ("3 sounds are longer than 0.1 s; the rest of them is not heard.",)


def test_training_hears_a_part_that_the_seed_draws() -> None:
    held = HubWaves(16000, normalise=False, seconds=0.1)
    row = noise(9000)
    one, same, other = (held.items([row], [seed])[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)
    assert any(np.array_equal(one, row.samples[start : start + 1600]) for start in range(7401))
    np.testing.assert_array_equal(excerpt(row.samples, 9000, 5), row.samples)


def test_silence_stays_finite() -> None:
    assert np.isfinite(HubWaves(16000).items([Sound(np.zeros(500, np.float32), 16000)])[0]).all()


def test_it_survives_its_files_and_copies() -> None:
    held = HubWaves(8000, False, 2.5, 20, 10)
    for again in (HubWaves.from_files(held.files()), copy.deepcopy(held), pickle.loads(pickle.dumps(held))):
        assert again.files() == held.files()
    for damaged in (
        {},
        {"preprocess.json": b"{"},
        {"preprocess.json": b'{"kind": "mels"}'},
        {"preprocess.json": b"[]"},
    ):
        with pytest.raises(BundleError, match="missing or damaged"):
            HubWaves.from_files(damaged)


def test_an_empty_batch_has_its_shape() -> None:
    assert HubWaves(16000).collate([])["input_values"].shape == (0, 400)


@pytest.mark.parametrize("seconds", [0, 0.01, float("inf"), float("nan")])
def test_less_than_the_network_needs_is_refused(seconds: float) -> None:
    with pytest.raises(RequestError, match=r"the network needs 0\.025 s at least"):
        HubWaves(16000, seconds=seconds)


def test_a_folder_without_a_statement_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"preprocessor_config\.json is missing"):
        HubWaves.from_folder(tmp_path, {})
