"""The contracts, executable: run them over a plug-in of your own before you publish it.

Each check raises ``AssertionError`` with a sentence that says what was promised and not kept.
Graft's own tests run them over every file in its plug-in folders.
"""

from __future__ import annotations

import copy
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from PIL import Image
from sklearn.base import BaseEstimator, clone
from torch import nn

from graft import bundle, compute
from graft.contracts import (
    Array,
    Backbone,
    Bridge,
    Card,
    Examples,
    FittedTask,
    Reader,
    Request,
    Rows,
    Score,
    Seen,
    Sound,
    Source,
    Strategy,
    Task,
    TransferData,
)
from graft.data.cells import KIND_OF_LINK
from graft.data.split import hold_out
from graft.errors import RequestError
from graft.nn.grafted import Grafted
from graft.seen import link_of
from graft.select.candidates import Candidate, candidate, graft_backbone
from graft.select.trial import run_trial

__all__ = ["check_bridge", "check_reader", "check_score", "check_source", "check_strategy", "check_task"]


_ROWS = {"text": str, "image": Image.Image, "table": np.ndarray, "audio": Sound}
"""What a row of each modality is."""


def check_bridge(bridge: Bridge, examples: Examples) -> None:
    """Rows come out as rows of what it gives, the same every time, also once it is rebuilt from its files.

    Parameters
    ----------
    examples
        At least two rows of the modality that the bridge takes.
    """
    _promise(
        bridge.takes in _ROWS and bridge.gives in _ROWS and bridge.takes != bridge.gives,
        "a bridge leads from one modality to another",
    )
    learnt: list[Bridge] = []
    _check_arguments_stay(bridge, lambda: learnt.append(bridge.learn(examples)))
    rows = [examples[row] for row in range(len(examples))]
    before = [_content(row) for row in rows]
    made = [learnt[0].convert(row) for row in rows]
    _promise(all(isinstance(row, _ROWS[bridge.gives]) for row in made), f"convert() gives rows of {bridge.gives}")
    _promise(list(map(_content, rows)) == before, "convert() leaves the rows that it is given alone")
    again = clone(bridge).rebuild(learnt[0].files())
    for twin, sentence in ((learnt[0], "the same row gives the same"), (again, "rebuild() converts as the original")):
        _promise([_content(twin.convert(row)) for row in rows] == [_content(row) for row in made], sentence)


def check_source(source: Source, examples: Examples) -> None:
    """Fresh at every load, shaped as stated, rebuilt from its files, its arguments left alone.

    Parameters
    ----------
    examples
        At least two rows of the modality that the source reads.
    """
    _check_arguments_stay(source, lambda: source.load(weights=False))
    first, second = (_learnt(source.load(), examples) for _ in range(2))
    names = [name for name, _ in first.module.named_parameters()]
    shared = {id(each) for each in first.module.parameters()} & {id(each) for each in second.module.parameters()}
    _promise(not shared, "load() gives a fresh network every time, and two loads share parameters")
    _promise(first.card.modality == source.reads(), "card.modality is what reads() says")
    _promise(
        all(any(name.startswith(stage) for stage in first.stages) for name in names),
        "stages name the prefixes of all parameters, and some parameter is under none",
    )
    features = _features(first, examples)
    _promise(
        features.shape == (len(examples), first.dim),
        f"the module gives (n, {first.dim}), and it gave {tuple(features.shape)}",
    )
    _promise(bool(torch.equal(features, _features(second, examples))), "two loads give equal features")
    files = {**first.files, **first.preprocess.files()}
    again = source.rebuild(files)
    _promise(again.dim == first.dim and again.stages == first.stages, "rebuild() gives the same width and stages")
    again.module.load_state_dict(first.module.state_dict(), strict=True)
    _promise(
        bool(torch.equal(features, _features(again, examples))), "rebuild() with the same weights computes the same"
    )
    bare = _learnt(source.load(weights=False), examples)
    _promise([name for name, _ in bare.module.named_parameters()] == names, "weights=False gives the same architecture")


def check_task(task: Task, labels: Array) -> None:
    """Labels survive encoding, the loss has a gradient, the prior beats silence, the state restores."""
    _check_arguments_stay(task, lambda: task.start(labels))
    fitted = task.start(labels)
    targets = fitted.encode(labels)
    outputs = torch.zeros(len(labels), fitted.n_outputs, requires_grad=True)
    loss = fitted.loss(outputs, targets)
    loss.backward()  # type: ignore[no-untyped-call]
    _promise(outputs.grad is not None and bool(outputs.grad.abs().sum() > 0), "the loss has a gradient")
    prior = fitted.prior(targets).expand(len(labels), -1)
    _promise(bool(fitted.loss(prior, targets) <= loss + 1e-6), "the prior is no worse than zero outputs")
    measured = dict(fitted.metrics(prior.numpy(), targets.numpy()))
    _promise(fitted.metric in measured, "the metric that everything is chosen by is among the metrics")
    again = task.restore(fitted.state())
    _promise(bool(torch.equal(again.encode(labels), targets)), "restore() encodes as the original does")
    random = np.random.default_rng(0).normal(size=(len(labels), fitted.n_outputs)).astype(np.float32)
    _promise(list(again.decode(random)) == list(fitted.decode(random)), "restore() decodes as the original does")
    probabilities = fitted.probabilities(random)
    _promise(
        probabilities is None or bool(((probabilities >= 0) & (probabilities <= 1)).all()),
        "probabilities lie between 0 and 1",
    )


def check_strategy(strategy: Strategy, source: Source, task: Task, examples: Examples, labels: Array) -> None:
    """What is frozen stays bit-identical, a second fit gives the same bits, and so does save and load."""
    _promise(bool(strategy.family), "a strategy states its family")
    chosen = candidate(source, strategy, examples.modality)
    fitted = task.start(labels)
    data = _transfer_data(strategy, fitted, examples, labels)
    _check_frozen(candidate(source, clone(strategy), examples.modality), fitted, data)
    trials = []
    _check_arguments_stay(strategy, lambda: trials.append(run_trial(chosen, task, fitted, data)))
    trials.append(run_trial(candidate(source, clone(strategy), examples.modality), task, fitted, data))
    outputs = [trial.model.outputs(examples) for trial in trials]
    _promise(bool(np.isfinite(outputs[0]).all()), "outputs are finite")
    _promise(bool(np.array_equal(outputs[0], outputs[1])), "the same fit with the same seed gives the same bits")
    with tempfile.TemporaryDirectory() as folder:
        bundle.save(trials[0].model, Path(folder) / "model", rows=examples)
        loaded = bundle.load(Path(folder) / "model", device="cpu")
        _promise(bool(np.array_equal(loaded.outputs(examples), outputs[0])), "save and load give the same bits")


def check_score(score: Score, seen: Seen, targets: Array) -> None:
    """A finite number, the same every time; what it is not defined for, and what it lacks, is refused.

    Parameters
    ----------
    seen
        Of two rows or more, with outputs of the source's own and a card that states its size and top-1.
    targets
        As ``Score.score`` takes them; a kind that the score is not defined for has to be refused.
    """
    _promise(bool(score.kinds), "a score states the kinds of tasks that it is defined for")
    given = [seen.features, targets, *([] if seen.outputs is None else [seen.outputs])]
    before = copy.deepcopy(given)
    if link_of(targets) not in score.kinds:
        _refuses(score, seen, targets, "defined for")
        return
    found: list[float] = []
    _check_arguments_stay(score, lambda: found.append(score.score(seen, targets)))
    _promise(isinstance(found[0], float) and bool(np.isfinite(found[0])), "a score is a finite float")
    _promise(found[0] == clone(score).score(seen, targets), "the same rows give the same score")
    for held, after in zip(before, given, strict=True):
        _promise(bool(np.array_equal(held, after)), "score() leaves what it is given alone")
    if score.needs:
        bare = Card(seen.card.name, seen.card.modality)
        _refuses(score, replace(seen, outputs=None, card=bare), targets, score.needs)
    if score.prior:
        nothing = replace(seen, features=seen.features[:, :0], outputs=None)
        _promise(found[0] == score.score(nothing, targets), "a prior goes by the card alone")
    outputs = score.outputs(seen, targets)
    wide = targets.shape[1] if targets.ndim == 2 else int(targets.max()) + 1
    _promise(
        outputs is None or (outputs.shape == (len(targets), wide) and bool(np.isfinite(outputs).all())),
        f"outputs() gives ({len(targets)}, {wide}) finite numbers, or None",
    )


def _refuses(score: Score, seen: Seen, targets: Array, words: str) -> None:
    try:
        score.score(seen, targets)
    except RequestError as exc:
        _promise(words in str(exc), f"it refuses with the words {words!r}")
        return
    _promise(False, f"score() refuses where it is not {words!r}")


def check_reader(reader: Reader, data: Any, labels: int) -> None:
    """It accepts its kind, reads as many rows as labels, and every row has a name and a key."""
    _promise(reader.accepts(data), "a reader accepts its own kind of data")
    held = reader.read(data, Request())
    _promise(
        held.labels is not None and len(held.labels) == len(held.examples) == labels, "a label, or None, for every row"
    )
    _promise(held.examples.keys().shape == (labels, 16), "keys are (n, 16) digests")
    _promise(all(held.examples.name(row) for row in range(labels)), "every row has a name")


def _check_frozen(chosen: Candidate, fitted: FittedTask, data: TransferData) -> None:
    backbone = graft_backbone(chosen, data.train.examples)
    module = cast("Grafted", chosen.strategy.build(backbone, fitted))
    machine = compute.settle(backbone, data.train.examples, data.machine, None)
    frozen = {name for name, each in module.named_parameters() if not each.requires_grad}
    still = not any(each.requires_grad for each in module.trunk.parameters())
    before = copy.deepcopy(module.state_dict())
    chosen.strategy.fit(module, fitted, replace(data, machine=machine))
    for name, tensor in module.state_dict().items():
        if name in frozen or (still and name.startswith("trunk.")):
            _promise(bool(torch.equal(tensor.cpu(), before[name].cpu())), f"{name} is frozen, and fit() changed it")


def _transfer_data(strategy: Strategy, fitted: FittedTask, examples: Examples, labels: Array) -> TransferData:
    targets, machine = fitted.encode(labels), compute.machine("cpu", "float32")
    if not strategy.uses_validation:
        return TransferData(train=Rows(examples, targets), machine=machine)
    train, apart = hold_out(examples.keys(), labels, None, 0.25, 0, KIND_OF_LINK[fitted.link])
    return TransferData(
        train=Rows(examples.take(train), targets[train]),
        valid=Rows(examples.take(apart), targets[apart]),
        machine=machine,
    )


def _learnt(backbone: Backbone, examples: Examples) -> Backbone:
    return backbone.learn(examples) if backbone.learn is not None else backbone


def _features(backbone: Backbone, examples: Examples) -> torch.Tensor:
    module: nn.Module = backbone.module.eval()
    items = backbone.preprocess.items([examples[row] for row in range(len(examples))])
    with torch.inference_mode():
        features: torch.Tensor = module(backbone.preprocess.collate(items))
    return features


def _content(row: Any) -> bytes:
    return np.asarray(row.samples if isinstance(row, Sound) else row).tobytes()


def _check_arguments_stay(plugin: BaseEstimator, act: Any) -> None:
    before = copy.deepcopy(plugin.get_params(deep=False))
    act()
    after = plugin.get_params(deep=False)
    _promise(repr(before) == repr(after), f"constructor arguments stay as they were: {before} became {after}")


def _promise(kept: bool, sentence: str) -> None:
    if not kept:
        raise AssertionError(sentence)
