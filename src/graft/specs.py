"""The text form of a plug-in, as a person types it: ``name``, ``name/rest``, ``name/rest?key=value&key=value``.

What follows the slash goes to the first constructor parameter, and may contain slashes itself: a
path, a name on a hub.  Values are JSON where they parse; ``options.x=y`` fills the dictionary
parameter ``options``.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from graft.errors import RequestError, UnknownNameError

__all__ = ["arguments", "fitted", "name_of", "parameters", "written"]

_TEXT = frozenset({"str", "Path", "None"})
_JSON = frozenset({"bool", "int", "float", "Any"})

_KINDS: dict[str, tuple[tuple[type, ...], str]] = {
    "bool": ((bool,), "true or false"),
    "int": ((int,), "a whole number"),
    "float": ((int, float), "a number"),
    "str": ((str,), "text"),
    "None": ((type(None),), "null"),
}
"""What values of plain types are in JSON, and in words."""

_LISTS = {
    "int": "a list of whole numbers, such as [1,2]",
    "float": "a list of numbers, such as [0.1,1]",
    "str": 'a list of texts, such as ["one","two"]',
}


def name_of(spec: str) -> str:
    """The name that a spec begins with."""
    return spec.strip().partition("?")[0].partition("/")[0]


def parameters(plugin: type[Any]) -> Mapping[str, inspect.Parameter]:
    """What the constructor of a plug-in takes."""
    return inspect.signature(plugin).parameters


def _annotation(parameter: inspect.Parameter) -> str:
    given = Any if parameter.annotation is parameter.empty else parameter.annotation
    return given if isinstance(given, str) else getattr(given, "__name__", str(given))


def fitted(value: Any, parameter: inspect.Parameter) -> Any:
    """The value as its parameter takes it: JSON has no tuples, and a parameter that says tuple gets one."""
    return tuple(value) if isinstance(value, list) and _annotation(parameter).startswith("tuple") else value


def _value(text: str, parameter: inspect.Parameter | None = None) -> Any:
    """JSON where it parses; text stays text where the parameter is one: a revision may be all digits."""
    allowed = [] if parameter is None else _parts(parameter)
    if allowed and not any(part in _JSON or _inner(part) or _maps(part) for part in allowed):
        if text == "null" and "None" in allowed:
            return None
        if _TEXT.issuperset(allowed) or not text.startswith(("{", "[")):  # the name of a choice, or of a plug-in
            return text
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if parameter is None else fitted(value, parameter)


def _parts(parameter: inspect.Parameter) -> list[str]:
    """The alternatives of an annotation: what stands between its outer bars."""
    parts, depth = [""], 0
    for letter in _annotation(parameter):
        depth += (letter == "[") - (letter == "]")
        if letter == "|" and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts]


def _wanted(value: Any, parameter: inspect.Parameter) -> str:
    """What a parameter of plain types, lists and mappings takes, where the value is none of that; else empty."""
    allowed = _parts(parameter)
    words = [_words(part, parameter.name) for part in allowed]
    return "" if not all(words) or any(_is(value, part) for part in allowed) else " or ".join(words)


def _words(annotation: str, name: str) -> str:
    """What a person reads for one alternative; empty for what a spec cannot check."""
    if _maps(annotation):
        return f"settings by name, such as {name}.x=y"
    return _LISTS.get(_inner(annotation), "") or _KINDS.get(annotation, ((), ""))[1]


def _maps(annotation: str) -> bool:
    return annotation.startswith("Mapping[")


def _inner(annotation: str) -> str:
    """What a list holds: ``float`` of ``Sequence[float]``; empty for anything else."""
    found = re.fullmatch(r"(?:Sequence|list|tuple)\[(\w+).*\]", annotation)
    return found[1] if found else ""


def _is(value: Any, annotation: str) -> bool:
    if _maps(annotation):
        return isinstance(value, Mapping)
    inner = _inner(annotation)
    if inner:
        return isinstance(value, list | tuple) and all(type(each) in _KINDS[inner][0] for each in value)
    return type(value) in _KINDS[annotation][0]


def _options(kind: str, name: str, text: str, known: Mapping[str, inspect.Parameter]) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for pair in text.split("&"):
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise RequestError(
                f"{pair!r} in the options of the {kind} {name!r} is not of the form key=value. "
                f"Write {name}?key=value&key=value; the keys are: {', '.join(known) or 'none'}."
            )
        top, dot, inner = key.partition(".")
        if top not in known:
            raise UnknownNameError(f"option of {kind} {name}", top, known)
        inside = given.get(top, {}) if dot else {}
        if (top in given and not dot) or not isinstance(inside, dict) or inner in inside:
            raise RequestError(f"the option {key!r} of the {kind} {name!r} is given twice; give it once.")
        given[top] = {**inside, inner: _value(value)} if dot else _value(value, known[top])
    return given


def arguments(
    kind: str, spec: str, known: Mapping[str, inspect.Parameter], example: Callable[[], str]
) -> dict[str, Any]:
    """The constructor arguments that a spec gives.

    Parameters
    ----------
    kind
        What the plug-in is, for messages: ``"source"``.
    known
        The constructor's :func:`parameters`.
    example
        Finds a whole spec, to show where the part after the slash is missing.

    Raises
    ------
    UnknownNameError
        For an option that the plug-in does not have.
    RequestError
        Where the spec is incomplete, contradictory or not of this form.
    """
    head, _, tail = spec.strip().partition("?")
    name, _, rest = head.partition("/")
    first = next(iter(known), None)
    given = _options(kind, name, tail, known) if tail else {}
    if rest:
        if first is None:
            raise RequestError(f"the {kind} {name!r} takes nothing after a slash; write {name}.")
        if first in given:
            raise RequestError(
                f"{spec!r} gives {first!r} twice, after the slash and as an option; write {name}/{rest} alone."
            )
        given = {first: _value(rest, known[first]), **given}
    for key, value in given.items():
        if wanted := _wanted(value, known[key]):
            raise RequestError(f"the option {key!r} of the {kind} {name!r} is {value!r}, and {wanted} was expected.")
    missing = [key for key, each in known.items() if each.default is each.empty and key not in given]
    if first in missing:
        raise RequestError(f"the {kind} {name!r} needs its {first} after a slash, such as {example()}.")
    if missing:
        wanted = "&".join(f"{key}=…" for key in missing)
        raise RequestError(f"the {kind} {name!r} needs {' and '.join(missing)}; write {head}?{wanted}")
    return given


def written(name: str, given: Mapping[str, Any], known: Mapping[str, inspect.Parameter]) -> str:
    """The shortest spec of a plug-in: what differs from its defaults.

    Parameters
    ----------
    given
        Constructor arguments, as JSON holds them.
    """
    first = next(iter(known), None)
    rest, options = "", []
    for key, value in given.items():
        default = known[key].default
        if value == (list(default) if isinstance(default, tuple) else default):
            continue
        if key == first and isinstance(value, str):
            rest = f"/{value}"
        elif isinstance(value, Mapping) and "kind" not in value:
            options += [f"{key}.{inner}={_text(each)}" for inner, each in value.items()]
        else:
            options.append(f"{key}={_text(value)}")
    return name + rest + ("?" + "&".join(options) if options else "")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
