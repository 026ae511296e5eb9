"""The catalogue of well-known sources: every line holds, and it is what the libraries say."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from graft import catalogue, licences, registry
from graft.catalogue import Entry, Wanted
from graft.errors import RequestError, UnknownNameError
from graft.nn.hub.config import MODALITIES

BUILD = Path(__file__).parents[1] / "catalogue" / "build.py"


@pytest.fixture(scope="module")
def build() -> Iterator[ModuleType]:
    """The script that writes the catalogue."""
    spec = importlib.util.spec_from_file_location("catalogue_build", BUILD)
    assert spec is not None
    assert spec.loader is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERAS_BACKEND", "torch")
        module = importlib.util.module_from_spec(spec)
        patch.setitem(sys.modules, "catalogue_build", module)
        spec.loader.exec_module(module)
        yield module


def lines() -> list[dict[str, Any]]:
    return [json.loads(each) for each in catalogue.FILE.read_text(encoding="utf-8").splitlines()]


def test_it_is_large_small_and_in_order() -> None:
    header, *rest = lines()
    assert set(header["made_with"]) == {"keras", "timm", "torchvision", "transformers"}
    names = [each["name"] for each in rest]
    assert len(names) > 300
    assert names == sorted(set(names))
    assert catalogue.FILE.stat().st_size < 200_000
    modalities = Counter(each.modality for each in catalogue.entries())
    assert set(modalities) == {"image", "text", "audio", "table"}
    assert modalities["text"] > 50
    assert modalities["audio"] > 10


def test_every_line_holds() -> None:
    families = registry.names("sources")
    for entry in catalogue.entries():
        assert entry.family in families, entry
        assert entry.source, entry
        assert entry.parameters is None or 0 <= entry.parameters < 2_000_000_000, entry
        assert entry.licence == licences.spdx(entry.licence), entry
        assert entry.top1 is None or 0.3 < entry.top1 < 0.95, entry
        assert entry.bytes is None or entry.parameters is None or entry.bytes > 1.9 * entry.parameters, entry
        assert entry.flops is None or entry.flops > 0, entry
        assert entry.outputs is not None, entry
        assert catalogue.find(entry.name) == entry


def test_names_are_those_of_the_libraries() -> None:
    import timm
    from torchvision import models

    names = {
        family: {each.name.partition("/")[2] for each in catalogue.entries() if each.family == family}
        for family in ("timm", "torchvision")
    }
    assert names["timm"] <= set(timm.list_models(pretrained=True))
    every = {
        f"{model}.{each.name}"
        for model in models.list_models(module=models)
        for each in models.get_model_weights(model)
    }
    assert names["torchvision"] <= every


def test_the_hub_list_names_what_graft_builds(build: ModuleType) -> None:
    for row in build.rows("hub.txt"):
        _, reads, _, _, architecture = (part.strip() for part in row.split("|"))
        assert architecture.split()[0] in MODALITIES[reads.split()[0]], row


@pytest.mark.slow
def test_a_sample_is_what_the_libraries_say(build: ModuleType) -> None:
    held = {each["name"]: each for each in lines()[1:]}
    timm = {"resnet18.a1_in1k", "mobilenetv3_small_100.lamb_in1k", "vit_small_patch14_dinov2.lvd142m"}
    made = list(build.of_timm(timm))
    made += build.of_torchvision({"torchvision/resnet18.IMAGENET1K_V1", "torchvision/squeezenet1_1.IMAGENET1K_V1"})
    made += build.of_hub({"google-bert/bert-base-uncased", "facebook/wav2vec2-base", "microsoft/resnet-18"})
    assert len(made) == 8
    for facts in made:
        assert json.loads(build.line(facts)) == held[facts["name"]]


def test_it_agrees_with_the_card_of_a_source() -> None:
    for spec in ("timm/resnet18.a1_in1k", "torchvision/resnet18.IMAGENET1K_V1"):
        entry, card = catalogue.find(spec), registry.build("sources", spec).load(weights=False).card
        assert entry is not None
        assert entry.parameters == card.parameters
        assert entry.name == card.name


def test_figures_that_the_authors_publish() -> None:
    """ResNet-18 (He et al. 2015), DeiT-S (Touvron et al. 2021), BERT (Devlin et al. 2019)."""
    resnet, deit, bert = (
        catalogue.find(name)
        for name in ("timm/resnet18.a1_in1k", "timm/deit_small_patch16_224.fb_in1k", "hf/google-bert/bert-base-uncased")
    )
    assert resnet is not None
    assert deit is not None
    assert bert is not None
    assert resnet.flops == pytest.approx(1.8e9, rel=0.02)
    assert deit.flops == pytest.approx(4.6e9, rel=0.02)
    assert bert.parameters == pytest.approx(110e6, rel=0.02)


def test_a_name_without_its_tag_means_the_default_one() -> None:
    assert catalogue.find("timm/resnet18?size=64") == catalogue.find("timm/resnet18.a1_in1k")
    found = catalogue.find("torchvision/resnet50")
    assert found is not None
    assert found.name == "torchvision/resnet50.IMAGENET1K_V2"
    assert catalogue.find("timm/resnet") is None


def test_near_names() -> None:
    assert "timm/resnet18.a1_in1k" in catalogue.near("resnet18")
    assert catalogue.near("all-MiniLM-L6-v2")[0] == "hf/sentence-transformers/all-MiniLM-L6-v2"
    assert catalogue.near("qqqqqq") == []


ROWS = (
    Entry("a/one", "image", parameters=5, licence="MIT", pretraining="cats"),
    Entry("a/two", "image", parameters=50, licence="CC-BY-NC-4.0"),
    Entry("b/three", "text", parameters=None, licence="MIT"),
    Entry("b/four", "text", parameters=7, licence=None),
)


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        (Wanted(), ["a/one", "a/two", "b/three", "b/four"]),
        (Wanted(modality="text"), ["b/three", "b/four"]),
        (Wanted(licence="permissive"), ["a/one", "b/three"]),
        (Wanted(licence="CC-BY-NC-4.0"), ["a/two"]),
        (Wanted(parameters=10), ["a/one", "b/four"]),
        (Wanted(family="a"), ["a/one", "a/two"]),
        (Wanted(search="CATS one"), ["a/one"]),
    ],
)
def test_filters(wanted: Wanted, names: list[str]) -> None:
    assert [each.name for each in catalogue.select(wanted, ROWS).found] == names


def test_what_is_not_known_is_counted_and_passes_no_filter() -> None:
    found = catalogue.select(Wanted(licence="permissive", parameters=10), ROWS)
    assert (found.without_licence, found.without_parameters, found.other_licence) == (1, 1, 0)
    assert catalogue.select(Wanted(licence="permissive"), ROWS).other_licence == 1
    with pytest.raises(UnknownNameError, match="licence"):
        catalogue.select(Wanted(licence="free"), ROWS)


@pytest.mark.parametrize(
    ("text", "expected"), [("30M", 30_000_000), ("1.2B", 1_200_000_000), ("500k", 500_000), ("7", 7)]
)
def test_counts_are_read(text: str, expected: int) -> None:
    assert catalogue.count(text) == expected


@pytest.mark.parametrize("text", ["", "many", "-3M", "3MB", "3 000"])
def test_other_counts_are_refused(text: str) -> None:
    with pytest.raises(RequestError, match=r"500k, 30M or 1\.2B"):
        catalogue.count(text)
