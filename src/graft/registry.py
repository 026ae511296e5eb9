"""The plug-ins: list them, describe them without importing, build one by its spec, store it and restore it.

An option is a file, and its name is the option's name; another package adds one by an entry point
in the group ``graft.sources`` (or ``.bridges``, ``.tasks``, ``.strategies``, ``.scores``, ``.readers``).  Where
both carry a name, the file wins.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
import os
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from graft import outlines, specs
from graft.errors import DataError, RequestError, UnavailableError, UnknownNameError

if TYPE_CHECKING:
    from graft.contracts import Array, Reader, Source, Strategy

__all__ = [
    "build",
    "describe",
    "following",
    "kinds",
    "load",
    "names",
    "plain_source",
    "reader_for",
    "restore",
    "spec",
    "stated",
    "task_for",
    "title",
]

_ROOMS = {
    "bridges": "bridges",
    "readers": "data.readers",
    "scores": "scores",
    "sources": "sources",
    "strategies": "strategies",
    "tasks": "tasks",
}
_ONE = {
    "bridges": "bridge",
    "readers": "reader",
    "scores": "score",
    "sources": "source",
    "strategies": "strategy",
    "tasks": "task",
}

_EMPTY = ast.Constant("")

_PLUS = " + "
"""Between sources that are taken together; blanks around it, as a plus alone may be part of a path."""


def kinds() -> tuple[str, ...]:
    """The kinds of plug-in that exist."""
    return tuple(sorted(_ROOMS))


def _room(kind: str) -> str:
    if kind not in _ROOMS:
        raise UnknownNameError("kind of plug-in", kind, _ROOMS)
    return _ROOMS[kind]


@cache
def _files(kind: str) -> dict[str, Path]:
    folder = Path(__file__).parent.joinpath(*_room(kind).split("."))
    with os.scandir(folder) as entries:
        found = [Path(entry.path) for entry in entries if entry.name.endswith(".py")]
    return {path.stem: path for path in sorted(found) if not path.stem.startswith("_")}


@cache
def _elsewhere(kind: str) -> dict[str, EntryPoint]:
    found = entry_points(group=f"graft.{kind}")
    return {entry.name: entry for entry in found if entry.name not in _files(kind)}


def names(kind: str) -> tuple[str, ...]:
    """The options of a kind, sorted.

    Raises
    ------
    UnknownNameError
        For a kind that does not exist.
    """
    _room(kind)
    return tuple(sorted({*_files(kind), *_elsewhere(kind)}))


def describe(kind: str) -> dict[str, str]:
    """What each option of a kind is, in one sentence; imports none of them.

    Raises
    ------
    UnknownNameError
        For a kind that does not exist.
    """
    sentences = {name: outlines.sentence(path) for name, path in _files(kind).items()}
    for name, entry in _elsewhere(kind).items():
        origin = f"from {entry.dist.name}" if entry.dist else f"from {entry.module}"
        sentences[name] = f"{outlines.sentence(outlines.file_of(entry))} ({origin})".strip()
    return dict(sorted(sentences.items()))


def stated(kind: str, name: str, keys: Sequence[str]) -> dict[str, str]:
    """The texts that an option's class states under these names; empty for those that it does not.

    They are read and not run, as long as they are written out in the class.

    Raises
    ------
    UnknownNameError
        Where nothing carries the name.
    UnavailableError
        Where it has to be imported, and needs a package that is not installed.
    """
    if name not in names(kind):
        raise UnknownNameError(_ONE[kind], name, names(kind))
    path = _files(kind)[name] if name in _files(kind) else outlines.file_of(_elsewhere(kind)[name])
    node = outlines.class_in(path) if path else None
    written = {} if node is None else outlines.variables(node)
    if node is None or any(not isinstance(written.get(key, _EMPTY), ast.Constant) for key in keys):
        plugin = load(kind, name)
        return {key: str(getattr(plugin, key, "")) for key in keys}
    return {key: str(cast("ast.Constant", written.get(key, _EMPTY)).value) for key in keys}


def load(kind: str, name: str) -> type[Any]:
    """The class of one option; imports its module alone.

    Raises
    ------
    UnknownNameError
        Where nothing carries the name.
    UnavailableError
        Where it needs a package that is not installed.
    """
    if name not in names(kind):
        raise UnknownNameError(_ONE[kind], name, names(kind))
    try:
        if name in _files(kind):
            module = importlib.import_module(f"graft.{_room(kind)}.{name}")
            return cast("type[Any]", getattr(module, module.__all__[0]))
        return cast("type[Any]", _elsewhere(kind)[name].load())
    except ModuleNotFoundError as exc:
        missing = exc.name or str(exc)
        if missing.split(".")[0] == "graft":
            raise
        raise UnavailableError(
            f"the {_ONE[kind]} {name!r} needs the package {missing!r}, which is not installed. "
            f"Install it into the environment that Graft runs in, such as with: pip install {missing.split('.')[0]}"
        ) from exc


def _example(name: str, plugin: type[Any]) -> str:
    local = plugin.local() if hasattr(plugin, "local") else ()
    first = next(iter(specs.parameters(plugin)), "")
    return next((each for each in local if each.startswith(f"{name}/")), f"{name}/<{first}>")


def build(kind: str, spec: str) -> Any:
    """The object that a spec names, such as ``timm/resnet18`` or ``linear_probe?folds=3``.

    Sources with a plus between them, ``graft/tiny + timm/resnet18``, are taken together.

    Raises
    ------
    UnknownNameError
        For a name or an option that does not exist.
    RequestError
        Where the spec is incomplete, contradictory or not of its form (see :mod:`graft.specs`).
    UnavailableError
        Where the plug-in needs a package that is not installed.
    """
    if kind == "sources" and _PLUS in spec:
        return load("sources", "several")([build(kind, part) for part in spec.split(_PLUS)])
    name = specs.name_of(spec)
    plugin = load(kind, name)
    known = specs.parameters(plugin)
    return plugin(**specs.arguments(_ONE[kind], spec, known, lambda: _example(name, plugin)))


def _home(plugin: type[Any]) -> tuple[str, str] | None:
    """The kind and the name under which a class is registered."""
    for kind, room in _ROOMS.items():
        prefix = f"graft.{room}."
        if plugin.__module__.startswith(prefix) and plugin.__module__.removeprefix(prefix) in _files(kind):
            return kind, plugin.__module__.removeprefix(prefix)
        for name, entry in _elsewhere(kind).items():
            if entry.value == f"{plugin.__module__}:{plugin.__qualname__}":
                return kind, name
    return None


def _stored(value: Any, owner: str) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Integral):  # a grid search hands over numpy's numbers
        return int(value)
    if isinstance(value, Real):
        return float(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, list | tuple):
        return [_stored(each, owner) for each in value]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: _stored(each, owner) for key, each in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        changed = {each.name: getattr(value, each.name) for each in dataclasses.fields(value)}
        plain = {each.name: each.default for each in dataclasses.fields(value)}
        return {key: _stored(each, owner) for key, each in changed.items() if each != plain[key]}
    if home := _home(type(value)):
        return {"kind": home[0], **spec(value)}
    raise RequestError(
        f"{owner} is {value!r} ({type(value).__name__}), and such a value cannot be stored with a model. "
        "Give numbers, texts, lists or plug-ins that `graft ls` shows."
    )


def _parameters(plugin: Any) -> Mapping[str, Any]:
    """The constructor's arguments; what JSON cannot hold, a plug-in replaces in ``stored()``."""
    if hasattr(plugin, "stored"):
        return cast("Mapping[str, Any]", plugin.stored())
    return cast("Mapping[str, Any]", plugin.get_params(deep=False)) if hasattr(plugin, "get_params") else {}


def spec(plugin: Any) -> dict[str, Any]:
    """``{"name": …, "params": …}`` of a plug-in object, as JSON.

    Raises
    ------
    RequestError
        Where it is no registered plug-in, or has a parameter that JSON cannot hold.
    """
    home = _home(type(plugin))
    if home is None:
        raise RequestError(
            f"{type(plugin).__qualname__} is not registered, so a saved model could not find it again. "
            "Put it into a file of its plug-in folder, or give its package an entry point (docs/python.md)."
        )
    given = _parameters(plugin)
    owner = f"the parameter {{}} of the {_ONE[home[0]]} {home[1]!r}"
    return {"name": home[1], "params": {key: _stored(value, owner.format(repr(key))) for key, value in given.items()}}


def title(plugin: Any) -> str:
    """The spec that builds a plug-in object again, for a person; its class's name where none does."""
    try:
        stored = spec(plugin)
    except RequestError:
        return type(plugin).__qualname__
    given = [getattr(plugin, key) for key in specs.parameters(type(plugin)) if key in stored["params"]]
    if len(given) > 1 and all(_home(type(each)) for each in given):  # one plug-in over another
        return " over ".join(map(title, given))
    return specs.written(stored["name"], stored["params"], specs.parameters(type(plugin)))


def _revived(value: Any) -> Any:
    if isinstance(value, list):
        return [_revived(each) for each in value]
    if isinstance(value, Mapping):
        if set(value) == {"kind", "name", "params"}:
            return restore(value["kind"], value)
        return {key: _revived(each) for key, each in value.items()}
    return value


def restore(kind: str, description: Mapping[str, Any]) -> Any:
    """The object that ``spec`` described.

    Raises
    ------
    UnknownNameError
        Where the name, or a parameter, does not exist here.
    """
    name = description["name"]
    plugin = load(kind, name)
    known = specs.parameters(plugin)
    given = {}
    for key, value in description["params"].items():
        if key not in known:
            raise UnknownNameError(f"option of {_ONE[kind]} {name}", key, known)
        given[key] = specs.fitted(_revived(value), known[key])
    return plugin(**given)


def following(then: Strategy | str, options: Mapping[str, Any] | None, first: str) -> Strategy:
    """The strategy that goes on where the one named ``first`` ends: an object, or a name and its options.

    Raises
    ------
    UnknownNameError
        Where the name, or an option, does not exist.
    RequestError
        For options beside an object, and for a strategy that goes on from nothing.
    """
    if not isinstance(then, str):
        if options:
            raise RequestError("options are those of a strategy that then names; give them to the object itself.")
        return then
    found: Strategy = restore("strategies", {"name": then, "params": dict(options or {})})
    if found.starts_from != "pretrained":
        raise RequestError(f"{then} starts from nothing, and cannot follow {first}; choose a transfer.")
    return found


def _shown(data: Any) -> str:
    return os.fspath(data) if isinstance(data, str | os.PathLike) else f"an object of type {type(data).__name__}"


def _nothing_reads(data: Any) -> DataError:
    if isinstance(data, str | os.PathLike) and not os.path.exists(data):
        parent = Path(data).parent
        beside = [each.name for each in parent.iterdir()] if parent.is_dir() else []
        hint = UnknownNameError("file or folder", Path(data).name, beside) if beside else None
        return DataError(f"{os.fspath(data)} does not exist" + (f": {hint}" if hint else "; check the path."))
    readable = "\n".join(f"  {name}: {sentence}" for name, sentence in describe("readers").items())
    return DataError(f"nothing here can read {_shown(data)}. What can be read:\n{readable}")


def reader_for(data: Any) -> Reader:
    """The one reader that accepts ``data``.

    Raises
    ------
    DataError
        Where none accepts it, or several do.
    """
    accepting = {name: reader for name in names("readers") if (reader := load("readers", name)()).accepts(data)}
    if not accepting:
        raise _nothing_reads(data)
    if len(accepting) > 1:
        raise DataError(
            f"{' and '.join(accepting)} could both read {_shown(data)}; "
            "name a file instead of its folder, or move one kind of data elsewhere."
        )
    return cast("Reader", next(iter(accepting.values())))


def task_for(labels: Array) -> tuple[str, str]:
    """The name of the task that the labels look like, and why.

    Raises
    ------
    DataError
        Where no task claims them, or several do.
    """
    claims = {name: reason for name in names("tasks") if (reason := load("tasks", name).claims(labels))}
    if len(claims) == 1:
        return next(iter(claims.items()))
    shown = ", ".join(repr(label) for label in list(dict.fromkeys(labels))[:5])
    if not claims:
        raise DataError(f"the labels ({shown}) look like no task. Name it with --task: {', '.join(names('tasks'))}.")
    reasons = "; ".join(f"{name}: {reason}" for name, reason in claims.items())
    raise DataError(f"the labels ({shown}) could be of several tasks ({reasons}). Name it with --task.")


def _states(path: Path, wanted: Mapping[str, Any]) -> bool:
    """Whether the class in a file sets these class variables, read and not run."""
    node = outlines.class_in(path)
    written = {} if node is None else outlines.variables(node)
    found = {key: each.value for key, each in written.items() if isinstance(each, ast.Constant)}
    return all(found.get(key) == value for key, value in wanted.items())


def plain_source(modality: str) -> type[Source]:
    """The source of plain features, which never learnt, of a modality: what a shallow control uses.

    Raises
    ------
    RequestError
        Where there is none.
    """
    wanted = {"pretrained": False, "modality": modality}
    for name, path in _files("sources").items():
        if _states(path, wanted):
            return load("sources", name)
    raise RequestError(
        f"there are no plain features for {modality!r} data. A file in sources/ with pretrained = False makes them."
    )
