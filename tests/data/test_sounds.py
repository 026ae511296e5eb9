"""Sounds that nobody vouches for: read to one channel, or refused with the reason."""

from __future__ import annotations

import io
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from graft.contracts import Sound
from graft.data import sounds
from graft.data.sounds import check_sound, has_sound_suffix, is_recording, is_sound_file, open_sound, resampled
from graft.errors import UnavailableError

soundfile = pytest.importorskip("soundfile", reason="soundfile, which decodes sounds, is not installed")

RATE = 22050
NOISE = (0.2 * np.random.default_rng(0).normal(size=(9000, 2))).clip(-1, 1).astype(np.float32)
ENCODINGS = [
    ("WAV", "PCM_16"),
    ("WAV", "PCM_U8"),
    ("WAV", "FLOAT"),
    ("WAVEX", "PCM_24"),
    ("FLAC", "PCM_16"),
    ("OGG", "VORBIS"),
    ("OGG", "OPUS"),
    ("MP3", "MPEG_LAYER_III"),
    ("AIFF", "PCM_16"),
    ("AU", "PCM_16"),
]


def encoded(samples: Any = NOISE, form: str = "WAV", kind: str = "PCM_16", rate: int = RATE) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, 24000 if kind == "OPUS" else rate, format=form, subtype=kind)
    return buffer.getvalue()


def reasons(raw: bytes) -> tuple[str | None, str | None]:
    """What the check says, and what opening says."""
    try:
        open_sound(raw)
    except ValueError as exc:
        return check_sound(raw), str(exc)
    return check_sound(raw), None


@pytest.mark.parametrize(("form", "kind"), ENCODINGS)
def test_every_format_becomes_one_channel(form: str, kind: str) -> None:
    raw = encoded(form=form, kind=kind)
    assert is_sound_file(raw)
    held = open_sound(raw)
    assert held.samples.dtype == np.float32
    assert (len(held.samples), held.rate) == (9000, 24000 if kind == "OPUS" else RATE)
    assert reasons(raw) == (None, None)
    if kind.startswith(("PCM_16", "PCM_24", "FLOAT")):
        np.testing.assert_allclose(held.samples, NOISE.mean(axis=1), atol=1e-4)


@pytest.mark.parametrize(("form", "kind"), ENCODINGS)
@pytest.mark.parametrize("share", [0.99, 0.6, 0.02])
def test_a_truncated_file_is_found_in_every_format(form: str, kind: str, share: float) -> None:
    raw = encoded(form=form, kind=kind)
    checked, opened = reasons(raw[: int(len(raw) * share)])
    assert checked is not None
    assert checked == opened
    assert "too early" in checked or "damaged" in checked


def test_a_file_of_something_else_and_an_empty_one(tmp_path: Path) -> None:
    for raw in (b"<html>a page</html>", b"\x89PNG\r\n\x1a\n" + bytes(40), b""):
        assert "not a sound of a known format (WAV, FLAC" in str(check_sound(raw))
    (tmp_path / "a.wav").touch()
    with pytest.raises(ValueError, match="the file is empty"):
        open_sound(tmp_path / "a.wav")
    with pytest.raises(ValueError, match="no such file"):
        open_sound(tmp_path / "b.wav")


def test_only_the_formats_of_the_list_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sounds, "_KNOWN", frozenset({"FLAC"}))
    assert "not a sound of a known format" in str(check_sound(encoded()))
    assert check_sound(encoded(form="FLAC")) is None


def test_no_samples() -> None:
    assert reasons(encoded(np.empty((0, 1), np.float32))) == ("it has no samples",) * 2
    assert reasons(encoded(np.empty((0, 1), np.float32), "FLAC"))[0] is not None
    with pytest.raises(ValueError, match="it has no samples"):
        open_sound((np.empty(0, np.float32), 8000))


def test_samples_that_are_no_numbers() -> None:
    bad = NOISE.copy()
    bad[50] = np.nan
    assert reasons(encoded(bad, kind="FLOAT")) == ("it holds samples that are no finite numbers",) * 2
    with pytest.raises(ValueError, match="no finite numbers"):
        open_sound((bad, 8000))


def test_a_header_that_claims_hours_reads_nothing() -> None:
    raw = bytearray(encoded())
    place = raw.index(b"data") + 4
    raw[place : place + 4] = struct.pack("<I", 2**30)
    assert reasons(bytes(raw)) == ("the file ends too early (truncated)",) * 2
    flac = bytearray(encoded(form="FLAC"))
    flac[21:26] = bytes([flac[21] | 0x0F, 255, 255, 255, 255])
    assert "at most 600 s are read" in str(check_sound(bytes(flac)))


def test_a_stream_that_could_not_know_its_length_is_read_to_its_end() -> None:
    raw = bytearray(encoded())
    place = raw.index(b"data") + 4
    raw[place : place + 4] = raw[4:8] = b"\xff\xff\xff\xff"
    assert reasons(bytes(raw)) == (None, None)
    assert len(open_sound(bytes(raw)).samples) == 9000


def test_what_is_too_long_or_of_an_odd_rate() -> None:
    assert "it lasts 1 s; at most 0 s are read" in str(check_sound(encoded(rate=9000), max_seconds=0.4))
    assert "its rate is 300 samples a second" in str(check_sound(encoded(rate=300)))
    with pytest.raises(ValueError, match="cut or resample"):
        open_sound((np.zeros(600 * 96_000 + 1, np.int8), 192_000))


def test_damage_inside_is_named() -> None:
    raw = bytearray(encoded(form="FLAC"))
    raw[len(raw) // 2 : len(raw) // 2 + 300] = bytes(300)
    checked, opened = reasons(bytes(raw))
    assert checked == opened
    assert "damaged" in str(checked)


def test_arrays_of_any_kind() -> None:
    assert open_sound((np.array([0, 255, 128], np.uint8), 8000)).samples.tolist() == [-1.0, 127 / 128, 0.0]
    assert open_sound((np.array([[-32768, 0]] * 3, np.int16), 8000)).samples.tolist() == [-0.5] * 3
    assert open_sound((np.zeros((2, 700)), 8000)).samples.shape == (700,)
    assert open_sound(Sound(np.array([0.5], np.float64), 8000)).samples.dtype == np.float32
    loud = open_sound((np.array([0.0, -4.0, 2.0]), 8000))
    assert loud.samples.tolist() == [0.0, -1.0, 0.5]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ((np.zeros(5), 8000.0), "its rate is 8000.0"),
        ((np.zeros(5), True), "its rate is True"),
        ((np.zeros((1, 2, 3)), 8000), "shape"),
        ((np.array(["a"]), 8000), "dtype"),
    ],
)
def test_arrays_that_are_no_sound(given: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        open_sound(given)


def test_resampling_keeps_a_tone_where_it_was() -> None:
    tone = np.sin(2 * np.pi * 440 * np.arange(44100) / 44100).astype(np.float32)
    for rate in (16000, 22050, 48000, 11127):
        held = resampled(Sound(tone, 44100), rate)
        assert held.rate == rate
        assert len(held.samples) == rate
        assert held.samples.dtype == np.float32
        assert abs(np.fft.rfft(held.samples)).argmax() == 440
        middle = slice(rate // 4, rate // 2)
        wanted = np.sin(2 * np.pi * 440 * np.arange(rate) / rate)
        np.testing.assert_allclose(held.samples[middle], wanted[middle], atol=0.01)
    same = Sound(tone, 44100)
    assert resampled(same, 44100) is same


def test_names_and_beginnings() -> None:
    assert has_sound_suffix("a/b.WAV")
    assert not has_sound_suffix("wav")
    assert not is_sound_file(b"\xff\xd8\xff\xe0 a JPEG")
    assert not is_sound_file(b"RIFF\x00\x00\x00\x00WEBP")
    assert is_recording((np.zeros(3), 8000))
    assert not is_recording((8000, np.zeros(3)))


def test_without_the_package_the_command_that_installs_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(UnavailableError, match=r"pip install 'graft-transfer\[audio\]'"):
        check_sound(b"RIFF")
    with pytest.raises(UnavailableError, match="soundfile"):
        open_sound(b"RIFF")
    assert open_sound((np.zeros(3), 8000)).rate == 8000


def test_a_file_of_nothing_but_empty_parts_is_soon_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sounds, "_MOST_PARTS", 10)
    assert check_sound(b"RIFF\x00\x00\x00\x00WAVE" + bytes(8000)) is not None
    assert check_sound((b"OggS" + bytes(23)) * 400) is not None
