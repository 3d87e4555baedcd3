"""CLIP's byte-pair tokenizer as the method uses it."""

from __future__ import annotations

from collections.abc import Sequence

import regex
import torch
from open_clip.tokenizer import SimpleTokenizer
from torch import Tensor

CONTEXT = 77
START, END = "<|startoftext|>", "<|endoftext|>"


class ClipTokenizer:
    """Open CLIP's tokenizer with two differences.

    The special tokens are written <|startoftext|> and <|endoftext|>, and a row that is too long is cut without its end
    token being put back (the published features were made so).
    """

    def __init__(self) -> None:
        self._pairs = SimpleTokenizer()
        for own, theirs, number in zip((START, END), list(self._pairs.cache), self._pairs.all_special_ids, strict=True):
            del self._pairs.encoder[theirs]
            self._pairs.encoder[own], self._pairs.decoder[number] = number, own
        self._pairs.cache = {START: START, END: END}
        pattern = self._pairs.pat.pattern.replace("<start_of_text>", regex.escape(START))
        self._pairs.pat = regex.compile(pattern.replace("<end_of_text>", regex.escape(END)), regex.IGNORECASE)
        self.start, self.end = self._pairs.all_special_ids

    def encode(self, text: str) -> list[int]:
        """Tokens of the cleaned, lower-case text, without start and end."""
        return self._pairs.encode(text)

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of tokens, a blank after every word."""
        return self._pairs.decode(list(tokens))

    def rows(self, texts: Sequence[str]) -> Tensor:
        """Start, tokens and end of every text, cut to 77 entries or filled with zeros, int64 [N, 77]."""
        rows = torch.zeros(len(texts), CONTEXT, dtype=torch.long)
        for row, text in zip(rows, texts, strict=True):
            tokens = [self.start, *self.encode(text), self.end][:CONTEXT]
            row[: len(tokens)] = torch.tensor(tokens)
        return rows

    def unread(self, text: str) -> str:
        """The end of the text that does not fit into a row; empty if all of it does."""
        return self.decode(self.encode(text)[CONTEXT - 1 :])
