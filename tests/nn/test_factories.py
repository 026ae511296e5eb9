from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import pytest

from graft.errors import BundleError, RequestError, UnavailableError, UnknownNameError
from graft.nn import factories

CODE = """\
from __future__ import annotations
from dataclasses import dataclass
RUNS = []

@dataclass
class Size:
    edge: int = 3

def make(edge=1):
    RUNS.append(edge)
    return Size(edge)

def fails():
    return [][7]

def leaves():
    raise SystemExit(3)

def other():
    return "other"

ALSO = 3
"""


@pytest.fixture
def nets(tmp_path: Path) -> Path:
    (tmp_path / "nets.py").write_text(CODE)
    return tmp_path / "nets.py"


@pytest.mark.parametrize("name", ["nets.py:make", "a/b c/nets.py:make", "package.module:make", "torch:make"])
def test_names_of_code(name: str) -> None:
    assert factories.is_code(name)


@pytest.mark.parametrize("name", ["timm/resnet18", "nets.py", "nets.py:", ":make", "a:b:c", "x\n.py:make", "", None, 3])
def test_other_names_are_none(name: object) -> None:
    assert not factories.is_code(name)


def test_names_are_found_in_what_a_request_describes() -> None:
    inner = {"kind": "sources", "name": "module", "params": {"module": "a.py:make", "size": 3}}
    described = {"name": "several", "params": {"sources": [inner, {"architecture": "b.py:make", "path": "w.pt"}]}}
    assert factories.names_in(described) == ("a.py:make", "b.py:make")


def test_a_function_of_a_file_is_called_with_its_options(nets: Path) -> None:
    factory = factories.resolve(f"{nets}:make")
    assert factory({"edge": 5}).edge == 5
    assert factory().edge == 1
    assert factory.takes("edge")
    assert not factory.takes("num_classes")


def test_the_file_runs_once_and_is_not_compiled_beside_itself(nets: Path) -> None:
    made = [factories.resolve(f"{nets}:make")() for _ in range(2)]
    assert type(made[0]) is type(made[1])
    assert sorted(each.name for each in nets.parent.iterdir()) == ["nets.py"]


def test_a_changed_file_is_run_anew(nets: Path) -> None:
    first = factories.resolve(f"{nets}:other")
    nets.write_text(CODE.replace('"other"', '"changed"'))
    second = factories.resolve(f"{nets}:other")
    assert (first(), second()) == ("other", "changed")
    assert first.sha256 != second.sha256


def test_a_function_of_a_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "graft_test_parts").mkdir()
    (tmp_path / "graft_test_parts" / "__init__.py").write_text("")
    (tmp_path / "graft_test_parts" / "nets.py").write_text(CODE)
    monkeypatch.syspath_prepend(tmp_path)
    factory = factories.resolve("graft_test_parts.nets:make")
    assert "graft_test_parts" not in sys.modules
    assert factory({"edge": 4}).edge == 4
    assert len(factory.sha256 or "") == 64
    assert factories.resolve("math:floor").sha256 is None
    for name in ("graft_test_parts.nets", "graft_test_parts"):
        monkeypatch.delitem(sys.modules, name)


def test_what_is_not_there_says_so(nets: Path) -> None:
    with pytest.raises(UnavailableError, match="there is no file"):
        factories.resolve(f"{nets.with_name('nowhere.py')}:make")
    with pytest.raises(UnavailableError, match="there is no module nowhere_at_all"):
        factories.resolve("nowhere_at_all.nets:make")
    with pytest.raises(UnknownNameError, match="Did you mean make"):
        factories.resolve(f"{nets}:mak")()
    with pytest.raises(UnknownNameError, match="ALSO"):
        factories.resolve(f"{nets}:ALSO")()
    with pytest.raises(RequestError, match="names no code"):
        factories.resolve("timm/resnet18")


def test_what_fails_is_told_with_its_file_and_line(nets: Path) -> None:
    with pytest.raises(RequestError, match=r"nets\.py:14: IndexError: list index out of range") as caught:
        factories.resolve(f"{nets}:fails")()
    assert isinstance(caught.value.__cause__, IndexError)
    with pytest.raises(RequestError, match="SystemExit"):
        factories.resolve(f"{nets}:leaves")()
    with pytest.raises(RequestError, match=r"TypeError: .*unexpected keyword"):
        factories.resolve(f"{nets}:make")({"size": 3})
    nets.write_text("def make(:\n")
    with pytest.raises(RequestError, match=r"nets\.py:1: SyntaxError"):
        factories.resolve(f"{nets}:make")()
    nets.write_text("import nowhere_at_all\n")
    for _ in range(2):
        with pytest.raises(RequestError, match=r"nets\.py:1: ModuleNotFoundError"):
            factories.resolve(f"{nets}:make")()


def test_while_a_model_is_read_only_named_code_runs(nets: Path) -> None:
    name, other = f"{nets}:make", f"{nets}:other"
    sha = factories.resolve(name).sha256
    with factories.allowed(None):
        with pytest.raises(BundleError, match=r"graft\.load\(path, code=.*nets.py:make"):
            factories.resolve(name)
        with pytest.raises(BundleError, match=f"sha256 {sha}"):
            factories.stated(name, sha, {"edge": 3})
    with factories.allowed(name):
        assert factories.resolve(name)().edge == 1
        assert factories.stated("elsewhere/nets.py:make", sha)().edge == 1
        with pytest.raises(BundleError, match="name it"):
            factories.stated(other, sha)
        with pytest.raises(BundleError, match="name it"):
            factories.stated("os:make", sha)
    with factories.allowed([name, other]):
        assert factories.resolve(other)() == "other"
    with pytest.raises(RequestError, match="names no code"), factories.allowed("nets.py"):
        pass


def test_elsewhere_code_counts_that_was_named_in_this_process(nets: Path) -> None:
    name = f"{nets}:make"
    sha = hashlib.sha256(CODE.encode()).hexdigest()
    with pytest.raises(BundleError, match="name it"):
        factories.stated(name, sha)
    with factories.allowed(name):
        factories.resolve(name)
    with pytest.raises(BundleError, match="name it"):
        factories.stated(name, sha)
    factories.resolve(name)
    assert factories.stated(name, sha)().edge == 1
    nets.write_text(CODE + "\n")
    with pytest.raises(BundleError, match="is not the code"):
        factories.stated(name, sha)
    with pytest.raises(BundleError, match="name it"):
        factories.stated(name, "0")


def test_code_that_was_changed_since_is_refused_and_not_run(nets: Path) -> None:
    name = f"{nets}:make"
    sha = factories.resolve(name).sha256
    canary = nets.with_name("canary")
    nets.write_text(f"open({str(canary)!r}, 'w').close()\n{CODE}")
    with factories.allowed(name), pytest.raises(BundleError, match="is not the code that the model was saved with"):
        factories.stated(name, sha)
    assert not canary.exists()
