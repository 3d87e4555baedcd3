"""Memory of prompts: the tokens of each object's masks in its first and its latest frames.

A slot holds the R tokens of every object in one frame. Clips of n frames start every s frames; with every clip s slots
are added, and the masks of the frames that it shares with the clip before are encoded again, because they have grown.
Only the last slots and each object's first one are ever read, so that no more are kept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from univs.layers.draws import Draws
from univs.modeling.mask_decoder import MaskDecoder
from univs.modeling.prompt_encoder import VisualTokens, encode_masks
from univs.structures import FrameFeatures, PromptTokens

# (masks [N, H, W], boxes [N, 4], frame of the clip, frame of the video that the points are coded with) -> tokens
EncodeFrame = Callable[[Tensor, Tensor, int, int], VisualTokens]


def masks_to_memory(mask_logits_or_masks: Tensor) -> Tensor:
    """Masks as they are remembered: 1 where the logit (or the mask) is above 0, else 0; float32.

    [N, F, H, W] of the F latest frames of all objects, the last one is the last frame of the present clip.
    """
    return (mask_logits_or_masks > 0).float()


@dataclass(frozen=True)
class MemoryPoolSettings:
    """clip_frames: n, frames of a clip. stride: s, frames between the starts of two clips. memory_frames: latest frames
    whose tokens are read, at least n."""

    clip_frames: int
    stride: int = 1
    memory_frames: int = 5


@dataclass
class KnownMasks:
    """What is known of N objects in the F latest frames, the last of which is the last frame of the present clip.

    masks: [N, F, H, W] mask logits or masks of 0 and 1 at the padded size. boxes: [N, F, 4] in 0..1 of it.
    first_frames: [N] the frame of the video in which each object was first seen, -1 not yet.
    """

    masks: Tensor
    boxes: Tensor
    first_frames: Tensor


class ClipMaskEncoder:
    """Encodes masks on the frames of one clip, without gradient; an `EncodeFrame`."""

    def __init__(self, decoder: MaskDecoder, features: FrameFeatures, frame_indices: Tensor, draws: Draws) -> None:
        """features: maps of the T frames; frame_indices: [T] their numbers in the video."""
        self.decoder, self.draws = decoder, draws
        self.level = features.levels[-1]
        self.times = decoder.time_codes(frame_indices.to(self.level.device))

    @torch.no_grad()
    def __call__(self, masks: Tensor, boxes: Tensor, clip_frame: int, point_frame: int) -> VisualTokens:
        """Tokens [N, R, C] of masks [N, H, W] with boxes [N, 4] on frame ``clip_frame`` of the clip.

        The codes of points have the time of frame ``point_frame`` of the video (with FixedT that of ``clip_frame``).
        """
        settings = self.decoder.settings
        time = point_time = self.times[clip_frame]
        if settings.temporal_positions != "FixedT":
            point_time = self.decoder.time_codes(torch.tensor([point_frame], device=time.device))[0]
        frame = self.decoder.prompt_frame(self.level[clip_frame], time, point_time)
        return encode_masks(masks, boxes, frame, settings.visual_prompts, self.draws)


class MemoryPool:
    """Tokens of N objects in the latest S slots, at most ``capacity``, and in the slot of each object's first frame.

    features, positions: [N, S, R, C], None before the first mask. num_slots: slots ever made; those kept are the last.
    """

    def __init__(self, settings: MemoryPoolSettings) -> None:
        self.settings = settings
        self.memory_frames = max(settings.memory_frames, settings.clip_frames)
        self.capacity = max(self.memory_frames, settings.clip_frames + settings.stride)
        self.num_slots = 0
        self.features: Tensor | None = None
        self.positions: Tensor | None = None
        # tokens [N, R, C] of the first slots that are no longer kept
        self._first: tuple[Tensor, Tensor] | None = None

    def update(self, known: KnownMasks, first_frame: int, frames: int, encode: EncodeFrame) -> None:
        """Remember what is known before the clip of ``frames`` frames from frame ``first_frame`` of the video.

        ``known`` has at least one object; those of the pool come first and in the same order.
        """
        reach = min(frames + self.settings.stride, known.masks.shape[1])
        masks, boxes = masks_to_memory(known.masks[:, -reach:]), known.boxes[:, -reach:]
        if first_frame == 0:
            tokens = encode(masks[:, -frames], boxes[:, -frames], 0, 0)
            self._make(len(masks), self.settings.clip_frames, tokens)
            self._write(slice(None), -self.num_slots, None, tokens)
            return
        if self.features is None or self.settings.clip_frames == 1:
            self._remember_before(masks, boxes, known.first_frames, first_frame, frames, encode)
        else:
            self._append(known.first_frames)
        for frame in range(frames - self.settings.stride):
            mask = masks[:, frame - frames]
            tokens = encode(mask, boxes[:, frame - frames], frame, first_frame + frame)
            rows = mask.flatten(1).any(1)
            self._write(rows, frame - frames, None, tokens[rows])

    def remember_first(self, known: KnownMasks, first_frame: int, frames: int, encode: EncodeFrame) -> None:
        """Encode the masks of objects that begin in the clip on the very frame in which they begin.

        As published, such a mask is only encoded when the next clip shares its frame, or it is the first of the video.
        """
        starts = known.first_frames - first_frame
        for frame in range(frames):
            rows = (starts == frame).nonzero()[:, 0]
            if len(rows):
                place = frame - frames
                masks = masks_to_memory(known.masks[rows, place].unsqueeze(1))[:, 0]
                tokens = encode(masks, known.boxes[rows, place], frame, first_frame + frame)
                self._write(rows, place, None, tokens)

    def tokens(self, first_frames: Tensor, frames: int) -> PromptTokens:
        """What the decoder reads in the present clip of ``frames`` frames.

        Returns tokens [N, R, T, C] of the last T slots, for the first query, and the memory [N, (1 + M) * R, 1, C]: the
        slot of each object's first frame (the newest one if that has none before it), then the last M slots.
        """
        first_frames = first_frames.to(self.features.device)
        window = [x[:, -frames:].transpose(1, 2) for x in (self.features, self.positions)]
        latest = [x[:, -self.memory_frames :] for x in (self.features, self.positions)]
        slots = zip(self._first_slots(first_frames), latest, strict=True)
        memory = [torch.cat([first[:, None], last], 1).flatten(1, 2).unsqueeze(2) for first, last in slots]
        valid = (self.features != 0).flatten(1).any(1)
        return PromptTokens(*window, valid, "visual", memory_features=memory[0], memory_positions=memory[1])

    def add_objects(self, count: int) -> None:
        """Add ``count`` objects whose slots are all blank; nothing to do before the first mask."""
        if self.features is None:
            return
        self.features, self.positions = (_blank_rows(x, count) for x in (self.features, self.positions))
        self._first = tuple(_blank_rows(x, count) for x in self._first)

    def keep_objects(self, rows: Tensor) -> None:
        """Keep the objects of the given rows, in this order."""
        if self.features is not None:
            self.features, self.positions = self.features[rows], self.positions[rows]
            self._first = tuple(x[rows] for x in self._first)

    def _make(self, objects: int, slots: int, like: VisualTokens) -> None:
        """Begin with blank slots, with tokens of the form of ``like``."""
        shape = like.features.shape[1:]
        self.features = like.features.new_zeros(objects, slots, *shape)
        self.positions = torch.zeros_like(self.features)
        self._first = (self.features[:, 0].clone(), self.features[:, 0].clone())
        self.num_slots = slots

    def _append(self, first_frames: Tensor) -> None:
        """Add a stride's slots; of a slot that is dropped, the objects that were first seen in it keep a copy."""
        self.num_slots += self.settings.stride
        spare = self.features.shape[1] + self.settings.stride - self.capacity
        for place in range(spare):
            slot = self.num_slots - self.settings.stride - self.features.shape[1] + place
            rows = first_frames == slot
            for kept, slots in zip(self._first, (self.features, self.positions), strict=True):
                kept[rows] = slots[rows, place]
        blank = self.features.new_zeros(len(self.features), self.settings.stride, *self.features.shape[2:])
        drop = max(spare, 0)
        self.features, self.positions = (torch.cat([x[:, drop:], blank], 1) for x in (self.features, self.positions))

    def _remember_before(
        self, masks: Tensor, boxes: Tensor, first_frames: Tensor, first_frame: int, frames: int, encode: EncodeFrame
    ) -> None:
        """Write the slots of the frames just before the clip, where the clip itself shares none with the one before (or
        there was no pool); their masks are read on the maps of the clip's own frames."""
        stride = self.settings.stride
        rows = (first_frames >= 0) & (first_frames < first_frame)
        for frame in range(stride):
            place = frame - frames - stride
            tokens = encode(masks[rows, place], boxes[rows, place], frame, first_frame - stride + frame)
            if frame == 0:
                self._make_room(len(masks), first_frames, tokens)
            self._write(rows, place, place + 1 or None, tokens)

    def _make_room(self, objects: int, first_frames: Tensor, like: VisualTokens) -> None:
        """Slots up to the present clip: a new pool, or a stride more."""
        if self.features is None:
            self._make(objects, self.settings.clip_frames + self.settings.stride, like)
        else:
            self._append(first_frames)

    def _write(self, rows: Tensor | slice, start: int, stop: int | None, tokens: VisualTokens) -> None:
        """Set the slots start..stop (counted from the end) of the given objects."""
        self.features[rows, start:stop] = tokens.features.unsqueeze(1)
        self.positions[rows, start:stop] = tokens.positions.unsqueeze(1)

    def _first_slots(self, first_frames: Tensor) -> list[Tensor]:
        """Features and positions [N, R, C] of the slot of each object's first frame."""
        newest = self.num_slots - 1
        slot = torch.where((first_frames < 0) | (first_frames >= newest), newest, first_frames)
        place = slot - (self.num_slots - self.features.shape[1])
        rows, gone = torch.arange(len(slot), device=slot.device), (place < 0)[:, None, None]
        pairs = zip(self._first, (self.features, self.positions), strict=True)
        return [torch.where(gone, kept, slots[rows, place.clamp(min=0)]) for kept, slots in pairs]


def _blank_rows(values: Tensor, count: int) -> Tensor:
    return torch.cat([values, values.new_zeros(count, *values.shape[1:])])
