"""Callbacks are told of every epoch, and what they raise is not lost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone

import graft
from graft.contracts import Epoch
from graft.strategies.mlp_head import MLPHead
from graft.watching import Tracker, of_trial


def clouds(n: int = 60) -> tuple[np.ndarray, list[str]]:
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, n)
    rows = random.normal(size=(n, 3)).astype(np.float32)
    rows[:, 0] += 3 * labels
    return rows, [("left", "right")[label] for label in labels]


TOLD: list[tuple[str, int, Epoch]] = []


def listen(trial: str, epoch: int, found: Epoch) -> None:
    TOLD.append((trial, epoch, found))


def test_fit_tells_of_every_epoch_and_keeps_them(tmp_path: Path) -> None:
    TOLD.clear()
    strategy = ["mlp_head?epochs=3", "linear_probe"]
    result = graft.fit(
        clouds(), source="columns", strategy=strategy, callbacks=[listen], output=tmp_path / "m", controls=("majority",)
    )
    assert [(trial, epoch) for trial, epoch, _ in TOLD] == [("mlp_head?epochs=3", epoch) for epoch in range(3)]
    tried = result.tried[0]
    assert tried.epochs == tuple(found for *_, found in TOLD)
    assert tried.kept == tried.chosen["epochs"] - 1
    assert result.tried[1].epochs == ()
    assert result.tried[1].kept is None
    again = graft.fit(
        clouds(), source="columns", strategy=strategy, callbacks=[listen], output=tmp_path / "m", controls=("majority",)
    )
    assert again.reused
    assert len(TOLD) == 3, "nothing was trained again"
    assert [each.loss for each in again.tried[0].epochs] == [each.loss for each in tried.epochs]
    assert "seconds" not in result.document()["tried"][0]["epochs"][0]
    assert result.document(seconds=True)["tried"][0]["epochs"][0]["seconds"] > 0


def test_a_tracker_is_told_of_the_end() -> None:
    class Notes:
        def __init__(self) -> None:
            self.result: graft.Result | None = None

        def __call__(self, trial: str, epoch: int, found: Epoch) -> None: ...

        def finish(self, result: graft.Result) -> None:
            self.result = result

    notes = Notes()
    assert isinstance(notes, Tracker)
    result = graft.fit(clouds(), callbacks=[notes], controls=("majority",))
    assert notes.result is result


def fails(trial: str, epoch: int, found: Epoch) -> None:
    raise ZeroDivisionError("of the user's own")


def test_what_a_callback_raises_surfaces_with_its_name() -> None:
    with pytest.raises(ZeroDivisionError, match="of the user's own") as raised:
        graft.fit(clouds(), source="columns", strategy="mlp_head?epochs=2", callbacks=[fails])
    assert raised.value.__notes__ == ["raised by the callback fails, after epoch 1 of mlp_head?epochs=2"]
    with pytest.raises(ZeroDivisionError):
        graft.Transfer(strategy=MLPHead(epochs=2), callbacks=[fails]).fit(*clouds())


def test_an_object_is_named_by_its_class() -> None:
    class Broken:
        def __call__(self, trial: str, epoch: int, found: Epoch) -> None:
            raise KeyError(trial)

    with pytest.raises(KeyError) as raised:
        of_trial([Broken()], "a")[0](0, Epoch(1.0, None, 0.1, 0.0))
    assert "Broken, after epoch 1 of a" in raised.value.__notes__[0]


def test_the_estimator_stores_its_callbacks_as_they_are() -> None:
    TOLD.clear()
    given = [listen]
    model = graft.Transfer(strategy=MLPHead(epochs=2), callbacks=given)
    assert model.callbacks is given
    assert clone(model).callbacks == given
    model.fit(*clouds())
    assert [epoch for _, epoch, _ in TOLD] == [0, 1]
