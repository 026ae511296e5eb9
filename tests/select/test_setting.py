"""The textbook's settings are read off a card, and what it does not tell is unknown."""

from __future__ import annotations

import numpy as np
import pytest

from graft.contracts import Card, FittedTask
from graft.select.setting import Setting, setting_of
from graft.tasks.classification import Classification
from graft.tasks.regression import Regression

PETS = Classification().start(np.array(["cat", "dog", "cat"], dtype=object))
PRICES = Regression().start(np.array([1.0, 2.5, 4.0]))


def setting(
    fitted: FittedTask = PETS, origin: str = "pets/", classes: tuple[str, ...] = (), **facts: object
) -> Setting:
    card = Card(**{"name": "some", "modality": "image", "pretraining": "ImageNet-1k", "outputs": 1000, **facts})  # type: ignore[arg-type]
    return setting_of(card, fitted, "image", origin, classes)


def test_other_classes_are_inductive_transfer() -> None:
    found = setting()
    assert (found.domain, found.task, found.name) == ("different", "different", "inductive")
    assert "ImageNet-1k" in found.why
    assert "1000 outputs" in found.why
    assert setting(outputs=0).name == "inductive"
    assert setting(PRICES, outputs=2).task == "different"


def test_the_same_classes_elsewhere_are_transductive() -> None:
    found = setting(classes=("dog", "cat"), outputs=2)
    assert (found.task, found.name) == ("same", "transductive")
    assert setting(classes=("cat", "horse"), outputs=2).name == "inductive"


@pytest.mark.parametrize("origin", ["cifar10_jpg/train/", "/data/CIFAR-10/", "rows.csv and cifar-10.csv"])
def test_data_that_the_card_names_are_the_same_domain(origin: str) -> None:
    learnt = "CIFAR-10 (training images), taught by MobileNetV2 (ImageNet-1k)"
    assert setting(origin=origin, pretraining=learnt).domain == "same"
    found = setting(origin=origin, pretraining=learnt, classes=("cat", "dog"))
    assert found.name == "traditional"
    assert found.rank == 0


def test_names_that_only_begin_alike_are_not_the_same_data() -> None:
    assert setting(origin="english.csv", pretraining="English books and Wikipedia").domain == "different"
    assert setting(origin="in/", pretraining="ImageNet-1k").domain == "different"
    assert setting(origin="imagenet1k/", pretraining="ImageNet-1k without labels, then PACS").domain == "same"


def test_what_a_card_does_not_tell_is_unknown() -> None:
    found = setting(pretraining=None, outputs=None)
    assert (found.domain, found.task, found.name) == ("unknown", "unknown", "unknown")
    assert str(found) == "domain unknown, task unknown"
    assert setting(outputs=2).task == "unknown"  # as many outputs, and nothing says what they stand for
    assert setting(pretraining=None, outputs=2, classes=("cat", "dog")).name == "unknown"


def test_another_modality_is_another_domain() -> None:
    found = setting(modality="text", outputs=0)
    assert found.domain == "different"
    assert "text" in found.why


def test_what_never_learnt_transfers_nothing_and_comes_last() -> None:
    found = setting(pretraining="none")
    assert found.name == "none"
    assert "never learnt" in str(found)
    others = [setting(), setting(pretraining=None), setting(classes=("cat", "dog")), setting(origin="imagenet-1k/")]
    assert all(each.rank < found.rank for each in others)
    assert str(others[0]) == "inductive (other domain, other task)"
