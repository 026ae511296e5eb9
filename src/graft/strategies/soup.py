"""Several fine-tuned networks as one: the mean of their weights."""

from __future__ import annotations

import contextlib
import itertools
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from numbers import Integral
from pathlib import Path
from typing import Any, ClassVar, cast

from torch import Tensor, nn

from graft import processes
from graft.contracts import Backbone, FittedTask, History, Passes, Start, Strategy, TransferData
from graft.evaluate.goal import goal_of
from graft.limits import Limit, above, all_of, whole
from graft.nn.anchors import average, put_back, snapshot
from graft.nn.checkpoint import Stored
from graft.nn.grafted import Grafted
from graft.tuning import Tuning, start_head, tunable, tune
from graft.tuning.measure import measured

__all__ = ["Soup"]

_LIMITS = {
    "lrs": all_of(above(), "one or more numbers above 0"),
    "seeds": all_of(Limit("any", lambda seed: True, Integral), "one or more whole numbers"),
    "epochs": whole(),
}


class Soup(Strategy):
    """Fine-tune several times from one start, and average the weights of those that are better together.

    A greedy soup: from the best on the validation rows to the worst, a network joins the mean where
    the metric of the mean does not fall.  So it is never worse there than the best one alone.  All
    start from the same linear probe, as else their weights could not be averaged; until all are there,
    they wait on disk.

    Parameters
    ----------
    lrs
        Learning rates of all weights to fine-tune with.
    seeds
        What to add to the seed: fine-tune with each, at every rate.
    epochs
        Passes over the training rows, at most, each time.
    tuning
        Finer points of fine-tuning; its ``head`` and ``head_lr`` are not used.

    References
    ----------
    Wortsman et al., Model soups: averaging weights of multiple fine-tuned models improves accuracy
    without increasing inference time, ICML 2022, recipe 1.

    Examples
    --------
    >>> Soup(lrs=[1e-4], seeds=[0, 1, 2]).get_params()["epochs"]
    10
    """

    family: ClassVar[str] = "parameter"
    starts_from: ClassVar[Start] = "pretrained"
    uses_validation: ClassVar[bool] = True

    def __init__(
        self,
        lrs: Sequence[float] = (3e-5, 1e-4, 3e-4),
        seeds: Sequence[int] = (0, 1),
        epochs: int = 10,
        tuning: Tuning | Mapping[str, Any] | None = None,
    ) -> None:
        self.lrs = lrs
        self.seeds = seeds
        self.epochs = epochs
        self.tuning = tuning

    def build(self, backbone: Backbone, task: FittedTask) -> nn.Module:
        return tunable(backbone, task, replace(Tuning.checked(self, _LIMITS), head="probe"))

    def passes_over(self, rows: int) -> Passes:
        return Passes(training=float(self.epochs * len(self.lrs) * len(self.seeds)))

    def fit(self, module: nn.Module, task: FittedTask, data: TransferData) -> History:
        grafted, tuning = cast("Grafted", module), replace(Tuning.of(self.tuning), head="probe")
        start_head(grafted, task, data, tuning)
        with _shelf(data) as shelf:
            start, cooked = Stored(shelf / "start", snapshot(grafted)), list[_Cooked]()
            for lr, seed in itertools.product(self.lrs, self.seeds):
                put_back(grafted, start)
                folder = None if data.checkpoint is None else data.checkpoint / f"lr-{lr:g}-seed-{seed}"
                own = replace(data, seed=data.seed + seed, checkpoint=folder)
                history = tune(grafted, task, own, epochs=self.epochs, lr=lr, tuning=tuning, started=True, head_rate=lr)
                cooked.append((history, Stored(shelf / str(len(cooked)), snapshot(grafted))))
            kept, score = _greedy(grafted, task, data, cooked)
            put_back(grafted, average([cooked[place][1] for place in kept]))
        best = cooked[kept[0]][0]
        return replace(best, score=score, chosen={"ingredients": len(kept), "tried": len(cooked)})


_Cooked = tuple[History, Mapping[str, Tensor]]


@contextlib.contextmanager
def _shelf(data: TransferData) -> Iterator[Path]:
    """Where networks wait until all are cooked: the greedy choice begins with the best, and they may be many.

    Memory holds the one that is at work, and a mean of others.
    """
    if data.checkpoint is None:
        with tempfile.TemporaryDirectory(prefix="graft-soup-") as folder:
            yield Path(folder)
        return
    kept = data.checkpoint / f"cooked-{processes.place()}"
    try:
        yield kept
    finally:
        shutil.rmtree(kept, ignore_errors=True)


def _greedy(
    grafted: Grafted, task: FittedTask, data: TransferData, cooked: Sequence[_Cooked]
) -> tuple[list[int], float | None]:
    """Places of those that are averaged, the best first, and the metric of the mean."""
    goal = goal_of(task)
    scores = [history.score for history, _ in cooked]
    known = [place for place, score in enumerate(scores) if score is not None and score == score]
    if not known:
        return [0], scores[0]
    order = sorted(known, key=lambda place: cast("float", scores[place]), reverse=goal.higher_is_better)
    kept, best = order[:1], scores[order[0]]
    for place in order[1:]:
        put_back(grafted, average([cooked[each][1] for each in (*kept, place)]))
        found = measured(grafted, task, data)
        if found is not None and (found == best or goal.better(found, best)):
            kept, best = [*kept, place], found
    return kept, best
