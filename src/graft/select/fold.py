"""One fold: what was learnt on the other rows is measured on these, and its outputs are kept."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from graft import processes
from graft.contracts import Array, Examples
from graft.nn.checkpoint import read_state, write_state
from graft.progress import Progress, Silent
from graft.select.trial import Trial
from graft.storage import fail_point

__all__ = ["Fold", "run_fold"]

_KEPT = "measured"


@dataclass(frozen=True)
class Fold:
    """What a procedure did on the fold that it did not learn from.

    Parameters
    ----------
    outputs
        ``(n, c)`` raw outputs on its rows.
    chosen
        The candidate that it settled on, by name.
    source
        The source that it really stood on, by its card.
    trained
        Parameters that learnt.
    seconds
        Wall time of its fits; of the original ones where it was taken up again.
    """

    outputs: Array
    chosen: str
    source: str
    trained: int
    seconds: float


def run_fold(
    learn: Callable[[Path | None], tuple[Trial, float]],
    measured: Examples,
    folder: Path | None = None,
    *,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Fold:
    """Let a procedure learn, and give its outputs on the ``measured`` rows, or take them up from ``folder``.

    Of a finished fold the outputs alone are kept, not the weights; of an unfinished one what its
    fits keep.  Of several processes the first one alone writes.

    Parameters
    ----------
    learn
        Called with the folder for what its fits keep; gives what it settled on, and the seconds of all its fits.
    """
    processes.wait()  # nobody writes what others may be reading
    kept = None if folder is None else read_state(folder / _KEPT)
    if processes.agreed(kept is not None) and kept is not None:
        tensors, facts = kept
        return Fold(outputs=tensors["outputs"].numpy(), **facts)
    trial, seconds = learn(folder)
    outputs = trial.model.outputs_cached(measured, cache, progress or Silent())
    trained = sum(
        each.numel() for network, _ in trial.model.networks for each in network.parameters() if each.requires_grad
    )
    found = Fold(outputs, trial.candidate.name, trial.model.card.name, trained, seconds)
    processes.wait()
    if folder is not None and not processes.place():
        facts = {"chosen": found.chosen, "source": found.source, "trained": found.trained, "seconds": found.seconds}
        write_state(folder / _KEPT, {"outputs": torch.from_numpy(outputs)}, facts)
        fail_point("after-fold")
        for each in folder.iterdir():
            if each.name != _KEPT:
                shutil.rmtree(each) if each.is_dir() else each.unlink()
    return found
