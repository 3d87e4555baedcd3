"""Contrastive losses that pull embeddings of one object together, across frames, queries and clips."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from univs.layers.draws import Draws

MAX_EXCESS = 10.0  # exponents are cut here


@dataclass(frozen=True)
class Embeddings:
    """Embeddings [N, C] and the identity of each, int64 [N]; equal numbers mean the same object of the same video."""

    values: Tensor
    identities: Tensor

    @staticmethod
    def join(parts: list[Embeddings]) -> Embeddings:
        """All embeddings, one part after the other."""
        return Embeddings(torch.cat([part.values for part in parts]), torch.cat([part.identities for part in parts]))

    def reorder(self, order: Tensor) -> Embeddings:
        """The embeddings of the given rows."""
        return replace(self, values=self.values[order], identities=self.identities[order])


class IdentityLoss:
    """Contrastive loss and its auxiliary cosine loss between rows and columns of embeddings.

    Row loss: log(1 + sum over negative columns and references r of exp(min(s - r, 10))), where s is the dot product
    divided by sqrt(C) and the references are the row's first positive and the mean of its positives.
    """

    def __init__(self, draws: Draws, max_columns: int = 20) -> None:
        self.draws = draws
        self.max_columns = max_columns

    def __call__(self, rows: Embeddings, columns: Embeddings) -> tuple[Tensor, Tensor]:
        """Row loss and auxiliary loss, both divided by the number of rows; rows without a positive do not count."""
        positive = rows.identities[:, None] == columns.identities[None]
        kept = positive.any(1)
        if not kept.any():
            nothing = (rows.values.sum() + columns.values.sum()) * 0.0
            return nothing, nothing
        positive = positive[kept]
        similarity, cosine = similarities(rows.values[kept], columns.values)
        first = similarity.gather(1, positive.int().argmax(1, keepdim=True))
        mean = (similarity * positive).sum(1, keepdim=True) / positive.sum(1, keepdim=True)
        chosen = self._columns("reid", positive)
        contrast = row_loss(similarity[:, chosen], torch.cat([first, mean], 1), ~positive[:, chosen]).mean()
        chosen = self._columns("reid_aux", positive)
        return contrast, cosine_loss(cosine[:, chosen], positive[:, chosen]) / len(cosine)

    def _columns(self, purpose: str, positive: Tensor) -> Tensor:
        """Random columns in ascending order: three quarters with a positive, one quarter without."""
        limit = min(self.max_columns, 3 * positive.shape[0])
        has_positive = positive.any(0)
        chosen = []
        for suffix, candidates, count in (
            ("pos_columns", has_positive.nonzero()[:, 0], int(0.75 * limit)),
            ("bg_columns", (~has_positive).nonzero()[:, 0], int(0.25 * limit)),
        ):
            order = self.draws.permutation(f"{purpose}_{suffix}", len(candidates)).to(candidates.device)
            chosen.append(candidates[order[:count]])
        return torch.cat(chosen).sort().values


class InterClipIdentityLoss:
    """The same idea between the clips of a long video: one anchor per object, all embeddings as columns."""

    def __init__(self, draws: Draws, num_columns: int = 30, num_positives: int = 3) -> None:
        self.draws = draws
        self.num_columns = num_columns
        self.num_positives = num_positives

    def __call__(self, embeddings: Embeddings) -> tuple[Tensor, Tensor]:
        """Mean row loss over anchors, and the auxiliary loss divided by their number."""
        total = len(embeddings.identities)
        if total == 0:
            nothing = embeddings.values.sum() * 0.0
            return nothing, nothing
        order = self.draws.permutation("interclip_shuffle", total).to(embeddings.identities.device)
        columns = embeddings.reorder(order)
        rows = columns.reorder(first_rows(columns.identities))
        positive = rows.identities[:, None] == columns.identities[None]
        similarity, cosine = similarities(rows.values, columns.values)
        chosen = self._columns("interclip_columns", total, similarity.device)
        references = self._references(similarity, positive)
        contrast = row_loss(similarity[:, chosen], references, ~positive[:, chosen]).mean()
        chosen = self._columns("interclip_aux_columns", total, similarity.device)
        return contrast, cosine_loss(cosine[:, chosen], positive[:, chosen]) / len(rows.identities)

    def _references(self, similarity: Tensor, positive: Tensor) -> Tensor:
        """Similarities [N, num_positives] of positives of every row, drawn with replacement."""
        references = []
        for row, is_positive in zip(similarity, positive, strict=True):
            candidates = row[is_positive]
            draw = self.draws.uniform("interclip_pos_choice", (self.num_positives,)).to(row.device)
            references.append(candidates[(draw * len(candidates)).long().clamp(max=len(candidates) - 1)])
        return torch.stack(references)

    def _columns(self, purpose: str, total: int, device: torch.device) -> Tensor:
        return self.draws.permutation(purpose, total)[: self.num_columns].to(device)


def similarities(rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
    """Dot products divided by sqrt(C), and cosines, of [N, C] with [M, C]: both [N, M], in float32."""
    # products of unnormalised embeddings are too coarse in half precision
    with torch.autocast(rows.device.type, enabled=False):
        rows, columns = rows.float(), columns.float()
        return rows @ columns.t() / rows.shape[1] ** 0.5, F.normalize(rows, dim=1) @ F.normalize(columns, dim=1).t()


def row_loss(similarity: Tensor, references: Tensor, negative: Tensor) -> Tensor:
    """log(1 + sum of exp(min(s - r, 10))) per row: s [N, M] where ``negative`` [N, M], r [N, R] references: [N]."""
    excess = (similarity[:, None] - references[:, :, None]).clamp(max=MAX_EXCESS)
    return torch.log1p((excess.exp() * negative[:, None]).sum((1, 2)))


def cosine_loss(cosine: Tensor, positive: Tensor) -> Tensor:
    """Summed smooth L1 distance of cosines [N, M], cut at 0, from 1 where ``positive`` and 0 elsewhere."""
    return F.smooth_l1_loss(cosine.clamp(min=0), positive.to(cosine), reduction="sum")


def first_rows(identities: Tensor) -> Tensor:
    """Positions of the first occurrence of every identity of [N], in order."""
    seen: dict[int, int] = {}
    for position, identity in enumerate(identities.tolist()):
        seen.setdefault(identity, position)
    return torch.tensor(list(seen.values()), dtype=torch.long, device=identities.device)
