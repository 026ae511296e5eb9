"""One Optuna study over the space that ``graft fit DATA --budget S`` chooses from; ``apart.called`` starts it.

The same sources, strategies and ranges of their settings, as Graft's own plan lays them out.  A trial is one fit on
the same three quarters of the training rows, its objective the metric on the last quarter; the sampler is TPE as it
comes.  When the seconds are used up but for what fitting the best one once more takes, a trial that is still running
is ended, and the best is fitted on all training rows.  The same cache of frozen features serves all trials.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
from holding import holding
from sklearn.model_selection import train_test_split

import graft
from graft import registry
from graft.contracts import Range
from graft.errors import GraftError
from graft.select.entrant import Entrant
from graft.select.space import with_settings

_VALIDATION = 0.25
"""Of the training rows, by which trials are told apart."""


class OutOfTimeError(Exception):
    """The time of a trial is up."""


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """End what goes on for longer."""

    def end(*_: Any) -> None:
        raise OutOfTimeError

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.01))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@dataclass
class Search:
    """A study that knows how long it may take."""

    order: dict[str, Any]
    started: float
    entrants: dict[str, Entrant]
    rows: Any
    labels: np.ndarray
    best: tuple[float, float, str, Any] | None = None
    """Score, seconds, name and strategy."""
    ended: list[str] = field(default_factory=list)

    def left(self) -> float:
        """Seconds, less those that fitting the best again takes."""
        again = 0.0 if self.best is None else self.best[1] / (1 - _VALIDATION)
        return float(self.order["seconds"]) - (time.monotonic() - self.started) - again

    def objective(self, trial: optuna.Trial) -> float:
        """One fit."""
        if self.left() <= 0:
            trial.study.stop()
            raise optuna.TrialPruned
        name = trial.suggest_categorical("candidate", list(self.entrants))
        chosen = self.entrants[name].candidate
        values = {}
        for key, each in chosen.strategy.space.items():
            label = f"{name}: {key}"
            values[key] = (
                trial.suggest_float(label, each.low, each.high, log=each.log)
                if isinstance(each, Range)
                else trial.suggest_categorical(label, each.values)
            )
        strategy = with_settings(chosen.strategy, values)
        places = np.arange(len(self.labels))
        train, valid = train_test_split(places, test_size=_VALIDATION, random_state=0, stratify=self.labels)
        started = time.monotonic()
        try:
            with within(self.left()):
                score = self.fitted(chosen.source, strategy, train).score(at(self.rows, valid), self.labels[valid])
        except OutOfTimeError:
            self.ended.append(name)
            trial.study.stop()
            raise optuna.TrialPruned from None
        except (GraftError, RuntimeError, ValueError) as exc:
            raise optuna.TrialPruned(str(exc)[:200]) from exc
        if self.best is None or score > self.best[0]:
            self.best = (score, time.monotonic() - started, name, strategy)
        return score

    def fitted(self, source: Any, strategy: Any, places: np.ndarray) -> graft.Transfer:
        """A model that learnt from these rows."""
        model = graft.Transfer(source, strategy=strategy, seed=self.order["seed"])
        return model.fit(at(self.rows, places), self.labels[places])


def at(rows: Any, places: np.ndarray) -> Any:
    """The rows there."""
    return rows.iloc[places] if isinstance(rows, pd.DataFrame) else [rows[place] for place in places]


def read(order: dict[str, Any], path: str) -> tuple[Any, np.ndarray]:
    """Rows and labels of a side."""
    if order["target"] is None:
        paths = sorted(Path(path).glob("*/*.png"))
        return [str(each) for each in paths], np.array([each.parent.name for each in paths])
    frame = pd.read_csv(path)
    labels = frame.pop(order["target"]).to_numpy(str)
    return (frame["text"].tolist() if order["modality"] == "text" else frame), labels


def main() -> None:
    order = json.loads(sys.argv[1])
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sources = {name: registry.build("sources", spec) for name, spec in order["sources"].items()}
    names = {registry.title(source): name for name, source in sources.items()}
    started = time.monotonic()

    with holding(sources.values()):
        plan = graft.plan(order["train"], test=order["test"], target=order["target"], budget=order["seconds"])
    found = {f"{each.candidate.name} on {names.get(each.source, each.source)}": each for each in plan.entrants}
    search = Search(order, started, found, *read(order, order["train"]))
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=order["seed"]))
    study.optimize(search.objective, timeout=order["seconds"])
    whole = [each for each in study.trials if each.state == optuna.trial.TrialState.COMPLETE]
    told = {"candidates": len(found), "trials": len(whole), "ended": search.ended}
    if search.best is None:
        print(json.dumps(told | {"seconds": time.monotonic() - started, "failed": "no trial came to its end in time"}))
        return
    inner, _, name, strategy = search.best
    model = search.fitted(found[name].candidate.source, strategy, np.arange(len(search.labels)))
    told["seconds"] = time.monotonic() - started  # judging is nobody's choosing
    rows, labels = read(order, order["test"])
    told |= {"chosen": f"{registry.title(strategy)} on {name.partition(' on ')[2]}", "inner": inner}
    print(json.dumps(told | {"metric": model.model_.fitted.metric, "score": model.score(rows, labels)}))


if __name__ == "__main__":
    main()
