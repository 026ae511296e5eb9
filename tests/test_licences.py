"""What licences are called, and what passes a filter."""

from __future__ import annotations

import pytest

from graft.errors import UnknownNameError
from graft.licences import allows, checked, spdx, terms


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("apache-2.0", "Apache-2.0"),
        ("Apache 2.0", "Apache-2.0"),
        ("bsd-3-clause", "BSD-3-Clause"),
        ("mit", "MIT"),
        ("cc-by-nc-4.0", "CC-BY-NC-4.0"),
        ("'mit'", "MIT"),
        ("other", None),
        ("unknown", None),
        ("", None),
        (None, None),
        ("dinov3-license", "dinov3-license"),
        ("mit, apache-2.0", "MIT AND Apache-2.0"),
        ("mit and other", None),
    ],
)
def test_what_hubs_write_becomes_spdx(written: str | None, expected: str | None) -> None:
    assert spdx(written) == expected


@pytest.mark.parametrize(
    ("licence", "expected"),
    [
        *(
            (each, "permissive")
            for each in ("Apache-2.0", "mit", "bsd-2-clause", "ISC", "CC-BY-4.0", "CC0", "Unlicense")
        ),
        *((each, "copyleft") for each in ("cc-by-sa-4.0", "GPL-3.0", "LGPL-3.0", "agpl-3.0", "MPL-2.0")),
        *((each, "restricted") for each in ("cc-by-nc-4.0", "cc-by-nc-sa-4.0", "dinov3-license", "gemma", "llama3.1")),
        *(
            (each, "restricted")
            for each in ("apple-amlr", "fair-noncommercial-research-license", "bigscience-openrail-m")
        ),
        *((each, "unknown") for each in ("other", None, "a-licence-of-mine")),
        ("mit AND cc-by-nc-4.0", "restricted"),
        ("mit AND gpl-3.0", "copyleft"),
        ("mit AND apache-2.0", "permissive"),
        ("mit AND a-licence-of-mine", "unknown"),
    ],
)
def test_what_a_licence_lets_a_user_do(licence: str | None, expected: str) -> None:
    assert terms(licence) == expected


def test_every_licence_of_timm_has_a_place() -> None:
    """A name that nobody sorted would silently pass for not known."""
    import timm
    from timm.models import get_pretrained_cfg

    stated = {get_pretrained_cfg(name).license for name in timm.list_models(pretrained=True)}
    unsorted = {each for each in stated if spdx(each) is not None and terms(each) == "unknown"}
    assert not unsorted


def test_what_is_not_known_passes_nothing_but_any() -> None:
    assert allows("any", None)
    assert not allows("permissive", None)
    assert not allows("MIT", None)
    assert not allows("permissive", "other")


def test_a_filter_may_name_one_licence() -> None:
    assert allows("mit", "MIT")
    assert not allows("mit", "Apache-2.0")
    assert not allows("MIT", "MIT AND Apache-2.0")
    assert allows("gemma", "gemma")


def test_a_filter_that_is_no_licence_suggests_one() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean MIT"):
        allows("MITT", "MIT")
    with pytest.raises(UnknownNameError, match="permissive"):
        checked("permisive")
