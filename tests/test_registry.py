"""The registry: lists without importing, loads one, builds, stores and restores."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from graft import registry
from graft.bridges.spectrogram import Spectrogram
from graft.contracts import Source, Strategy
from graft.errors import DataError, RequestError, UnavailableError, UnknownNameError
from graft.sources.bridged import Bridged
from graft.sources.nothing import Nothing
from graft.sources.pixels import Pixels
from graft.sources.timm import Timm
from graft.tasks.classification import Classification

THEIRS = '''
"""A source of another package."""
from graft.contracts import Source

__all__ = ["Theirs"]


class _Inner:
    """Not this one."""


class Theirs(Source):
    """Counts the letters of a text. Slowly.

    More.
    """

    modality = "text"

    def __init__(self, weight=1.0):
        self.weight = weight
'''


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Install a package with entry points, as pip lays it out."""

    def forget() -> None:
        registry._files.cache_clear()
        registry._elsewhere.cache_clear()

    def install(points: str, **modules: str) -> None:
        package = tmp_path / "theirs_package"
        package.mkdir()
        (package / "__init__.py").write_text("raise RuntimeError('imported')" if "quiet" in modules else "")
        for name, code in modules.items():
            (package / f"{name}.py").write_text(code)
        info = tmp_path / "theirs_package-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs-package\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(points)
        monkeypatch.syspath_prepend(str(tmp_path))
        forget()

    yield install
    for name in [each for each in sys.modules if each.split(".")[0] == "theirs_package"]:
        del sys.modules[name]
    forget()


def test_an_option_is_a_file() -> None:
    folder = Path(registry.__file__).parent / "sources"
    assert set(registry.names("sources")) >= {path.stem for path in folder.glob("*.py")} - {"__init__"}
    assert list(registry.names("sources")) == sorted(registry.names("sources"))
    assert set(registry.kinds()) == {"bridges", "readers", "scores", "sources", "strategies", "tasks"}


def test_an_unknown_kind_is_suggested() -> None:
    for function in (registry.names, registry.describe):
        with pytest.raises(UnknownNameError, match=r"no kind of plug-in 'source'. Did you mean sources"):
            function("source")


def test_describing_imports_nothing() -> None:
    code = (
        "import sys; from graft import registry; found = registry.describe('sources'); "
        "print(found['nothing']); assert not [name for name in sys.modules if name.startswith('graft.sources.')]"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "No knowledge: zero features of anything; the majority control stands on it.\n"


def test_an_unknown_name_is_suggested() -> None:
    with pytest.raises(UnknownNameError, match=r"no source 'tim'. Did you mean timm"):
        registry.load("sources", "tim")
    with pytest.raises(UnknownNameError, match=r"no source ''"):
        registry.build("sources", "")


def test_private_files_and_dotted_names_are_no_options() -> None:
    for name in ("__init__", "..errors", "timm.py"):
        with pytest.raises(UnknownNameError):
            registry.load("sources", name)


def test_build_reads_a_spec() -> None:
    built = registry.build("sources", "timm/resnet18?size=96")
    assert isinstance(built, Timm)
    assert (built.name, built.size) == ("resnet18", 96)
    assert registry.build("tasks", "classification?metric=auroc").metric == "auroc"


def test_build_shows_an_example_for_what_is_missing() -> None:
    with pytest.raises(RequestError, match="the source 'timm' needs its name after a slash, such as timm/"):
        registry.build("sources", "timm")


def test_stored_and_restored() -> None:
    for kind, plugin in (
        ("sources", Timm("resnet18", size=96)),
        ("sources", Pixels(size=np.int64(8))),  # type: ignore[arg-type]
        ("sources", Nothing()),
        ("tasks", Classification(metric="auroc", classes=("b", "a"), label_smoothing=np.float32(0.5))),  # type: ignore[arg-type]
    ):
        stored = registry.spec(plugin)
        again = registry.restore(kind, stored)
        assert type(again) is type(plugin)
        assert again.get_params() == plugin.get_params()
        assert registry.spec(again) == stored
    assert registry.spec(Timm("resnet18")) == {"name": "timm", "params": {"name": "resnet18", "size": None}}


def test_a_path_is_stored_as_text() -> None:
    from graft.sources.file import File

    assert registry.spec(File(Path("a") / "b.pt"))["params"]["path"] == str(Path("a") / "b.pt")  # type: ignore[arg-type]


def test_restore_knows_only_what_is_here() -> None:
    with pytest.raises(UnknownNameError, match=r"no task 'ranking'"):
        registry.restore("tasks", {"name": "ranking", "params": {}})
    with pytest.raises(UnknownNameError, match=r"option of task classification 'metrik'. Did you mean metric"):
        registry.restore("tasks", {"name": "classification", "params": {"metrik": "auroc"}})


class Mine(Strategy):
    """Mine alone."""

    def __init__(self, rank: int = 2) -> None:
        self.rank = rank


def test_what_is_not_registered_cannot_be_stored() -> None:
    with pytest.raises(RequestError, match=r"Mine is not registered.*entry point"):
        registry.spec(Mine())


@pytest.mark.parametrize("value", [object(), {1: 2}, np.zeros(2)])
def test_what_json_cannot_hold_cannot_be_stored(value: Any) -> None:
    with pytest.raises(
        RequestError, match=r"the parameter 'classes' of the task 'classification' is .*cannot be stored"
    ):
        registry.spec(Classification(classes=value))


def test_titles() -> None:
    assert registry.title(Timm("resnet18")) == "timm/resnet18"
    assert registry.title(Timm("resnet18", size=96)) == "timm/resnet18?size=96"
    assert registry.title(Classification()) == "classification"
    assert registry.title(Classification(classes=("b", "a"))) == 'classification?classes=["b","a"]'
    assert registry.title(Mine()) == "Mine"
    assert registry.title(Bridged(Timm("resnet18", size=96), Spectrogram())) == "timm/resnet18?size=96 over spectrogram"


def test_another_package_adds_an_option_by_an_entry_point(install: Callable[..., None]) -> None:
    install("[graft.sources]\nletters = theirs_package.letters:Theirs\n", letters=THEIRS)
    assert "letters" in registry.names("sources")
    assert registry.describe("sources")["letters"] == "Counts the letters of a text. (from theirs-package)"
    built = registry.build("sources", "letters?weight=2")
    assert built.weight == 2
    assert registry.spec(built) == {"name": "letters", "params": {"weight": 2}}
    assert isinstance(registry.restore("sources", registry.spec(built)), Source)


def test_an_option_may_hold_another(install: Callable[..., None]) -> None:
    code = THEIRS.replace("weight=1.0", "weight=None")
    install("[graft.sources]\nletters = theirs_package.letters:Theirs\n", letters=code)
    outer = registry.load("sources", "letters")(weight=[Pixels(size=8), {"deep": Timm("resnet18")}])
    again = registry.restore("sources", registry.spec(outer))
    assert isinstance(again.weight[0], Pixels)
    assert again.weight[0].size == 8
    assert again.weight[1]["deep"].name == "resnet18"


def test_describing_another_package_imports_nothing(install: Callable[..., None]) -> None:
    install("[graft.sources]\nquiet = theirs_package.quiet:Theirs\n", quiet=THEIRS)
    assert registry.describe("sources")["quiet"].startswith("Counts the letters")


def test_an_entry_point_that_leads_nowhere_is_still_listed(install: Callable[..., None]) -> None:
    install("[graft.sources]\ngone = not_installed_package.gone:Gone\n")
    assert registry.describe("sources")["gone"] == "(from theirs-package)"
    with pytest.raises(UnavailableError, match=r"needs the package 'not_installed_package'.*pip install"):
        registry.load("sources", "gone")


def test_a_fault_inside_graft_is_not_called_a_missing_package(install: Callable[..., None]) -> None:
    install("[graft.sources]\nbroken = graft.not_there:Gone\n")
    with pytest.raises(ModuleNotFoundError, match=r"graft\.not_there"):
        registry.load("sources", "broken")


def test_a_file_wins_over_an_entry_point(install: Callable[..., None]) -> None:
    install("[graft.sources]\ntimm = theirs_package.letters:Theirs\n", letters=THEIRS)
    assert registry.load("sources", "timm") is Timm


def test_one_reader_accepts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from graft.contracts import Reader

    table = tmp_path / "rows.csv"
    table.write_text("text,label\na,b\n")
    assert type(registry.reader_for(str(table))).__name__ == "Delimited"
    monkeypatch.setattr(Reader, "accepts", lambda self, data: True)
    for name in registry.names("readers"):
        monkeypatch.setattr(registry.load("readers", name), "accepts", lambda self, data: True)
    with pytest.raises(DataError, match=r"delimited and .* could both read .*rows\.csv"):
        registry.reader_for(str(table))


def test_nothing_reads_it(tmp_path: Path) -> None:
    (tmp_path / "rows.xyz").write_text("")
    with pytest.raises(DataError, match=r"nothing here can read .*rows\.xyz. What can be read:\n  audio_folder: "):
        registry.reader_for(tmp_path / "rows.xyz")
    with pytest.raises(DataError, match="nothing here can read an object of type complex"):
        registry.reader_for(1j)


def test_a_path_that_does_not_exist_suggests_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "flowers.xyz").mkdir()
    with pytest.raises(DataError, match=r"flower\.xyz does not exist: .*Did you mean flowers\.xyz\?"):
        registry.reader_for(tmp_path / "flower.xyz")
    with pytest.raises(DataError, match=r"nowhere/x\.xyz does not exist; check the path"):
        registry.reader_for("nowhere/x.xyz")


def labels(*given: Any) -> np.ndarray[Any, Any]:
    found = np.empty(len(given), dtype=object)
    found[:] = given
    return found


def test_labels_find_their_task() -> None:
    name, reason = registry.task_for(labels(*["cat", "dog"] * 10))
    assert name == "classification"
    assert reason


def test_labels_of_no_task_or_several(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in registry.names("tasks"):
        monkeypatch.setattr(registry.load("tasks", name), "claims", classmethod(lambda cls, labels: None))
    with pytest.raises(DataError, match=r"\('a', 'b'\) look like no task. Name it with --task: classification"):
        registry.task_for(labels("a", "b", "a"))
    for name in registry.names("tasks"):
        monkeypatch.setattr(registry.load("tasks", name), "claims", classmethod(lambda cls, labels: "because"))
    with pytest.raises(DataError, match=r"could be of several tasks \(classification: because; .*--task"):
        registry.task_for(labels("a", "b"))


def test_plain_features_of_a_modality() -> None:
    assert registry.plain_source("image") is Pixels
    for modality in ("text", "image", "table"):
        plain = registry.plain_source(modality)
        assert not plain.pretrained
        assert plain.modality == modality
    with pytest.raises(RequestError, match="no plain features for 'smell' data"):
        registry.plain_source("smell")


def test_what_a_class_states_is_read_and_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "load", lambda kind, name: pytest.fail("imported"))
    assert registry.stated("strategies", "majority", ("family", "needs")) == {"family": "control", "needs": ""}
    with pytest.raises(UnknownNameError, match="majority"):
        registry.stated("strategies", "majorty", ("family",))


def test_what_is_not_written_out_is_asked_of_the_class(install: Callable[..., None]) -> None:
    points = "[graft.sources]\ntheirs = theirs_package.code:Theirs\n"
    install(points, code=THEIRS.replace('modality = "text"', 'modality = "te" + "xt"'))
    assert registry.stated("sources", "theirs", ("modality", "absent")) == {"modality": "text", "absent": ""}
