"""Teach a student what a fitted model knows, on the rows that the model was fitted on or on others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from graft import bundle, flow, manifest, registry
from graft.contracts import Source
from graft.errors import RequestError
from graft.model import Predictor
from graft.order import Order
from graft.preparation import Prepared, prepare, silence
from graft.progress import Progress, Say
from graft.result import Result
from graft.select.plan import CONTROLS
from graft.strategies.distill import Distill
from graft.teacher import check_teacher
from graft.tuning import Tuning

__all__ = ["STUDENTS", "TEACHER", "distill"]

STUDENTS = {"audio": "graft/tiny", "image": "graft/tiny", "table": "table/mlp", "text": "minilm"}
"""The student of a modality where none is named: the smallest network that comes with Graft."""

TEACHER = "teacher"
"""Under this name its own scores stand in the result."""

_FRACTIONS = (0.7, 0.15, 0.15)

_FLATTERED = (
    "the teacher may have learnt from rows that are measured by here, as it was fitted on other rows or another "
    "split: its own score may be flattered, and what the student gains by it too. Give the data and the seed that it "
    "was fitted with, or rows that it has never seen as the test rows."
)


def distill(
    teacher: str | Path | Predictor | Result,
    data: Any,
    *,
    student: Source | str | None = None,
    temperature: float = 2.0,
    weight: float = 0.5,
    how: str | Mapping[str, float] = "kd",
    start: Literal["pretrained", "untrained"] | None = None,
    epochs: int = 10,
    lr: float | None = None,
    tuning: Tuning | Mapping[str, Any] | None = None,
    target: str | Sequence[str] | None = None,
    input: str | None = None,
    group_by: str | None = None,
    delimiter: str | None = None,
    test: Any | None = None,
    unlabelled: Any | None = None,
    confidence: str | None = None,
    controls: Sequence[str] = CONTROLS,
    on_bad_row: str = "fail",
    budget: float = 120.0,
    seed: int | None = None,
    device: str = "auto",
    precision: str = "auto",
    cache: bool = True,
    licence: str | None = None,
    output: str | Path | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
    say: Say | None = None,
) -> Result:
    """Teach a student what a fitted model knows, and measure what the teacher adds.

    Task and metric are the teacher's, and so are, where they are known, the seed and the shares of
    the split: on the data that it was fitted with, its test rows are the test rows.  The same
    student without the teacher runs as a control, and the teacher is measured on the same rows
    (``result.scores["teacher"]``).

    Parameters
    ----------
    teacher
        The folder of a saved model, a model, or the result of a fit.
    student
        The source to start from; ``None``: the smallest network that comes with Graft.
    start
        ``pretrained`` or ``untrained``; ``None``: pretrained, where the source ever learnt.
    seed
        ``None``: the teacher's.

    The others are those of :class:`~graft.strategies.distill.Distill`, :class:`~graft.order.Order`
    and :func:`~graft.flow.fit`.

    Raises
    ------
    GraftError
        One of its kinds, see ``graft.errors``.

    Examples
    --------
    >>> import graft
    >>> rows = [[float(i % 2), float(i % 7)] for i in range(60)]
    >>> data = rows, [("even", "odd")[i % 2] for i in range(60)]
    >>> teacher = graft.fit(data, source="columns", controls=())
    >>> result = graft.distill(teacher, data, student="table/mlp", epochs=1, controls=())
    >>> list(result.scores)[1:]
    ['without teacher', 'teacher']
    """
    model, known = _at_hand(teacher, device, output)
    check_teacher(model, str(teacher) if isinstance(teacher, str | Path) else model.card.name)
    source, split, say = _student(student, model), known.get("split") or {}, say or silence
    start = start or ("pretrained" if source.pretrained else "untrained")
    given = model if isinstance(teacher, Result) else teacher
    strategy = Distill(given, temperature, weight, how, start, epochs, lr, tuning)
    order = Order(
        data, source, strategy, model.fitted.kind, target, input, group_by, delimiter, test, model.fitted.metric,
        controls, on_bad_row, budget, tuple(split.get("fractions", _FRACTIONS)),
        int(known.get("seed", 0)) if seed is None else seed,
        device, precision, cache, licence, unlabelled, confidence,
    )  # fmt: skip
    if student is None:
        say("", f"the student is {registry.title(source)}, as none was named (--student)")
    prepared = _noted(prepare(order, progress=progress, say=say), order, split, say)
    measured = {TEACHER: model}
    return flow.run(
        order, output=output, overwrite=overwrite, progress=progress, say=say, prepared=prepared, measured=measured
    )


def _student(asked: Source | str | None, teacher: Predictor) -> Source:
    """The source to start from."""
    reads = teacher.card.modality
    name = asked or STUDENTS.get(reads)
    if name is None:
        raise RequestError(f"no student for what the teacher reads ({reads}) comes with Graft; name one (--student).")
    found: Source = registry.build("sources", name) if isinstance(name, str) else name
    return found


def _at_hand(
    teacher: str | Path | Predictor | Result, device: str, output: str | Path | None
) -> tuple[Predictor, Mapping[str, Any]]:
    """The teacher, verified, and what is known of its fit."""
    if isinstance(teacher, Result):
        return teacher.model, {"seed": teacher.seed, "split": teacher.split}
    if isinstance(teacher, Predictor):
        return teacher, {}
    if output is not None and Path(output).resolve() == Path(teacher).resolve():
        raise RequestError(f"{output} is the teacher itself, and the student would replace it; choose another output.")
    model = bundle.load(teacher, device=device)
    return model, manifest.read_manifest(teacher)["result"]


def _noted(prepared: Prepared, order: Order, split: Mapping[str, Any], say: Say) -> Prepared:
    """Say where the teacher may know rows that are measured by."""
    if split.get("test") == (prepared.split(order) or {})["test"]:
        say("", "the test rows are those of the teacher, which it never learnt from")
        return prepared
    say("", _FLATTERED)
    return replace(prepared, held=replace(prepared.held, notes=(*prepared.held.notes, _FLATTERED)))
