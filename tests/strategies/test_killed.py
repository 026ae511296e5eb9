"""A strategy that was killed while it trained goes on to the same bits, and leaves nothing behind in its network."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from graft.contracts import Backbone, FittedTask, Strategy, TransferData
from graft.strategies.adapter import Adapter
from graft.strategies.bi_tuning import BiTuning
from graft.strategies.bitfit import BitFit
from graft.strategies.bss import BSS
from graft.strategies.co_teaching import CoTeaching
from graft.strategies.co_tuning import CoTuning
from graft.strategies.delta import Delta
from graft.strategies.dora import DoRA
from graft.strategies.fine_tune import FineTune
from graft.strategies.kl_anchor import KLAnchor
from graft.strategies.l2_sp import L2SP
from graft.strategies.lora import LoRA
from graft.strategies.lp_ft import LPFT
from graft.strategies.mlp_head import MLPHead
from graft.strategies.scratch import Scratch
from graft.strategies.stoch_norm import StochNorm
from graft.strategies.wise_ft import WiSEFT
from graft.train import loop

QUICK: dict[str, Any] = {"batch_size": 16, "patience": None}
OPENING = {**QUICK, "unfreeze": 1}

EACH: dict[str, Callable[[], Strategy]] = {
    "adapter": lambda: Adapter(epochs=4, lr=1e-2, tuning=QUICK),
    "bi_tuning": lambda: BiTuning(keys=8, momentum=0.9, width=6, epochs=4, lr=1e-3, tuning=QUICK),
    "bitfit": lambda: BitFit(epochs=4, lr=1e-2, tuning=QUICK),
    "bss": lambda: BSS(epochs=4, lr=1e-3, tuning=QUICK),
    "co_teaching": lambda: CoTeaching(forget=0.2, epochs=4, lr=1e-3, **QUICK),
    "co_tuning": lambda: CoTuning(epochs=4, lr=1e-3, tuning=QUICK),
    "delta": lambda: Delta(epochs=4, lr=1e-3, tuning=QUICK),
    "dora": lambda: DoRA(epochs=4, lr=1e-2, tuning=QUICK),
    "dora, opening": lambda: DoRA(epochs=4, lr=1e-2, tuning=OPENING),
    "fine_tune": lambda: FineTune(epochs=4, lr=1e-3, head_lr=1e-2, **QUICK),
    "kl_anchor": lambda: KLAnchor(epochs=4, lr=1e-3, tuning=QUICK),
    "l2_sp": lambda: L2SP(epochs=4, lr=1e-3, tuning=QUICK),
    "lora": lambda: LoRA(epochs=4, lr=1e-2, tuning=QUICK),
    "lora, opening": lambda: LoRA(epochs=4, lr=1e-2, tuning=OPENING),
    "lp_ft": lambda: LPFT(epochs=4, lr=1e-3, tuning=QUICK),
    "mlp_head": lambda: MLPHead(hidden=8, epochs=4, **QUICK),
    "scratch": lambda: Scratch(epochs=4, **QUICK),
    "stoch_norm": lambda: StochNorm(epochs=4, lr=1e-3, tuning=QUICK),
    "wise_ft": lambda: WiSEFT(epochs=4, lr=1e-3, tuning=QUICK),
}


def hooks(module: nn.Module) -> int:
    return sum(len(part._forward_hooks) + len(part._forward_pre_hooks) for part in module.modules())


@pytest.mark.parametrize("name", EACH)
def test_it_goes_on_to_the_same_bits(
    name: str,
    backbone: Backbone,
    classes: tuple[FittedTask, TransferData],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if name.startswith(("lora", "dora")):
        pytest.importorskip("peft", reason="peft is not installed")
    task, data = classes
    with torch.random.fork_rng():
        torch.manual_seed(1)
        source = replace(backbone, head=nn.Linear(8, 6))
    strategy = EACH[name]()
    modules = [strategy.build(copy.deepcopy(source), task) for _ in range(3)]
    expected = strategy.fit(modules[0], task, data)

    def die(place: str) -> None:
        if place == "train-2-3":
            raise KeyboardInterrupt

    kept = replace(data, checkpoint=tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(loop, "fail_point", die)
        with pytest.raises(KeyboardInterrupt):
            strategy.fit(modules[1], task, kept)
    assert repr(modules[1]) == repr(modules[0])
    assert hooks(modules[1]) == hooks(modules[0])
    found = strategy.fit(modules[2], task, kept)
    assert (found.score, found.chosen) == (expected.score, expected.chosen)
    for ours, theirs in zip(modules[2].state_dict().values(), modules[0].state_dict().values(), strict=True):
        assert torch.equal(ours, theirs)
