"""Names of weights, rewritten by rules that their user gives."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from graft.errors import RequestError, UnavailableError
from graft.nn.state_files import State

__all__ = ["read_rules", "renamed"]


def read_rules(given: str | Path | Mapping[str, str | None] | None) -> dict[str, str | None]:
    """Rules from a JSON file, or as they are.

    Raises
    ------
    UnavailableError
        Where there is no such file.
    RequestError
        Where it holds no JSON object of texts.
    """
    rules: object = given or {}
    if isinstance(given, str | Path):
        path = Path(given).expanduser()
        if not path.is_file():
            raise UnavailableError(f"there is no file of renames {path}; give a JSON file, old name to new.")
        try:
            rules = json.loads(path.read_bytes())
        except (ValueError, RecursionError) as exc:
            raise RequestError(f"{path} is no JSON: {exc}. Expected an object, old name to new.") from exc
    if not isinstance(rules, Mapping) or not all(
        isinstance(old, str) and (new is None or isinstance(new, str)) for old, new in rules.items()
    ):
        raise RequestError(
            'renames are an object, old name to new (or null, to leave a name out), such as {"fc": "classifier"}; '
            f"what was given is {given!r}."
        )
    return dict(rules)


def renamed(state: State, rules: Mapping[str, str | None]) -> State:
    r"""The same tensors under the names that the rules give them.

    A rule that is a name itself comes first.  Otherwise the first rule, in their order, that fits
    the beginning of a name up to a dot, or the whole name, is taken: it is a regular expression, what
    it fits is replaced (``\1`` is the first group), and the rest of the name stays.  ``""`` fits
    before every name.  A rule without a new name (``null``) leaves its tensors out.

    Raises
    ------
    RequestError
        For a rule that is no regular expression, that fits no name, or that gives two tensors one name.

    Examples
    --------
    >>> import torch
    >>> rules = {r"features\.(\d+)": r"blocks.\1", "teacher": None}
    >>> list(renamed(State({"features.3.weight": torch.ones(1), "teacher.a": torch.ones(1)}), rules))
    ['blocks.3.weight']
    """
    patterns = {old: _pattern(old) for old in rules}
    made: dict[str, str] = {}
    left_out: list[str] = []
    for name in state:
        new = rules[name] if name in rules else _first_fit(name, rules, patterns)
        if new is None:
            left_out.append(name)
        elif (other := made.setdefault(new, name)) != name:
            raise RequestError(f"the renames give {other} and {name} the same name, {new}; tell them apart.")
    if idle := [rule for rule in rules if rule not in state and not any(map(patterns[rule].match, state))]:
        known = ", ".join(list(state)[:8])
        raise RequestError(f"no weight has a name that the rename {idle[0]!r} fits; the names are {known}, ….")
    notes = list(state.notes)
    if changed := sum(new != old for new, old in made.items()):
        notes.append(f"{changed} names were changed by the given renames")
    if left_out:
        notes.append(f"{len(left_out)} names were left out as the renames say")
    return State({new: state[old] for new, old in made.items()}, tuple(notes))


def _pattern(old: str) -> re.Pattern[str]:
    try:
        return re.compile(rf"(?:{old.removesuffix('.')})(?=\.|$)" if old else "")
    except re.error as exc:
        raise RequestError(f"the rename {old!r} is neither a name nor a regular expression: {exc}.") from exc


def _first_fit(name: str, rules: Mapping[str, str | None], patterns: Mapping[str, re.Pattern[str]]) -> str | None:
    for rule, new in rules.items():
        found = patterns[rule].match(name)
        if found is None:
            continue
        if new is None:
            return None
        try:
            start = found.expand(new)
        except (re.error, IndexError) as exc:
            raise RequestError(f"the rename {rule!r} → {new!r} cannot be applied: {exc}.") from exc
        rest = name[found.end() :]
        return ".".join(part for part in (start.strip("."), rest.lstrip(".")) if part)
    return name
