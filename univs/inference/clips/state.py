"""What is carried from clip to clip: one row per object, only the latest frames and slots.

Shape letters: N objects, F latest frames, H x W the size that masks are held in (padded input pixels, of found objects
a quarter of them along each side), S slots of embeddings, K classes. The last frame held is always the last frame of
the present clip.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

NOT_SEEN = -1
NO_LABEL = -1
# tensors whose second axis runs over frames
BY_FRAME = ("mask_logits", "boxes", "occurrence")


@dataclass
class ObjectState:
    """Rows of N objects.

    ids: [N] int64. first_frames: [N] int64, frame of the video in which the object was first seen, -1 not yet;
    last_frames: [N] int64, the latest one of a clip in which a found object was seen.
    labels: [N] int64 class (0-based), -1 unknown.
    mask_logits: [N, F, H, W]; positive pixels are the mask. boxes: [N, F', 4] in 0..1 of the padded frame.
    embeddings: [N, S, C], zero where a slot is empty. occurrence: [N, F] clips that showed the object in the frame.
    quality: [N] sum of mask qualities. class_sum: [N, K] sum of the class scores of all slots but the newest;
    class_last: [N, K] those of the newest slot; class_slots: number of all slots.
    """

    ids: Tensor
    first_frames: Tensor
    last_frames: Tensor
    labels: Tensor
    mask_logits: Tensor
    boxes: Tensor
    embeddings: Tensor
    occurrence: Tensor
    quality: Tensor
    class_sum: Tensor
    class_last: Tensor
    class_slots: int = 0

    @classmethod
    def empty(cls, size: tuple[int, int], channels: int, classes: int, device: torch.device | str) -> ObjectState:
        """No object, frame or slot; ``size`` is (H, W)."""
        whole = torch.zeros(0, dtype=torch.int64, device=device)
        number = torch.zeros(0, device=device)
        return cls(
            ids=whole,
            first_frames=whole,
            last_frames=whole,
            labels=whole,
            mask_logits=number.new_zeros(0, 0, *size),
            boxes=number.new_zeros(0, 0, 4),
            embeddings=number.new_zeros(0, 0, channels),
            occurrence=number.new_zeros(0, 0),
            quality=number,
            class_sum=number.new_zeros(0, classes),
            class_last=number.new_zeros(0, classes),
        )

    def __len__(self) -> int:
        """N."""
        return len(self.ids)

    @property
    def frames(self) -> int:
        """F, frames whose masks are held."""
        return self.mask_logits.shape[1]

    def add(self, ids: Tensor) -> Tensor:
        """Add objects that nothing is known of; returns their rows, int64 [n]."""
        rows = torch.arange(len(self), len(self) + len(ids), device=self.ids.device)
        for name, value in self._tensors():
            blank = value.new_zeros(len(ids), *value.shape[1:])
            setattr(self, name, torch.cat([value, blank]))
        self.ids[rows] = ids.to(self.ids)
        self.first_frames[rows] = self.last_frames[rows] = NOT_SEEN
        self.labels[rows] = NO_LABEL
        return rows

    def keep(self, rows: Tensor) -> None:
        """Keep the objects of these rows, in this order."""
        for name, value in self._tensors():
            setattr(self, name, value[rows])

    def extend(self, frames: int) -> None:
        """Add empty frames."""
        for name in BY_FRAME:
            value = getattr(self, name)
            blank = value.new_zeros(len(value), frames, *value.shape[2:])
            setattr(self, name, torch.cat([value, blank], 1))

    def trim(self, masks: int, boxes: int) -> None:
        """Drop all but the latest frames of masks and of boxes."""
        self.mask_logits = _latest(self.mask_logits, masks)
        self.occurrence = _latest(self.occurrence, masks)
        self.boxes = _latest(self.boxes, boxes)

    def add_slots(self, count: int, mean_of: int, limit: int) -> None:
        """Add slots of embeddings that begin as the mean of the last ``mean_of`` slots (zero where there are none), and
        drop all but the latest ``limit``."""
        start = self.embeddings.new_zeros(len(self), 1, self.embeddings.shape[2])
        if self.embeddings.shape[1]:
            start = self.embeddings[:, -mean_of:].mean(1, keepdim=True)
        self.embeddings = _latest(torch.cat([self.embeddings, start.expand(-1, count, -1)], 1), limit)

    def add_class_slot(self) -> None:
        """Add a slot of class scores that begins as a copy of the newest."""
        if self.class_slots:
            self.class_sum = self.class_sum + self.class_last
        self.class_slots += 1

    def mean_scores(self) -> Tensor:
        """Mean class scores over all slots since the start of the video, [N, K]."""
        return (self.class_sum + self.class_last) / max(self.class_slots, 1)

    def _tensors(self) -> list[tuple[str, Tensor]]:
        values = [(item.name, getattr(self, item.name)) for item in fields(self)]
        return [(name, value) for name, value in values if isinstance(value, Tensor)]


def _latest(values: Tensor, count: int) -> Tensor:
    """The last ``count`` of the second axis; a copy where something is dropped, so that its memory is freed."""
    return values[:, -count:].clone() if values.shape[1] > count else values
