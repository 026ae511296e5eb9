"""Networks for the rows of a table, which learn its columns from the training rows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar, get_args

import numpy as np
from torch import nn

from graft.contracts import Backbone, Card, Examples, Source
from graft.data.examples import TableExamples
from graft.data.preprocess.cells import CellPreprocess, Scaling
from graft.data.schema import Schema
from graft.errors import BundleError, DataError, RequestError, UnknownNameError
from graft.nn.initialise import seeded
from graft.nn.tabular import FeatureTokenizer, TabularMLP

__all__ = ["Table"]

_FILE = "network.json"
_NETWORKS: dict[str, dict[str, Any]] = {
    "mlp": {"hidden": (128, 64), "dropout": 0.1},
    "ft": {"dim": 64, "depth": 3, "heads": 8, "dropout": 0.1},
}
"""The networks, and the options that each takes with its defaults."""


class Table(Source):
    """A network for rows of numbers and words: ``table/mlp``, or ``table/ft``, a transformer over the columns.

    It knows nothing at first: strategies train it on the target rows, ``pretrain`` on rows without
    labels before that, and ``fitted/<folder>`` takes it over from another table.  Gaps, scales and
    words are learnt from the training rows and kept.

    Parameters
    ----------
    network
        ``mlp`` (dense layers) or ``ft`` (a feature-tokenizer transformer).
    hidden
        Widths of the layers of ``mlp``; 128 and 64 by default.
    dropout
        Share of the layers' outputs that training leaves out; 0.1 by default.
    dim, depth, heads
        Width of the tokens of ``ft``, its layers, and its heads of attention; 64, 3 and 8 by default.
    scaling
        ``deviation``: numbers have mean 0 and deviation 1; ``quantile``: they follow a normal distribution.
    seed
        Decides the weights that it starts from.

    Examples
    --------
    >>> rows = TableExamples([[1.0, 0], [3.0, 1]], columns=["size", "colour"], words=[None, ["blue", "red"]])
    >>> Table("mlp", hidden=(10,)).load().learn(rows).dim
    10
    """

    modality: ClassVar[str] = "table"
    pretrained: ClassVar[bool] = False

    def __init__(
        self,
        network: str,
        hidden: tuple[int, ...] | None = None,
        dropout: float | None = None,
        dim: int | None = None,
        depth: int | None = None,
        heads: int | None = None,
        scaling: Scaling = "deviation",
        seed: int = 0,
    ) -> None:
        self.network = network
        self.hidden = hidden
        self.dropout = dropout
        self.dim = dim
        self.depth = depth
        self.heads = heads
        self.scaling = scaling
        self.seed = seed

    def load(self, weights: bool = True) -> Backbone:
        """A network that still has to learn its columns: ``learn(examples)`` gives the one to use.

        Raises
        ------
        UnknownNameError
            For a network that is not there.
        RequestError
            For an option that the network does not take.
        """
        options = self._options()
        width = int(options["hidden"][-1] if "hidden" in options else options["dim"])
        return Backbone(
            module=nn.Identity(),
            dim=width,
            preprocess=CellPreprocess(Schema(None, ()), *(np.empty(0),) * 3, []),
            stages=(),
            card=self._card(0),
            learn=partial(self._learnt, options),
        )

    def rebuild(self, files: Mapping[str, bytes]) -> Backbone:
        preprocess = CellPreprocess.from_files(files)
        try:
            stated = json.loads(files[_FILE])
            network, given = stated["network"], stated["options"]
            source = Table(network, **{**given, **({"hidden": tuple(given["hidden"])} if "hidden" in given else {})})
            return source._backbone(source._options(), preprocess)
        except (AttributeError, KeyError, TypeError, ValueError) as exc:
            raise BundleError(f"{_FILE} is missing or damaged ({exc!r}); save the model again.") from exc

    @classmethod
    def local(cls) -> tuple[str, ...]:
        return tuple(f"table/{network}" for network in _NETWORKS)

    def _learnt(self, options: Mapping[str, Any], examples: Examples) -> Backbone:
        rows = np.stack([examples[row] for row in range(len(examples))])
        schema = examples.schema if isinstance(examples, TableExamples) else Schema(None, (None,) * rows.shape[1])
        if not schema.width:
            raise DataError("the table has no columns to learn from; give at least one of numbers or words.")
        return self._backbone(options, CellPreprocess.learn(rows, schema, self.scaling))

    def _backbone(self, options: Mapping[str, Any], preprocess: CellPreprocess) -> Backbone:
        build = TabularMLP if self.network == "mlp" else FeatureTokenizer
        with seeded(self.seed):
            module: TabularMLP | FeatureTokenizer = build(
                len(preprocess.schema.numbers), preprocess.words, **dict(options)
            )
        described = {"network": self.network, "options": dict(options)}
        return Backbone(
            module=module,
            dim=int(options["hidden"][-1] if "hidden" in options else options["dim"]),
            preprocess=preprocess,
            stages=module.stages,
            card=self._card(sum(value.numel() for value in module.parameters())),
            files={_FILE: json.dumps(described).encode(), **preprocess.files()},
        )

    def _card(self, parameters: int) -> Card:
        name = f"table/{self.network}"
        return Card(name, self.modality, parameters=parameters, bytes=0, pretraining="none", outputs=0)

    def _options(self) -> dict[str, Any]:
        if self.network not in _NETWORKS:
            raise UnknownNameError("network for tables", self.network, _NETWORKS)
        known = _NETWORKS[self.network]
        given = {name: getattr(self, name) for name in ("hidden", "dropout", "dim", "depth", "heads")}
        given = {name: value for name, value in given.items() if value is not None}
        faults = [f"it takes no {name}" for name in given if name not in known]
        options = {**known, **given}
        faults += [f"{name} is {value!r}, {fault}" for name, value in options.items() if (fault := _fault(name, value))]
        if not faults and "dim" in options and options["dim"] % options["heads"]:
            faults.append(f"dim is {options['dim']}, which {options['heads']} heads cannot share")
        if self.scaling not in get_args(Scaling):
            faults.append(f"scaling is {self.scaling!r}, expected {' or '.join(get_args(Scaling))}")
        if faults:
            raise RequestError(f"table/{self.network}: {'; '.join(faults)}. Its options: {', '.join(known)}, scaling.")
        return options


def _fault(name: str, value: Any) -> str | None:
    """What is wrong with an option, if anything."""
    if name == "dropout":
        return None if isinstance(value, int | float) and 0 <= value < 1 else "expected a share from 0 to below 1"
    if name == "hidden":
        fits = isinstance(value, tuple | list) and value and all(_counts(each) for each in value)
        return None if fits else "expected one or more widths, such as [128,64]"
    return None if _counts(value) else "expected a whole number from 1"


def _counts(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 65536
