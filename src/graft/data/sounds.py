"""Sounds from files that nobody vouches for: decoded safely, to one channel.

Only well-known formats are opened, what a header claims is checked before a sample is read, and a
file that ends too early is refused rather than taken for a shorter sound.
"""

from __future__ import annotations

import contextlib
import io
import math
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from graft.contracts import Array, Sound
from graft.data.files import read_row_file
from graft.errors import UnavailableError

__all__ = [
    "FORMATS",
    "MAX_SECONDS",
    "SUFFIXES",
    "check_sound",
    "has_sound_suffix",
    "is_recording",
    "is_sound_file",
    "open_sound",
    "resampled",
]

FORMATS = ("WAV", "FLAC", "OGG", "MP3", "AIFF", "AU")
SUFFIXES = frozenset({".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au"})
"""Names that sounds go by."""
MAX_SECONDS = 600
"""Longer sounds are refused before they are decoded."""

_RATES = (500, 384_000)
_MAX_SAMPLES = MAX_SECONDS * 96_000
_BLOCK = 2**20
"""Samples of all channels that are decoded at a time."""
_KNOWN = frozenset({*FORMATS, "WAVEX"})
_PLAIN = (frozenset({"WAV", "WAVEX", "AIFF", "AU"}), frozenset({"PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32"}))
"""Formats and encodings in which any bytes are a sound: nothing is learnt by decoding them."""
_MOST_PARTS = 1_000_000
"""Chunks or pages of a file that are counted; no honest file has as many."""
_UNSTATED = 0x7FFF0000
"""Lengths from here on are what a program writes that streams and cannot go back."""
_NOT_FINITE = "it holds samples that are no finite numbers"


def has_sound_suffix(name: str) -> bool:
    """Whether a file of this name is a sound by its suffix."""
    dot = name.rfind(".")
    return dot >= 0 and name[dot:].lower() in SUFFIXES


def is_sound_file(raw: bytes) -> bool:
    """Whether an encoded file begins as those of the formats that are read."""
    head = raw[:12]
    inside = (head[:4], head[8:12])
    return (
        head[:4] in (b"fLaC", b"OggS", b".snd")
        or inside in ((b"RIFF", b"WAVE"), (b"FORM", b"AIFF"), (b"FORM", b"AIFC"))
        or head[:3] == b"ID3"
        or (len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0)
    )


def is_recording(given: Any) -> bool:
    """Whether it is a sound in memory: a ``Sound``, or samples with their rate."""
    if isinstance(given, Sound):
        return True
    return (
        isinstance(given, tuple)
        and len(given) == 2
        and isinstance(given[0], np.ndarray)
        and given[0].ndim in (1, 2)
        and isinstance(given[1], int | np.integer)
    )


def open_sound(sound: str | Path | bytes | Sound | tuple[Array, int], max_seconds: float = MAX_SECONDS) -> Sound:
    """Any sound → one channel of float32.

    Parameters
    ----------
    sound
        A path, an encoded file, a ``Sound``, or samples with their rate: ``(t,)``, ``(t, channels)``
        or ``(channels, t)`` of floating-point numbers in [-1, 1] or of whole numbers.
    max_seconds
        Longer sounds are refused before they are decoded.

    Notes
    -----
    Channels are averaged.  Whole numbers are scaled by their type's range; a sound that is louder
    than 1 is brought to a peak of 1.

    Raises
    ------
    ValueError
        With the reason why it cannot be read.
    UnavailableError
        For a file, where the package that decodes it is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> open_sound((np.array([0, 16384], np.int16), 8000)).samples.tolist()
    [0.0, 0.5]
    """
    if isinstance(sound, Sound):
        return _from_array(sound.samples, sound.rate, max_seconds)
    if isinstance(sound, tuple):
        return _from_array(np.asarray(sound[0]), sound[1], max_seconds)
    raw = sound if isinstance(sound, bytes) else read_row_file(str(sound))
    with _opened(raw, max_seconds) as file:
        return Sound(_within(np.concatenate([*_blocks(file, max_seconds)])), int(file.samplerate))


def check_sound(raw: bytes, max_seconds: float = MAX_SECONDS) -> str | None:
    """Why :func:`open_sound` would refuse an encoded file; ``None`` where it would not.

    What can be damaged inside is decoded, a block at a time; of plain samples the header and the
    length say it all.
    """
    try:
        with _opened(raw, max_seconds) as file:
            if file.format not in _PLAIN[0] or file.subtype not in _PLAIN[1]:
                for _ in _blocks(file, max_seconds):
                    pass
    except ValueError as exc:
        return str(exc)
    return None


def resampled(sound: Sound, rate: int) -> Sound:
    """The sound at another rate: what lies above half of the lower rate is filtered out.

    A polyphase filter (``scipy.signal.resample_poly``); ``(t,)`` becomes ``(⌈t · rate / sound.rate⌉,)``.

    Examples
    --------
    >>> import numpy as np
    >>> resampled(Sound(np.zeros(44100, np.float32), 44100), 16000).samples.shape
    (16000,)
    """
    if rate == sound.rate:
        return sound
    from scipy.signal import resample_poly

    shared = math.gcd(rate, sound.rate)
    samples = resample_poly(sound.samples, rate // shared, sound.rate // shared)
    return Sound(np.ascontiguousarray(samples, dtype=np.float32), rate)


def _library() -> Any:
    try:
        import soundfile
    except (ImportError, OSError) as exc:  # OSError: the package is here, and the library that it wraps is not
        raise UnavailableError(
            f"reading sound files needs the package soundfile ({exc}). "
            "Install it with: pip install 'graft-transfer[audio]'"
        ) from exc
    return soundfile


@contextlib.contextmanager
def _opened(raw: bytes, max_seconds: float) -> Iterator[Any]:
    """The file, its header checked; what its decoder refuses meanwhile is a ``ValueError``."""
    library = _library()
    try:
        if not is_sound_file(raw):
            raise ValueError(f"it is not a sound of a known format ({', '.join(FORMATS)})")
        with library.SoundFile(io.BytesIO(raw)) as file:
            if file.format not in _KNOWN:
                raise ValueError(f"it is not a sound of a known format ({', '.join(FORMATS)})")
            _check_length(raw)
            _check_extent(file.frames, file.samplerate, max_seconds)
            yield file
    except (library.SoundFileError, EOFError, struct.error) as exc:
        # The library speaks of a file that does not exist where a stream has not one whole frame.
        told = "" if "does not exist" in str(exc) else str(exc).rpartition(": ")[2].strip(". ")
        raise ValueError("its sound data are damaged" + (f" ({told})" if told else "")) from exc


def _check_extent(samples: int, rate: int, max_seconds: float) -> None:
    low, high = _RATES
    if not low <= rate <= high:
        raise ValueError(f"its rate is {rate:,} samples a second; {low} to {high:,} are read")
    if samples < 1:
        raise ValueError("it has no samples")
    if samples > rate * max_seconds:
        raise ValueError(f"it lasts {samples / rate:,.0f} s; at most {max_seconds:,.0f} s are read: cut it into pieces")
    if samples > _MAX_SAMPLES:
        raise ValueError(f"it has {samples:,} samples; at most {_MAX_SAMPLES:,} are read: cut or resample it")


def _blocks(file: Any, max_seconds: float) -> Iterator[npt.NDArray[np.float32]]:
    """The samples of an open file as one channel, a block at a time."""
    frames = max(1, _BLOCK // file.channels)
    count = 0
    while len(block := file.read(frames, dtype="float32", always_2d=True)):
        count += len(block)
        _check_extent(count, file.samplerate, max_seconds)
        if not np.isfinite(block).all():
            raise ValueError(_NOT_FINITE)
        yield block[:, 0] if file.channels == 1 else block.mean(axis=1)
    if count < file.frames:
        raise ValueError("the file ends too early (truncated)")


def _check_length(raw: bytes) -> None:
    """Refuse a file that is shorter than it says: the decoder would give what there is, without a word."""
    size = len(raw)
    wanted = size
    if raw[:4] == b"RIFF":
        wanted = _chunks_end(raw, "<")
    elif raw[:4] == b"FORM":
        wanted = _chunks_end(raw, ">")
    elif raw[:4] == b".snd":
        start, length = struct.unpack_from(">II", raw, 4)
        wanted = size if length >= _UNSTATED else start + length
    elif raw[:4] == b"OggS":
        wanted = _pages_end(raw)
    if wanted > size:
        raise ValueError("the file ends too early (truncated)")


def _chunks_end(raw: bytes, order: str) -> int:
    """Where the chunk of the samples ends, as WAV and AIFF state it."""
    place = 12
    for _ in range(_MOST_PARTS):
        if place + 8 > len(raw):
            break
        name, length = struct.unpack_from(f"{order}4sI", raw, place)
        if name in (b"data", b"SSND"):
            return len(raw) if length >= _UNSTATED else place + 8 + int(length)
        place += 8 + length + length % 2
    return len(raw)


def _pages_end(raw: bytes) -> int:
    """Where the last page of an Ogg file that begins in it ends."""
    place = 0
    for _ in range(_MOST_PARTS):
        if raw[place : place + 4] != b"OggS":
            break
        if place + 27 > len(raw):
            return place + 27
        count = raw[place + 26]
        place += 27 + count + sum(raw[place + 27 : place + 27 + count])
    return place


def _from_array(samples: Array, rate: Any, max_seconds: float) -> Sound:
    if isinstance(rate, bool) or not isinstance(rate, int | np.integer):
        raise ValueError(f"its rate is {rate!r}; a whole number of samples a second was expected: (samples, rate)")
    if samples.ndim not in (1, 2) or samples.dtype.kind not in "iuf":
        raise ValueError(
            f"its samples have shape {samples.shape} and dtype {samples.dtype}; numbers (t,) or (t, channels) were "
            "expected"
        )
    _check_extent(max(samples.shape) if samples.size else 0, int(rate), max_seconds)
    if not np.isfinite(samples).all():
        raise ValueError(_NOT_FINITE)
    kind, scale = samples.dtype.kind, 2.0 ** (8 * samples.dtype.itemsize - 1)
    given = samples.astype(np.float32, copy=False)
    if kind in "iu":
        given = (given - (scale if kind == "u" else 0.0)) / np.float32(scale)
    if given.ndim == 2:  # a sound has fewer channels than samples
        given = given.mean(axis=0 if given.shape[0] < given.shape[1] else 1)
    return Sound(_within(given), int(rate))


def _within(samples: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    peak = float(np.abs(samples).max())
    return np.ascontiguousarray(samples / np.float32(peak) if peak > 1 else samples, dtype=np.float32)
