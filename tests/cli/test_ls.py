"""``graft ls``."""

from __future__ import annotations

import json
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from graft import registry
from graft.cli import tables
from graft.cli.ls import ls
from graft.errors import UnavailableError
from graft.licences import terms

RUN = CliRunner()
app = typer.Typer()
app.command()(ls)


def test_every_option_has_a_line() -> None:
    found = RUN.invoke(app, ["strategies"])
    assert found.exit_code == 0
    for name, sentence in registry.describe("strategies").items():
        assert any(line.startswith(name) and sentence in line for line in found.stdout.splitlines()), name
    assert "next     graft fit DATA" in found.stdout


def test_sources_say_what_loads_now() -> None:
    found = RUN.invoke(app, ["sources", "--json"])
    document = json.loads(found.stdout)
    entries = {entry["name"]: entry for entry in document["sources"]}
    assert list(document) == ["sources"]
    assert entries["nothing"]["local"] == ["nothing"]
    shown = RUN.invoke(app, ["sources"]).stdout
    assert "loads now without a network" in shown


def test_without_a_kind_all_are_listed() -> None:
    document = json.loads(RUN.invoke(app, ["--json"]).stdout)
    assert sorted(document) == ["bridges", "readers", "scores", "sources", "strategies", "tasks"]
    assert all(entry["what"] for entries in document.values() for entry in entries)


def test_a_family_that_cannot_be_asked_hides_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    load = registry.load

    def refuse(kind: str, name: str) -> type:
        if name == "timm":
            raise UnavailableError("the source 'timm' needs the package 'timm'")
        return load(kind, name)

    monkeypatch.setattr(registry, "load", refuse)
    shown = RUN.invoke(app, ["sources"]).stdout
    assert "needs the package 'timm'" in shown
    assert "zero features" in shown


def test_an_unknown_kind() -> None:
    found = RUN.invoke(app, ["strategy"])
    assert found.exit_code == 2
    assert "Did you mean strategies" in found.stderr
    assert found.stdout == ""


def listed(*arguments: str) -> dict[str, Any]:
    found = RUN.invoke(app, ["sources", *arguments, "--json"])
    assert found.exit_code == 0, found.stderr
    document: dict[str, Any] = json.loads(found.stdout)
    return document


def test_a_filter_lists_well_known_sources() -> None:
    document = listed("--modality", "image", "--licence", "permissive", "--max-params", "30M", "--limit", "0")
    assert len(document["sources"]) > 100
    for each in document["sources"]:
        assert each["modality"] == "image"
        assert each["parameters"] <= 30_000_000
        assert terms(each["licence"]) == "permissive"
    assert document["without_licence"] > 0
    learnt = [each for each in document["sources"] if each["pretraining"] != "none"]
    assert document["sources"][: len(learnt)] == learnt
    here = [each["local"] for each in learnt]
    assert here == sorted(here, reverse=True)


def test_the_table_stays_whole_in_a_pipe_and_says_what_it_leaves_out() -> None:
    shown = RUN.invoke(app, ["sources", "--modality", "text", "--licence", "permissive", "--limit", "0"]).stdout
    line = next(each for each in shown.splitlines() if "paraphrase-multilingual-MiniLM-L12-v2" in each)
    assert line.split()[:5] == [
        "hf/sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2",
        "118",
        "M",
        "470",
        "Apache-2.0",
    ]
    assert not any(each.endswith(" ") for each in shown.splitlines())
    assert "left out, because the licence is not known" in shown
    assert "next     graft show minilm" in shown


@pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
@pytest.mark.parametrize("filters", [["--modality", "image"], ["--modality", "text"], ["--modality", "audio"]])
def test_the_table_fits_a_terminal(monkeypatch: pytest.MonkeyPatch, width: int, filters: list[str]) -> None:
    monkeypatch.setattr(tables, "room", lambda: width)
    shown = RUN.invoke(app, ["sources", *filters, "--limit", "0"]).stdout
    table = shown.partition("\n\n")[0].splitlines()
    assert max(len(each) for each in table) <= width
    assert "licence" in table[0]
    assert "learnt from" in table[0] or width < 120
    assert "learnt from" not in table[0] or width > 80


def test_a_long_name_is_broken_where_its_parts_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "room", lambda: 70)
    shown = RUN.invoke(app, ["sources", "--search", "paraphrase-multilingual-MiniLM-L12-v2"]).stdout
    rows = [each.strip() for each in shown.splitlines()]
    assert rows[1].startswith("hf/sentence-transformers/paraphrase-")
    assert rows[2] in "paraphrase-multilingual-MiniLM-L12-v2"


def test_limit_and_search() -> None:
    document = listed("--search", "dinov2", "--family", "timm", "--limit", "2")
    assert len(document["sources"]) == 2
    assert document["more"] > 0
    assert "more; --limit 0 prints all" in RUN.invoke(app, ["sources", "--modality", "image"]).stdout


def test_local_lists_what_is_here_also_what_no_table_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    load = registry.load

    def with_one_more(kind: str, name: str) -> type:
        plugin = load(kind, name)
        if (kind, name) == ("sources", "timm"):
            monkeypatch.setattr(
                plugin, "local", classmethod(lambda cls: ("timm/resnet26.bt_in1k", "timm/resnet18.a1_in1k"))
            )
        return plugin

    monkeypatch.setattr(registry, "load", with_one_more)
    held = {each["name"]: each for each in listed("--local")["sources"]}
    assert all(each["local"] for each in held.values())
    assert held["timm/resnet18.a1_in1k"]["parameters"] == 11_176_512
    assert held["timm/resnet26.bt_in1k"]["parameters"] is None
    assert held["timm/resnet26.bt_in1k"]["modality"] == "image"
    assert "nothing" not in held
    assert "timm/resnet26.bt_in1k" not in {each["name"] for each in listed("--local", "--max-params", "30M")["sources"]}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sources", "--modality", "pictures"], "Known: audio, image, table, text"),
        (["sources", "--family", "tim"], "Did you mean timm"),
        (["sources", "--licence", "MITT"], "Did you mean MIT"),
        (["sources", "--max-params", "many"], "500k, 30M or 1.2B"),
        (["strategies", "--modality", "image"], "write graft ls sources"),
    ],
)
def test_a_wrong_filter_says_so(arguments: list[str], message: str) -> None:
    found = RUN.invoke(app, arguments)
    assert found.exit_code == 2
    assert message in found.stderr
    assert found.stdout == ""


def test_nothing_passes() -> None:
    shown = RUN.invoke(app, ["sources", "--search", "dinov3", "--licence", "permissive"]).stdout
    assert "nothing that is known passes this filter; 6 would without --licence" in shown
    assert "next     graft ls sources" in shown


def test_strategies_show_their_family_and_what_they_need(monkeypatch: pytest.MonkeyPatch) -> None:
    stated = registry.stated

    def with_a_need(kind: str, name: str, keys: list[str]) -> dict[str, str]:
        if name == "pretrain":
            raise UnavailableError("the strategy 'pretrain' needs the package 'x'")
        return {**stated(kind, name, keys), **({"needs": "a teacher"} if name == "mlp_head" else {})}

    monkeypatch.setattr(registry, "stated", with_a_need)
    document = json.loads(RUN.invoke(app, ["strategies", "--json"]).stdout)
    entries = {entry["name"]: entry for entry in document["strategies"]}
    assert entries["mlp_head"] | {"what": ""} == {
        "name": "mlp_head", "what": "", "family": "feature", "needs": "a teacher"
    }  # fmt: skip
    assert entries["majority"]["family"] == "control"
    assert entries["majority"]["needs"] == ""
    assert entries["pretrain"]["family"] == ""
    assert [entry["family"] for entry in document["strategies"]][-1] == "control"
    line = next(each for each in RUN.invoke(app, ["strategies"]).stdout.splitlines() if each.startswith("mlp_head"))
    assert line.split()[-3:] == ["feature", "a", "teacher"]
