"""The few rows that travel with a model."""

from __future__ import annotations

import numpy as np

from graft.contracts import Sound
from graft.data.examples import AudioExamples
from graft.data.keepsake import pack, unpack


def test_sounds_come_back_short_and_the_same_every_time() -> None:
    long, short = np.sin(np.arange(9000) / 9).astype(np.float32), np.array([0.5, -1.0], np.float32)
    files = pack(AudioExamples([Sound(long, 1000), Sound(short, 44100)]), 4)
    assert sorted(files) == ["0.sound", "1.sound"]
    held = unpack(files)
    assert [(held[row].rate, len(held[row].samples)) for row in range(2)] == [(1000, 2000), (44100, 2)]
    np.testing.assert_allclose(held[0].samples, long[:2000], atol=1e-4)
    assert pack(held, 4) == files
