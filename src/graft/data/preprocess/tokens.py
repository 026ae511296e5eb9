"""Texts to token ids, by the checkpoint's own tokenizer."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from graft.contracts import Batch
from graft.errors import BundleError, WeightsError

__all__ = ["TokenPreprocess", "wordpiece"]

_TOKENIZER = "tokenizer.json"
_FILE = "preprocess.json"
_UNLIMITED = 10**9
_USUAL = 512
"""Tokens kept where nothing states a limit: BERT's."""


class TokenPreprocess:
    """From texts to token ids ``(n, t)``, and a mask where rows differ in length.

    Parameters
    ----------
    tokenizer
        The content of a ``tokenizer.json``.
    max_length
        Tokens kept of a text, the special ones included; how many texts were cut is counted in
        ``truncated``.
    pad
        The id that fills up shorter rows; the mask hides it.
    lowercase
        Whether texts are lowered before the tokenizer sees them.

    Attributes
    ----------
    truncated
        How many of the texts shaped so far were longer than ``max_length`` tokens.

    Raises
    ------
    WeightsError
        Where ``tokenizer`` is no tokenizer.
    """

    def __init__(self, tokenizer: bytes, max_length: int, pad: int = 0, lowercase: bool = False) -> None:
        self.tokenizer = tokenizer
        self.max_length = max_length
        self.pad = pad
        self.lowercase = lowercase
        self.truncated = 0
        self._lock = threading.Lock()
        try:
            self._encoder = Tokenizer.from_buffer(tokenizer)
        except Exception as exc:  # the library raises plain Exceptions
            raise WeightsError(f"{_TOKENIZER} is damaged or of an unknown kind ({exc}); fetch it again.") from exc
        self._encoder.no_padding()
        self._encoder.enable_truncation(max_length)

    def items(self, rows: Sequence[str], seeds: Sequence[int] | None = None) -> list[npt.NDArray[np.int32]]:
        texts = [text.lower() for text in rows] if self.lowercase else list(rows)
        try:
            encodings = self._encoder.encode_batch_fast(texts)
        except TypeError:  # so the library calls half of a surrogate pair, which must not stop the others
            clean = [text.encode("utf-8", "replace").decode() for text in texts]
            encodings = self._encoder.encode_batch_fast(clean)
        # A decoder's tokenizer makes nothing of nothing, but every row needs a token to be read at.
        items = [np.array(encoding.ids or [self.pad], dtype=np.int32) for encoding in encodings]
        cut = sum(
            bool(encoding.overflowing)
            for encoding, item in zip(encodings, items, strict=True)
            if len(item) >= self.max_length
        )
        if cut:
            with self._lock:
                self.truncated += cut
        return items

    def cost(self, item: npt.NDArray[np.int32]) -> int:
        return max(1, len(item))

    def collate(self, items: Sequence[npt.NDArray[np.int32]]) -> Batch:
        lengths = np.array([len(item) for item in items])
        longest = max(1, int(lengths.max(initial=0)))
        ids = np.full((len(items), longest), self.pad, dtype=np.int64)
        for row, item in zip(ids, items, strict=True):
            row[: len(item)] = item
        batch = {"input_ids": torch.from_numpy(ids)}
        if (lengths < longest).any():
            mask = np.arange(longest) < lengths[:, None]
            batch["attention_mask"] = torch.from_numpy(mask.astype(np.int64))
        return batch

    def notes(self) -> tuple[str, ...]:
        """What happened to the rows so far that a person should know, a sentence each."""
        if not self.truncated:
            return ()
        return (f"{self.truncated} texts are longer than {self.max_length} tokens; the rest of them is not read.",)

    def files(self) -> dict[str, bytes]:
        stated = {"kind": "tokens", "max_length": self.max_length, "pad": self.pad, "lowercase": self.lowercase}
        return {_TOKENIZER: self.tokenizer, _FILE: json.dumps(stated, indent=1, sort_keys=True).encode()}

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> Self:
        """The preprocessing that ``files()`` described.

        Raises
        ------
        BundleError
            Where the description is missing, or not one of tokens.
        """
        try:
            stated = json.loads(files[_FILE])
            if stated["kind"] != "tokens":
                raise ValueError(f"it is of kind {stated['kind']!r}")
            return cls(files[_TOKENIZER], int(stated["max_length"]), int(stated["pad"]), bool(stated["lowercase"]))
        except (KeyError, TypeError, ValueError) as exc:
            raise BundleError(f"{_FILE} is missing or damaged ({exc!r}); save or fetch the model again.") from exc

    @classmethod
    def from_folder(cls, folder: Path, longest: int | None = None, pad: int = 0) -> Self:
        """The preprocessing of a checkpoint as transformers or sentence-transformers saves it.

        Parameters
        ----------
        longest
            Tokens that the network itself can take; the files may ask for fewer.
        pad
            The id of its padding token.

        Raises
        ------
        WeightsError
            Where there is neither a ``tokenizer.json`` nor BERT's ``vocab.txt``, or a file is damaged.
        """
        stated, limits = _stated(folder / "tokenizer_config.json"), _stated(folder / "sentence_bert_config.json")
        fast, plain = folder / _TOKENIZER, folder / "vocab.txt"
        if fast.is_file():
            tokenizer = fast.read_bytes()
        elif plain.is_file():
            tokenizer = wordpiece(plain.read_bytes(), bool(stated.get("do_lower_case", True)))
        else:
            raise WeightsError(
                f"{folder} has neither tokenizer.json nor vocab.txt. Write the first once with transformers: "
                "AutoTokenizer.from_pretrained(folder).save_pretrained(folder)."
            )
        known = (longest, stated.get("model_max_length"), limits.get("max_seq_length"))
        # transformers writes 1e30 for "unlimited".
        lengths = [int(length) for length in known if isinstance(length, int | float) and 2 < length < _UNLIMITED]
        return cls(tokenizer, min(lengths, default=_USUAL), pad, bool(limits.get("do_lower_case")))

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return type(self)(self.tokenizer, self.max_length, self.pad, self.lowercase)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.tokenizer, self.max_length, self.pad, self.lowercase)


def _stated(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        return dict(json.loads(path.read_bytes()))
    except (ValueError, TypeError) as exc:
        raise WeightsError(f"{path} is damaged: {exc}. Fetch it again.") from exc


def wordpiece(vocabulary: bytes, lowercase: bool = True) -> bytes:
    """A ``tokenizer.json`` for BERT from its ``vocab.txt``, one token a line.

    Raises
    ------
    WeightsError
        Where the vocabulary lacks BERT's special tokens.
    """
    tokens = {token: number for number, token in enumerate(vocabulary.decode("utf-8").splitlines())}
    lacking = [token for token in ("[UNK]", "[CLS]", "[SEP]") if token not in tokens]
    if lacking:
        raise WeightsError(f"vocab.txt lacks {', '.join(lacking)}, so it is none of BERT's; give a tokenizer.json.")
    encoder = Tokenizer(models.WordPiece(tokens, unk_token="[UNK]"))
    encoder.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    encoder.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = [(token, tokens[token]) for token in ("[CLS]", "[SEP]")]
    encoder.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=special)
    return str(encoder.to_str()).encode()
