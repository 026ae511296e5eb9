"""Anything that a user holds → :class:`TargetData`, through the reader that knows it."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from graft import registry
from graft.contracts import Examples, Request, TargetData, Task
from graft.data import audit as auditing
from graft.data.examples import TableExamples, join
from graft.data.target import of_one_type
from graft.errors import DataError, RequestError, UnknownNameError
from graft.progress import Silent

__all__ = ["audit", "read", "read_beside", "read_with_test", "resolve_task"]


def read(data: Any, request: Request | None = None) -> TargetData:
    """Read a path, a list of paths, texts or images, an array, a frame or a hub dataset.

    Raises
    ------
    DataError
        Where no reader accepts it, or it cannot be understood.
    """
    return registry.reader_for(data).read(data, request or Request())


def audit(data: Any, request: Request | None = None) -> auditing.Audit:
    """Read data and say what is wrong with them: unreadable rows, duplicates, contradictions, leaks.

    Examples
    --------
    >>> import graft
    >>> graft.audit((["a b", "a b", "c d"], ["x", "y", "y"])).sentences()
    """
    return auditing.audit(read(data, request), progress=Silent(), threads=1)


def read_with_test(data: Any, test: Any | None, request: Request) -> TargetData:
    """Read the data, and the test rows that were given apart from it, as one dataset.

    Raises
    ------
    DataError
        Where the two are of different modalities, or both state a test split.
    """
    train = read(data, request)
    if test is None:
        return train
    request = dataclasses.replace(request, columns=getattr(train.examples, "columns", None) or ())
    try:
        held = read(test, request)
    except UnknownNameError:  # what is not learnt from needs no confidence
        held = read(test, dataclasses.replace(request, confidence=None))
    ours, theirs = train.examples.modality, held.examples.modality
    if ours != theirs:
        raise DataError(f"the data are rows of {ours}, and the test data are rows of {theirs}; give both of one kind.")
    if train.labels is None or held.labels is None:
        raise DataError("test rows need labels; name their column with --target.")
    if train.given is not None and "test" in train.given:
        raise DataError(f"{train.origin} has a test split already; leave --test away or give only its training rows.")
    n, m = len(train.examples), len(held.examples)
    given = np.array([""] * n if train.given is None else list(train.given), dtype=object)
    groups = None
    if train.groups is not None and held.groups is not None:
        groups = np.concatenate([train.groups, held.groups])
    weights = None
    if train.weights is not None:
        weights = np.concatenate([train.weights, np.ones(m)])
    times = None
    if train.times is not None and held.times is not None:
        times = np.concatenate([train.times, held.times])
    examples = join([train.examples, held.examples], learnt=(True, False))
    return dataclasses.replace(
        train,
        examples=examples,
        labels=of_one_type(np.concatenate([train.labels, held.labels])),
        groups=groups,
        given=np.concatenate([given, np.array(["test"] * m, dtype=object)]),
        origin=f"{train.origin} and {held.origin}",
        notes=tuple(dict.fromkeys((*train.notes, *held.notes, *getattr(examples, "notes", ())))),
        weights=weights,
        times=times,
    )


def read_beside(data: Any, held: TargetData, input: str | None = None) -> tuple[Examples, tuple[str, ...]]:
    """Rows without labels that go with ``held``, and what to say of them; a table's columns become those of ``held``.

    Raises
    ------
    DataError
        Where they are of another modality, or a table that shares no column.
    """
    apart = read(data, Request(input=input, labelled=False))
    examples = apart.examples
    ours, theirs = held.examples.modality, examples.modality
    if ours != theirs:
        raise DataError(
            f"the data are rows of {ours}, and the unlabelled data are rows of {theirs}; give both of one kind."
        )
    told: tuple[str, ...] = ()
    if isinstance(examples, TableExamples) and isinstance(held.examples, TableExamples):
        examples = examples.conform(held.examples.schema, partly=True)
        told = tuple(f"of {apart.origin}: {note}" for note in examples.notes)
    return examples, (f"{len(examples)} rows without labels are learnt from too: {apart.origin}.", *told)


def resolve_task(task: Task | str | None, labels: Any, metric: str | None = None) -> tuple[Task, str]:
    """The task, and why it is this one: given, or claimed by the labels.

    Raises
    ------
    RequestError
        For a metric beside a task object, which has its own.
    """
    if isinstance(task, Task):
        if metric is not None:
            raise RequestError("give the metric to the task object itself, not beside it.")
        return task, "the task is given"
    if task is None:
        name, reason = registry.task_for(labels)
    else:
        name, reason = task, "the task is given"
    built: Task = registry.build("tasks", name)
    if metric is not None:
        built.set_params(metric=metric)
    return built, reason
