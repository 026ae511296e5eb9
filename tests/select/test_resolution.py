"""A first look at training sees smaller images, where the network takes such."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from graft import registry
from graft.contracts import Backbone, TransferData
from graft.order import Order
from graft.preparation import prepare
from graft.progress import Silent
from graft.select import resolution
from graft.select.candidates import Candidate, candidate
from graft.select.clock import Clock, OutOfTimeError
from graft.select.course import Course, course_of
from graft.select.heats import Heat, Rung, rungs_of
from graft.select.race import race
from graft.select.raced import Raced
from graft.select.resolution import smaller
from graft.select.trial import Trial
from graft.select.workspace import Workspace
from graft.sources.graft import Graft
from graft.sources.pixels import Pixels
from graft.sources.tfidf import Tfidf


def sizes(backbone: Backbone) -> tuple[int, int]:
    found: tuple[int, int] = backbone.preprocess.size  # type: ignore[attr-defined]
    return found


def test_a_network_of_convolutions_sees_half_of_the_edge_and_gives_as_many_features() -> None:
    whole = Graft("tiny", size=128).load()
    half = smaller(whole, 0.5)
    assert sizes(half) == (64, 64)
    assert half.module(torch.zeros(2, 3, 64, 64, dtype=torch.uint8)).shape == (2, whole.dim)
    assert half.fingerprint != whole.fingerprint
    assert smaller(whole, 1.0) is whole


@pytest.mark.parametrize("source", [Graft("tiny", size=64), Pixels(size=160), Tfidf()])
def test_what_is_small_or_takes_no_other_size_stays_as_it_is(source: Graft | Pixels | Tfidf) -> None:
    """Pixels are as many features as there are pixels; texts have no edge."""
    whole = source.load()
    assert smaller(whole, 0.5) is whole


def test_a_transformer_that_counts_places_stays_as_it_is() -> None:
    whole = Graft("tiny", size=128).load()

    class Counts(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            assert x.shape[-2:] == (128, 128), "input height doesn't match model"  # as timm says it
            return x.new_zeros(len(x), whole.dim)

    counting = replace(whole, module=Counts().train())
    assert smaller(counting, 0.5) is counting
    assert counting.module.training


def test_many_images_begin_with_a_glimpse() -> None:
    many, few = [Heat(np.arange(9000), np.arange(900))], [Heat(np.arange(80), np.arange(20))] * 5
    plain = rungs_of(many, 2)
    assert rungs_of(many, 2, glimpse=True) == (Rung(plain[0].share, 1, 0.5), *plain)
    assert rungs_of(few, 2, glimpse=True) == rungs_of(few, 2)


@pytest.fixture(scope="module")
def course() -> Course:
    """Bright images and dark ones."""
    random = np.random.default_rng(0)
    labels = [("dark", "bright")[place % 2] for place in range(60)]
    images = [random.integers(0, 128, (40, 40, 3), dtype=np.uint8) + 100 * (label == "bright") for label in labels]
    prepared = prepare(Order((images, labels), source="graft/tiny", strategy="linear_probe"))
    common = TransferData(train=prepared.rows(prepared.sides.train), machine=prepared.machine)
    held, start = prepared.held, prepared.task.start
    return course_of(
        held, prepared.sides, prepared.task, prepared.fitted, lambda places: start(held.labels[places]), common
    )


def images(*specs: str) -> list[Candidate]:
    built = [candidate(Graft("tiny", size=64), registry.build("strategies", spec), "image") for spec in specs]
    return [replace(each, name=f"{each.name} on tiny") for each in built]


def raced(course: Course, racers: list[Candidate], glimpsing: set[str], **options: Any) -> Raced:
    with Workspace(None, "") as workspace:
        return race(
            racers,
            replace(course, rungs=(Rung(1.0, 1, 0.5), Rung(1.0, 1))),
            forecasts={each.name: 60.0 for each in racers},
            clock=Clock(900.0),
            reserve=lambda seconds: 0.0,
            workspace=workspace,
            say=lambda step, said: None,
            glimpsing=glimpsing,
            **options,
        )


def test_training_begins_with_a_glimpse_and_closed_forms_do_not(
    course: Course, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolution, "_SMALLEST", 32)
    racers = images("prototypes", "fine_tune?epochs=1")
    found = raced(course, racers, {each.name for each in racers})
    steps = [(each.name.partition("?")[0].partition(" ")[0], each.rung) for each in found.runs if "lr" not in each.name]
    assert [rung for name, rung in steps if name == "prototypes"] == [1]
    assert next(rung for name, rung in steps if name == "fine_tune") == 0
    assert found.rung == 1


def test_what_takes_no_smaller_images_begins_with_whole_ones(course: Course) -> None:
    (only,) = images("fine_tune?epochs=1")
    assert min(each.rung for each in raced(course, [only], set()).runs) == 1


def test_where_a_glimpse_is_all_that_ended_something_else_is_fitted(
    course: Course, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was seen on smaller images alone is no model to hand over."""
    monkeypatch.setattr(resolution, "_SMALLEST", 32)
    measure = Course.measure

    def fails(self: Course, chosen: Candidate, rung: Rung, *given: Any, **named: Any) -> Any:
        if rung.scale == 1 and chosen.trains:
            raise OutOfTimeError
        return measure(self, chosen, rung, *given, **named)

    monkeypatch.setattr(Course, "measure", fails)
    racers, spare = images("fine_tune?epochs=1"), images("prototypes")
    found = raced(course, racers, {each.name for each in racers}, spare=spare)
    assert found.winner == spare[0]


def test_a_rung_of_half_the_edge_is_run_on_smaller_images(course: Course, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolution, "_SMALLEST", 32)
    chosen: Candidate = candidate(Graft("tiny", size=64), registry.build("strategies", "linear_probe"), "image")
    seen: list[Trial] = []
    for rung in (Rung(1.0, 1, 0.5), Rung(1.0, 1)):
        course.measure(chosen, rung, Workspace(None, ""), Silent(), seen=seen.append, told=lambda place, epoch: None)
    assert [sizes(each.model.networks[0][0].backbone) for each in seen] == [(32, 32), (64, 64)]
