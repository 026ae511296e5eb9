"""Reasons are read by people: sources are called by their file, and what happened to many is said once."""

from __future__ import annotations

from graft.evaluate.intervals import Interval
from graft.select.choice import Choice, Look
from graft.select.nicknames import nicknames, renamed, renaming
from graft.select.raced import Run

BIRD = "file//home/me/bird.safetensors?architecture=timm/resnet18&mean=[0.5,0.5,0.5]"
FLOWER = "file//home/me/flower.safetensors?architecture=timm/resnet18"


def test_a_name_that_would_be_two_sources_stays_whole() -> None:
    other = "file//home/you/bird.safetensors?architecture=timm/resnet50"
    assert nicknames([BIRD, other, FLOWER]) == {BIRD: BIRD, other: other, FLOWER: "file/flower.safetensors"}


def test_names_of_hubs_and_bridges_stay() -> None:
    titles = ["hf/sentence-transformers/all-MiniLM-L6-v2", "timm/resnet18.a1_in1k", "hf//models/mini over sentence"]
    assert list(nicknames(titles).values()) == [*titles[:2], "hf/mini over sentence"]


def test_what_is_said_while_it_runs_uses_the_same_names() -> None:
    told: list[tuple[str, str]] = []
    say = renaming(lambda step, text: told.append((step, text)), [BIRD, FLOWER])
    say("race", f"svm on {BIRD} leads with 0.900 on 80 rows")
    assert told == [("race", "svm on file/bird.safetensors leads with 0.900 on 80 rows")]


def test_a_name_within_a_longer_one_is_not_taken_for_it() -> None:
    names = nicknames(["file//a/x.pth", "file//b/x.pth", "file//a/x"])
    assert renamed("svm on file//a/x.pth beat svm on file//a/x", names) == "svm on file//a/x.pth beat svm on file/x"


def choice(runs: tuple[Run, ...], looks: tuple[Look, ...] = ()) -> Choice:
    return Choice(
        winner=f"svm on {BIRD}",
        tied=(),
        metric="accuracy",
        budget=60.0,
        spent=30.0,
        candidates=9,
        excluded=(),
        screened=looks,
        runs=runs,
        frontier=(),
        stopped="the time is up",
        left=0.0,
    )


def test_what_happened_to_many_is_said_once() -> None:
    runs = [
        Run(
            f"lora?rank={rank} on {FLOWER}", 0, 80, 0.5, 1.0, Interval(0.1 * rank, 0.0, 1.0), f"beaten by svm on {BIRD}"
        )
        for rank in range(1, 6)
    ]
    (beaten,) = [each for each in str(choice(tuple(runs))).splitlines() if "beaten" in each]
    assert beaten == (
        "lora?rank=1 on file/flower.safetensors stopped after 80 rows: beaten by svm on file/bird.safetensors "
        "(0.100 [0.000, 1.000] behind); likewise lora?rank=2 on file/flower.safetensors, "
        "lora?rank=3 on file/flower.safetensors and 2 more."
    )


def test_numbers_in_names_are_no_figures() -> None:
    runs = [Run(f"svm on {name}", 0, 80, 0.5, 1.0, ended=f"beaten by tune on timm/resnet{depth}")
            for name, depth in (("a", 18), ("b", 50))]  # fmt: skip
    told = str(choice(tuple(runs)))
    assert "svm on b stopped after 80 rows: beaten by tune on timm/resnet50." in told


def test_one_that_failed_on_every_rung_is_named_once() -> None:
    runs = [Run("svm on a", rung, 0, None, 0.0, ended="failed: no network") for rung in range(3)]
    assert "svm on a was not measured: failed: no network." in str(choice(tuple(runs)))


def test_other_reasons_are_other_sentences() -> None:
    late, broken = "its forecast of 9 s is over the 3 s left for more tries", "failed: no network"
    runs = [Run("svm on a", 0, 0, None, 0.0, ended=late), Run("svm on b", 0, 0, None, 0.0, ended=broken)]
    told = str(choice(tuple(runs))).splitlines()
    assert f"svm on a was not measured: {late}." in told
    assert f"svm on b was not measured: {broken}." in told


def test_sources_that_stayed_behind_are_named_together() -> None:
    looks = [
        Look(name, Interval(0.5, 0.4, 0.6), 80, 1.0, out) for name, out in zip("abc", ("", "late", "late"), strict=True)
    ]
    assert "b did not go on: late; likewise c." in str(choice((), tuple(looks)))
