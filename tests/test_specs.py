"""Specs: the text that a person types, and the shortest text for what there is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from graft.contracts import Strategy
from graft.errors import RequestError, UnknownNameError
from graft.specs import arguments, fitted, name_of, parameters, written


class Checkpoint:
    def __init__(
        self,
        path: str,
        architecture: str = "",
        options: Mapping[str, Any] | None = None,
        size: int | Sequence[int] | None = None,
        mean: tuple[float, ...] | None = None,
        revision: str | None = None,
        folder: Path | None = None,
    ) -> None: ...


class Plain: ...


class Numbers:
    def __init__(
        self,
        count: int = 1,
        rate: float | None = None,
        fast: bool = False,
        many: int | list[int] = 1,
        shares: Sequence[float] | None = None,
        words: str | tuple[str, ...] = "",
        settings: Mapping[str, Any] | None = None,
        then: Strategy | str = "",
    ) -> None: ...


class Two:
    def __init__(self, first: str, second: int) -> None: ...


KNOWN = parameters(Checkpoint)


def parse(spec: str, plugin: type[Any] = Checkpoint) -> dict[str, Any]:
    return arguments("source", spec, parameters(plugin), lambda: "file/model.safetensors")


@pytest.mark.parametrize(
    ("spec", "given"),
    [
        ("file/a.pt", {"path": "a.pt"}),
        ("file/sub/a.pt", {"path": "sub/a.pt"}),
        ("file//abs/a.pt", {"path": "/abs/a.pt"}),
        ("file?path=a.pt", {"path": "a.pt"}),
        (" file/123 ", {"path": "123"}),
        ("file/a?", {"path": "a"}),
        ("file/a?size=96", {"path": "a", "size": 96}),
        ("file/a?size=[96,64]", {"path": "a", "size": [96, 64]}),
        ("file/a?mean=[0.5,1]", {"path": "a", "mean": (0.5, 1)}),
        ("file/a?architecture=timm/resnet18", {"path": "a", "architecture": "timm/resnet18"}),
        ("file/a?revision=1234567", {"path": "a", "revision": "1234567"}),
        ("file/a?revision=null&folder=x", {"path": "a", "revision": None, "folder": "x"}),
        ("file/a?revision=b=c", {"path": "a", "revision": "b=c"}),
        ("file/a?options.pad_type=same", {"path": "a", "options": {"pad_type": "same"}}),
        ("file/a?options.n=1001&options.m=true", {"path": "a", "options": {"n": 1001, "m": True}}),
        ('file/a?options={"n":1}&options.m=2', {"path": "a", "options": {"n": 1, "m": 2}}),
    ],
)
def test_a_spec_gives_arguments(spec: str, given: dict[str, Any]) -> None:
    assert parse(spec) == given
    assert name_of(spec) == "file"


def test_a_name_alone() -> None:
    assert parse("plain", Plain) == {}
    assert parse("plain/", Plain) == {}
    assert name_of("plain?x=1") == "plain"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("file", r"needs its path after a slash, such as file/model\.safetensors"),
        ("file/", "needs its path after a slash"),
        ("file?size=1", "needs its path after a slash"),
        ("file/a?path=b", "gives 'path' twice"),
        ("file/a?size", "'size' in the options of the source 'file' is not of the form key=value"),
        ("file/a?=3", "is not of the form key=value"),
        ("file/a?size=1&", "is not of the form key=value"),
        ("file/a?size=1&size=2", "'size' of the source 'file' is given twice"),
        ("file/a?options.n=1&options.n=2", r"'options\.n' of the source 'file' is given twice"),
        ("file/a?options=3&options.n=2", r"'options\.n' of the source 'file' is given twice"),
    ],
)
def test_a_spec_that_cannot_work(spec: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        parse(spec)


def test_what_takes_nothing_says_so() -> None:
    with pytest.raises(RequestError, match="takes nothing after a slash; write plain"):
        parse("plain/x", Plain)
    with pytest.raises(UnknownNameError, match=r"option of source plain 'x'.*Known: none"):
        parse("plain?x=1", Plain)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("numbers?count=abc", "'count' of the source 'numbers' is 'abc', and a whole number was expected"),
        ("numbers/x", "'count' of the source 'numbers' is 'x', and a whole number was expected"),
        ("numbers?count=1.5", "is 1.5, and a whole number"),
        ("numbers?count=true", "is True, and a whole number"),
        ("numbers?rate=high", "is 'high', and a number or null"),
        ("numbers?fast=no", "is 'no', and true or false"),
        ("numbers?fast=1", "is 1, and true or false"),
        (
            "numbers?many=[1,true]",
            r"is \[1, True\], and a whole number or a list of whole numbers, such as \[1,2\] was",
        ),
        ("numbers?shares=0.5", r"is 0\.5, and a list of numbers, such as \[0\.1,1\] or null was expected"),
        ("numbers?settings=3", r"is 3, and settings by name, such as settings\.x=y or null was expected"),
        ("numbers?settings=all", "is 'all', and settings by name"),
        ("numbers?words=3", 'is 3, and text or a list of texts, such as \\["one","two"\\] was expected'),
    ],
)
def test_a_value_of_another_kind_is_refused(spec: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        parse(spec, Numbers)


def test_a_name_stays_text_and_an_object_is_read() -> None:
    assert parse("numbers?then=3", Numbers) == {"then": "3"}
    assert parse('numbers?then={"kind":"strategies"}', Numbers) == {"then": {"kind": "strategies"}}
    assert parse("numbers?settings.x=3", Numbers) == {"settings": {"x": 3}}


def test_values_of_the_right_kind_pass() -> None:
    assert parse("numbers?count=2&rate=1&fast=true&many=[1,2]", Numbers) == {
        "count": 2, "rate": 1, "fast": True, "many": [1, 2],
    }  # fmt: skip
    assert parse("numbers?rate=null", Numbers) == {"rate": None}


def test_all_that_is_missing_is_named() -> None:
    with pytest.raises(RequestError, match=r"needs second; write two/a\?second=…"):
        parse("two/a", Two)


def test_an_unknown_option_suggests_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"option of source file 'architectur'.*Did you mean architecture"):
        parse("file/a?architectur=b")


@pytest.mark.parametrize(
    "spec",
    [
        "file/sub/a.pt",
        "file/a?architecture=timm/resnet18&options.pad_type=same&options.n=1001",
        "file/a?size=[96,64]&mean=[0.5,0.5]",
    ],
)
def test_written_is_the_inverse(spec: str) -> None:
    given = parse(spec)
    assert written("file", given, KNOWN) == spec


def test_defaults_are_left_out() -> None:
    given = {"path": "a", "architecture": "", "options": None, "size": None, "mean": None}
    assert written("file", given, KNOWN) == "file/a"
    assert written("plain", {}, parameters(Plain)) == "plain"


def test_a_list_becomes_what_its_parameter_takes() -> None:
    assert fitted([1, 2], KNOWN["mean"]) == (1, 2)
    assert fitted([1, 2], KNOWN["size"]) == [1, 2]
    assert fitted("a", KNOWN["mean"]) == "a"
