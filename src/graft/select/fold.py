"""One fold of a comparison: a candidate learns from the other folds, and its outputs on this one are kept."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from graft.contracts import Array, Examples, FittedTask, Task, TransferData
from graft.nn.checkpoint import read_state, write_state
from graft.select.candidates import Candidate
from graft.select.trial import Trial, run_trial
from graft.storage import fail_point

__all__ = ["Fold", "run_fold"]

_KEPT = "measured"


@dataclass(frozen=True)
class Fold:
    """What a candidate did on the fold that it did not learn from.

    Parameters
    ----------
    outputs
        ``(n, c)`` raw outputs on its rows.
    source
        The source that it really stood on, by its card.
    trained
        Parameters that learnt.
    seconds
        Wall time of the fit; of the original one where it was taken up again.
    """

    outputs: Array
    source: str
    trained: int
    seconds: float


def run_fold(
    chosen: Candidate,
    task: Task,
    fitted: FittedTask,
    data: TransferData,
    measured: Examples,
    folder: Path | None = None,
    seen: Callable[[Trial], None] | None = None,
) -> Fold:
    """Fit a candidate and give its outputs on the ``measured`` rows, or take them up from ``folder``.

    Of a finished fold the outputs alone are kept, not the weights; of an unfinished one what its
    fit keeps.

    Parameters
    ----------
    seen
        Called with the whole trial where it was fitted now, before its weights go.
    """
    kept = None if folder is None else read_state(folder / _KEPT)
    if kept is not None:
        tensors, facts = kept
        return Fold(outputs=tensors["outputs"].numpy(), **facts)
    trial = run_trial(chosen, task, fitted, data, folder)
    outputs = trial.model.outputs_cached(measured, data.cache, data.progress)
    trained = sum(each.numel() for each in trial.model.module.parameters() if each.requires_grad)
    if seen is not None:
        seen(trial)
    found = Fold(outputs, trial.model.card.name, trained, trial.seconds)
    if folder is not None:
        facts = {"source": found.source, "trained": found.trained, "seconds": found.seconds}
        write_state(folder / _KEPT, {"outputs": torch.from_numpy(outputs)}, facts)
        fail_point("after-fold")
        for each in folder.iterdir():
            if each.name != _KEPT:
                shutil.rmtree(each) if each.is_dir() else each.unlink()
    return found
