"""Planning with made-up sources: what takes part, in which order, and why the rest does not."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pytest

from graft import registry
from graft.compute import Speed
from graft.contracts import Backbone, Card, Source, Strategy
from graft.errors import RequestError
from graft.select.entrant import Limits
from graft.select.field import FEW, MANY, Field, grouped, lay_out
from graft.select.forecast import Known
from graft.select.offers import Excluded, Offer
from graft.sources.bridged import Bridged
from graft.tasks.classification import Classification
from graft.tasks.multilabel import Multilabel
from graft.tasks.regression import Regression

PETS = Known("image", Classification().start(np.array(["cat", "dog"], dtype=object)), rows=1000, origin="pets/")
SPEED = Speed(1e11, 1e11)
FREE = Limits(budget=1e6)


class Made(Source):
    """A source that must not be loaded."""

    modality: ClassVar[str] = "image"

    def load(self, weights: bool = True) -> Backbone:
        raise AssertionError("planning loads nothing")


class Plain(Made):
    pretrained: ClassVar[bool] = False


class Words(Made):
    modality: ClassVar[str] = "text"


def offer(name: str, source: Source | None = None, held: bool = True, named: bool = False, **facts: Any) -> Offer:
    known = {"parameters": 10**6, "flops": 10**8, "bytes": 4 * 10**6, "outputs": 0, "pretraining": "ImageNet-1k"}
    made = source or Made()
    return Offer(name, made, Card(name, made.reads(), **{**known, **facts}), held, named)


def built(*specs: str) -> list[Strategy]:
    return [registry.build("strategies", each) for each in specs]


def field(
    *offers: Offer, known: Known = PETS, limits: Limits = FREE, strategies: tuple[str, ...] = (), **more: Any
) -> Field:
    return lay_out(known, offers, limits, SPEED, strategies=built(*strategies), **more)


def reasons(found: Field) -> dict[str, str]:
    return {each.name: each.reason for each in found.excluded}


def names(found: Field) -> list[str]:
    return [each.name for each in found.entrants]


def test_few_rows_a_class_get_what_needs_few() -> None:
    few = field(offer("some", outputs=1000), known=replace(PETS, rows=38))
    many = field(offer("some", outputs=1000), known=replace(PETS, rows=40))
    assert {name.partition("?")[0] for name in few.strategies()} == set(FEW)
    assert [each.candidate.name for each in sorted(few.entrants, key=lambda each: each.place)][-1].startswith("lp_ft")
    assert {name.partition("?")[0] for name in many.strategies()} <= set(MANY)
    assert {"fine_tune?batch_size=16", "lp_ft?tuning.batch_size=16"} <= set(many.strategies())
    assert {"fine_tune", "lp_ft"} <= set(field(offer("some")).strategies())


def test_what_trains_first_depends_on_what_is_read() -> None:
    def trained(known: Known) -> list[str]:
        found = field(offer("some", Words() if known.modality == "text" else Made()), known=known)
        ordered = sorted(found.entrants, key=lambda each: each.place)
        return [each.candidate.name for each in ordered if each.candidate.name in ("lp_ft", "fine_tune")]

    assert trained(PETS) == ["lp_ft", "fine_tune"]
    assert trained(replace(PETS, modality="text")) == ["fine_tune", "lp_ft"]


def test_what_the_user_names_wins() -> None:
    found = field(offer("some"), known=replace(PETS, rows=10), strategies=("knn?k=3", "fine_tune"))
    assert set(found.strategies()) == {"knn?k=3", "fine_tune"}


def test_what_the_budget_shortens_stays_one_strategy() -> None:
    found = field(offer("large", flops=10**10), offer("small", flops=10**9), limits=Limits(budget=2000.0))
    epochs = {
        each.candidate.strategy.get_params()["epochs"]
        for each in found.entrants
        if registry.title(each.usual) == "fine_tune"
    }
    assert len(epochs) == 2
    assert [name for name in found.strategies() if name.startswith("fine_tune")] == ["fine_tune"]
    assert found.sides() == f"2 sources × {len(found.strategies())} strategies"


def test_cheap_candidates_come_first() -> None:
    found = field(offer("large", flops=10**10), offer("small"), strategies=("fine_tune", "linear_probe"))
    assert names(found) == [
        "linear_probe on small",
        "fine_tune on small",
        "linear_probe on large",
        "fine_tune on large",
    ]
    assert sorted(each.forecast.seconds for each in found.entrants) == [
        each.forecast.seconds for each in found.entrants
    ]


def test_a_near_source_comes_before_a_cheap_one_and_experience_before_both() -> None:
    far, near = offer("far"), replace(offer("near", flops=10**10, outputs=2), classes=("cat", "dog"))
    assert names(field(far, near, strategies=("svm",))) == ["svm on near", "svm on far"]
    assert names(field(far, near, strategies=("svm",), prior={"far": 0.1})) == ["svm on far", "svm on near"]
    both = {"far": 0.1, "svm": 0.5, "svm on far": -1.0}
    assert names(field(far, near, strategies=("svm", "knn"), prior=both)) == [
        "svm on near",
        "knn on far",
        "knn on near",
        "svm on far",
    ]


def test_the_setting_of_each_candidate() -> None:
    found = field(offer("some", outputs=1000), strategies=("svm",))
    assert found.entrants[0].setting.name == "inductive"


def test_a_source_of_another_modality_is_taken_over_the_bridge() -> None:
    found = field(offer("some"), known=replace(PETS, modality="audio"), strategies=("svm",))
    assert isinstance(found.entrants[0].candidate.source, Bridged)
    assert found.entrants[0].setting.domain == "different"
    mixed = field(offer("some"), offer("words", Words()), strategies=("svm",))
    assert "no bridge leads from image to text" in reasons(mixed)["svm on words"]


def test_needs_of_the_task_leave_a_strategy_out_once() -> None:
    numbers = replace(PETS, fitted=Regression().start(np.array([1.0, 2.0, 3.5])))
    found = field(offer("a"), offer("b"), known=numbers)
    assert {each.partition("?")[0] for each in found.strategies()} == set(MANY)
    few = field(offer("a"), known=replace(numbers, rows=10))
    assert reasons(few)["prototypes"] == "it needs a task with classes, and the task is regression"
    several = replace(PETS, fitted=Multilabel().start(np.array([("a",), ("a", "b")], dtype=object)))
    found = field(offer("a", outputs=9), known=several, strategies=("svm", "bi_tuning", "co_tuning", "distill"))
    assert names(found) == ["svm on a"]
    assert {"bi_tuning", "co_tuning", "distill"} == set(reasons(found))
    assert reasons(found)["distill"] == "it needs a teacher, and none is named"


def test_a_need_for_rows_without_labels() -> None:
    class Pseudo(type(built("svm")[0])):  # type: ignore[misc]
        needs: ClassVar[str] = "rows without labels"

    more = replace(PETS, unlabelled=5)
    assert len(lay_out(more, [offer("a")], FREE, SPEED, strategies=[Pseudo()]).entrants) == 1
    with pytest.raises(RequestError, match="it needs rows without labels, and there are none"):
        lay_out(PETS, [offer("a")], FREE, SPEED, strategies=[Pseudo()])


def test_needs_of_a_source_leave_the_pair_out() -> None:
    found = field(offer("mute"), offer("speaks", outputs=1000), strategies=("label_map",))
    assert names(found) == ["label_map on speaks"]
    assert "mute has no outputs" in reasons(found)["label_map on mute"]
    bare = field(offer("bare", Plain(), parameters=0, named=True), strategies=("fine_tune", "svm"))
    assert "bare has none" in reasons(bare)["fine_tune on bare"]


def test_a_missing_package_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graft.select.needs.find_spec", lambda name: None)
    found = field(offer("some"), strategies=("lora", "svm"))
    assert names(found) == ["svm on some"]
    assert "pip install 'graft-transfer[peft]'" in reasons(found)["lora"]


def test_what_never_learnt_is_taught_first_or_left_out_unless_it_is_named() -> None:
    plain, network = offer("plain", Plain(), parameters=0), offer("network", Plain(), pretraining="none")
    found = field(plain, network, offer("some"))
    assert "nothing to transfer" in reasons(found)["plain"]
    assert [each for each in names(found) if each.endswith("network")] == ["pretrain on network"]
    assert "pretrain on some" not in names(found)
    asked = field(replace(plain, named=True), strategies=("svm",))
    assert names(asked) == ["svm on plain"]
    by_default = field(replace(plain, named=True))
    assert "linear_probe on plain" in names(by_default)
    taught = field(network, offer("some"), strategies=("svm", "pretrain"))
    assert set(names(taught)) == {"svm on some", "pretrain on some", "pretrain on network"}


def test_controls_that_are_asked_for_need_no_weights() -> None:
    assert names(field(offer("some", parameters=0), strategies=("shallow",))) == ["shallow on some"]


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        (Limits(1e6, memory=2 * 10**9), "of memory, and 2.0 GB is free"),
        (Limits(1e6, disk=3 * 10**9), "it writes about 4.0 GB, and 3.0 GB of the disk is free"),
        (Limits(600.0), "is over the budget of 10 min"),
    ],
)
def test_what_does_not_fit_is_left_out_with_the_figures(limits: Limits, said: str) -> None:
    huge = offer("huge", parameters=10**9, flops=10**12)
    found = field(huge, offer("small"), limits=limits, strategies=("linear_probe",))
    assert names(found) == ["linear_probe on small"]
    assert said in reasons(found)["linear_probe on huge"]


def test_a_budget_too_small_for_anything_says_what_would_fit() -> None:
    with pytest.raises(RequestError, match=r"budget of 0.1 s is too small .* linear_probe on small, .*--budget \d+s"):
        field(
            offer("large", flops=10**11), offer("small"), limits=Limits(0.1), strategies=("fine_tune", "linear_probe")
        )


def test_where_nothing_is_left_all_reasons_are_listed() -> None:
    before = [Excluded("elsewhere", "it is not on this machine")]
    with pytest.raises(RequestError) as caught:
        field(offer("mute"), offer("still"), strategies=("label_map", "distill"), excluded=before)
    for part in ("elsewhere: it is not", "distill: it needs a teacher", "label_map on mute", "label_map on still"):
        assert part in str(caught.value)
    with pytest.raises(RequestError, match="no candidate is left"):
        field(strategies=("svm",))


def test_the_total_counts_what_is_shared_once() -> None:
    found = field(offer("a"), offer("b"), strategies=("prototypes", "knn"))
    one = found.entrants[0].forecast
    assert found.seconds == pytest.approx(4 * one.seconds - 2 * one.shared)
    assert found.memory == one.memory
    assert found.within == 4
    assert replace(found, limits=Limits(1.5 * one.seconds)).within == 2  # the second needs no pass of its own


def test_downloads_are_counted_once_a_source() -> None:
    found = field(offer("a", held=False), offer("b"), strategies=("svm", "knn"))
    assert found.download == 4 * 10**6
    assert found.sources() == ("b", "a") or found.sources() == ("a", "b")


def test_the_document_is_json_and_complete() -> None:
    found = field(offer("a"), offer("words", Words()), strategies=("svm",))
    document = json.loads(json.dumps(found.document()))
    (entry,) = document["candidates"]
    assert {"source", "strategy", "setting", "seconds", "memory", "disk", "download", "basis"} <= entry.keys()
    assert [each["name"] for each in document["excluded"]] == ["svm on words"]
    assert document["data"]["rows"] == 1000
    assert document["within"] == 1


def test_equal_reasons_stand_on_one_line() -> None:
    lines = dict(grouped([Excluded(str(place), "far") for place in range(9)] + [Excluded("x", "near")]))
    assert lines == {"far": "0, 1, 2 and 6 more", "near": "x"}


def test_training_is_shortened_to_fit_the_budget_unless_it_was_asked_for_as_it_is() -> None:
    whole = next(each for each in field(offer("here")).entrants if each.candidate.name == "fine_tune")
    limits = Limits(budget=whole.forecast.seconds * 1.01)
    assert "fine_tune?epochs=1 on here" in names(field(offer("here"), limits=limits))
    assert names(field(offer("here"), limits=limits, strategies=("fine_tune",))) == ["fine_tune on here"]


def test_what_a_row_really_takes_changes_the_forecasts() -> None:
    known = replace(PETS, rows=200)
    limits = Limits(budget=60.0)
    dear = field(offer("here", flops=10**10), known=known, limits=limits)
    assert not [each for each in dear.entrants if each.trains]
    found = dear.paced({"here": 1e-4})
    assert {"lp_ft", "fine_tune"} <= {each.candidate.name.partition("?")[0] for each in found.entrants}
    assert "as measured" in found.entrants[0].forecast.basis
    slow = found.paced({"here": 0.01})
    epochs = {each.candidate.strategy.epochs for each in slow.entrants if each.trains}
    assert epochs == {4}, "forty steps of 16 rows"


def test_where_nothing_fits_any_more_the_field_stays_as_it_was() -> None:
    found = field(offer("here"), limits=Limits(budget=10.0))
    assert found.paced({"here": 1e3}) is found
