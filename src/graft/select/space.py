"""Other settings of a strategy to try, learnt from those that were tried."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

from sklearn.base import clone

from graft.contracts import Choice, Range, Strategy

__all__ = ["proposed", "settings", "with_settings"]

Value = bool | int | float | str


def proposed(strategy: Strategy, tried: Sequence[tuple[Mapping[str, Value], float]], seed: int) -> dict[str, Value]:
    """Settings to try next: a tree-structured Parzen estimator over the strategy's space.

    The same settings tried, with the same scores, give the same proposal.

    Parameters
    ----------
    tried
        Settings and their scores, higher is better.  Those outside the space teach nothing.
    seed
        Decides the draw, together with how many were tried.

    References
    ----------
    Bergstra et al., Algorithms for hyper-parameter optimization, NeurIPS 2011; Akiba et al., Optuna,
    KDD 2019.
    """
    import optuna
    from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
    from optuna.samplers import TPESampler
    from optuna.trial import create_trial

    def distribution(each: Range | Choice) -> BaseDistribution:
        if isinstance(each, Range):
            return FloatDistribution(each.low, each.high, log=each.log)
        return CategoricalDistribution(each.values)

    space = {name: distribution(each) for name, each in strategy.space.items()}
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # optuna calls its own multivariate sampling experimental
            sampler = TPESampler(seed=seed + len(tried), n_startup_trials=4, multivariate=True)
            study = optuna.create_study(direction="maximize", sampler=sampler)
            for values, score in tried:
                if all(_within(each, values[name]) for name, each in strategy.space.items()):
                    study.add_trial(create_trial(params=dict(values), distributions=space, value=score))
            return dict(study.ask(space).params)
    finally:
        optuna.logging.set_verbosity(level)


def settings(strategy: Strategy) -> dict[str, Value]:
    """What a strategy's searched settings are now."""
    return {name: getattr(strategy, name) for name in strategy.space}


def with_settings(strategy: Strategy, values: Mapping[str, Value]) -> Strategy:
    """A copy of the strategy with other settings."""
    copy: Strategy = clone(strategy).set_params(**values)
    return copy


def _within(space: Range | Choice, value: Value) -> bool:
    if isinstance(space, Choice):
        return value in space.values
    return isinstance(value, int | float) and space.low <= value <= space.high
