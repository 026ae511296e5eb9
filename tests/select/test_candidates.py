"""A source for other rows is taken over one bridge, or refused with the reason."""

from __future__ import annotations

import pytest

from graft import registry
from graft.bridges.spectrogram import Spectrogram
from graft.errors import RequestError
from graft.select.candidates import DEFAULT_SOURCES, candidate, default_source
from graft.sources.bridged import Bridged
from graft.sources.columns import Columns
from graft.sources.graft import Graft
from graft.sources.pixels import Pixels
from graft.sources.table import Table
from graft.sources.tfidf import Tfidf
from graft.strategies.distill import Distill
from graft.strategies.linear_probe import LinearProbe
from graft.strategies.majority import Majority
from graft.strategies.pretrain import Pretrain
from graft.strategies.shallow import Shallow


def test_the_one_bridge_that_leads_there_is_taken() -> None:
    chosen = candidate(Pixels(size=8), LinearProbe(), "audio")
    assert registry.title(chosen.source) == "pixels?size=8 over spectrogram"
    assert registry.title(candidate(Tfidf(), LinearProbe(), "table").source) == "tfidf over sentence"
    direct = Pixels()
    assert candidate(direct, LinearProbe(), "image").source is direct
    given = Bridged(Pixels(), Spectrogram(seconds=1.0))
    assert candidate(given, LinearProbe(), "audio").source is given


def test_what_a_source_reads_need_not_be_asked() -> None:
    class Silent(Pixels):
        def reads(self) -> str:
            raise AssertionError("asked")

    assert candidate(Silent(), LinearProbe(), "image", "image").source.get_params() == Silent().get_params()
    assert isinstance(candidate(Silent(), LinearProbe(), "audio", "image").source, Bridged)
    assert isinstance(
        candidate(Silent(), Majority(), "text", "image").source, type(registry.build("sources", "nothing"))
    )


def test_controls_of_sounds_need_no_bridge() -> None:
    stands_on = [type(candidate(Pixels(), each, "audio").source).__name__ for each in (Majority(), Shallow())]
    assert stands_on == ["Nothing", "Mels"]


def test_an_image_source_for_texts_is_refused_with_the_reason() -> None:
    with pytest.raises(RequestError, match=r"pixels reads rows of image.* rows of text; no bridge leads from text to"):
        candidate(Pixels(), LinearProbe(), "text")
    with pytest.raises(RequestError, match="no bridge leads from image to table"):
        candidate(Columns(), LinearProbe(), "image")


def test_there_is_never_a_second_bridge() -> None:
    with pytest.raises(RequestError, match="over a bridge already, and never over a second"):
        candidate(Bridged(Tfidf(), registry.build("bridges", "sentence")), LinearProbe(), "audio")


def test_where_several_bridges_lead_the_user_chooses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "names", lambda kind: ("spectrogram", "spectrogram"))
    with pytest.raises(RequestError, match="Spectrogram and Spectrogram both lead there"):
        candidate(Pixels(), LinearProbe(), "audio")


def test_sounds_start_from_the_source_of_images() -> None:
    assert DEFAULT_SOURCES["audio"] == DEFAULT_SOURCES["image"]
    with pytest.raises(RequestError, match="--source timm/"):
        default_source("smell")


def test_what_carries_knowledge() -> None:
    assert candidate(Graft("tiny"), LinearProbe(), "image").carries
    assert candidate(Bridged(Graft("tiny"), Spectrogram()), LinearProbe(), "audio").carries
    assert not candidate(Pixels(), LinearProbe(), "image").carries
    assert not candidate(Graft("tiny"), Shallow(), "image").carries
    assert candidate(Table("mlp"), Pretrain(), "table").carries, "rows without labels are learnt from"
    assert candidate(Table("mlp"), Distill("a-model"), "table").carries, "the teacher is learnt from"
