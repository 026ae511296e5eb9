"""The sentence of each step of a fit: what a person reads while it runs."""

from __future__ import annotations

from graft import registry
from graft.contracts import FittedTask, Source, TargetData
from graft.data.audit import Audit
from graft.evaluate.learning_curve import LearningCurve
from graft.select.candidates import Candidate
from graft.select.field import Field
from graft.select.plan import Plan
from graft.select.trial import Trial
from graft.sources.bridged import Bridged

__all__ = ["carrying", "fitting", "growing", "laying_out", "planning", "reading", "standing"]

_NOUNS = {"text": "texts", "image": "images", "table": "rows", "audio": "sounds"}


def reading(held: TargetData, fitted: FittedTask, findings: Audit) -> str:
    """What was read: ``flowers/: 1 360 images, 17 classes``."""
    count = f"{len(held.examples):,}".replace(",", " ")
    noun = _NOUNS.get(held.examples.modality, "rows")
    learnt = f"{len(fitted.classes)} classes" if fitted.classes else fitted.kind
    return "; ".join([f"{held.origin}: {count} {noun}, {learnt}", *findings.sentences()])


def laying_out(field: Field) -> str:
    """What may be tried: ``14 sources × 6 strategies; forecast 8 min``."""
    fetched = f", {field.download / 1e6:.0f} MB to download" if field.download else ""
    whole = f"forecast {_time(field.seconds)} for all, in {_time(field.limits.budget)}"
    return f"{field.sides()}; {whole}; {field.memory / 1e9:.1f} GB of memory{fetched}"


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.1f} min"


def planning(plan: Plan, source: Source) -> str:
    """What will be tried against what."""
    tried = ", ".join(each.name for each in plan.candidates)
    controls = ", ".join(each.name for each in plan.controls) or "none"
    forecast = "".join(
        f"; {name} forecast at most {seconds:.0f} s"
        for name, seconds in plan.forecasts.items()
        if name not in plan.left_out
    )
    return f"{_stood_on(plan, source)} × {tried}; controls {controls}{forecast}"


def carrying(chosen: Candidate) -> str:
    """Why there is no transfer to judge in a candidate; empty where it carries knowledge."""
    if chosen.carries:
        return ""
    why = (
        f"{chosen.name} is a control" if chosen.role == "control" else f"{_title(chosen.source)} never learnt anything"
    )
    return f"{why}: nothing is transferred, and the verdict compares models"


def _title(source: Source) -> str:
    return _short(registry.title(source))


def _stood_on(plan: Plan, source: Source) -> str:
    """The source, and the bridge that the plan takes it over."""
    for each in plan.candidates:
        if isinstance(each.source, Bridged):
            inner, bridge = (_short(registry.title(part)) for part in (each.source.source, each.source.bridge))
            return f"{inner} over the bridge {bridge}"
    return _short(registry.title(source))


def _short(title: str) -> str:
    """A source's spec without its options, and without the folders of a path."""
    spec = title.partition("?")[0]
    family, _, rest = spec.partition("/")
    return spec if len(spec) <= 48 else f"{family}/…/{rest.rpartition('/')[2]}"


def fitting(trial: Trial) -> str:
    """How a trial went inside the training rows."""
    history = trial.history
    metric = trial.model.fitted.metric
    score = "no score inside the training rows" if history.score is None else f"{metric} {history.score:.3f} inside"
    chosen = "".join(f", {name} {_number(value)}" for name, value in history.chosen.items() if name != "epochs")
    epochs = _epochs(len(history.epochs), history.chosen.get("epochs"))
    name = trial.candidate.name
    return f"{name:<12} {score}{chosen}{epochs}, {trial.model.machine.precision}, {trial.seconds:.1f} s"


def standing(learnt: int, rows: int) -> str:
    """What a winner is that there was no time to fit again."""
    return f"it learnt from {learnt} of {rows} rows: the time left did not hold a fit on all of them"


def _epochs(ran: int, kept: float | int | str | None) -> str:
    """How long it trained, and whose weights were kept."""
    if not ran:
        return ""
    return f", {ran} epoch{'s' * (ran > 1)}" if kept is None else f", epoch {kept} of {ran} kept"


def growing(curve: LearningCurve) -> str:
    """The mean of every number of training rows: ``accuracy by training rows: 120 0.71, 240 0.78``."""
    values: dict[int, list[float]] = {}
    for each in curve.points:
        values.setdefault(each.rows, []).append(each.value)
    steps = ", ".join(f"{rows}: {sum(held) / len(held):.3f}" for rows, held in values.items())
    return f"{curve.metric} of {curve.name} by training rows: {steps or 'too few rows to cut into parts'}"


def _number(value: float | int | str) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
