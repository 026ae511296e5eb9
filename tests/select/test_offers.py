"""Which sources could serve: those that are here, those that are named, those that would have to be fetched."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from graft import registry
from graft.compute import Speed
from graft.contracts import Backbone, Source
from graft.errors import UnavailableError
from graft.select import offers
from graft.select.forecast import Known
from graft.select.offers import DOWNLOADS, fetchable, named, on_this_machine
from graft.sources.timm import Timm
from graft.tasks.classification import Classification

TEXTS = Known("text", Classification().start(np.array(["a", "b"], dtype=object)), rows=200)
IMAGES = replace(TEXTS, modality="image")
SPEED = Speed(1e12, 1e12)


def never(self: Source, weights: bool = True) -> Backbone:
    raise AssertionError("loaded")


def test_what_is_here_takes_part_and_the_rest_says_why() -> None:
    found, left_out = on_this_machine(IMAGES, None)
    here = {each.name: each for each in found}
    assert here["graft/tiny"].held
    assert here["graft/tiny"].card.parameters
    assert not here["pixels"].source.pretrained
    assert "nothing" not in {*here, *(each.name for each in left_out)}
    assert {each.name: each.reason for each in left_out}["tfidf"] == "it does not read image, and no bridge leads there"


def test_sounds_are_read_by_sources_of_images_over_a_bridge() -> None:
    found, _ = on_this_machine(replace(TEXTS, modality="audio"), None)
    assert "graft/tiny" in {each.name for each in found}


def test_a_family_that_cannot_be_asked_is_left_out_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    load = registry.load

    def refuse(kind: str, name: str) -> type:
        if name == "timm":
            raise UnavailableError("the source 'timm' needs the package 'timm'")
        return load(kind, name)

    monkeypatch.setattr(registry, "load", refuse)
    found, left_out = on_this_machine(IMAGES, None)
    assert "graft/tiny" in {each.name for each in found}
    assert "needs the package" in {each.name: each.reason for each in left_out}["timm"]


def test_a_licence_that_does_not_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Timm, "load", never)
    found, left_out = named([Timm("resnet18"), Timm("vit_small_patch16_dinov3")], IMAGES, "permissive")
    assert [each.name for each in found] == ["timm/resnet18"]
    assert "dinov3-license" in left_out[0].reason
    assert not on_this_machine(IMAGES, "MIT")[0] or all(
        not each.source.pretrained for each in on_this_machine(IMAGES, "MIT")[0]
    )


def test_what_is_named_takes_part_even_where_it_has_to_be_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Timm, "load", never)
    (found,), _ = named([Timm("resnet18")], IMAGES, None)
    assert found.named
    assert not found.held
    (path,), _ = named([registry.build("sources", "graft/tiny")], IMAGES, None)
    assert path.held


def test_a_source_that_cannot_be_looked_at_is_left_out() -> None:
    found, left_out = named([registry.build("sources", "fitted/nowhere")], IMAGES, None)
    assert not found
    assert "is not a saved model" in left_out[0].reason


def test_the_classes_of_a_saved_model_are_its_own(tmp_path) -> None:
    import graft

    rows = np.random.default_rng(0).normal(size=(24, 3)).astype(np.float32)
    labels = np.array(["a", "b"] * 12, dtype=object)
    model = graft.Transfer(registry.build("sources", "table/mlp?hidden=[4]"), precision="float32")
    model.fit(rows, labels).save(tmp_path / "model")
    (found,), _ = named(
        [registry.build("sources", f"fitted/{tmp_path / 'model'}")], replace(TEXTS, modality="table"), None
    )
    assert found.classes == ("a", "b")
    assert found.held


def test_the_catalogue_waits_for_download() -> None:
    found, left_out = fetchable(IMAGES, None, SPEED, 600.0, here=["timm/resnet18.a1_in1k"], download=False)
    assert not found
    assert len(left_out) > 300
    assert {each.reason for each in left_out} == {"it is not on this machine; --download lets it be fetched"}
    assert "timm/resnet18.a1_in1k" not in {each.name for each in left_out}


def test_downloads_that_are_forbidden_are_not_planned() -> None:
    found, left_out = fetchable(IMAGES, None, SPEED, 600.0, here=[], download=True)
    assert not found
    assert "HF_HUB_OFFLINE forbids downloads" in left_out[0].reason


def test_the_most_promising_downloads_within_their_share_of_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offers.fetch, "offline", lambda: None)
    monkeypatch.setattr(Timm, "load", never)
    found, left_out = fetchable(IMAGES, "permissive", SPEED, 600.0, here=[], download=True)
    assert len(found) == DOWNLOADS
    assert all(not each.held and each.card.licence for each in found)
    accurate = [each.card.top1 or 0.0 for each in found]
    assert accurate == sorted(accurate, reverse=True)
    told = {each.name: each.reason for each in left_out}
    assert any("name it with --source" in reason for reason in told.values())
    assert "only what is permissive may be used" in told["timm/vit_small_patch16_dinov3.lvd1689m"]
    slow = Speed(1e9, 1e9)
    small, _ = fetchable(replace(IMAGES, rows=2000), "permissive", slow, 600.0, here=[], download=True)
    assert max(each.card.flops or 0 for each in small) < max(each.card.flops or 0 for each in found)
