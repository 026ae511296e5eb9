from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from graft.errors import RequestError, UnavailableError
from graft.nn.renaming import read_rules, renamed
from graft.nn.state_files import State


def _names(names: list[str], rules: dict[str, str | None]) -> list[str]:
    return list(renamed(State({name: torch.ones(1) for name in names}), rules))


@pytest.mark.parametrize(
    ("rules", "name", "new"),
    [
        ({"fc.weight": "classifier.weight"}, "fc.weight", "classifier.weight"),
        ({"fc": "classifier"}, "fc.weight", "classifier.weight"),
        ({"fc.": "classifier."}, "fc.weight", "classifier.weight"),
        ({"net.": ""}, "net.fc.weight", "fc.weight"),
        ({"": "net"}, "fc.weight", "net.fc.weight"),
        ({r"features\.(\d+)": r"blocks.\1"}, "features.12.conv.weight", "blocks.12.conv.weight"),
        ({r"features.(\d+)": r"blocks.\1", "features.0": "stem"}, "features.0.weight", "blocks.0.weight"),
        ({r"features.(\d+)": r"blocks.\1", "features.0.w": "stem.w"}, "features.0.w", "stem.w"),
        ({r".*\.gamma": None}, "a.gamma", None),
    ],
)
def test_a_rule_renames_what_it_fits(rules: dict[str, str | None], name: str, new: str | None) -> None:
    assert _names([name], rules) == ([] if new is None else [new])


def test_a_rule_ends_at_a_dot() -> None:
    assert _names(["fc.w", "fc2.w"], {"fc": "head"}) == ["head.w", "fc2.w"]


def test_what_was_done_is_told() -> None:
    state = State({"a.x": torch.ones(1), "b.x": torch.ones(1), "c": torch.ones(1)}, ("read",))
    notes = renamed(state, {"a": "z", "b": None}).notes
    assert notes == ("read", "1 names were changed by the given renames", "1 names were left out as the renames say")
    assert renamed(state, {}).notes == ("read",)


@pytest.mark.parametrize(
    ("rules", "reason"),
    [
        ({"a": "b"}, "the same name, b"),
        ({"(": "b"}, "neither a name nor a regular expression"),
        ({"a.?": r"\7"}, "cannot be applied"),
        ({"zebra": "b"}, "no weight has a name that the rename 'zebra' fits"),
    ],
)
def test_rules_that_cannot_be_say_so(rules: dict[str, str | None], reason: str) -> None:
    with pytest.raises(RequestError, match=reason):
        _names(["a", "b"], rules)


def test_rules_come_from_a_file_or_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "map.json").write_text(json.dumps({"a": "b", "c": None}))
    assert read_rules(str(tmp_path / "map.json")) == {"a": "b", "c": None}
    assert read_rules({"a": "b"}) == {"a": "b"}
    assert read_rules(None) == {}
    (tmp_path / "bad.json").write_text("{")
    (tmp_path / "list.json").write_text("[1]")
    with pytest.raises(RequestError, match="is no JSON"):
        read_rules(tmp_path / "bad.json")
    for odd in (tmp_path / "list.json", {"a": 1}):
        with pytest.raises(RequestError, match="old name to new"):
            read_rules(odd)  # type: ignore[arg-type]
    with pytest.raises(UnavailableError, match="no file of renames"):
        read_rules("nowhere.json")
