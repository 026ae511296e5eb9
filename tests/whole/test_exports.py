"""What a module offers is what it says it offers."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import graft
from graft import registry

pytestmark = pytest.mark.whole

PACKAGE = Path(__file__).parents[2] / "src" / "graft"
FILES = {str(path.relative_to(PACKAGE)): path for path in sorted(PACKAGE.rglob("*.py"))}
OPTIONS = [(kind, name) for kind in registry.kinds() for name in registry.names(kind)]
HEAVY = {"numpy", "pandas", "PIL", "pyarrow", "scipy", "sklearn", "timm", "torch", "torchvision", "transformers"}


def _stated(tree: ast.Module) -> list[str] | None:
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(
            isinstance(each, ast.Name) and each.id == "__all__" for each in node.targets
        ):
            stated: list[str] = ast.literal_eval(node.value)
            return stated
    return None


def _defined(tree: ast.Module) -> tuple[set[str], set[str]]:
    """Classes and functions; constants and names of types."""
    made, named = set(), set()
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            made.add(node.name)
        elif isinstance(node, ast.Assign):
            named |= {each.id for each in node.targets if isinstance(each, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            named.add(node.target.id)
    return made, named


def _gathered(tree: ast.Module) -> set[str]:
    """What a package gathers from its own modules."""
    return {each.name for node in tree.body if isinstance(node, ast.ImportFrom) for each in node.names}


def _order(name: str) -> tuple[int, str]:
    """Constants, classes, then the rest: the order that ruff keeps."""
    words = name.strip("_")
    return (0 if words.isupper() and len(words) > 1 else 1 if words[:1].isupper() else 2), name


@pytest.mark.parametrize("file", FILES)
def test_all_is_exactly_the_public_names(file: str) -> None:
    tree = ast.parse(FILES[file].read_bytes())
    stated, (made, named) = _stated(tree), _defined(tree)
    public = {name for name in made if not name.startswith("_")}
    if stated is None:
        assert not public, f"{file} defines {sorted(public)} and has no __all__"
        return
    assert stated == sorted(stated, key=_order), f"{file}: __all__ is not in order"
    if file == "__init__.py":
        return
    assert not public - set(stated), f"{file}: not in __all__, and no underscore before the name"
    offered = made | named | (_gathered(tree) if file.endswith("__init__.py") else set())
    assert not set(stated) - offered, f"{file}: in __all__, and not defined there"


@pytest.mark.parametrize("file", FILES)
def test_nobody_takes_what_a_module_does_not_offer(file: str) -> None:
    taken = []
    for node in ast.walk(ast.parse(FILES[file].read_bytes())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("graft."):
            below = PACKAGE.joinpath(*str(node.module).split(".")[1:])
            home = below / "__init__.py" if below.is_dir() else below.with_suffix(".py")
            offered = set(_stated(ast.parse(home.read_bytes())) or ())
            offered |= {path.stem for path in below.iterdir()} if below.is_dir() else set()
            taken += [f"{each.name} of {node.module}" for each in node.names if each.name not in offered]
    assert not taken, f"{file} imports what is not in its home's __all__: {taken}"


def test_the_root_offers_what_it_names() -> None:
    assert dir(graft) == list(graft.__all__)
    for name in graft.__all__:
        assert getattr(graft, name) is not None
    typed = {
        each.asname or each.name
        for node in ast.walk(ast.parse(FILES["__init__.py"].read_bytes()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("graft")
        for each in node.names
    }
    assert typed == set(graft.__all__), "what a type checker sees differs from what there is"


def test_the_root_says_what_it_does_not_have() -> None:
    with pytest.raises(AttributeError, match="no attribute 'fitt'"):
        _ = graft.fitt


@pytest.mark.parametrize(("kind", "name"), OPTIONS, ids=lambda each: str(each))
def test_an_option_is_one_public_class_with_a_sentence(kind: str, name: str) -> None:
    plugin = registry.load(kind, name)
    module = importlib.import_module(plugin.__module__)
    assert module.__all__ == [plugin.__name__]
    sentence = registry.describe(kind)[name]
    assert re.fullmatch(r"[A-Z].{10,130}\.", sentence), f"the first sentence is what `graft ls` shows: {sentence!r}"


@pytest.mark.parametrize(
    "code", ["import graft", "import graft.cli", "import graft.registry as r; r.describe('sources')"]
)
def test_starting_costs_nothing_heavy(code: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; import sys; print(*sys.modules)"], capture_output=True, text=True, check=True
    )
    assert not HEAVY & set(done.stdout.split())
