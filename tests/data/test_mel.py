from __future__ import annotations

import numpy as np
import pytest
from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

from graft.contracts import Sound
from graft.data.mel import SILENCE, mel_bands, mel_decibels

NOISE = (0.1 * np.random.default_rng(0).normal(size=20_000)).astype(np.float32)


@pytest.mark.parametrize(("window", "hop", "bands"), [(1024, 160, 128), (400, 200, 40), (511, 100, 20)])
def test_bands_and_decibels_are_those_of_an_independent_implementation(window: int, hop: int, bands: int) -> None:
    filters = mel_filter_bank(window // 2 + 1, bands, 0, 8000, 16000, norm="slaney", mel_scale="slaney")
    if window % 2 == 0:  # theirs places the frequencies of an odd window elsewhere
        np.testing.assert_allclose(mel_bands(16000, window, bands), filters, atol=1e-7)
    ours = mel_decibels(Sound(NOISE, 16000), 16000, window, hop, bands)
    assert ours.shape == (1 + len(NOISE) // hop, bands)
    assert ours.dtype == np.float32
    if window % 2 == 0:
        theirs = spectrogram(
            NOISE.astype(np.float64),
            window_function(window, "hann"),
            window,
            hop,
            power=2.0,
            pad_mode="constant",
            mel_filters=filters,
            log_mel="dB",
        )
        np.testing.assert_allclose(ours.T, theirs, atol=1e-3)


def test_long_and_short_clips(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = mel_decibels(Sound(NOISE, 16000), 16000, 512, 100, 40)
    monkeypatch.setattr("graft.data.mel._FRAMES", 7)
    np.testing.assert_allclose(mel_decibels(Sound(NOISE, 16000), 16000, 512, 100, 40), whole, atol=1e-4)
    assert mel_decibels(Sound(NOISE[:1], 16000), 16000, 512, 100, 40).shape == (1, 40)
    assert (mel_decibels(Sound(np.zeros(900, np.float32), 8000), 16000, 512, 100, 40) == SILENCE).all()
