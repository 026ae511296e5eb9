"""How large a thing may grow before one asks what it is two of."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.whole

PACKAGE = Path(__file__).parents[2] / "src" / "graft"
FILES = {str(path.relative_to(PACKAGE)): path for path in sorted(PACKAGE.rglob("*.py"))}

LINES_OF_FILE = 400
LINES_OF_FUNCTION = 60
METHODS_OF_CLASS = 12
PARAMETERS_OF_CONSTRUCTOR = 8

ALLOWED: dict[str, str] = {
    "contracts.py": "what the rooms agree on stays on one page, and most of it is documentation",
    "sources/file.py:File.__init__": "a checkpoint says none of this about itself, and any of it may be missing",
    "estimator.py:Transfer.__init__": "scikit-learn gives fit no options, so all of them stand here",
    "cli/compare.py:compare": "the signature of a command is the list of its options",
    "strategies/mlp_head.py:MLPHead.__init__": "what the worked examples of others set, and the layers that it reads",
    "cli/distill.py:distill": "the signature of a command is the list of its options",
    "cli/rank.py:rank": "the signature of a command is the list of its options",
    "cli/fit.py:fit": "the signature of a command is the list of its options",
    "cli/plan.py:plan": "the signature of a command is the list of its options",
}
"""``file:name`` (or ``file``) that may go beyond, each with its reason."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


def _functions(tree: ast.AST, above: str = "") -> Iterator[tuple[str, Function, bool]]:
    """Every function with its dotted name, and whether a user can call it."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef | Function):
            name = f"{above}{node.name}"
            if isinstance(node, Function):
                parts = name.split(".")
                yield name, node, not any(part.startswith("_") and part != "__init__" for part in parts)
            yield from _functions(node, f"{name}.")


def _lines(node: Function) -> int:
    """Lines of a function without its docstring: what is written down does not make it harder to follow."""
    first = node.body[0]
    written = ast.get_docstring(node) is not None
    return (node.end_lineno or 0) - node.lineno + 1 - ((first.end_lineno or 0) - first.lineno + 1 if written else 0)


def _parameters(node: Function) -> list[str]:
    given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    return [each.arg for each in given if each.arg not in {"self", "cls"}]


def _excess(file: str) -> Iterator[tuple[str, str]]:
    source = FILES[file].read_text(encoding="utf-8")
    tree = ast.parse(source)
    if (lines := source.count("\n")) > LINES_OF_FILE:
        yield file, f"{lines} lines"
    for name, node, public in _functions(tree):
        where = f"{file}:{name}"
        if (lines := _lines(node)) > LINES_OF_FUNCTION:
            yield where, f"{lines} lines"
        if public and node.args.kwarg is not None:
            yield where, f"**{node.args.kwarg.arg} hides what it takes"
        if public and node.name == "__init__" and (count := len(_parameters(node))) > PARAMETERS_OF_CONSTRUCTOR:
            yield where, f"{count} parameters"
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            methods = [each for each in node.body if isinstance(each, Function) and not each.name.startswith("_")]
            if len(methods) > METHODS_OF_CLASS:
                yield f"{file}:{node.name}", f"{len(methods)} public methods"


@pytest.mark.parametrize("file", FILES)
def test_it_stays_within_its_budget(file: str) -> None:
    found = [f"{where}: {what}" for where, what in _excess(file) if where not in ALLOWED]
    assert not found, "\n".join(found)


def test_what_is_allowed_is_still_needed() -> None:
    needed = {where for file in FILES for where, _ in _excess(file)}
    assert not set(ALLOWED) - needed


@pytest.mark.parametrize(
    "path", [path for folder in ("src", "tests") for path in (PACKAGE.parents[1] / folder).rglob("*.py")]
)
def test_a_module_is_named_for_its_concept(path: Path) -> None:
    assert path.stem.removeprefix("test_") not in {"utils", "util", "common", "helpers", "helper", "misc"}
