"""The finer points of fine-tuning."""

from __future__ import annotations

from typing import Any

import pytest

from graft import registry
from graft.errors import RequestError, UnknownNameError
from graft.strategies.fine_tune import FineTune
from graft.tuning import Tuning


def test_they_come_by_name_as_an_object_or_not_at_all() -> None:
    assert Tuning.of(None) == Tuning()
    assert Tuning.of({"last": 2, "head": "probe"}) == Tuning(last=2, head="probe")
    settings = Tuning(ema=0.9)
    assert Tuning.of(settings) is settings
    with pytest.raises(UnknownNameError, match=r"mixap.*mixup"):
        Tuning.of({"mixap": 0.2})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"head_lr": 0.0}, "head_lr is 0.0, expected a number above 0"),
        ({"weight_decay": -1.0}, "weight_decay is -1.0, expected 0 or more"),
        ({"l1": -1.0}, "l1 is -1.0"),
        ({"l2": -1.0}, "l2 is -1.0"),
        ({"last": -1}, "last is -1"),
        ({"unfreeze": -1}, "unfreeze is -1"),
        ({"mixup": -0.1}, "mixup is -0.1"),
        ({"cutmix": -0.1}, "cutmix is -0.1"),
        ({"layer_decay": 0.0}, "layer_decay is 0.0, expected a factor above 0 and at most 1"),
        ({"batch_norm": "drop"}, "batch_norm is 'drop', expected keep or adapt"),
        ({"head": "random"}, "head is 'random', expected one of prior, prototypes, probe"),
        ({"loss": "hinge"}, "loss is 'hinge', expected one of task, gce, sce, focal"),
        ({"schedule": "steps"}, "schedule is 'steps'"),
        ({"dropout": 1.0}, "dropout is 1.0, expected a share"),
        ({"label_smoothing": -0.1}, "label_smoothing is -0.1"),
        ({"token_dropout": 1.0}, "token_dropout is 1.0"),
        ({"rand_augment": 9, "augment": False}, "augment=false forbids it"),
        ({"last": "abc"}, "last is 'abc', expected a whole number or none"),
        ({"unfreeze": 1.5}, "unfreeze is 1.5, expected a whole number"),
        ({"augment": "no"}, "augment is 'no', expected true or false"),
        ({"l1": "much"}, "l1 is 'much', expected a number"),
        ({"l2": True}, "l2 is True, expected a number"),
        ({"clip": "none", "ema": None}, "clip is 'none', expected a number or none"),
        (5, "tuning is 5, expected settings by name"),
    ],
)
def test_what_cannot_be_is_refused(given: Any, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        Tuning.of(given)


def test_all_faults_are_listed_at_once() -> None:
    with pytest.raises(RequestError, match=r"loss is 'x'.*dropout is 2.*l2 is -1"):
        Tuning(loss="x", dropout=2, l2=-1)  # type: ignore[arg-type]


def test_they_are_written_and_stored_with_a_strategy() -> None:
    strategy = registry.build("strategies", "fine_tune?epochs=3&tuning.schedule=one_cycle&tuning.last=1")
    assert Tuning.of(strategy.tuning) == Tuning(last=1, schedule="one_cycle")
    as_object = FineTune(epochs=3, tuning=Tuning(last=1, schedule="one_cycle"))
    for each in (strategy, as_object):
        assert registry.title(each) == "fine_tune?epochs=3&tuning.schedule=one_cycle&tuning.last=1"
        again = registry.restore("strategies", registry.spec(each))
        assert Tuning.of(again.tuning) == Tuning.of(each.tuning)
