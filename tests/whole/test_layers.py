"""Imports go one way.  The table below is the map of the house: a module that is not on it has no place yet."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

pytestmark = pytest.mark.whole

PACKAGE = Path(__file__).parents[2] / "src" / "graft"

LAYERS = {
    0: {"errors", "version", "wording"},
    1: {"licences", "limits", "outlines", "processes", "progress", "specs", "storage"},
    2: {"catalogue", "contracts", "fetch"},
    3: {"compute", "data", "manifest", "nn", "registry"},
    4: {"assembly", "evaluate", "features"},
    5: {"linear", "teacher", "train"},
    6: {"seen", "tuning"},
    7: {"bridges", "scores", "sources", "strategies", "tasks"},
    8: {"docstrings", "reading"},
    9: {"model"},
    10: {"bundle", "select"},
    11: {"checks", "narration", "order", "report", "result", "standings"},
    12: {"preparation", "watching"},
    13: {"deadline", "interim", "judging", "planning", "ranking"},
    14: {"chosen", "tracking"},
    15: {"screening"},
    16: {"choosing"},
    17: {"comparison", "estimator", "flow"},
    18: {"distilling"},
    19: {"cli"},
    20: {"__main__"},
}
"""Layer → rooms (a module or a package directly below ``graft``)."""

BESIDE: dict[tuple[str, str], str] = {}
"""Imports between two rooms of one layer, each with its reason."""

PLUGINS = ("bridges", "data.readers", "scores", "sources", "strategies", "tasks")
"""Folders in which a file is an option."""

PLACE = {room: layer for layer, rooms in LAYERS.items() for room in rooms}


def dotted(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name: path for path in sorted(PACKAGE.rglob("*.py")) if (name := dotted(path))}


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """Every import of ``graft``, below it: ``("", line)`` is the package root itself."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            for each in node.names:
                if each.name.split(".")[0] == "graft":
                    yield each.name.removeprefix("graft").lstrip("."), node.lineno
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: write imports in full, from graft.… import …"
            if node.module and node.module.split(".")[0] == "graft":
                base = node.module.removeprefix("graft").lstrip(".")
                for each in node.names:
                    inner = f"{base}.{each.name}" if base else each.name
                    yield (inner if inner in MODULES or not base else base), node.lineno


GRAPH = {name: list(imports(path)) for name, path in MODULES.items()}


def room(name: str) -> str:
    return name.split(".")[0]


def test_every_module_has_a_layer() -> None:
    lost = sorted({room(name) for name in MODULES} - set(PLACE))
    assert not lost, f"{lost} stand in no layer: place them in LAYERS, or put what they hold into a room that exists"


def test_every_room_of_the_table_exists() -> None:
    rooms = {room(name) for name in MODULES}
    gone = sorted(set(PLACE) - rooms)
    assert not gone, f"{gone} are in LAYERS and not in the tree"


def test_nobody_inside_imports_the_package_root() -> None:
    rooted = [f"{name}:{line}" for name, found in GRAPH.items() for target, line in found if room(target) not in PLACE]
    assert not rooted, f"these import the package root, or what is not there: {rooted}"


def test_imports_go_to_a_lower_layer() -> None:
    upward = []
    for name, found in GRAPH.items():
        for target, line in found:
            mine, theirs = room(name), room(target)
            if mine == theirs or PLACE.get(theirs, -1) < PLACE.get(mine, 99):
                continue
            if PLACE[theirs] > PLACE[mine] or (mine, theirs) not in BESIDE:
                upward.append(f"{name}:{line} ({PLACE[mine]}) imports {target} ({PLACE[theirs]})")
    assert not upward, "\n".join(upward)


def test_plugins_do_not_import_each_other() -> None:
    crossing = []
    for name, found in GRAPH.items():
        folder = next((each for each in PLUGINS if name.startswith(f"{each}.")), None)
        if folder is None:
            continue
        crossing += [f"{name}:{line} imports {target}" for target, line in found if target.startswith(PLUGINS)]
    assert not crossing, "\n".join(crossing)


def test_there_is_no_cycle() -> None:
    graph = {
        name: {target for target, _ in found if target in MODULES and target != name} for name, found in GRAPH.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as exc:
        pytest.fail(f"these import each other: {' → '.join(exc.args[1])}")


def test_a_plugin_folder_holds_nothing_but_options() -> None:
    for folder in PLUGINS:
        with os.scandir(PACKAGE.joinpath(*folder.split("."))) as entries:
            odd = [each.name for each in entries if each.name != "__pycache__" and not each.name.endswith(".py")]
        assert not odd, f"{folder} holds {odd}; what options share belongs into a lower layer"
        start = MODULES[folder]
        assert not list(imports(start)), f"{start} imports options: whoever lists the folder would load them all"


NAMES = {"modality", "kind", "task"}
WORDS = {"text", "image", "table", "audio"} | {path.stem for path in (PACKAGE / "tasks").glob("[!_]*.py")}
MAY_BRANCH = ("tasks.", "sources.", "data.readers.", "bridges.")

BRANCHES: dict[str, str] = {
    "data.cells": "part of reading: whether a cell holds several labels is what the user's --task says",
}
"""Modules outside those folders that may ask all the same, each with its reason."""


def _named(node: ast.expr) -> bool:
    if isinstance(node, ast.Call):
        return _named(node.func)
    return (isinstance(node, ast.Name) and node.id in NAMES) or (isinstance(node, ast.Attribute) and node.attr in NAMES)


def _worded(node: ast.AST) -> bool:
    return any(isinstance(each, ast.Constant) and each.value in WORDS for each in ast.walk(node))


def _branches(tree: ast.AST) -> Iterator[int]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            if any(map(_named, sides)) and any(map(_worded, sides)):
                yield node.lineno
        elif isinstance(node, ast.Match) and _named(node.subject) and any(_worded(case.pattern) for case in node.cases):
            yield node.lineno


def test_nothing_asks_what_modality_or_task_it_is() -> None:
    found = [
        f"{name}:{line}"
        for name, path in MODULES.items()
        if not name.startswith(MAY_BRANCH) and name not in BRANCHES
        for line in _branches(ast.parse(path.read_bytes()))
    ]
    assert not found, f"what depends on a task or a modality belongs to it: {found}"


@pytest.mark.parametrize(
    "code",
    [
        'if task.kind == "regression": pass',
        'modality in ("text", "image")',
        '"text" != self.modality',
        'match task.kind:\n    case "regression": pass',
    ],
)
def test_the_guard_sees_a_branch(code: str) -> None:
    assert list(_branches(ast.parse(code)))
