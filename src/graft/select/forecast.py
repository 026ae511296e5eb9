"""What a candidate will cost, before any of it is loaded: from its card, its strategy and the machine's speed.

Rough by design: the constants are round figures of what networks reach on the machines of
``benchmarks/``, where ``forecast.py`` compares forecasts with what fits then took.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from graft.compute import Speed
from graft.contracts import Card, Examples, FittedTask, Passes, Sound

__all__ = ["Forecast", "Known", "duration", "forecast", "typical_length", "volume"]

_REACHED = 0.5
"""Share of the speed of large matrix products that a network reaches …"""
_MOVED = {"image": (2.0, 0.6e9)}
"""… once what only moves numbers (norms, depthwise convolutions) is counted as multiply-adds of float32: so many
times those of a row, and at most so many."""
_USES = {"image": 150.0, "table": 1.0}
"""How often a weight is used for a row, where the card states no multiply-adds …"""
_USED = 0.6
"""… and of the modalities above, tokens: the share of the weights that is used for each (embeddings are not)."""
_READING = {"image": 2e-3, "audio": 5e-3, "text": 5e-5}
"""Seconds in which one thread reads and shapes a row."""
_SOLVING = 150_000
"""Multiply-adds a row and output of a closed form on features: its width, and the penalties that are tried."""
_STARTING = 0.5
_LOADING = 5e8
"""Seconds that a first fit takes, and bytes of weights that are read in a second."""
_AGAIN = 0.15
"""Seconds that a fit takes when others of its source ran before: nothing is imported or built for the first time."""
_TOKEN = 4.0
_CELL = 6.0
_FRAMES = 50.0
"""Letters of a token, tokens of a cell of a table, frames of a second of sound."""
_LONGEST = 512.0
_BATCH = 32
_KEPT = 40e6
"""Bytes that training keeps of a row of 1e9 multiply-adds until the way back; by the root for others."""
_WORKING = 3e8
"""Bytes of rows in the making, for a network that only computes."""
_FEATURES = 4096
"""Bytes of a row's features in the cache."""
_UNSIZED = 1_000_000


@dataclass(frozen=True)
class Known:
    """What planning knows of the data: no row of them.

    Parameters
    ----------
    modality, fitted
        What rows are, and what is to be learnt.
    rows
        How many rows are learnt from.
    unlabelled
        How many more have no label.
    length
        Tokens of a typical text, or frames of a sound.
    origin
        What was read.
    """

    modality: str
    fitted: FittedTask
    rows: int
    unlabelled: int = 0
    length: float = 32.0
    origin: str = ""


@dataclass(frozen=True)
class Forecast:
    """What trying a candidate takes.

    Parameters
    ----------
    seconds
        Of the fit: all its epochs, without an early stop; no download.
    memory, disk, download
        Bytes: at the peak; of what is written, the download among it; of what is fetched.
    shared
        Seconds of the one pass over the rows that candidates of a source share, as features are kept.
    basis
        How the seconds came about.
    """

    seconds: float
    memory: int
    disk: int
    download: int = 0
    shared: float = 0.0
    basis: str = ""


def forecast(
    card: Card, passes: Passes, known: Known, speed: Speed, held: bool = True, pace: float | None = None
) -> Forecast:
    """What fitting a candidate will cost.

    Parameters
    ----------
    card
        Of its source.
    passes
        What its strategy asks of the network.
    speed
        Of the machine, see :func:`graft.compute.speed`.
    held
        Whether its weights are on this machine.
    pace
        Seconds in which its frozen network read a row here; ``None`` where that was not measured yet.
    """
    rows = known.rows + known.unlabelled * (passes.training > 0)
    weights = _UNSIZED if card.parameters is None else card.parameters
    work = _multiply_adds(card, weights, known)
    times, most = _MOVED.get(card.modality, (0.0, 0.0))
    moving = min(times * work, most) / (_REACHED * speed.float32)
    reading = _READING.get(known.modality, 0.0)
    # part of a training step stays in float32, so that another precision gains it the root of what it gains a product
    learning = math.sqrt(speed.float32 * speed.fastest)
    computing = work / (_REACHED * speed.fastest) + moving
    forward = computing + reading if pace is None else pace
    there_and_back = (1.0 + passes.back) * (work / (_REACHED * learning) + moving)
    if pace is not None and computing:
        there_and_back *= max(pace - reading, 0.1 * pace) / computing
    trained = there_and_back + reading
    solving = 0.0 if passes.training else _SOLVING * known.fitted.n_outputs + passes.pairs * rows
    solving /= _REACHED * speed.float32
    shared = rows * min(1.0, passes.forward) * forward
    more = max(0.0, passes.forward - 1.0) * forward + passes.training * trained + solving
    size = 4 * weights
    seconds = (_STARTING if pace is None else _AGAIN) + size / _LOADING + shared + rows * more
    download = 0 if held else card.bytes or size
    return Forecast(
        seconds=seconds,
        memory=_memory(size, passes, work),
        disk=round(download + size * (1 + 4 * passes.learns * bool(passes.training)) + _FEATURES * rows),
        download=download,
        shared=shared,
        basis=_basis(card, passes, rows, work, speed, pace),
    )


def _multiply_adds(card: Card, weights: int, known: Known) -> float:
    """Of one row."""
    if card.flops is not None:
        return float(card.flops)
    return weights * _USES.get(card.modality, _USED * min(known.length, _LONGEST))


def _memory(size: int, passes: Passes, work: float) -> int:
    """Weights twice, as a copy computes; of those that learn a gradient, two averages and the best epoch's."""
    if not passes.training:
        return round(2 * size + _WORKING * bool(size))
    return round(size * (2 + 4 * passes.learns) + _BATCH * _KEPT * math.sqrt(work / 1e9))


def _basis(card: Card, passes: Passes, rows: int, work: float, speed: Speed, pace: float | None) -> str:
    sized = "" if card.parameters is not None or card.flops is not None else "; its size is not known"
    said = f"{rows} rows, {passes.forward:g} times forward"
    if passes.training:
        said += f" and at most {passes.training:.3g} times forward and back"
    if pace is not None:
        return f"{said}, {1000 * pace:.2g} ms a row forward, as measured"
    return f"{said}, {work / 1e9:.3g} G multiply-adds each at {speed.fastest / 1e9:.3g} G a second{sized}"


def duration(seconds: float) -> str:
    """``3.2 s``, ``45 s``, ``12 min``, ``2.5 h``: two digits, as a forecast is worth no more."""
    for unit, length in (("h", 3600.0), ("min", 60.0)):
        if seconds >= 1.5 * length:
            return f"{seconds / length:.{0 if seconds >= 9.95 * length else 1}f} {unit}"
    return f"{seconds:.{0 if seconds >= 9.95 else 1}f} s"


def volume(count: int) -> str:
    """Bytes for a person: ``45 MB``, ``1.2 GB``."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def typical_length(examples: Examples, most: int = 16) -> float:
    """Tokens of a typical text or row of a table, frames of a typical sound: the mean of a few rows from all over."""
    places = np.linspace(0, len(examples) - 1, num=min(most, len(examples))).astype(int).tolist()
    lengths = [_length(examples[place]) for place in places]
    return float(np.mean(lengths)) if lengths else 1.0


def _length(row: object) -> float:
    if isinstance(row, str):
        return 2.0 + len(row) / _TOKEN
    if isinstance(row, Sound):
        return _FRAMES * len(row.samples) / row.rate
    return _CELL * row.size if isinstance(row, np.ndarray) else 1.0
