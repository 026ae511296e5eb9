"""The network of a saved model, put together again from its folder."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from graft import registry
from graft.contracts import Backbone, Card, FittedTask, Precision, Source, Strategy, Task
from graft.nn.ceiling import ceiling, room_for
from graft.nn.grafted import Grafted
from graft.nn.kept_rows import make_room
from graft.nn.state_files import read_state
from graft.nn.weights import match

__all__ = ["Assembled", "assemble"]


@dataclass(frozen=True)
class Assembled:
    """What a saved model is made of."""

    source: Source
    strategy: Strategy
    task: Task
    fitted: FittedTask
    module: Grafted
    precision: Precision


def assemble(folder: Path, manifest: Mapping[str, Any]) -> Assembled:
    """Rebuild the network that ``manifest`` describes, and set its weights, matched strictly.

    Needs neither the source's original nor a network connection; the folder's checksums are the
    caller's to verify.
    """
    source: Source = registry.restore("sources", manifest["source"])
    strategy: Strategy = registry.restore("strategies", manifest["strategy"])
    task: Task = registry.restore("tasks", manifest["task"])
    fitted = task.restore(manifest["fitted"])
    files = {
        name.removeprefix("source/"): (folder / name).read_bytes()
        for name in manifest["files"]
        if name.startswith("source/")
    }
    weights = folder / "weights.safetensors"
    with ceiling(room_for(weights)):
        backbone: Backbone = dataclasses.replace(source.rebuild(files), card=_card(manifest["card"]))
        module = cast("Grafted", strategy.build(backbone, fitted))
    state = read_state(weights)
    make_room(module, state)
    match(module, state)
    return Assembled(source, strategy, task, fitted, module, cast("Precision", manifest["precision"]))


def _card(document: Mapping[str, Any]) -> Card:
    return Card(**{**document, "notes": tuple(document["notes"])})
