from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from graft import registry
from graft.checks import check_source
from graft.contracts import Sound
from graft.data.examples import AudioExamples
from graft.errors import BundleError, RequestError
from graft.sources.mels import Mels

CLIPS = AudioExamples(
    [Sound(np.random.default_rng(seed).normal(size=900 * (seed + 1)).astype(np.float32) / 9, 8000) for seed in range(4)]
)


def test_it_keeps_its_contract_and_is_the_plain_source_of_sounds() -> None:
    check_source(Mels(), CLIPS)
    assert registry.plain_source("audio") is Mels
    assert Mels.local() == ("mels",)
    backbone = Mels(bands=20).load()
    assert backbone.dim == 40
    assert backbone.fingerprint != Mels(bands=20, rate=8000).load().fingerprint


def test_a_loud_clip_differs_from_a_quiet_one_by_its_decibels_alone() -> None:
    loud = CLIPS[3]
    shaped = Mels(bands=10).load().preprocess.items([loud, Sound(loud.samples / 10, loud.rate)])
    np.testing.assert_allclose(shaped[0][:10] - shaped[1][:10], 20 / 50, atol=0.01)
    np.testing.assert_allclose(shaped[0][10:], shaped[1][10:], atol=0.01)


@pytest.mark.parametrize(("name", "value"), [("bands", 0), ("bands", 1.5), ("rate", 10), ("rate", True)])
def test_what_cannot_be_is_refused(name: str, value: Any) -> None:
    with pytest.raises(RequestError, match=f"the {name} of mels"):
        Mels(**{name: value}).load()


def test_damaged_files_are_refused() -> None:
    for files in ({}, {"mels.json": b"{}"}, {"mels.json": b"\xff"}):
        with pytest.raises(BundleError, match=r"mels\.json"):
            Mels().rebuild(files)
