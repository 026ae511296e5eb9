"""``graft show``."""

from __future__ import annotations

import json
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from graft import registry
from graft.cli.show import show

RUN = CliRunner()
app = typer.Typer()
app.command()(show)


def shown(*arguments: str) -> dict[str, Any]:
    found = RUN.invoke(app, [*arguments, "--json"])
    assert found.exit_code == 0, found.stderr
    document: dict[str, Any] = json.loads(found.stdout)
    return document


def test_the_card_of_a_known_source_needs_no_weights() -> None:
    out = RUN.invoke(app, ["timm/resnet18"]).stdout
    for line in (
        "reads        image",
        "weights      11.2 M, without its head",
        "memory       44.7 MB in float32; training and batches need more",
        "compute      1.81 G multiply-adds a row",
        "licence      Apache-2.0 (permissive)",
        "top-1        73.2 % on ImageNet-1k",
        "on disk      no; where there is a network: hf download timm/resnet18.a1_in1k",
        "size         Edge of the images in pixels",
        "next     graft fit DATA --source timm/resnet18 -o MODEL",
    ):
        assert line in out, line
    assert not any(each.endswith(" ") for each in out.splitlines())


def test_weights_of_a_url_are_fetched_to_their_place() -> None:
    document = shown("torchvision/resnet50.IMAGENET1K_V1")
    assert document["fetch"].startswith("curl -L --create-dirs -o ")
    assert document["fetch"].endswith(
        "checkpoints/resnet50-0676ba61.pth https://download.pytorch.org/models/resnet50-0676ba61.pth"
    )


def test_loading_shows_what_a_source_really_is() -> None:
    document = shown("pixels?size=4", "--load")
    assert document["local"]
    assert document["fetch"] is None
    assert document["loaded"]["features"] == 48
    assert document["loaded"]["memory"] == 0
    assert document["loaded"]["preprocessing"]
    out = RUN.invoke(app, ["pixels?size=4", "--load"]).stdout
    assert "features     48 a row" in out
    assert 'next     graft fit DATA --source "pixels?size=4" -o MODEL' in out


def test_a_loaded_network_shows_stages_preprocessing_and_memory() -> None:
    if "minilm" not in registry.load("sources", "minilm").local():
        pytest.skip("the package that carries MiniLM is not installed")
    loaded = shown("minilm", "--load")["loaded"]
    assert loaded["features"] == 384
    assert len(loaded["stages"]) == 7
    assert loaded["revision"]
    assert loaded["memory"] >= 4 * shown("minilm")["card"]["parameters"]


def test_what_is_in_no_table_is_read_off_its_architecture() -> None:
    document = shown("timm/resnet26t.ra2_in1k")
    assert 13_900_000 < document["card"]["parameters"] < 14_100_000
    assert document["card"]["licence"] == "Apache-2.0"
    assert document["card"]["pretraining"] is None
    assert not document["local"]


def test_what_is_neither_known_nor_here_says_what_fetches_it_and_what_is_like_it() -> None:
    document = shown("hf/sentence-transformers/all-MiniLM-L6")
    assert "hf download sentence-transformers/all-MiniLM-L6" in document["absent"]
    assert "hf/sentence-transformers/all-MiniLM-L6-v2" in document["near"]
    out = RUN.invoke(app, ["hf/sentence-transformers/all-MiniLM-L6"]).stdout
    assert "licence      not known" in out
    assert "like it      hf/sentence-transformers/all-MiniLM-L6-v2" in out


def test_loading_what_is_not_here_is_refused() -> None:
    found = RUN.invoke(app, ["hf/nobody/nothing", "--load"])
    assert found.exit_code == 6
    assert "hf download nobody/nothing" in found.stderr


def test_a_family_shows_its_options() -> None:
    document = shown("timm")
    assert document["family"] == "timm"
    assert document["known"] > 200
    options = {each["name"]: each for each in document["options"]}
    assert options["name"]["needed"]
    assert "Edge of the images" in options["size"]["what"]
    out = RUN.invoke(app, ["timm"]).stdout
    assert "next     graft ls sources --family timm" in out


@pytest.mark.parametrize("family", registry.names("sources"))
def test_every_option_of_every_family_is_explained(family: str) -> None:
    from graft.cli.show import _options  # type: ignore[attr-defined]

    unsaid = [each["name"] for each in _options(family) if not each["what"]]
    assert not unsaid, f"the docstring of {family} does not explain {unsaid}"


@pytest.mark.parametrize(("name", "like"), [("resnet18", "timm/resnet18.a1_in1k"), ("minilmm", "minilm")])
def test_an_unknown_name_suggests_the_nearest(name: str, like: str) -> None:
    found = RUN.invoke(app, [name])
    assert found.exit_code == 2
    assert like in found.stderr
    assert found.stdout == ""


def test_an_unknown_name_of_a_family() -> None:
    found = RUN.invoke(app, ["timm/resnet19"])
    assert found.exit_code == 2
    assert "Did you mean resnet18" in found.stderr
