"""What linear models say of rows that they did not learn from."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from graft.contracts import Array, Backbone, FittedTask, Link, TransferData
from graft.linear.folds import folds_of
from graft.linear.models import fit_linear
from graft.linear.probe import frozen_features
from graft.progress import Progress, Silent

__all__ = ["crossed_outputs", "judged"]


def judged(backbone: Backbone, task: FittedTask, data: TransferData) -> tuple[Array, npt.NDArray[np.bool_]]:
    """What linear models on the source's frozen features say of training rows that they did not learn from.

    Returns outputs ``(n, c)``, and which ``(n,)`` rows they are to be told of: those that were held out, and
    count at all.
    """
    train = data.train
    outputs, held = crossed_outputs(
        frozen_features(backbone, data),
        train.targets,
        task.link,
        n_outputs=task.n_outputs,
        weights=train.weights,
        groups=data.groups,
        keys=train.examples.keys(),
        seed=data.seed,
        progress=data.progress,
    )
    return outputs, held if train.weights is None else held & (train.weights > 0).numpy()


def crossed_outputs(
    x: Array | Any,
    targets: Tensor,
    link: Link,
    *,
    n_outputs: int,
    weights: Tensor | None = None,
    groups: Array | None = None,
    keys: npt.NDArray[np.uint8] | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> tuple[Array, npt.NDArray[np.bool_]]:
    """Each row's outputs ``(n, c)`` by a model of the other folds, and whether ``(n,)`` it was held out at all.

    One penalty is chosen for all; each model is as sure as rows that it did not learn from let it be.
    Parameters are those of :func:`~graft.linear.fit_linear`.  Rows that cannot be spared, as the only
    ones of their class or of any weight, are held out of nothing and have outputs of 0.
    """
    outputs = np.zeros((len(targets), n_outputs), dtype=np.float32)
    folds = folds_of(targets, link, groups, keys, seed, wide=False)
    if folds is None:
        return outputs, np.zeros(len(targets), dtype=bool)
    rows = x if isinstance(x, np.ndarray) else x.tocsr()
    penalty = fit_linear(
        rows, targets, link, n_outputs=n_outputs, weights=weights, groups=groups, keys=keys, seed=seed
    ).penalty
    with (progress or Silent()).step("cross", int(folds.max()) + 1) as advance:
        for fold in range(int(folds.max()) + 1):
            held = folds == fold
            rest = np.flatnonzero(~held)
            if weights is not None and not weights[torch.from_numpy(rest)].any():
                folds[held] = -1  # nothing is left that could tell about them
                advance()
                continue
            found = fit_linear(
                rows[rest],
                targets[torch.from_numpy(rest)],
                link,
                n_outputs=n_outputs,
                weights=None if weights is None else weights[torch.from_numpy(rest)],
                penalties=[penalty],
                groups=None if groups is None else groups[rest],
                keys=None if keys is None else keys[rest],
                seed=seed,
            )
            outputs[held] = rows[np.flatnonzero(held)] @ found.weight.numpy().T + found.bias.numpy()
            advance()
    return outputs, folds >= 0
