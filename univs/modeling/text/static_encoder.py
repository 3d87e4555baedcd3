"""The embedded model's text encoder: a fixed vector for every word piece.

A sentence is the sum of its word pieces, in which function words weigh little, scaled to unit length. Word order is
lost; in return it needs no network and a few megabytes. `table_builder` makes the table.
"""

from __future__ import annotations

import functools
import hashlib
import unicodedata
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import regex
import torch
import torch.nn.functional as F
from detectron2.config import CfgNode
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from univs.errors import UserError
from univs.modeling.text.registry import TEXT_ENCODER_REGISTRY, FrozenTextEncoder, warn_of_truncation
from univs.modeling.text.templates import clean_class_name
from univs.resources import weights_file

TABLE_NAME = "text_table.safetensors"
# a text is cut after so many word pieces, which bounds the memory that a user's text can take
MAX_PIECES = 256
# letters of East Asian scripts are words of their own; so is every punctuation mark
_WORDS = regex.compile(r"\p{Han}|[^\s\p{P}\p{S}\p{Han}\p{C}]+|[\p{P}\p{S}]")
# accents, and invisible signs such as the zero-width joiner
_DROPPED = ("Mn", "Cf")
CONTINUATION = "##"


def split_words(text: str) -> list[str]:
    """Lower-case words and punctuation marks of a text, without accents."""
    plain = unicodedata.normalize("NFD", text.lower())
    return _WORDS.findall("".join(letter for letter in plain if unicodedata.category(letter) not in _DROPPED))


class WordPieces:
    """Splits words into the longest pieces of a vocabulary; pieces inside a word begin with "##" there."""

    def __init__(self, pieces: Sequence[str]) -> None:
        self.numbers = {piece: number for number, piece in enumerate(pieces)}
        self._longest = max(map(len, pieces))

    def split(self, text: str) -> list[int]:
        """Numbers of the pieces of a text; words that cannot be put together from pieces are left out."""
        return [number for word in split_words(text) for number in self._split_word(word)]

    def _split_word(self, word: str) -> list[int]:
        numbers, start = [], 0
        while start < len(word):
            found = next(self._pieces_at(word, start), None)
            if found is None:
                return []
            number, start = found
            numbers.append(number)
        return numbers

    def _pieces_at(self, word: str, start: int) -> Iterator[tuple[int, int]]:
        """Number and end of the pieces that begin at ``start``, the longest first."""
        prefix = CONTINUATION if start else ""
        for end in range(min(len(word), start + self._longest), start, -1):
            number = self.numbers.get(prefix + word[start:end])
            if number is not None:
                yield number, end


@TEXT_ENCODER_REGISTRY.register()
class StaticTextEncoder(FrozenTextEncoder):
    """Sentences are weighted sums of word-piece vectors, of unit length.

    path: file written by `table_builder.write_table`; read when first needed.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._device = torch.device("cpu")

    @classmethod
    def from_config(cls, cfg: CfgNode) -> StaticTextEncoder:
        """The table named MODEL.UNIVS.TEXT.WEIGHTS; without a name, the one that comes with the library."""
        return cls(cfg.MODEL.UNIVS.TEXT.WEIGHTS or weights_file(TABLE_NAME))

    @property
    def dim(self) -> int:
        """D, width of the embeddings."""
        return self._table["directions"].shape[1]

    def to(self, device: torch.device | str) -> StaticTextEncoder:
        """Give embeddings on this device; the table itself stays on the CPU."""
        self._device = torch.device(device)
        return self

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Unit-length embeddings [N, D]; zero for a text without any known word."""
        sums = [self._rows(numbers).t() @ self._table["weights"][numbers].float() for numbers in self._split(texts)]
        stacked = torch.stack(sums) if sums else torch.zeros(0, self.dim)
        return F.normalize(stacked, dim=1).to(self._device)

    def encode_classes(self, names: Sequence[str]) -> Tensor:
        """Unit-length embeddings of class names, [N, D]."""
        return self.encode([clean_class_name(name) for name in names])

    def tokens(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Unit-length embeddings of the word pieces [N, L, D], zero beyond the end of a text; mask bool [N, L]."""
        split = self._split(texts)
        longest = max((len(numbers) for numbers in split), default=0)
        embeddings = torch.zeros(len(texts), longest, self.dim)
        mask = torch.zeros(len(texts), longest, dtype=torch.bool)
        for row, numbers in enumerate(split):
            embeddings[row, : len(numbers)] = self._rows(numbers)
            mask[row, : len(numbers)] = True
        return embeddings.to(self._device), mask.to(self._device)

    def fingerprint(self) -> str:
        """Hash of the table's file."""
        return hashlib.sha256(self._path.read_bytes()).hexdigest()

    @functools.cached_property
    def _table(self) -> dict[str, Tensor]:
        try:
            table = load_file(self._path)
            table["directions"], table["weights"], table["pieces"]
        except (OSError, SafetensorError, KeyError) as error:
            raise UserError(f"The text table '{self._path}' cannot be read: {error}") from error
        return table

    @functools.cached_property
    def _pieces(self) -> list[str]:
        return zlib.decompress(self._table["pieces"].numpy().tobytes()).decode("utf-8").split("\n")

    @functools.cached_property
    def _splitter(self) -> WordPieces:
        return WordPieces(self._pieces)

    def _split(self, texts: Sequence[str]) -> list[list[int]]:
        """Numbers of the pieces of every text, at most MAX_PIECES each."""
        split = [self._splitter.split(text) for text in texts]
        for text, numbers in zip(texts, split, strict=True):
            if len(numbers) > MAX_PIECES:
                dropped = " ".join(self._pieces[number] for number in numbers[MAX_PIECES:])
                warn_of_truncation(text, MAX_PIECES, dropped.replace(f" {CONTINUATION}", ""))
        return [numbers[:MAX_PIECES] for numbers in split]

    def _rows(self, numbers: list[int]) -> Tensor:
        """Unit-length vectors of word pieces, [L, D]."""
        return F.normalize(self._table["directions"][numbers].float(), dim=1)
