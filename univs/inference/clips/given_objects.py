"""Objects that are given, by masks in some frames or by sentences that hold from the first frame on."""

from __future__ import annotations

import torch
from torch import Tensor

from univs.inference.clips.arithmetic import (
    count_pixels,
    mask_boxes,
    mask_quality,
    paired_mask_iou,
    running_mean,
    self_similarity,
)
from univs.inference.clips.clip import Clip
from univs.inference.clips.overlap import QUERIES_AT_ONCE, class_map, count_rows, pixel_owner
from univs.inference.clips.results import FrameMasks
from univs.inference.clips.seeds import VideoSeeds
from univs.inference.clips.settings import ClipSettings
from univs.inference.clips.state import NOT_SEEN, ObjectState
from univs.modeling.prompt_encoder.regions import tight_boxes

# IoU with the given mask that the first masks of a large object need; smaller objects need less
LEAST_IOU = 0.15
LARGE_AREA = 96 * 96
# an object that keeps no more of its pixels than this share is taken for hidden
HIDDEN_SHARE = 0.25
# logit of the pixels that a semantic map adds to a stuff object
STUFF_LOGIT = 10.0


class GivenObjects:
    """The steps of a clip for given objects; each has one prompt query, in the order of the state's rows."""

    def __init__(self, settings: ClipSettings, seeds: VideoSeeds) -> None:
        self.settings, self.things = settings, seeds.things
        self.by_masks = settings.objects == "masks"
        self._given_out = 0

    def first_held(self, clip: Clip) -> int:
        """Masks are given out before the next clip begins."""
        return clip.first

    def begin(self, state: ObjectState, clip: Clip) -> None:
        """Write the given masks of the clip's frames; sentences hold from frame 0 on."""
        if not self.by_masks:
            state.first_frames[state.first_frames == NOT_SEEN] = 0
            return
        for frame, given in sorted(clip.given.items()):
            masks = torch.as_tensor(given.masks, device=state.ids.device) > 0
            for number, (identity, mask) in enumerate(zip(given.ids, masks, strict=True)):
                if mask.any():
                    label = given.labels[number] if given.labels else None
                    self._write(state, self._row(state, identity), frame, mask, label, clip.stop)

    def _row(self, state: ObjectState, identity: int) -> int:
        """Row of an object; unknown ones are added."""
        found = (state.ids == identity).nonzero().flatten()
        if len(found):
            return int(found[0])
        return int(state.add(torch.tensor([identity]))[0])

    def _write(self, state: ObjectState, row: int, frame: int, mask: Tensor, label: int | None, stop: int) -> None:
        """Write one given mask [H0, W0] into the frame."""
        place = frame - stop
        padded = state.mask_logits.new_zeros(state.mask_logits.shape[-2:])
        padded[: mask.shape[0], : mask.shape[1]] = mask.to(padded)
        state.mask_logits[row, place] = padded
        state.boxes[row, place] = tight_boxes(padded[None])[0]
        state.first_frames[row] = frame
        if label is not None:
            state.labels[row] = label

    def take_in(self, state: ObjectState, clip: Clip) -> None:
        """The frames after an object's first one get what its prompt query says, if that agrees with the given mask."""
        rows = _rows((state.first_frames >= clip.first) & (state.first_frames < clip.stop))
        if clip.prediction is None or not len(rows):
            return
        state.embeddings[rows, -clip.frames :] = clip.prompt_embeddings()[rows]
        small = clip.prompt_masks()[rows]
        boxes, logits = mask_boxes(small > 0), clip.enlarged(small)
        begins = state.first_frames[rows] - clip.stop  # counted from the end
        accepted = torch.ones(len(rows), dtype=torch.bool)
        after = 0
        if self.by_masks:
            logits, accepted = self._compare(state, clip, rows, begins, logits)
            after = 1
        for number in accepted.nonzero().flatten().tolist():
            place = clip.frames + int(begins[number]) + after
            if place < clip.frames:
                row, frames = rows[number], slice(place - clip.frames, None)
                state.mask_logits[row, frames] = logits[number, place:]
                state.boxes[row, frames] = boxes[number, place:]

    def _compare(
        self, state: ObjectState, clip: Clip, rows: Tensor, begins: Tensor, logits: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Logits [n, T, H, W] that belong to each object alone, and which objects agree with their given masks."""
        number = torch.arange(len(rows), device=rows.device)
        given = state.mask_logits[rows, begins] > 0
        quality = mask_quality(clip.unpadded(logits))
        agreement = paired_mask_iou(logits[number, begins] > 0, given)
        owner = _owner(logits, agreement**2 * quality)
        owned = owner == number[:, None, None, None]
        area = given.flatten(1).sum(1)
        least = LEAST_IOU * (area / LARGE_AREA).clamp(max=1)
        accepted = paired_mask_iou(owned[number, begins], given) > least
        logits = logits * owned
        stuff = self._stuff(state, rows)
        if stuff.any():
            fill = self._semantic_map(clip) == state.labels[rows[stuff], None, None, None]
            logits[stuff] = logits[stuff].masked_fill(fill, STUFF_LOGIT)
        return logits, accepted | stuff

    def follow(self, state: ObjectState, clip: Clip) -> None:
        """Objects that are like their past add what their prompt queries say; the others fade."""
        rows = _rows((state.first_frames < clip.first) & (state.first_frames != NOT_SEEN))
        if clip.prediction is None or not len(rows):
            return
        embeddings, small = clip.prompt_embeddings()[rows], clip.prompt_masks()[rows]
        similarity = self_similarity(state.embeddings[rows, -self.settings.compared_slots :], embeddings)
        kept = (similarity > self.settings.consistency_threshold).float()
        boxes = mask_boxes(small > 0) * kept[:, None, None]
        logits = clip.enlarged(small * kept[:, None, None, None])
        if self.settings.overlap == "owner":
            strength = (similarity * kept) ** 2 * mask_quality(clip.unpadded(logits)) * kept
            logits = self._share(state, clip, rows, logits, strength)
        latest = slice(-clip.frames, None)
        for number, row in enumerate(rows.tolist()):  # in place, without a copy of all masks
            state.mask_logits[row, latest] += logits[number]
        state.boxes[rows, latest] = boxes
        old = state.embeddings[rows, latest]
        state.embeddings[rows, latest] = running_mean(old, embeddings * kept[:, None, None])

    def _share(self, state: ObjectState, clip: Clip, rows: Tensor, logits: Tensor, strength: Tensor) -> Tensor:
        """Logits [n, T, H, W] with every pixel left to one object; an object that keeps too little is emptied."""
        area = count_pixels(logits > 0)
        stuff = self._stuff(state, rows)
        claims = logits
        if stuff.any():
            fill = self._semantic_map(clip) == state.labels[rows[stuff], None, None, None]
            logits[stuff] = logits[stuff].masked_fill(fill, STUFF_LOGIT)
            claims = logits.clone()
            claims[stuff] = claims[stuff].masked_fill(fill, torch.inf)  # a probability of 1
        owner = _owner(claims, strength)
        visible = count_rows(owner, len(rows)) / area.clamp(min=1) > HIDDEN_SHARE
        for number, shown in enumerate(visible.tolist()):
            if shown:
                logits[number].masked_fill_(owner != number, 0)
            else:
                logits[number].zero_()
        return logits

    def _stuff(self, state: ObjectState, rows: Tensor) -> Tensor:
        """Which of the objects are stuff whose masks the semantic map helps to fill, bool [n]."""
        if not self.settings.stuff_help:
            return torch.zeros(len(rows), dtype=torch.bool, device=rows.device)
        known = [label >= 0 and label not in self.things for label in state.labels[rows].tolist()]
        return torch.tensor(known, dtype=torch.bool, device=rows.device)

    def _semantic_map(self, clip: Clip) -> Tensor:
        """Class of every pixel by the learnable queries, int64 [T, H, W]."""
        masks, learnable = clip.learnable_masks(), clip.prediction.num_learnable
        chunks = masks.split(QUERIES_AT_ONCE)
        quality = torch.cat([mask_quality(clip.unpadded(clip.enlarged(chunk))) for chunk in chunks])
        scores = clip.prediction.class_logits[0, :learnable].sigmoid() * quality[:, None]
        return torch.cat([class_map(scores, frame, clip.enlarged) for frame in masks.split(1, dim=1)])

    def kept(self, state: ObjectState, clip: Clip) -> None:
        """All objects go on."""

    def give_out(self, state: ObjectState, clip: Clip) -> list[FrameMasks]:
        """The first s frames of the clip; as published the clip's last frame is never among them."""
        last = clip.frames if self.settings.corrections.every_frame else clip.frames - 1
        return self._frames(state, clip, min(self.settings.stride, last))

    def close(self, state: ObjectState, clip: Clip, is_last: bool) -> list[FrameMasks]:
        """The other frames of the last clip."""
        return self._frames(state, clip, clip.frames) if is_last else []

    def _frames(self, state: ObjectState, clip: Clip, stop: int) -> list[FrameMasks]:
        """Masks of the frames of the clip up to ``stop`` that were not given out."""
        start = max(self._given_out - clip.first, 0)
        if stop <= start:
            return []
        self._given_out = clip.first + stop
        order = state.ids.argsort() if self.by_masks else torch.arange(len(state), device=state.ids.device)
        ids = tuple(state.ids[order].tolist())
        logits = state.mask_logits[:, state.frames - clip.frames + start : state.frames - clip.frames + stop]
        masks = (clip.at_video_size(logits[order]) > 0).unbind(1)
        return [FrameMasks(clip.first + start + number, ids, mask) for number, mask in enumerate(masks)]


def _rows(chosen: Tensor) -> Tensor:
    return chosen.nonzero().flatten()


def _owner(logits: Tensor, strength: Tensor) -> Tensor:
    """Row [T, H, W] of the object with the strongest probability at each pixel, -1 where no logit is positive."""
    frames = logits.unbind(1)
    owners = [pixel_owner(each.sigmoid().mul_(strength[:, None, None]), each.amax(0) > 0) for each in frames]
    return torch.stack(owners)
