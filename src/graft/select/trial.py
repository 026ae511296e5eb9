"""One trial: a candidate is built, fitted on the training rows, and kept so that a killed run need not repeat it."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

import safetensors.torch

from graft import compute, processes
from graft.contracts import Epoch, FittedTask, History, Precision, Task, TransferData
from graft.model import Model, Predictor
from graft.nn.grafted import Grafted
from graft.nn.kept_rows import make_room
from graft.select.candidates import Candidate, graft_backbone
from graft.storage import file_sha256, write_atomic

__all__ = ["Trial", "history_of", "run_trial"]


@dataclass(frozen=True)
class Trial:
    """What a candidate became.

    Parameters
    ----------
    model
        Fitted, on the CPU.
    history
        How the fit went; ``history.score`` is what candidates are compared by.
    seconds
        Wall time of the fit; of the original one where a trial was taken up again.
    """

    candidate: Candidate
    model: Predictor
    history: History
    seconds: float


def run_trial(
    chosen: Candidate, task: Task, fitted: FittedTask, data: TransferData, folder: Path | None = None
) -> Trial:
    """Fit a candidate, or take up its result where ``folder`` has it already.

    Parameters
    ----------
    folder
        Where the result is kept, and the state of an unfinished fit; ``None`` keeps nothing.
    """
    started = time.monotonic()
    backbone = graft_backbone(chosen, data.train.examples)
    memo = None if data.cache is None else data.cache / "precision"
    kept = processes.agreed(_read_kept(folder, backbone.fingerprint))
    if kept is not None:
        machine = replace(data.machine, precision=cast("Precision", kept["precision"]))
    else:
        machine = compute.settle(backbone, data.train.examples, data.machine, memo)
        machine = replace(machine, precision=processes.agreed(machine.precision))
    module = cast("Grafted", chosen.strategy.build(backbone, fitted))
    if kept is not None and folder is not None:
        changed = safetensors.torch.load_file(folder / "weights.safetensors")
        make_room(module, changed)
        module.load_state_dict(changed, strict=False)
        history, seconds = history_of(kept["history"]), float(kept["seconds"])
    else:
        checkpoint = None if folder is None else folder / "checkpoint"
        history = chosen.strategy.fit(module, fitted, replace(data, machine=machine, checkpoint=checkpoint))
        seconds = time.monotonic() - started
        if folder is not None and not processes.place():
            _keep(folder, module.cpu(), history, machine.precision, seconds, backbone.fingerprint)
    model = Model(chosen.source, chosen.strategy, task, fitted, module.cpu(), machine)
    return Trial(chosen, model, history, seconds)


def _keep(
    folder: Path,
    module: Grafted,
    history: History,
    precision: Precision | None,
    seconds: float,
    fingerprint: str | None,
) -> None:
    """Weights first, then the small file that names their checksum: the trial is kept when both are there.

    The fingerprint is the source's own; that of the module may be of what a strategy made of it.
    """
    frozen = {name for name, parameter in module.named_parameters() if not parameter.requires_grad}
    still = not any(parameter.requires_grad for parameter in module.trunk.parameters())
    state = {
        name: tensor.contiguous()
        for name, tensor in module.state_dict().items()
        if name not in frozen and not (still and name.startswith("trunk."))
    }
    weights = write_atomic(folder / "weights.safetensors", safetensors.torch.save(state))
    document = {
        "sha256": file_sha256(weights),
        "precision": precision,
        "fingerprint": fingerprint,
        "seconds": seconds,
        "history": asdict(history) | {"chosen": dict(history.chosen)},
    }
    write_atomic(folder / "trial.json", json.dumps(document, indent=1, sort_keys=True).encode())


def _read_kept(folder: Path | None, fingerprint: str | None) -> dict[str, Any] | None:
    """What was kept, unless it is damaged or belongs to other weights of the source."""
    if folder is None or not (folder / "trial.json").exists():
        return None
    document: dict[str, Any] = json.loads((folder / "trial.json").read_bytes())
    weights = folder / "weights.safetensors"
    if document["fingerprint"] != fingerprint or not weights.exists() or file_sha256(weights) != document["sha256"]:
        return None
    return document


def history_of(document: Mapping[str, Any]) -> History:
    """How a fit went, from its JSON."""
    epochs = tuple(Epoch(**epoch) for epoch in document["epochs"])
    return History(score=document["score"], chosen=document["chosen"], epochs=epochs)
