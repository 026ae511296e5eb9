"""A mean of weights that is not worse than its best part."""

from __future__ import annotations

import copy
import gc
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from graft.contracts import Backbone, FittedTask, TransferData
from graft.errors import RequestError
from graft.evaluate.goal import goal_of
from graft.strategies.soup import Soup
from graft.train import loop
from graft.tuning import tune

Learnt = tuple[FittedTask, TransferData]
QUICK = {"batch_size": 16, "patience": None}


def test_it_is_never_worse_than_its_best_ingredient(backbone: Backbone, learnt: Learnt) -> None:
    task, data = learnt
    rates, seeds = (1e-3, 1e-2), (0, 1)
    singles = []
    for rate in rates:
        for seed in seeds:
            strategy = Soup([rate], [seed], epochs=3, tuning=QUICK)
            module = strategy.build(copy.deepcopy(backbone), task)
            single = strategy.fit(module, task, data)
            assert single.chosen == {"ingredients": 1, "tried": 1}
            assert single.score in [epoch.metric for epoch in single.epochs]
            singles.append(single.score)
    strategy = Soup(rates, seeds, epochs=3, tuning=QUICK)
    module = strategy.build(copy.deepcopy(backbone), task)
    history = strategy.fit(module, task, data)
    goal = goal_of(task)
    assert not any(goal.better(single, history.score) for single in singles)  # type: ignore[arg-type]
    assert history.chosen["tried"] == 4
    outputs = _outputs(module, backbone, data)
    assert goal.measure(outputs.numpy(), data.valid.targets.numpy()) == pytest.approx(history.score)  # type: ignore[union-attr]


def _outputs(module: torch.nn.Module, backbone: Backbone, data: TransferData) -> torch.Tensor:
    assert data.valid is not None
    rows = [data.valid.examples[row] for row in range(len(data.valid))]
    with torch.no_grad():
        return module.eval()(backbone.preprocess.collate(backbone.preprocess.items(rows)))  # type: ignore[no-any-return]


def test_equal_networks_all_join_and_change_nothing(backbone: Backbone, classes: Learnt) -> None:
    found = []
    for seeds in ((0,), (0, 0, 0)):
        strategy = Soup([1e-3], seeds, epochs=2, tuning=QUICK)
        module = strategy.build(copy.deepcopy(backbone), classes[0])
        history = strategy.fit(module, *classes)
        assert history.chosen == {"ingredients": len(seeds), "tried": len(seeds)}
        found.append(module.state_dict())
    for name, tensor in found[0].items():
        torch.testing.assert_close(tensor, found[1][name])


def test_all_start_from_one_probe(backbone: Backbone, classes: Learnt) -> None:
    heads = []
    for seed in (0, 5):
        still = {**QUICK, "weight_decay": 0.0}
        strategy = Soup([1e-12], [seed], epochs=1, tuning=still)
        module = strategy.build(copy.deepcopy(backbone), classes[0])
        strategy.fit(module, *classes)
        heads.append(module.get_parameter("head.weight").detach())
    torch.testing.assert_close(*heads)


def test_it_goes_on_after_a_kill_to_the_same_bits(
    backbone: Backbone, classes: Learnt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, data = classes
    strategy = Soup([1e-3, 1e-2], [0], epochs=3, tuning=QUICK)
    modules = [strategy.build(copy.deepcopy(backbone), task) for _ in range(3)]
    expected = strategy.fit(modules[0], task, data)
    passed = []

    def die(name: str) -> None:
        passed.append(name)
        if passed.count("train-1-3") == 2:  # in the second network
            raise KeyboardInterrupt

    kept = replace(data, checkpoint=tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(loop, "fail_point", die)
        with pytest.raises(KeyboardInterrupt):
            strategy.fit(modules[1], task, kept)
    assert {each.name for each in tmp_path.iterdir()} == {"lr-0.001-seed-0", "lr-0.01-seed-0"}
    found = strategy.fit(modules[2], task, kept)
    assert (found.score, found.chosen) == (expected.score, expected.chosen)
    for ours, theirs in zip(modules[2].state_dict().values(), modules[0].state_dict().values(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("kept", [False, True])
def test_networks_wait_on_disk(
    backbone: Backbone, classes: Learnt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: bool
) -> None:
    task, data = classes
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    held, on_disk = list[int](), list[int]()

    def counted(*given: object, **more: object) -> object:
        gc.collect()
        shape = backbone.module.get_parameter("4.weight").shape
        tensors = (each for each in gc.get_objects() if issubclass(type(each), torch.Tensor))
        held.append(sum(each.shape == shape for each in tensors))
        on_disk.append(len(list(tmp_path.rglob("state.safetensors"))))
        return tune(*given, **more)  # type: ignore[arg-type]

    monkeypatch.setattr("graft.strategies.soup.tune", counted)
    strategy = Soup([1e-3, 1e-2, 1e-4], [0, 1], epochs=1, tuning=QUICK)
    module = strategy.build(copy.deepcopy(backbone), task)
    strategy.fit(module, task, replace(data, checkpoint=tmp_path / "run") if kept else data)
    assert max(held) <= held[0] + 1, "memory does not grow with every network"
    assert on_disk[-1] > on_disk[0]
    left = {each.name for each in tmp_path.rglob("*") if each.is_dir()}
    assert not any(name.startswith(("cooked", "graft-soup")) for name in left)


def test_it_refuses_what_cannot_be(backbone: Backbone, classes: Learnt) -> None:
    with pytest.raises(RequestError, match=r"lrs is \[\], expected one or more numbers above 0; .*; epochs is 0"):
        Soup(lrs=[], seeds=[0.5], epochs=0).build(backbone, classes[0])
