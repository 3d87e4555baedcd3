"""Text embeddings of the classes of each data set."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from univs.errors import UserError
from univs.modeling.text.registry import FrozenTextEncoder
from univs.modeling.text.templates import clean_class_name
from univs.modeling.text.vocabulary import class_table, read_class_table


class ClassEmbeddings:
    """Embeddings by short name of the data set, from a table on disk or made of names; never trained.

    ranges: rows of the table by data set; the table is read when first needed. encoder: makes embeddings of names.
    names_of: gives the class names of a data set, from which its embeddings are made where there is no table.
    """

    names_of: Callable[[str], Sequence[str]] | None = None

    def __init__(
        self, ranges: Mapping[str, range], path: str | Path, dim: int, encoder: FrozenTextEncoder | None = None
    ) -> None:
        self.num_classes = {name: len(rows) for name, rows in ranges.items()}
        self._ranges = ranges
        self._path = path
        self._dim = dim
        self._encoder = encoder
        self._table: Tensor | None = None
        self._embeddings: dict[str, Tensor] = {}

    def __call__(self, dataset: str, device: torch.device | str = "cpu") -> Tensor | None:
        """Embeddings [V, D] of the classes 1, 2, ... of a data set; None if it has no classes.

        Raises:
            UserError: the data set has classes, but neither a table nor their names were given.
        """
        if dataset not in self.num_classes:
            return None
        if dataset not in self._embeddings:
            self._embeddings[dataset] = self._made(dataset)
        if self._embeddings[dataset].device != torch.device(device):
            self._embeddings[dataset] = self._embeddings[dataset].to(device)
        return self._embeddings[dataset]

    def whole_table(self, device: torch.device | str = "cpu") -> Tensor | None:
        """Embeddings of all classes of all data sets, where they were given as a table."""
        return self._whole_table().to(device) if self._path else None

    def of_names(self, names: Sequence[str], device: torch.device | str = "cpu") -> Tensor:
        """Embeddings [N, D] of any class names: rows of the table where it has all of them, else made by the encoder.

        Raises:
            UserError: the table lacks a name, and there is no text encoder.
        """
        known = self._known_rows
        unknown = [name for name in names if clean_class_name(name) not in known]
        if names and not unknown:
            return self._whole_table()[[known[clean_class_name(name)] for name in names]].to(device)
        if self._encoder is None:
            lacking = f"the table of classes has no {', '.join(map(repr, unknown))}" if known else "there is no table"
            raise UserError(f"Categories need a text encoder: MODEL.UNIVS.TEXT.ENCODER is NONE, and {lacking}.")
        return class_table(self._encoder, names).to(device)

    @functools.cached_property
    def _known_rows(self) -> dict[str, int]:
        """Row of the table by cleaned name; of equal names the first counts, and nothing is known without a table."""
        known: dict[str, int] = {}
        for dataset, rows in self._ranges.items() if self._path and self.names_of else ():
            try:
                names = self.names_of(dataset)
            except UserError:  # no list of its names comes with the library
                continue
            if len(names) == len(rows):
                known = {clean_class_name(name): row for name, row in zip(names, rows, strict=True)} | known
        return known

    def set_names(self, dataset: str, names: Sequence[str]) -> None:
        """Use embeddings of these names, class 1 first, made by the text encoder or read from its cache on disk."""
        if self._encoder is None:
            raise UserError(f"The class names of '{dataset}' need a text encoder; set MODEL.UNIVS.TEXT.ENCODER.")
        self.set_embeddings(dataset, class_table(self._encoder, names))

    def set_embeddings(self, dataset: str, embeddings: Tensor) -> None:
        """Use these embeddings [V, D], class 1 first."""
        self._embeddings[dataset] = embeddings
        self.num_classes[dataset] = len(embeddings)

    def _made(self, dataset: str) -> Tensor:
        rows = self._ranges[dataset]
        if self._path:
            return self._whole_table()[rows.start : rows.stop]
        if self.names_of is None or self._encoder is None:
            raise UserError(
                f"There are no embeddings for the classes of '{dataset}'; name a table in "
                "MODEL.UNIVS.TEXT.CLASS_EMBEDDINGS or give the names of the classes."
            )
        names = self.names_of(dataset)
        if len(names) != len(rows):
            raise UserError(
                f"MODEL.UNIVS.TEXT.CLASS_RANGES has {len(rows)} classes for '{dataset}', its vocabulary {len(names)}."
            )
        return class_table(self._encoder, names)

    def _whole_table(self) -> Tensor:
        if self._table is None:
            self._table = read_class_table(self._path, self._dim)
            last = max(rows.stop for rows in self._ranges.values())
            if len(self._table) < last:
                raise UserError(
                    f"The class embeddings '{self._path}' have {len(self._table)} rows, MODEL.UNIVS.TEXT.CLASS_RANGES "
                    f"names rows up to {last}."
                )
        return self._table
