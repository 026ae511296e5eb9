"""What commands print for a person: steps, tables, the verdict."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from graft.errors import RequestError
from graft.storage import write_atomic

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from graft.contracts import Array, Examples
    from graft.evaluate.breakdown import Breakdown
    from graft.evaluate.intervals import Interval
    from graft.model import Predictor
    from graft.order import Order
    from graft.preparation import Prepared
    from graft.result import Result

__all__ = [
    "amount",
    "cell",
    "heading",
    "line",
    "plan",
    "plan_document",
    "predictions",
    "printed",
    "probability",
    "result",
    "room",
    "rows_given",
    "scores",
    "seconds",
    "stated",
    "steps",
    "text_file",
    "texts_sorted",
    "weakest",
    "wide",
]

_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}
_HEADINGS = {
    "auroc": "AUROC",
    "ece": "ECE",
    "macro_f1": "macro-F1",
    "mae": "MAE",
    "micro_f1": "micro-F1",
    "r2": "R²",
    "rmse": "RMSE",
}


def seconds(text: str) -> float:
    """``90s``, ``2m`` or ``1h`` in seconds.

    Raises
    ------
    RequestError
        For anything else.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smh]?)\s*", text)
    if found is None:
        raise RequestError(f"{text!r} is no time; write seconds, minutes or hours such as 90s, 2m or 1h.")
    return float(found[1]) * _UNITS[found[2]]


_ENDLESS = 1000


def amount(value: float | None) -> str:
    """A count in three digits: ``22.1 M``; a dash where it is not known."""
    if value is None:
        return "–"
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= 0.9995 * size:
            return f"{value / size:.{2 - (value >= 9.995 * size) - (value >= 99.95 * size)}f} {unit}"
    return f"{value:.0f}"


def line(step: str, sentence: str, file: TextIO | None = None) -> None:
    """One step: its name, and what a person should know."""
    first, *rest = sentence.split("\n")
    print(f"{step:<8} {first}", *(f"{'':<8} {more}" for more in rest), sep="\n", file=file or sys.stdout, flush=True)


def steps(silent: bool) -> Callable[[str, str], None]:
    """Print every step as it happens, or none."""
    return (lambda step, sentence: None) if silent else line


def result(found: Result, output: Path, file: TextIO) -> None:
    """The judgement, the table of everything that was tried, the verdict, and what comes next."""
    headline = found.scores[found.winner][found.metric]
    name = heading(found.metric)
    line("judge", f"{name} {headline} on {found.rows['test']} rows that nothing was chosen by", file)
    for told in _folds(found):
        line("", told, file)
    others = {metric: value for metric, value in found.scores[found.winner].items() if metric != found.metric}
    whole = [f"{heading(metric)} {value.value:.3f}" for metric, value in others.items() if "/" not in metric]
    if whole:
        line("", ", ".join(whole), file)
    wide(_trials(found), file)
    verdict = found.verdict
    if verdict is None:
        line("verdict", "none: no control ran, so nothing is known of whether transfer helps", file)
    else:
        word = _loud(str(verdict)).replace(f" {found.metric} over", f" {name} over")
        line("verdict", f"{_judged(found)} {word}", file)
        if found.caveat:
            line("", found.caveat, file)
    if found.handed_over != found.winner:
        line("", f"what is handed over is the control {found.handed_over}, not {found.winner}", file)
    if found.breakdown is not None:
        weakest(found.breakdown, found.metric, file)
    if found.learning_curve is not None:
        line("labels", str(found.learning_curve), file)
    for place, sentence in enumerate(() if found.choice is None else found.choice.why()):
        line("" if place else "why", sentence, file)
    size = sum(each.stat().st_size for each in output.rglob("*") if each.is_file())
    licence = found.model.card.licence
    terms = f"; licence of the source: {licence}" if licence else ""
    line("kept" if found.reused else "wrote", f"{output} ({amount(size)}B{terms})", file)
    line("next", f"graft predict {output} NEW-DATA", file)


def _judged(found: Result) -> str:
    """What the verdict is about: transfer, where there is any."""
    source = next(each.source for each in found.tried if each.name == found.winner)
    return f"{found.winner} on {source}" if found.caveat else "transfer"


def _folds(found: Result) -> Iterator[str]:
    """What figures that come from folds are of."""
    crossed = found.crossed
    if crossed is None:
        return
    how = "by models of earlier rows" if crossed.ordered else "by models of the other folds"
    often = f", {crossed.repeats} times" if crossed.repeats > 1 else ""
    yield f"{crossed.folds} folds{often}, each measured {how}: figures of the procedure, out of fold"
    if len(crossed.chosen) > 1:
        ranked = sorted(crossed.chosen.items(), key=lambda each: -each[1])
        yield f"the folds settled on {', '.join(f'{name} {often}×' for name, often in ranked)}"
    yield f"the model itself learnt from all {found.rows['train']} rows"


def weakest(parts: Breakdown, metric: str, file: TextIO) -> None:
    """The worst three classes, the commonest mistake, the worst group: three lines at most."""
    worst = [f"{each.name} {each.f1} ({each.rows} rows)" for each in parts.worst()]
    if worst:
        count = f"of {len(parts.classes)} " if len(parts.classes) > len(worst) else ""
        line("classes", f"worst {count}by F1: {', '.join(worst)}", file)
    wrong = [each for each in parts.confused if each[0] != each[1]]
    if wrong and len(parts.classes) > 2:
        true, called, rows = max(wrong, key=lambda each: each[2])
        names = [each.name for each in parts.classes]
        line("", f"most often confused: {names[true]} taken for {names[called]} ({rows} rows)", file)
    if parts.groups:
        first = parts.groups[0]
        count = f"of {parts.groups_measured}" if parts.groups_measured > 1 else "is the only one"
        line("groups", f"worst {count}: {first.name}, {heading(metric)} {first.score} on {first.rows} rows", file)


def _loud(sentence: str) -> str:
    word, colon, rest = sentence.partition(":")
    return f"{word.upper()}{colon}{rest}"


def _trials(found: Result) -> Table:
    from rich.table import Table

    metric = heading(found.metric)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    where = "on test rows" if found.crossed is None else "out of fold"
    holm = "p" if len(found.comparisons) < 2 else "p (Holm)"
    for title in (
        "", "trial", "source", f"{metric} inside", f"{metric} {where}", "gain of transfer", holm, "seconds",
    ):  # fmt: skip
        table.add_column(title, justify="left" if title in ("", "trial", "source") else "right", no_wrap=True)
    for each in found.tried:
        gain = found.comparisons.get(each.name)
        score = found.scores.get(each.name, {}).get(found.metric)
        table.add_row(
            " " * 8,
            each.name,
            each.source,
            "" if each.inner is None else f"{each.inner:.3f}",
            "not judged" if score is None else f"{score}",
            "" if gain is None else f"{gain.gain:+}",
            "" if gain is None else probability(gain.p_value if gain.adjusted is None else gain.adjusted),
            "" if each.seconds is None else f"{each.seconds:.1f}",
        )
    for name, _ in found.left_out.items():
        table.add_row("", name, "", "", "did not run", "", "", "")
    return table


def probability(p: float) -> str:
    """A p-value in three digits."""
    return "–" if p != p else "< 0.001" if p < 0.001 else f"{p:.3f}"


def plan(prepared: Prepared) -> None:
    """What would run."""
    document = plan_document(prepared)
    what = f"{document['source']} × {', '.join(document['strategies'])}; controls {', '.join(document['controls'])}"
    chosen = "what is not named is chosen within the budget; graft plan says from what"
    line("plan", what if document["source"] else chosen)
    line("next", "the same command without --dry-run")


def plan_document(prepared: Prepared) -> dict[str, Any]:
    """What would run, as JSON."""
    from graft import registry

    sides = prepared.sides
    return {
        "data": prepared.held.origin,
        "task": prepared.fitted.kind,
        "metric": prepared.fitted.metric,
        "rows": {name: len(getattr(sides, name)) for name in ("train", "valid", "test", "unlabelled")},
        "folds": None if prepared.rounds is None else len(prepared.rounds),
        "source": None if prepared.source is None else registry.title(prepared.source),
        "strategies": [each.name for each in prepared.plan.candidates],
        "controls": [each.name for each in prepared.plan.controls],
        "left_out": dict(prepared.plan.left_out),
        "findings": prepared.findings.document(),
        "notes": list(prepared.held.notes),
    }


def scores(values: Mapping[str, Interval], title: str) -> None:
    """A table of metrics with their intervals."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim", title=title, title_justify="left")
    for each in ("metric", "value", "95 % interval"):
        table.add_column(each, justify="left" if each == "metric" else "right")
    for metric, value in values.items():
        known = value.value == value.value
        reach = f"[{value.low:.4f}, {value.high:.4f}]" if known else "not defined on these rows"
        table.add_row(heading(metric), f"{value.value:.4f}" if known else "–", reach)
    wide(table, sys.stdout)


def stated(order: Order) -> str:
    """What was said of the data: without it a fit might learn something else."""
    given = [("--target", each) for each in order.target or ()]
    for name in ("input", "group_by", "time_by", "confidence", "delimiter", "task", "unlabelled", "metric"):
        given.append((f"--{name.replace('_', '-')}", getattr(order, name)))
    return "".join(f" {option} {shlex.quote(value)}" for option, value in given if value is not None)


def texts_sorted(texts: Sequence[str], labels: Sequence[str]) -> None:
    """Texts beside the class that a fresh process gave them."""
    line("predict", "by a fresh process, from the saved model alone")
    width = max(len(label) for label in labels)
    for text, label in zip(texts, labels, strict=True):
        line("", f"{label:<{width}}  {text}")


def rows_given(data: Sequence[str]) -> Any:
    """What the arguments of ``predict`` name: a folder, a table, several files, or texts on standard input."""
    if list(data) == ["-"]:
        return [text for text in sys.stdin.read().splitlines() if text.strip()]
    return data[0] if len(data) == 1 else list(data)


def predictions(model: Predictor, examples: Examples, outputs: Array, probabilities: bool) -> list[dict[str, Any]]:
    """One entry a row: its name, its prediction, and its probabilities where they are asked for."""
    predicted = model.fitted.decode(outputs)
    chances = model.fitted.probabilities(outputs) if probabilities else None
    table = []
    for row in range(len(examples)):
        value = predicted[row].item() if hasattr(predicted[row], "item") else predicted[row]
        entry = {"row": examples.name(row), "prediction": value}
        if chances is not None:
            named = zip(model.classes, chances[row], strict=True)
            entry |= {f"p({name})": round(float(chance), 6) for name, chance in named}
        table.append(entry)
    return table


def cell(value: Any) -> Any:
    """A value for a cell of CSV: several labels become one text; what a spreadsheet would run is made inert."""
    if isinstance(value, tuple):
        return _inert("|".join(str(each) for each in value))
    return _inert(value) if isinstance(value, str) else value


def _inert(text: str) -> str:
    return f"'{text}" if text[:1] in {"=", "+", "-", "@", "\t", "\r"} else text


@contextlib.contextmanager
def text_file(path: Path) -> Iterator[TextIO]:
    """A text file that is whole or absent."""
    buffer = io.StringIO(newline="")
    yield buffer
    write_atomic(path, buffer.getvalue().encode())


def room() -> int:
    """Characters in a line of the terminal; a pipe has no end."""
    from rich.console import Console

    console = Console(markup=False, file=sys.stdout)
    return console.width if console.is_terminal else _ENDLESS


def printed(table: Table) -> None:
    """Print a table: to the width of a terminal, or into a pipe with a row a line and nothing cut."""
    from rich.console import Console

    console = Console(markup=False, file=sys.stdout, highlight=False)
    if console.is_terminal:
        console.print(table)
    else:
        _piped(table, console, sys.stdout)


def _piped(table: Table, console: Console, file: TextIO) -> None:
    console.width = _ENDLESS
    with console.capture() as held:
        console.print(table)
    print(*(row.rstrip() for row in held.get().splitlines()), sep="\n", file=file)


def heading(metric: str) -> str:
    """A metric as people write it."""
    return _HEADINGS.get(metric, metric.replace("_", " "))


def wide(table: Table, file: TextIO) -> None:
    """Print a table whose lines run on beyond a narrow terminal."""
    from rich.console import Console

    console = Console(markup=False, file=file, highlight=False)
    if console.is_terminal:
        console.print(table, soft_wrap=True)
    else:
        _piped(table, console, file)
