"""Rows of a table as sentences."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import ClassVar

from graft.contracts import Array, Bridge, Examples
from graft.data.examples import TableExamples
from graft.data.schema import Schema
from graft.errors import BundleError, DataError

__all__ = ["Sentence"]

_FILE = "sentence.json"


class Sentence(Bridge):
    """Turns a row of a table into a sentence: ``age is 39; workclass is Private``.

    Missing cells are left out.  Numbers have four digits at most, and whole numbers no point.  The
    names of the columns and the words in them are learnt from the training rows; columns without
    names are called by their place.

    Examples
    --------
    >>> held = TableExamples([[39.0, 1.0]], columns=["age", "colour"], words=[None, ["blue", "red"]])
    >>> Sentence().learn(held).convert(held[0])
    'age is 39; colour is red'
    """

    takes: ClassVar[str] = "table"
    gives: ClassVar[str] = "text"

    schema_: Schema | None = None
    """The columns that were learnt."""

    def learn(self, examples: Examples) -> Sentence:
        """The bridge that knows the columns of these rows."""
        return _knowing(examples.schema if isinstance(examples, TableExamples) else None)

    def convert(self, row: Array) -> str:
        schema = self.schema_ or Schema(None, (None,) * len(row))
        if len(row) != schema.width:
            raise DataError(
                f"a row has {len(row)} columns, and {schema.width} were learnt from; give the same columns."
            )
        said = []
        for place, (value, words) in enumerate(zip(row.tolist(), schema.words, strict=True)):
            if math.isnan(value):
                continue
            name = schema.names[place] if schema.names else f"column {place + 1}"
            if math.isinf(value):
                raise DataError(f"a row holds an infinite number in {name!r}; write a finite one or leave it out.")
            said.append(f"{name.replace('_', ' ').strip()} is {_number(value) if words is None else words[int(value)]}")
        return "; ".join(said) or "nothing is known"

    def files(self) -> dict[str, bytes]:
        if self.schema_ is None:
            return {}
        return {_FILE: json.dumps({"width": self.schema_.width, **self.schema_.document()}).encode()}

    def rebuild(self, files: Mapping[str, bytes]) -> Sentence:
        if _FILE not in files:
            return _knowing(None)
        try:
            held = json.loads(files[_FILE])
            return _knowing(Schema.from_document(held, int(held["width"])))
        except (KeyError, TypeError, ValueError) as exc:
            raise BundleError(
                f"{_FILE} of the saved model is damaged ({exc!r}); save the model again, or copy it whole."
            ) from exc


def _knowing(schema: Schema | None) -> Sentence:
    made = Sentence()
    made.schema_ = schema
    return made


def _number(value: float) -> str:
    if abs(value) >= 1000 or value.is_integer():
        return str(round(value)) if abs(value) < 1e15 else f"{value:.3e}"
    return f"{value:.4g}"
