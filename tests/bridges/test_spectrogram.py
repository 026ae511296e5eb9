"""A sound as a picture: what is heard can be seen, and it lies where it should."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

from graft.bridges.spectrogram import Spectrogram
from graft.checks import check_bridge
from graft.contracts import Sound
from graft.data.examples import AudioExamples
from graft.errors import RequestError


def tone(hertz: float, seconds: float = 1.0, rate: int = 16000) -> Sound:
    return Sound(np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate).astype(np.float32), rate)


def picture(sound: Sound, bridge: Spectrogram | None = None) -> Any:
    return np.asarray((bridge or Spectrogram()).convert(sound)).astype(int)


def test_it_keeps_its_contract() -> None:
    check_bridge(Spectrogram(), AudioExamples([tone(300, 0.2), tone(900, 0.7, 44100), tone(50, 0.001)]))


def test_low_frequencies_are_at_the_bottom_and_time_goes_to_the_right() -> None:
    low, high = (picture(tone(hertz))[:, 64, 0].argmax() for hertz in (200, 4000))
    assert low > 100 > 60 > high
    late = np.concatenate([np.zeros(8000, np.float32), tone(1000).samples])
    seen = picture(Sound(late, 16000)).max(axis=0)[:, 0]
    assert seen[:35].max() < 128 < seen[60:120].min()


def test_pixels_are_those_of_an_independent_implementation() -> None:
    noise = (0.1 * np.random.default_rng(0).normal(size=16000)).astype(np.float32)
    filters = mel_filter_bank(513, 101, 0, 8000, 16000, norm="slaney", mel_scale="slaney")
    theirs = spectrogram(
        noise.astype(np.float64),
        window_function(1024, "hann"),
        1024,
        160,
        power=2.0,
        pad_mode="constant",
        mel_filters=filters,
        log_mel="dB",
        db_range=80.0,
    )
    wanted = np.round((theirs - theirs.max() + 80) / 80 * 255)[::-1]
    ours = picture(Sound(noise, 16000), Spectrogram(n_mels=101))  # 101 moments: nothing is resized
    assert np.abs(ours[:, :, 0] - wanted).max() <= 1
    assert (ours == ours[:, :, :1]).all()


def test_the_picture_does_not_depend_on_length_loudness_or_rate() -> None:
    assert {Spectrogram().convert(tone(500, seconds)).size for seconds in (0.0001, 0.3, 7.0)} == {(128, 128)}
    one = tone(500)
    assert np.abs(picture(one) - picture(Sound(one.samples / 8, one.rate))).max() <= 1
    inside = slice(10, -10)  # the filter of the resampling rings at both ends
    assert np.abs(picture(one) - picture(tone(500, rate=44100)))[:, inside].mean() < 10


def test_silence_is_black() -> None:
    assert picture(Sound(np.zeros(5000, np.float32), 16000)).max() == 0
    quiet = np.zeros(16000, np.float32)
    quiet[8000:] = tone(500, 0.5).samples
    assert picture(Sound(quiet, 16000))[:, :50].max() == 0


def test_given_seconds_all_clips_are_drawn_at_one_speed() -> None:
    bridge = Spectrogram(seconds=2.0)
    short = picture(tone(500, 1.0), bridge).max(axis=0)[:, 0]
    assert short[:60].min() > 200
    assert short[70:].max() == 0
    clip = np.concatenate([np.zeros(16000, np.float32), tone(500, 2.0).samples, np.zeros(16000, np.float32)])
    assert picture(Sound(clip, 16000), bridge).max(axis=0)[:, 0].min() > 200


@pytest.mark.parametrize(
    ("name", "value"),
    [("n_mels", 4), ("window", 2.0), ("hop", 0), ("rate", True), ("seconds", 0), ("decibels", -1), ("seconds", "1")],
)
def test_what_cannot_be_is_refused(name: str, value: Any) -> None:
    with pytest.raises(RequestError, match=f"the {name} of a spectrogram"):
        Spectrogram(**{name: value}).convert(tone(100, 0.1))
