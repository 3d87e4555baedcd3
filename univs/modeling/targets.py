"""From training samples to the targets of matching and losses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from detectron2.structures import Instances
from torch import Tensor

from univs.errors import UserError
from univs.layers.draws import Draws
from univs.structures import Targets

Sample = Mapping[str, Any]
# from N sentences to word features [N, L, D] and sentence features [N, D]
EncodeExpressions = Callable[[Sequence[str]], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class TargetSettings:
    """How many objects are kept, and how detection data are prompted.

    max_objects: objects kept per video. visual_prompt_share: share of detection batches with visual prompts, the rest
    has class names. visual_prompt_datasets: always visual. crowded_datasets: thinned out to twice ``max_objects``
    first.
    """

    max_objects: int = 30
    visual_prompt_share: float = 0.3085
    visual_prompt_datasets: frozenset[str] = frozenset()
    crowded_datasets: frozenset[str] = frozenset()


class TargetBuilder:
    """Makes the targets of a batch whose samples share task and data set.

    A sample has ``instances`` (per frame detectron2 Instances over the same n objects, with ``gt_masks``, ``gt_boxes``
    in pixels, ``gt_classes`` from 1 and ``gt_ids``; both -1 where an object is not visible), ``frame_indices``,
    ``task`` ("detection", "sot", "grounding"), ``dataset_name`` and for grounding ``expressions``, a sentence per
    object ("" for none), and optionally ``expression_ids``: entries with equal numbers are the same object, described
    several times.
    """

    def __init__(
        self,
        settings: TargetSettings,
        draws: Draws,
        num_classes: Mapping[str, int],
        encode: EncodeExpressions | None = None,
    ) -> None:
        """``num_classes``: by data set, one without has no classes; ``encode``: text features of expressions."""
        self.settings = settings
        self.draws = draws
        self.num_classes = num_classes
        self.encode = encode

    def __call__(self, samples: Sequence[Sample], padded_size: tuple[int, int]) -> list[Targets]:
        """Targets of B videos at the padded size (H, W) in pixels, on the CPU.

        Raises:
            UserError: a class is 0 or above the classes of its data set, or sentences come without a text encoder.
        """
        kind = self._prompt_kind(samples[0])
        found = [self._objects(sample, padded_size, kind) for sample in samples]
        targets = [target for target, _ in found]
        if targets[0].task == "grounding":
            counts = self._add_expressions(samples, targets, [rows for _, rows in found])
        elif kind == "text":
            counts = [len(_present_classes(target)) for target in targets]
        else:
            counts = [len(target.labels) for target in targets]
        for target in targets:
            target.num_max_instances = min(max(counts), self.settings.max_objects)
            if target.task == "grounding":
                _repeat_expressions(target)
            elif kind == "text":
                self._add_class_prompts(target)
            _keep_first(target, self.settings.max_objects)
        return targets

    def _prompt_kind(self, sample: Sample) -> str:
        task, dataset = sample["task"], sample["dataset_name"]
        if task == "grounding":
            return "text"
        # without class names there is nothing else to prompt with
        if task == "sot" or dataset in self.settings.visual_prompt_datasets or dataset not in self.num_classes:
            return "visual"
        threshold = 1 - self.settings.visual_prompt_share
        return "visual" if self.draws.number("detection_prompt_kind") > threshold else "text"

    def _objects(self, sample: Sample, padded_size: tuple[int, int], kind: str) -> tuple[Targets, Tensor]:
        """Targets of the visible objects of one video, and their rows in the sample."""
        frames, dataset = sample["instances"], sample["dataset_name"]
        masks = torch.stack([_mask_tensor(frame) for frame in frames], 1)
        labels = _first_known(torch.stack([frame.gt_classes for frame in frames], 1))
        _check_labels(labels, dataset, self.num_classes.get(dataset))
        visible = masks.flatten(2).any(2)
        rows = self._thinned(visible.any(1).nonzero()[:, 0], labels, dataset)
        ids = torch.where(visible, torch.stack([frame.gt_ids for frame in frames], 1), -1)[rows]
        if len(rows):
            ids = torch.where(ids >= 0, ids - ids[ids >= 0].amin(), -1)
        height, width = padded_size
        boxes = torch.stack([frame.gt_boxes.tensor for frame in frames], 1)[rows]
        target = Targets(
            labels=labels[rows],
            ids=ids,
            masks=F.pad(masks[rows].float(), (0, width - masks.shape[3], 0, height - masks.shape[2])),
            boxes=boxes / boxes.new_tensor([width, height, width, height]),
            frame_indices=torch.as_tensor(sample["frame_indices"]),
            task=sample["task"],
            dataset_name=dataset,
            prompt_kind=kind,
        )
        return target, rows

    def _thinned(self, rows: Tensor, labels: Tensor, dataset: str) -> Tensor:
        """At most twice ``max_objects`` of the rows of a crowded video, whole classes at a time where there are any."""
        limit = 2 * self.settings.max_objects
        if dataset not in self.settings.crowded_datasets or len(rows) <= limit:
            return rows
        own = labels[rows]
        if (own < 0).all():
            return rows[self.draws.permutation("many_objects", len(rows))[:limit]].sort().values
        classes = own.unique()
        kept = torch.zeros_like(own, dtype=torch.bool)
        for place in self.draws.permutation("many_objects_classes", len(classes)).tolist():
            kept |= own == classes[place]
            if kept.sum() >= limit:
                break
        return rows[kept][:limit]

    def _add_class_prompts(self, target: Targets) -> None:
        """Prompts for the classes that are present, filled up with random absent ones."""
        present = _present_classes(target)
        everything = torch.arange(1, self.num_classes[target.dataset_name] + 1)
        absent = everything[~torch.isin(everything, present)]
        absent = absent[self.draws.permutation("absent_classes", len(absent))]
        entries = target.num_max_instances
        masks = [target.masks[target.labels == label].amax(0) for label in present]
        target.semantic_labels = present
        target.semantic_masks = torch.stack(masks) if masks else target.masks[:0]
        target.prompt_labels = torch.cat([present, absent])[:entries]
        target.prompt_obj_ids = F.pad(torch.arange(len(present)), (0, entries), value=-1)[:entries]

    def _add_expressions(self, samples: Sequence[Sample], targets: list[Targets], rows: list[Tensor]) -> list[int]:
        """Add the sentences of all videos to their targets, unpadded; returns the number of sentences per video."""
        spoken = []
        for sample, target, own in zip(samples, targets, rows, strict=True):
            sentences = [sample["expressions"][row] for row in own.tolist()]
            names = sample.get("expression_ids", range(len(sample["expressions"])))
            numbers = _merge_descriptions(target, [names[row] for row in own.tolist()], sentences)
            target.prompt_obj_ids = numbers
            spoken.append([sentence for sentence in sentences if sentence])
        counts = [len(sentences) for sentences in spoken]
        if sum(counts):
            words, wholes = self._encoded([sentence for sentences in spoken for sentence in sentences])
            for target, own, whole in zip(targets, words.split(counts), wholes.split(counts), strict=True):
                target.expression_words, target.expression_sentences = own, whole
        return counts

    def _encoded(self, sentences: list[str]) -> tuple[Tensor, Tensor]:
        if self.encode is None:
            raise UserError("Samples with expressions need a text encoder; set MODEL.UNIVS.TEXT.ENCODER.")
        return self.encode(sentences)


def _mask_tensor(frame: Instances) -> Tensor:
    """Masks [n, H, W] of one frame, from BitMasks or a plain tensor."""
    return getattr(frame.gt_masks, "tensor", frame.gt_masks)


def _first_known(classes: Tensor) -> Tensor:
    """The first class [n] of [n, T] that is not -1."""
    first = (classes != -1).int().argmax(1, keepdim=True)
    return classes.gather(1, first)[:, 0]


def _check_labels(labels: Tensor, dataset: str, num_classes: int | None) -> None:
    wrong = labels[labels == 0] if num_classes is None else labels[(labels == 0) | (labels > num_classes)]
    if len(wrong):
        limits = "from 1" if num_classes is None else f"from 1 to {num_classes}"
        raise UserError(f"A sample of '{dataset}' has the class {int(wrong[0])}; classes run {limits}, -1 is unknown.")


def _present_classes(target: Targets) -> Tensor:
    """Known classes of the video, ascending."""
    return target.labels[target.labels > 0].unique()


def _merge_descriptions(target: Targets, names: Sequence[int], sentences: Sequence[str]) -> Tensor:
    """Keep one row per object, described ones first, each with its place as identity, in place.

    ``names``: per row, equal for descriptions of the same object. Returns the place of the object of every sentence.
    """
    described = [name for name, sentence in zip(names, sentences, strict=True) if sentence]
    places = {name: place for place, name in enumerate(dict.fromkeys([*described, *names]))}
    rows = torch.tensor([names.index(name) for name in places], dtype=torch.long)
    for attribute in ("labels", "masks", "boxes"):
        setattr(target, attribute, getattr(target, attribute)[rows])
    target.ids = torch.where(target.ids[rows] >= 0, torch.arange(len(rows))[:, None], -1)
    return torch.tensor([places[name] for name in described], dtype=torch.long)


def _repeat_expressions(target: Targets) -> None:
    """Repeat the sentences from the first on until there are as many as entries; without any, entries are absent."""
    count, entries = len(target.prompt_obj_ids), target.num_max_instances
    if target.expression_words is None:
        target.prompt_obj_ids = torch.full((entries,), -1)
        return
    order = torch.arange(entries) % count if count else torch.zeros(0, dtype=torch.long)
    missing = entries - len(order)
    target.prompt_obj_ids = F.pad(target.prompt_obj_ids[order], (0, missing), value=-1)
    order = order.to(target.expression_words.device)
    target.expression_words = F.pad(target.expression_words[order], (0, 0, 0, 0, 0, missing))
    target.expression_sentences = F.pad(target.expression_sentences[order], (0, 0, 0, missing))


def _keep_first(target: Targets, count: int) -> None:
    for attribute in ("labels", "ids", "masks", "boxes"):
        setattr(target, attribute, getattr(target, attribute)[:count])
