"""``graft distill``: teach a small model what a fitted one knows."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from graft.cli.options import (
    Budget,
    Confidence,
    Controls,
    Data,
    Delimiter,
    Device,
    GroupBy,
    Input,
    Json,
    Licence,
    ModelFolder,
    OnBadRow,
    Overwrite,
    Precision,
    Quiet,
    Target,
    Test,
    Unlabelled,
    Written,
)
from graft.cli.outcome import RESUMES, print_json, reported

if TYPE_CHECKING:
    from graft.model import Predictor
    from graft.result import Result

__all__ = ["distill"]


def distill(
    teacher: ModelFolder,
    data: Data,
    student: Annotated[
        str | None, typer.Option("--student", "-s", help="The source to start from (graft ls sources); a small one.")
    ] = None,
    output: Written = Path("graft-student"),
    how: Annotated[str, typer.Option("--how", help="kd, dkd, hints or relational.")] = "kd",
    temperature: Annotated[
        float, typer.Option("--temperature", help="Divides the outputs of both before they are compared.")
    ] = 2.0,
    weight: Annotated[
        float, typer.Option("--weight", help="The teacher's share of the loss; the labels have the rest.")
    ] = 0.5,
    start: Annotated[
        str | None, typer.Option("--start", help="pretrained or untrained. Default: pretrained, if it ever learnt.")
    ] = None,
    epochs: Annotated[int, typer.Option("--epochs", help="Passes over the rows, at most.")] = 10,
    lr: Annotated[float | None, typer.Option("--lr", help="Highest learning rate of the student's weights.")] = None,
    target: Target = None,
    input: Input = None,
    group_by: GroupBy = None,
    confidence: Confidence = None,
    delimiter: Delimiter = None,
    test: Test = None,
    unlabelled: Unlabelled = None,
    control: Controls = None,
    licence: Licence = None,
    budget: Budget = "2m",
    on_bad_row: OnBadRow = "fail",
    seed: Annotated[
        int | None, typer.Option("--seed", help="Decides every random draw. Default: the teacher's.")
    ] = None,
    device: Device = "auto",
    precision: Precision = "auto",
    overwrite: Overwrite = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Teach a small model, the student, what the model in TEACHER knows, on the rows of DATA.

    Task, metric, seed and split are the teacher's.  Killed or interrupted, the same command goes on
    where it was.
    """
    with reported(RESUMES):
        from graft import bundle
        from graft.cli import tables
        from graft.distilling import distill as teach
        from graft.progress import for_stream
        from graft.select.plan import CONTROLS

        silent = quiet or json
        found = teach(
            teacher, data, student=student, output=output, how=how, temperature=temperature, weight=weight,
            start=start,  # type: ignore[arg-type]
            epochs=epochs, lr=lr, target=target, input=input, group_by=group_by, delimiter=delimiter, test=test,
            unlabelled=unlabelled, confidence=confidence, controls=tuple(control or CONTROLS), licence=licence,
            budget=tables.seconds(budget), on_bad_row=on_bad_row, seed=seed, device=device, precision=precision,
            overwrite=overwrite, say=tables.steps(silent), progress=for_stream(quiet=silent),
        )  # fmt: skip
        sizes = {"teacher": _size(bundle.load(teacher, device="cpu", test=False)), "student": _size(found.model)}
        if json:
            print_json({**found.document(seconds=True), "output": str(output), "sizes": sizes})
            return
        tables.result(found, output, file=sys.stdout)
        _tell(found, sizes)


def _size(model: Predictor) -> dict[str, int]:
    state = [value for network, _ in model.networks for value in network.state_dict().values()]
    return {
        "parameters": sum(value.numel() for network, _ in model.networks for value in network.parameters()),
        "bytes": sum(value.numel() * value.element_size() for value in state),
    }


def _tell(found: Result, sizes: dict[str, Any]) -> None:
    """Teacher and student side by side: how good, and how large."""
    from graft.cli import tables

    large, small = sizes["teacher"], sizes["student"]
    tables.line("teacher", f"{found.scores['teacher'][found.metric]} on the same test rows; {_written(large)}")
    tables.line("student", f"{found.scores[found.winner][found.metric]}; {_written(small)}")
    beside = found.scores.get("without teacher")
    if beside is not None:
        gain = found.comparisons["without teacher"].gain
        tables.line("", f"without the teacher {beside[found.metric]}: the teacher adds {gain:+}")
    factor = large["parameters"] / max(small["parameters"], 1)
    tables.line("", f"the teacher has {factor:.3g} times the parameters of what is handed over")


def _written(size: dict[str, int]) -> str:
    from graft.cli import tables

    return f"{tables.amount(size['parameters'])} parameters, {tables.amount(size['bytes'])}B"
