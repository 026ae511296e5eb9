"""The licence filter of a fit."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

import graft
from graft import registry
from graft.cli import app
from graft.contracts import Backbone, Source
from graft.errors import RequestError, UnknownNameError
from graft.order import Order
from graft.preparation import prepare
from graft.select.terms import check_licence
from graft.sources.several import Several
from graft.sources.timm import Timm


def never(self: Source, weights: bool = True) -> Backbone:
    raise AssertionError("loaded")


def test_a_known_licence_needs_no_loading(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Timm, "load", never)
    check_licence(Timm("resnet18"), "permissive")
    check_licence(Timm("resnet18", size=64), "apache-2.0")
    with pytest.raises(RequestError, match=r"timm/vit_small_patch16_dinov3\.lvd1689m is dinov3-license \(restricted\)"):
        check_licence(Timm("vit_small_patch16_dinov3.lvd1689m"), "permissive")
    with pytest.raises(RequestError, match=r"is Apache-2\.0"):
        check_licence(Timm("resnet18"), "MIT")


def test_no_filter_asks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Timm, "load", never)
    check_licence(Timm("resnet18"), None)
    check_licence(Timm("resnet18"), "any")


def test_what_is_in_no_table_is_asked_for_its_card() -> None:
    check_licence(Timm("resnet14t.c3_in1k"), "permissive")
    with pytest.raises(RequestError, match="is not known"):
        check_licence(registry.build("sources", "file/absent.pth?architecture=timm/resnet10t"), "permissive")


def test_plain_features_carry_no_weights_and_pass() -> None:
    for name in ("tfidf", "pixels", "columns", "nothing"):
        check_licence(registry.build("sources", name), "MIT")


def test_every_one_of_several_sources_has_to_pass() -> None:
    check_licence(Several([Timm("resnet18"), registry.build("sources", "pixels")]), "permissive")
    with pytest.raises(RequestError, match="dinov3"):
        check_licence(Several([Timm("resnet18"), Timm("vit_small_patch16_dinov3")]), "permissive")


def test_a_filter_that_is_no_licence() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean MIT"):
        check_licence(Timm("resnet18"), "MITT")


def test_a_fit_refuses_before_it_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = ([f"word {place}" for place in range(20)], ["a", "b"] * 10)
    monkeypatch.setattr(type(registry.build("sources", "minilm")), "load", never)
    with pytest.raises(
        RequestError, match=r"the licence of minilm is Apache-2\.0 \(permissive\), and only what is MIT"
    ):
        graft.fit(rows, source="minilm", licence="MIT")
    assert prepare(Order(rows, source="tfidf", licence="MIT")).source.get_params()


def test_the_command_ends_with_one_message(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(
        "text,label\n" + "".join(f"word {place},{'ab'[place % 2]}\n" for place in range(20))
    )
    options = ["--source", "minilm", "--licence", "MIT", "--output", str(tmp_path / "model"), "--quiet"]
    found = CliRunner().invoke(app, ["fit", str(tmp_path / "rows.csv"), *options])
    assert found.exit_code == 2
    assert "graft ls sources --modality text --licence MIT" in found.stderr
    assert not (tmp_path / "model").exists()
