"""All training losses of a clip: learnable queries by matching, prompt queries by the objects they stand for."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from detectron2.utils import comm
from torch import Tensor

from univs.layers.draws import Draws
from univs.modeling.losses.classification import class_loss
from univs.modeling.losses.identity import Embeddings, IdentityLoss
from univs.modeling.losses.mask import IGNORED, MaskLoss, PointSettings, first_mask_of_pixels
from univs.modeling.losses.matcher import HungarianMatcher, MatcherSettings
from univs.modeling.losses.query_group import QueryGroup, class_columns, learnable_group, prompt_group
from univs.structures import ClipPrediction, Targets

Losses = dict[str, Tensor]


@dataclass(frozen=True)
class CriterionSettings:
    """Settings of matcher and losses; ``deep_supervision``: the same losses after every decoder layer."""

    matcher: MatcherSettings = MatcherSettings()
    points: PointSettings = PointSettings()
    deep_supervision: bool = True


class Criterion:
    """Losses of every decoder layer.

    Terms: ``loss_ce`` (classes), ``loss_mask`` and ``loss_dice`` (masks), ``loss_reid`` and ``loss_reid_aux``
    (embeddings of one kind of query), ``loss_reid_l2p`` and ``loss_reid_l2p_aux`` (learnable against prompt queries).
    What exists for learnable and for prompt queries is the mean of both.
    """

    def __init__(self, settings: CriterionSettings, draws: Draws) -> None:
        self.settings = settings
        self.matcher = HungarianMatcher(settings.matcher, draws)
        self.mask_loss = MaskLoss(settings.points, draws)
        self.identity_loss = IdentityLoss(draws)

    def __call__(
        self, prediction: ClipPrediction, targets: list[Targets], classes: list[range | None]
    ) -> tuple[Losses, list[Embeddings]]:
        """Unweighted losses, and what the losses between clips need.

        The last layer's terms have no suffix; layer i of ``prediction.auxiliary`` adds the suffix ``_i``.

        Args:
            prediction: of B videos.
            targets: of the B videos, the prompts among them.
            classes: per video, the columns of the class logits that are its classes 1, 2, ...; None where classes do
                not count.

        Returns:
            The losses, and per layer (auxiliary layers first) the embeddings with identities of the prompt queries,
            unless they are class prompts, and of the matched learnable queries.
        """
        layers = prediction.auxiliary if self.settings.deep_supervision else []
        losses: Losses = {}
        embeddings = []
        # sums over thousands of points pass the range of half precision
        with torch.autocast(prediction.mask_logits.device.type, enabled=False):
            for number, layer in enumerate(layers):
                terms, kept = self._layer(layer, targets, classes)
                losses |= {f"{name}_{number}": value for name, value in terms.items()}
                embeddings.append(kept)
            terms, kept = self._layer(prediction, targets, classes)
        return terms | losses, [*embeddings, kept]

    def _layer(
        self, prediction: ClipPrediction, targets: list[Targets], classes: list[range | None]
    ) -> tuple[Losses, Embeddings]:
        learnable = self._match(prediction, targets, classes)
        prompts = prompt_group(prediction, targets, classes)
        frames = prediction.mask_logits.shape[2]
        rows = learnable.matched_embeddings([target.ids for target in targets])
        losses = self._mask_terms(learnable, frames * _objects_per_process(targets, prediction.mask_logits.device))
        losses |= self._class_term(learnable) | self._identity_terms("loss_reid", rows, rows)
        if prompts is None:
            return losses, rows
        own = prompts.matched_embeddings([_constant_identities(target, frames) for target in targets])
        terms = self._mask_terms(prompts, frames * prompts.mask_logits.shape[:2].numel())
        terms |= self._class_term(prompts) | self._identity_terms("loss_reid", own, own)
        if targets[0].has_class_prompts:
            terms["loss_mask"] = terms["loss_mask"] + self._competition(prompts, targets)
        losses = {name: 0.5 * (terms[name] + value) for name, value in losses.items()}
        between, kept = self._between_kinds(learnable, prompts, rows, targets)
        return losses | between, kept

    def _match(self, prediction: ClipPrediction, targets: list[Targets], classes: list[range | None]) -> QueryGroup:
        rows = slice(0, prediction.num_learnable)
        logits = class_columns(prediction, rows, classes)
        matches = self.matcher(logits, prediction.mask_logits[:, rows], targets)
        return learnable_group(prediction, matches, targets, classes)

    def _class_term(self, group: QueryGroup) -> Losses:
        videos = zip(group.class_logits, group.query_labels(), strict=True)
        scored = [(logits, labels) for logits, labels in videos if logits is not None]
        if not scored:
            return {"loss_ce": group.mask_logits.sum() * 0.0}
        return {"loss_ce": class_loss([logits for logits, _ in scored], [labels for _, labels in scored])}

    def _mask_terms(self, group: QueryGroup, num_masks: float) -> Losses:
        entropy, dice = self.mask_loss.overlap(*group.matched_masks(), num_masks)
        return {"loss_mask": entropy, "loss_dice": dice}

    def _competition(self, prompts: QueryGroup, targets: list[Targets]) -> Tensor:
        labels = []
        for target, match in zip(targets, prompts.matches, strict=True):
            order = torch.cat([match.queries, match.queries.new_tensor([IGNORED])])
            labels.append(order[first_mask_of_pixels(target.semantic_masks[match.objects])])
        return self.mask_loss.competition(prompts.mask_logits, torch.stack(labels))

    def _identity_terms(self, name: str, rows: Embeddings, columns: Embeddings) -> Losses:
        contrast, auxiliary = self.identity_loss(rows, columns)
        return {name: contrast, f"{name}_aux": auxiliary}

    def _between_kinds(
        self, learnable: QueryGroup, prompts: QueryGroup, rows: Embeddings, targets: list[Targets]
    ) -> tuple[Losses, Embeddings]:
        """Terms of learnable against prompt queries, and the embeddings that are kept for other clips."""
        if not targets[0].has_class_prompts:
            columns = prompts.matched_embeddings([target.ids for target in targets])
            return self._identity_terms("loss_reid_l2p", rows, columns), Embeddings.join([columns, rows])
        frames = prompts.mask_logits.shape[2]
        own = learnable.matched_embeddings(
            [torch.where(target.ids >= 0, target.labels[:, None], -1) for target in targets]
        )
        other = prompts.matched_embeddings([target.semantic_labels[:, None].expand(-1, frames) for target in targets])
        terms = self._identity_terms("loss_reid_l2p", own, other)
        # a class prompt stands for several objects, so that its embedding need not resemble each of theirs
        terms["loss_reid_l2p_aux"] = terms["loss_reid_l2p_aux"] * 0.0
        return terms, rows


def _constant_identities(target: Targets, frames: int) -> Tensor:
    """Identities [targets, T] of prompts: the place of the target, in every frame."""
    count = len(target.semantic_labels if target.has_class_prompts else target.labels)
    return torch.arange(count, device=target.ids.device)[:, None].expand(-1, frames)


def _objects_per_process(targets: list[Targets], device: torch.device) -> float:
    """Objects of the batch, averaged over the processes that train together, at least 1."""
    count = torch.tensor(float(sum(len(target.labels) for target in targets)), device=device)
    if comm.get_world_size() > 1:
        torch.distributed.all_reduce(count)
    return max(1.0, float(count) / comm.get_world_size())
