"""One kind of query (learnable or prompt) with the objects it answers for."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from univs.modeling.losses.identity import Embeddings
from univs.modeling.losses.matcher import Match
from univs.structures import ClipPrediction, Targets

# identities of different videos of a batch must differ: video * IDENTITIES_PER_VIDEO + identity
IDENTITIES_PER_VIDEO = 1 << 32


@dataclass
class QueryGroup:
    """Predictions of M queries for B videos and T frames, and their targets.

    class_logits: per video [M, classes of its data set], or None where classes do not count.
    mask_logits: [B, M, T, h, w]. embeddings: [B, M, T, C].
    matches: per video, which query answers for which target. labels: per video, 1-based class of each target.
    masks: per video, [targets, T, H, W] in 0..1.
    """

    class_logits: list[Tensor | None]
    mask_logits: Tensor
    embeddings: Tensor
    matches: list[Match]
    labels: list[Tensor]
    masks: list[Tensor]

    def query_labels(self) -> list[Tensor]:
        """Per video the 1-based label [M] of each query, -1 for queries that answer for nothing."""
        result = []
        for match, labels in zip(self.matches, self.labels, strict=True):
            wanted = torch.full((self.mask_logits.shape[1],), -1, dtype=torch.long, device=labels.device)
            wanted[match.queries] = labels[match.objects]
            result.append(wanted)
        return result

    def matched_masks(self) -> tuple[Tensor, Tensor]:
        """Mask logits [P, T, h, w] and wanted masks [P, T, H, W] of all P pairs of the batch."""
        logits = [rows[match.queries] for rows, match in zip(self.mask_logits, self.matches, strict=True)]
        wanted = [masks[match.objects] for masks, match in zip(self.masks, self.matches, strict=True)]
        return torch.cat(logits), torch.cat(wanted)

    def matched_embeddings(self, identities: list[Tensor]) -> Embeddings:
        """Embeddings of all pairs in all frames where the pair's target has an identity.

        Args:
            identities: per video [targets, T]; entries below 0 are left out.
        """
        parts = []
        for video, (match, numbers) in enumerate(zip(self.matches, identities, strict=True)):
            values, wanted = self.embeddings[video][match.queries], numbers[match.objects].long()
            seen = wanted >= 0
            parts.append(Embeddings(values[seen], wanted[seen] + video * IDENTITIES_PER_VIDEO))
        return Embeddings.join(parts)


def learnable_group(
    prediction: ClipPrediction, matches: list[Match], targets: list[Targets], classes: list[range | None]
) -> QueryGroup:
    """The learnable queries, which answer for the objects that they are matched to."""
    rows = slice(0, prediction.num_learnable)
    labels, masks = [target.labels for target in targets], [target.masks for target in targets]
    return _group(prediction, rows, matches, labels, masks, classes)


def prompt_group(prediction: ClipPrediction, targets: list[Targets], classes: list[range | None]) -> QueryGroup | None:
    """The prompt queries, which answer for the prompted objects (or classes); None when there are none."""
    rows = slice(prediction.num_learnable, prediction.mask_logits.shape[1])
    if rows.start == rows.stop:
        return None
    matches, labels, masks = [], [], []
    for target in targets:
        queries = (target.prompt_obj_ids >= 0).nonzero()[:, 0]
        matches.append(Match(queries, target.prompt_obj_ids[queries]))
        labels.append(target.semantic_labels if target.has_class_prompts else target.labels)
        masks.append(target.semantic_masks if target.has_class_prompts else target.masks)
    return _group(prediction, rows, matches, labels, masks, classes)


def class_columns(prediction: ClipPrediction, rows: slice, classes: list[range | None]) -> list[Tensor | None]:
    """Per video the class logits of the rows for the classes of its data set, or None."""
    return [
        None if columns is None else logits[rows, columns.start : columns.stop]
        for logits, columns in zip(prediction.class_logits, classes, strict=True)
    ]


def _group(prediction, rows, matches, labels, masks, classes) -> QueryGroup:
    logits = class_columns(prediction, rows, classes)
    return QueryGroup(logits, prediction.mask_logits[:, rows], prediction.embeddings[:, rows], matches, labels, masks)
