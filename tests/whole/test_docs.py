"""What can be typed is written down, and what is written down runs."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import typer
from PIL import Image

from graft import errors, registry
from graft.cli import app
from graft.tuning import Tuning
from graft.version import __version__

pytestmark = pytest.mark.whole

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
OPTION_PAGES = {
    "bridges": "sources",
    "readers": "data",
    "scores": "scores",
    "sources": "sources",
    "strategies": "strategies",
    "tasks": "tasks",
}


def text(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def sections(page: str) -> dict[str, str]:
    """Second-level heading → what stands below it."""
    parts = re.split(r"^## (.+)$", text(page), flags=re.MULTILINE)
    return dict(zip((each.strip("` ") for each in parts[1::2]), parts[2::2], strict=True))


def commands() -> dict[str, Any]:
    return dict(typer.main.get_command(app).commands)  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", sorted(commands()))
def test_every_command_and_option_is_in_the_cli_page(name: str) -> None:
    found = sections("docs/cli.md")
    assert f"graft {name}" in found, f"docs/cli.md has no section `## graft {name}`"
    section = found[f"graft {name}"]
    for parameter in commands()[name].params:
        if parameter.param_type_name == "argument":
            assert parameter.name.upper() in section, f"{parameter.name.upper()} of graft {name}"
        for option in parameter.opts if parameter.param_type_name == "option" else ():
            assert re.search(rf"`{re.escape(option)}[ `]", section), f"{option} of graft {name} is not in docs/cli.md"


@pytest.mark.parametrize("name", sorted(commands()))
def test_the_cli_page_names_no_option_that_is_gone(name: str) -> None:
    has = {option for parameter in commands()[name].params for option in parameter.opts}
    first_cells = re.findall(r"^\| (`-[^|]*) \|", sections("docs/cli.md")[f"graft {name}"], flags=re.MULTILINE)
    written = {option for cell in first_cells for option in re.findall(r"`(-[-\w]+)", cell)}
    assert not written - has


@pytest.mark.parametrize("kind", registry.kinds())
def test_every_option_is_in_its_page(kind: str) -> None:
    page = text(f"docs/{OPTION_PAGES[kind]}.md")
    missing = [name for name in registry.names(kind) if f"`{name}`" not in page and f"`{name}/" not in page]
    assert not missing, f"docs/{OPTION_PAGES[kind]}.md does not name {missing}"


def test_every_option_of_tuning_is_in_the_page_of_strategies() -> None:
    page = text("docs/strategies.md").split("### The finer points", 1)[1]
    cells = " ".join(re.findall(r"^\| (`[^|]*) \|", page, flags=re.MULTILINE))
    missing = [field.name for field in dataclasses.fields(Tuning) if f"`{field.name}`" not in cells]
    assert not missing, f"docs/strategies.md does not name {missing}"


@pytest.mark.parametrize("name", errors.__all__)
def test_every_error_is_in_its_page_with_its_exit_code(name: str) -> None:
    code = getattr(errors, name).exit_code
    rows = [line for line in text("docs/errors.md").splitlines() if f"`{name}`" in line]
    assert any(re.search(rf"\b{code}\b", row) for row in rows), f"{name} with its exit code {code}"


def test_the_changelog_has_the_version() -> None:
    assert re.search(rf"^## \[{re.escape(__version__)}\]", text("CHANGELOG.md"), flags=re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    gone = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert not gone


def blocks(page: Path) -> list[str]:
    """The Python of a page, without what says why it is not run: ``<!-- skip: reason -->`` before the block."""
    found = re.findall(
        r"(<!-- skip: \S.*?-->\s*)?^```python\n(.*?)^```", page.read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    return [code for skip, code in found if not skip]


def small_data(folder: Path) -> None:
    """``reviews.csv`` and ``flowers/``: the data that the pages speak of."""
    random = np.random.default_rng(0)
    words = {"good": "lovely great warm fine happy", "bad": "awful broken cold late sad"}
    rows = [
        (" ".join(random.choice(words[label].split(), 3)) + f" parcel {place}", label)
        for place in range(40)
        for label in words
    ]
    pd.DataFrame(rows, columns=["text", "label"]).to_csv(folder / "reviews.csv", index=False)
    for place, name in enumerate(("daisy", "rose")):
        (folder / "flowers" / name).mkdir(parents=True)
        for picture in range(20):
            pixels = random.integers(0, 120, (32, 32, 3)).astype(np.uint8)
            pixels[..., place] += 100
            Image.fromarray(pixels).save(folder / "flowers" / name / f"{picture}.png")


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if page.exists() and blocks(page)], ids=lambda page: page.name)
def test_the_python_of_a_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Top to bottom, in a folder with ``reviews.csv`` and ``flowers/``."""
    small_data(tmp_path)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "page"}
    for code in blocks(page):
        exec(compile(code, str(page), "exec"), names)
