"""Transfer learning as scikit-learn does it: ``fit``, ``predict``, ``predict_proba``, ``score``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import torch
from sklearn.base import BaseEstimator
from sklearn.utils import ClassifierTags, RegressorTags, Tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from graft import bundle, compute, reading, registry
from graft.contracts import Array, Rows, Source, Strategy, TargetData, Task, TransferData
from graft.data.cells import KIND_OF_LINK
from graft.data.split import hold_out
from graft.errors import DataError
from graft.evaluate.metrics import sign_of
from graft.model import Predictor
from graft.select.candidates import candidate, default_source
from graft.select.trial import run_trial
from graft.storage import cache_root
from graft.watching import Callback, of_trial

__all__ = ["Transfer"]


def _tells_classes(estimator: Transfer) -> bool:
    task = getattr(estimator, "task_", None) or estimator.task
    return task is None or task.estimator_type == "classifier"


class Transfer(BaseEstimator):  # type: ignore[misc]
    """Graft a pretrained source onto a task.

    Parameters
    ----------
    source
        A source object; ``None`` takes the one that comes with Graft for the modality of ``X``.
    task
        A task object; ``None`` reads the kind of task off ``y``.
    strategy
        A strategy object; ``None`` is a linear probe on frozen features.
    validation
        Share of the rows set apart for strategies that stop by a validation metric.
    seed
        Decides every random draw.
    device, precision
        ``"auto"``, or a torch device; ``"auto"``, ``"float32"`` or ``"bfloat16"``.
    cache
        Whether frozen features are kept on disk.
    callbacks
        Functions of the trial's name, an epoch's place from 0 and the ``Epoch``, called after every epoch.

    Attributes
    ----------
    model_ : Model
        The fitted model.
    history_ : History
        How the fit went.
    classes_ : ndarray
        The classes; for classification only.
    n_features_in_ : int
        For rows of numbers only.

    Examples
    --------
    >>> from graft.sources.columns import Columns
    >>> from graft.strategies.linear_probe import LinearProbe
    >>> X = [[float(i % 2), 1.0] for i in range(20)]
    >>> y = ["ab"[i % 2] for i in range(20)]
    >>> Transfer(Columns(), strategy=LinearProbe()).fit(X, y).predict([[0.0, 1.0]]).tolist()
    ['a']
    """

    def __init__(
        self,
        source: Source | None = None,
        task: Task | None = None,
        strategy: Strategy | None = None,
        *,
        validation: float = 0.15,
        seed: int = 0,
        device: str = "auto",
        precision: str = "auto",
        cache: bool = True,
        callbacks: Sequence[Callback] | None = None,
    ) -> None:
        self.source = source
        self.task = task
        self.strategy = strategy
        self.validation = validation
        self.seed = seed
        self.device = device
        self.precision = precision
        self.cache = cache
        self.callbacks = callbacks

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        if _tells_classes(self):
            tags.estimator_type, tags.classifier_tags = "classifier", ClassifierTags()
        else:
            tags.estimator_type, tags.regressor_tags = "regressor", RegressorTags()
        return tags

    def fit(self, X: Any, y: Any = None, groups: Any = None, sample_weight: Any = None) -> Self:
        """Transfer the source to the task.

        Parameters
        ----------
        X
            A path, a list of paths, texts or images, an array, a frame or a hub dataset.
        y
            ``(n,)`` labels, or ``(n, c)`` probabilities of the classes; ``None`` where ``X`` carries
            them (a folder, a table).
        groups
            ``(n,)``: rows of one group are never split between fitting and validation.
        sample_weight
            ``(n,)``, 0 or more: how much each row counts while learning; rows that are validated by
            count alike.

        Raises
        ------
        GraftError
            One of its kinds, see ``graft.errors``.
        """
        held = self._read(X, y)
        labels = held.labels
        if labels is None or all(label is None for label in labels):
            raise DataError("there are no labels: give y, or data that carry them, such as a folder or a table.")
        known = np.array([label is not None for label in labels], dtype=bool)
        labels = labels[known]
        examples = held.examples if known.all() else held.examples.take(np.flatnonzero(known))
        self.task_, _ = reading.resolve_task(self.task, labels)
        fitted = self.task_.start(labels)
        strategy = registry.build("strategies", "linear_probe") if self.strategy is None else self.strategy
        source = default_source(examples.modality) if self.source is None else self.source
        belongs = held.groups if groups is None else _named(groups)
        belongs = None if belongs is None else belongs[known]
        train, apart = np.arange(len(examples)), np.arange(0)
        if strategy.uses_validation:
            train, apart = hold_out(
                examples.keys(), labels, belongs, self.validation, self.seed, KIND_OF_LINK[fitted.link]
            )
        targets = fitted.encode(labels)
        weights = None if sample_weight is None else torch.from_numpy(_counted(sample_weight, len(known))[known])
        data = TransferData(
            train=Rows(examples.take(train), targets[train], None if weights is None else weights[train]),
            valid=Rows(examples.take(apart), targets[apart]) if len(apart) else None,
            groups=None if belongs is None else belongs[train],
            unlabelled=None if known.all() else held.examples.take(np.flatnonzero(~known)),
            seed=self.seed,
            machine=compute.machine(self.device, self.precision),
            cache=cache_root() / "features" if self.cache else None,
        )
        chosen = candidate(source, strategy, examples.modality)
        data = replace(data, callbacks=of_trial(self.callbacks or (), chosen.name))
        trial = run_trial(chosen, self.task_, fitted, data)
        self.model_: Predictor = trial.model
        self.history_ = trial.history
        self._sample = data.train.examples
        if self.task_.estimator_type == "classifier":
            self.classes_ = np.asarray(fitted.classes)
        return self

    def predict(self, X: Any) -> Array:
        """``(n,)`` predictions in the words of ``y``."""
        check_is_fitted(self)
        return self.model_.predict(self._checked(X, reset=False))

    @available_if(_tells_classes)  # type: ignore[untyped-decorator]
    def predict_proba(self, X: Any) -> Array:
        """``(n, c)`` probabilities, columns in the order of ``classes_``."""
        check_is_fitted(self)
        return self.model_.predict_proba(self._checked(X, reset=False))

    def score(self, X: Any, y: Any = None) -> float:
        """The task's metric on these rows; negated where lower is better."""
        check_is_fitted(self)
        held = self._read(X, y, reset=False)
        if held.labels is None:
            raise DataError("there are no labels to score by: give y, or data that carry them.")
        fitted = self.model_.fitted
        known = np.flatnonzero([label is not None for label in held.labels])
        examples = self.model_.accepted(held.examples)
        examples = examples if len(known) == len(examples) else examples.take(known)
        targets = fitted.encode(held.labels[known]).numpy()
        value = float(dict(fitted.metrics(self.model_.outputs(examples), targets))[fitted.metric])
        return sign_of(fitted.metric) * value

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write the fitted model; ``graft.load`` reads it.

        Raises
        ------
        MachineError
            Where the disk refuses, or ``path`` exists.
        """
        check_is_fitted(self)
        return bundle.save(self.model_, path, rows=self._sample, replace=overwrite)

    def _read(self, X: Any, y: Any, reset: bool = True) -> TargetData:
        if not _is_numeric(X):
            return reading.read(X if y is None else (X, y))
        if y is None:
            raise DataError(
                "rows of numbers carry no labels: Transfer requires y to be passed, but the target y is None."
            )
        rows, y = validate_data(
            self, X, y, reset=reset, dtype="numeric", multi_output=True, ensure_min_samples=2 if reset else 1,
            y_numeric=self._regresses(),
        )  # fmt: skip
        if np.ndim(y) == 2 and np.shape(y)[1] > 1:
            return reading.read((rows, y))
        labels = column_or_1d(y, warn=True)
        if self.task is not None and not self._regresses():
            check_classification_targets(labels)
        return reading.read((rows, labels))

    def _regresses(self) -> bool:
        return self.task is not None and self.task.estimator_type == "regressor"

    def _checked(self, X: Any, reset: bool) -> Any:
        return validate_data(self, X, reset=reset, dtype="numeric") if _is_numeric(X) else X


def _named(groups: Any) -> Array:
    """Groups as readers give them; a row without one stands alone."""
    return np.asarray(["" if pd.isna(group) else str(group) for group in groups], dtype=object)


def _counted(sample_weight: Any, rows: int) -> Array:
    """``(n,)`` float32: how much each row counts."""
    weights = np.asarray(sample_weight, dtype=np.float32)
    if weights.shape != (rows,):
        raise DataError(f"sample_weight has shape {weights.shape}; one number a row, ({rows},), was expected.")
    if not (np.isfinite(weights).all() and (weights >= 0).all()):
        raise DataError("sample_weight holds numbers that are negative or not finite; 0 or more was expected.")
    if not weights.any():
        raise DataError("every sample_weight is zero, so no row could be learnt from; give some rows more.")
    return weights


def _is_numeric(X: Any) -> bool:
    """Whether scikit-learn's own checks apply: rows of numbers, not paths, texts or pictures."""
    if isinstance(X, str | Path):
        return False
    if hasattr(X, "dtypes") and hasattr(X, "columns"):
        return all(getattr(dtype, "kind", "O") in "biuf" for dtype in X.dtypes)
    if hasattr(X, "toarray"):
        return True
    if isinstance(X, np.ndarray):
        return (X.ndim <= 2 and X.dtype.kind in "biufc") or (X.dtype.kind == "O" and X.ndim == 2)
    if isinstance(X, list | tuple) and len(X):
        first = X[0]
        return isinstance(first, list | tuple | int | float | np.number) or (
            isinstance(first, np.ndarray) and first.ndim == 1
        )
    return hasattr(X, "__array__") and not isinstance(X, list)
