"""The training loop: what it learns, what it leaves alone, and that a kill changes nothing.

Run as a script, this file is the process that the tests kill: ``test_train.py FOLDER``.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from graft import compute, train
from graft.contracts import Epoch, Machine, Rows, TransferData
from graft.data.examples import TableExamples
from graft.errors import DivergedError, MemoryLimitError
from graft.evaluate.goal import Goal
from graft.nn.groups import parameter_groups
from graft.progress import Enough
from graft.train import Recipe, loop, reading

ACCURACY = Goal(lambda outputs, targets: float((outputs.argmax(1) == targets).mean()))


class Numbers:
    """Rows of numbers; the training form adds noise by the row's seed.  ``costs`` are the rows' first numbers."""

    def __init__(self, noise: float = 0.1, costly: bool = False) -> None:
        self.noise, self.costly = noise, costly
        self.batches: list[Tensor] = []

    def items(self, rows: Sequence[Any], seeds: Sequence[int] | None = None) -> list[Tensor]:
        found = []
        for place, row in enumerate(rows):
            noise = np.zeros_like(row)
            if seeds is not None:
                noise = np.random.default_rng(seeds[place]).normal(size=row.shape) * self.noise
            found.append(torch.from_numpy((row + noise).astype(np.float32)))
        return found

    def cost(self, item: Tensor) -> int:
        return 1 + int(10 * abs(float(item[0]))) if self.costly else 1

    def collate(self, items: Sequence[Tensor]) -> Tensor:
        self.batches.append(torch.stack(list(items)))
        return self.batches[-1]

    def files(self) -> dict[str, bytes]:
        return {}


def network(frozen: bool = False) -> nn.Module:
    torch.manual_seed(0)
    trunk = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 8))
    module = nn.ModuleDict({"trunk": trunk, "head": nn.Linear(8, 3)})
    module.trunk.requires_grad_(not frozen)
    return Chain(module["trunk"], module["head"])


class Chain(nn.Module):
    def __init__(self, trunk: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.trunk, self.head = trunk, head

    def forward(self, batch: Tensor) -> Tensor:
        outputs: Tensor = self.head(self.trunk(batch))
        return outputs


def rows(n: int = 90, seed: int = 0) -> Rows:
    random = np.random.default_rng(seed)
    values = random.normal(size=(n, 6)).astype(np.float32)
    return Rows(TableExamples(values), torch.from_numpy(values[:, :3].argmax(1)))


def data(**changes: Any) -> TransferData:
    return replace(TransferData(train=rows(), valid=rows(60, seed=1)), **changes)


def run(
    module: nn.Module | None = None,
    given: TransferData | None = None,
    recipe: Recipe | None = None,
    preprocess: Numbers | None = None,
    lr: float = 1e-2,
    loss: Any = nn.functional.cross_entropy,
    goal: Goal = ACCURACY,
    **more: Any,
) -> tuple[nn.Module, train.Outcome]:
    module = network() if module is None else module
    outcome = train.fit(
        module,
        train.supervised(lambda outputs, targets, weights: loss(outputs, targets)),
        data() if given is None else given,
        preprocess=Numbers() if preprocess is None else preprocess,
        groups=parameter_groups(module, rate=lr, weight_decay=0.01),
        recipe=recipe or Recipe(epochs=4, batch_size=16, patience=None),
        goal=goal,
        **more,
    )
    return module, outcome


def same(one: nn.Module, other: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def test_it_learns() -> None:
    module, outcome = run(recipe=Recipe(epochs=30, batch_size=16, patience=None))
    assert outcome.epochs[-1].loss < outcome.epochs[0].loss / 2
    assert outcome.score is not None
    assert outcome.score > 0.85
    assert not module.training


def test_the_weights_of_the_best_epoch_are_kept() -> None:
    module = network()
    values, states = iter([0.3, 0.8, 0.5, 0.8, 0.4]), []

    def measure(outputs: Any, targets: Any) -> float:
        states.append({name: tensor.clone() for name, tensor in module.state_dict().items()})
        return next(values)

    outcome = run(module, recipe=Recipe(epochs=5, batch_size=16, patience=None), goal=Goal(measure))[1]
    assert (outcome.best, outcome.score, outcome.chosen) == (3, 0.8, {"epochs": 4})  # of equals the later
    assert all(torch.equal(tensor, states[3][name]) for name, tensor in module.state_dict().items())
    assert not torch.equal(module.head.weight, states[4]["head.weight"])


def test_a_metric_of_which_less_is_better() -> None:
    values = iter([0.3, 0.8, 0.2])
    goal = Goal(lambda outputs, targets: next(values), higher_is_better=False)
    assert run(recipe=Recipe(epochs=3, batch_size=16), goal=goal)[1].best == 2


def test_it_stops_when_validation_gets_no_better() -> None:
    values = iter([0.5, 0.6, 0.6, 0.5])
    goal = Goal(lambda outputs, targets: next(values))
    outcome = run(recipe=Recipe(epochs=50, batch_size=16, patience=2), goal=goal)[1]
    assert (len(outcome.epochs), outcome.best) == (4, 2)  # an epoch that is only as good does not prolong it


def test_a_callback_may_say_that_it_is_enough() -> None:
    values = iter([0.5, 0.6, 0.4])

    def callback(epoch: int, report: Epoch) -> None:
        if epoch == 2:
            raise Enough

    given = replace(data(), callbacks=(callback,))
    goal = Goal(lambda outputs, targets: next(values))
    outcome = run(given=given, recipe=Recipe(epochs=50, batch_size=16, patience=None), goal=goal)[1]
    assert (len(outcome.epochs), outcome.best, outcome.score) == (3, 1, 0.6)


def test_without_validation_rows_the_last_weights_stay() -> None:
    outcome = run(given=data(valid=None), recipe=Recipe(epochs=3, batch_size=16, patience=1))[1]
    assert (len(outcome.epochs), outcome.best, outcome.score, outcome.chosen) == (3, None, None, {})
    assert outcome.epochs[0].metric is None


def test_the_first_step_is_adamw_s_own() -> None:
    """One batch, no noise, no dropout: the loop does what three lines of PyTorch do."""
    preprocess = Numbers(noise=0.0)
    given = data(valid=None)
    module = Chain(nn.Linear(6, 5), nn.Linear(5, 3))
    reference = Chain(nn.Linear(6, 5), nn.Linear(5, 3))
    reference.load_state_dict(module.state_dict())
    run(module, given, Recipe(epochs=1, batch_size=90, warmup=0.0), preprocess, lr=0.1)
    optimiser = torch.optim.AdamW(parameter_groups(reference, rate=0.1, weight_decay=0.01))
    batch = torch.from_numpy(np.stack([given.train.examples[row] for row in range(90)]))
    nn.functional.cross_entropy(reference(batch), given.train.targets).backward()
    nn.utils.clip_grad_norm_(reference.parameters(), 1.0)
    optimiser.step()
    for ours, theirs in zip(module.parameters(), reference.parameters(), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-4)


def test_rates_rise_and_fall() -> None:
    outcome = run(recipe=Recipe(epochs=10, batch_size=16, warmup=0.2, patience=None), lr=0.01)[1]
    rates = [epoch.rate for epoch in outcome.epochs]
    assert max(rates) == pytest.approx(0.01), "the highest of an epoch's steps"
    assert rates[0] < rates[1] < rates[2]
    assert rates[2:] == sorted(rates[2:], reverse=True)
    assert 0.0 < rates[-1] < 0.001, "a single epoch would not say that nothing was learnt"


def test_what_is_frozen_stays_bit_identical() -> None:
    module = network(frozen=True)
    before = {name: tensor.clone() for name, tensor in module.trunk.state_dict().items()}
    run(module)
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.trunk.state_dict().items())
    assert not torch.equal(module.head.weight, network(frozen=True).head.weight)


def test_the_seed_decides_everything_and_the_global_generator_is_left_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    first = network()
    torch.manual_seed(5)
    run(first)
    assert torch.equal(torch.rand(1), expected)
    torch.manual_seed(99)
    second = run(given=data(machine=Machine(threads=3)))[0]
    assert same(first, second)
    assert not same(first, run(given=data(seed=1))[0])


def test_every_row_is_seen_once_an_epoch_and_no_batch_is_a_single_row() -> None:
    preprocess = Numbers()
    run(given=data(train=rows(33), valid=None), recipe=Recipe(epochs=1, batch_size=16), preprocess=preprocess)
    assert [len(batch) for batch in preprocess.batches] == [11, 11, 11]
    assert len(torch.cat(preprocess.batches).unique(dim=0)) == 33


def test_items_of_like_cost_share_batches() -> None:
    spreads = []
    for costly in (False, True):
        preprocess = Numbers(noise=0.0, costly=costly)
        run(given=data(train=rows(200), valid=None), recipe=Recipe(epochs=1, batch_size=20), preprocess=preprocess)
        assert sum(map(len, preprocess.batches)) == 200
        spreads.append(np.mean([float(batch[:, 0].abs().std()) for batch in preprocess.batches]))
    assert spreads[1] < spreads[0] / 3


def test_a_loss_that_is_not_finite_is_named() -> None:
    def broken(outputs: Tensor, targets: Tensor) -> Tensor:
        return nn.functional.cross_entropy(outputs, targets) * float("nan")

    with pytest.raises(DivergedError, match=r"the loss became nan in epoch 1, step 1 of 6.*now 0.01"):
        run(loss=broken)


@pytest.mark.parametrize(
    "error",
    [MemoryError(), torch.OutOfMemoryError("CUDA out of memory."), RuntimeError("can't allocate memory: 9 bytes")],
)
def test_rows_that_do_not_fit_are_a_memory_limit(error: Exception) -> None:
    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        raise error

    with pytest.raises(MemoryLimitError, match=r"not even two rows fit .* on cpu; choose a smaller source"):
        run(loss=loss)


def test_an_optimiser_that_does_not_fit_is_a_memory_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    def step(*given: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    with pytest.raises(MemoryLimitError, match="network and its optimiser do not fit"):
        run()


def test_other_errors_of_training_pass() -> None:
    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ"):
        run(loss=loss)


def test_a_gradient_that_is_not_finite_is_named() -> None:
    def broken(outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs.abs() * 0).sqrt().sum()

    with pytest.raises(DivergedError, match="the gradient became"):
        run(loss=broken)


def test_bfloat16_is_taken_only_where_it_is_faster_and_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    halves: list[bool] = []
    given = data(machine=Machine(precision="bfloat16"), checkpoint=tmp_path)

    def watched(step: train.Step) -> Tensor:
        halves.append(step.halves)
        return nn.functional.cross_entropy(step.run(step.module), step.targets)

    for taken in (False, True):
        monkeypatch.setattr(loop, "bfloat16_pays", lambda run, machine, found=taken: found)
        halves.clear()
        module = network()
        groups = parameter_groups(module, rate=1e-2)
        fit = {"preprocess": Numbers(), "groups": groups, "recipe": Recipe(epochs=2, batch_size=16), "goal": ACCURACY}
        train.fit(module, watched, given, **fit)
        assert set(halves) == {taken}
        assert all(value.dtype == torch.float32 for value in module.parameters())
        monkeypatch.setattr(loop, "bfloat16_pays", lambda *given: pytest.fail("measured again"))
        train.fit(module, watched, given, **fit)  # complete already: nothing to measure
        (tmp_path / "state.safetensors").unlink()


def test_measuring_leaves_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compute, "knows_bfloat16", lambda device: True)
    monkeypatch.setattr(compute, "_FASTER", 1e9)
    measured = run(given=data(machine=Machine(precision="bfloat16")))[0]
    assert same(measured, run()[0])


def test_a_checkpoint_of_another_fit_is_not_gone_on_with(tmp_path: Path) -> None:
    fresh = run(given=data(seed=7))[0]
    run(given=data(checkpoint=tmp_path))
    assert same(fresh, run(given=data(seed=7, checkpoint=tmp_path))[0])
    (tmp_path / "state.safetensors").write_bytes(b"damaged")
    assert same(fresh, run(given=data(seed=7, checkpoint=tmp_path))[0])


def test_a_fit_that_was_complete_ends_at_once(tmp_path: Path) -> None:
    first, before = run(given=data(checkpoint=tmp_path))
    second, after = run(given=data(checkpoint=tmp_path), loss=lambda *given: pytest.fail("trained again"))
    assert same(first, second)
    assert after == before


def test_a_kill_inside_an_epoch_costs_no_more_than_a_minute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "_SAVE_EVERY", 0.0)
    expected, outcome = run()

    class KilledError(Exception):
        pass

    for place in ("train-0-2", "train-2-5", "train-3-6"):

        def die(name: str, place: str = place) -> None:
            if name == place:
                raise KilledError

        monkeypatch.setattr(loop, "fail_point", die)
        with pytest.raises(KilledError):
            run(given=data(checkpoint=tmp_path), preprocess=Numbers())
    monkeypatch.setattr(loop, "fail_point", lambda name: None)
    module, found = run(given=data(checkpoint=tmp_path))
    assert same(module, expected)
    assert [(each.loss, each.metric) for each in found.epochs] == [(each.loss, each.metric) for each in outcome.epochs]


def test_a_pool_that_was_begun_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With items of several costs, a kill falls inside a pool of batches that were read together."""
    monkeypatch.setattr(loop, "_SAVE_EVERY", 0.0)
    monkeypatch.setattr(reading, "_POOL", 3)
    expected = run(preprocess=Numbers(costly=True))[0]

    class KilledError(Exception):
        pass

    def die(name: str) -> None:
        if name == "train-1-5":
            raise KilledError

    monkeypatch.setattr(loop, "fail_point", die)
    with pytest.raises(KilledError):
        run(given=data(checkpoint=tmp_path), preprocess=Numbers(costly=True))
    monkeypatch.setattr(loop, "fail_point", lambda name: None)
    assert same(run(given=data(checkpoint=tmp_path), preprocess=Numbers(costly=True))[0], expected)


class Spelt(nn.Module):
    """Rows of numbers as words of a large table."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table, self.head = nn.Embedding(2**18, 4), nn.Linear(4, 3)

    def forward(self, batch: Tensor) -> Tensor:
        words = (100 * batch.abs()).long() * 500
        outputs: Tensor = self.head(self.table(words).mean(1))
        return outputs


def test_a_table_that_learns_by_rows_goes_on_to_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = run(Spelt())[0]
    monkeypatch.setattr(loop, "_SAVE_EVERY", 0.0)
    steps = [0]

    def stops(outputs: Tensor, targets: Tensor) -> Tensor:
        steps[0] += 1
        if steps[0] == 9:
            raise KeyboardInterrupt
        return nn.functional.cross_entropy(outputs, targets)

    given = data(checkpoint=tmp_path)
    broken = Spelt()
    with pytest.raises(KeyboardInterrupt):
        run(broken, given, loss=stops)
    assert not broken.table.sparse
    assert same(run(Spelt(), given)[0], expected)
    before = Spelt().table.weight
    moved = (before != expected.table.weight).any(1)
    assert 0 < moved.sum() < 600, "rows that never occur stay as they were"


def _child(folder: Path, point: str | None) -> int:
    environment = {key: value for key, value in os.environ.items() if key != "GRAFT_FAIL_POINT"}
    if point is not None:
        environment["GRAFT_FAIL_POINT"] = point
    return subprocess.run([sys.executable, __file__, str(folder)], env=environment, check=False).returncode


@pytest.mark.slow
def test_a_process_that_was_killed_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    assert _child(tmp_path / "whole", None) == 0
    killed = tmp_path / "killed"
    for point in ("before-rename", "train-2-1", "after-rename"):
        assert _child(killed, point) == -signal.SIGKILL
    assert _child(killed, None) == 0
    assert (killed / "result.pt").read_bytes() == (tmp_path / "whole" / "result.pt").read_bytes()
    assert not list((killed / "checkpoint").glob(".graft-tmp-*")), "what a dead process left is swept"


if __name__ == "__main__":
    target = Path(sys.argv[1])
    module, _ = run(given=data(checkpoint=target / "checkpoint"))
    target.mkdir(parents=True, exist_ok=True)
    weights = torch.cat([tensor.double().flatten() for tensor in module.state_dict().values()])
    (target / "result.pt").write_bytes(weights.numpy().tobytes())
