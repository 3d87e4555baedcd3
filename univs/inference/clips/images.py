"""Pictures: every frame on its own; panoptic segments, instances, a semantic map."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from detectron2.layers import batched_nms
from torch import Tensor

from univs.inference.clips.arithmetic import mask_boxes, mask_quality
from univs.inference.clips.clip import Clip
from univs.inference.clips.outputs.segments import SegmentNumbers
from univs.inference.clips.overlap import Shares, own_part
from univs.inference.clips.results import ImageResult, Instances, Segment
from univs.inference.clips.seeds import VideoSeeds
from univs.inference.clips.settings import ClipSettings
from univs.inference.clips.state import ObjectState
from univs.inference.clips.steps import NothingFollowed

TEMPERATURE = 0.06
SEMANTIC_QUERIES = 200
PANOPTIC_NMS, INSTANCE_NMS = 0.9, 0.85
LEAST_THING_SCORE = 0.1


class Images(NothingFollowed):
    """Segments the first frame of every clip with the learnable queries."""

    def __init__(self, settings: ClipSettings, seeds: VideoSeeds) -> None:
        self.settings, self.things = settings, seeds.things

    def give_out(self, state: ObjectState, clip: Clip) -> list[ImageResult]:
        """The results of the picture."""
        wanted = self.settings.image_outputs
        scores, masks = self._queries(clip)
        result: dict[str, object] = {}
        if "semantic" in wanted:
            result["semantic"] = semantic_sums(scores, masks, clip)
        if "panoptic" in wanted:
            result["panoptic"], result["segments"] = self._panoptic(scores, masks, clip)
        if "instances" in wanted:
            result["instances"] = self._instances(scores, masks, clip)
        return [ImageResult(clip.first, **result)]

    def close(self, state: ObjectState, clip: Clip, is_last: bool) -> list[ImageResult]:
        """Nothing is left."""
        return []

    def _queries(self, clip: Clip) -> tuple[Tensor, Tensor]:
        """Scores [Q, K] and mask logits [Q, H0, W0] of the queries whose masks are stable."""
        masks = clip.enlarged(clip.learnable_masks()[:, :1])
        quality = mask_quality(masks)
        scores = clip.prediction.class_logits[0, : len(masks)].sigmoid() * quality[:, None]
        masks = clip.unpadded(masks)[:, 0]
        least = self.settings.stability_threshold
        return (scores[quality > least], masks[quality > least]) if least > 0 else (scores, masks)

    def _panoptic(self, scores: Tensor, masks: Tensor, clip: Clip) -> tuple[Tensor, tuple[Segment, ...]]:
        """The map [Ho, Wo] and its segments; segments of things and of stuff alike must own enough of their masks."""
        best, classes = scores.max(1)
        kept = batched_nms(_pixel_boxes(masks > 0), best, classes, PANOPTIC_NMS)
        kept = kept[best[kept] > self.settings.object_threshold]
        numbers = SegmentNumbers(self.things)
        if not len(kept):
            return torch.zeros(clip.video_size, dtype=torch.int32, device=masks.device), ()
        strength, classes = (scores[kept] / TEMPERATURE).softmax(1).max(1)
        probabilities = masks[kept].sigmoid()
        own = probabilities >= 0.5
        # of pixels outside of all masks, too: they count as owned
        owner = (probabilities * strength[:, None, None]).argmax(0)
        counted = Shares.count(owner, own)
        table = numbers.table(classes, counted.visible & (counted.ratio >= self.settings.overlap_threshold))
        ids = table[own_part(owner, own)]
        if ids.shape != clip.video_size:
            ids = F.interpolate(ids[None, None].double(), size=clip.video_size, mode="nearest")[0, 0]
        ids = ids.to(torch.int32)
        return ids, numbers.segments(ids.unique().tolist())

    def _instances(self, scores: Tensor, masks: Tensor, clip: Clip) -> Instances:
        """The best pairs of query and countable class."""
        things = torch.tensor(sorted(self.things), dtype=torch.int64, device=scores.device)
        rows = _thing_queries(scores, things)
        scores, masks = scores[rows][:, things], masks[rows]
        best, classes = scores.max(1)
        kept = batched_nms(_pixel_boxes(masks > 0), best, classes, INSTANCE_NMS)
        scores, masks = scores[kept], masks[kept]
        values, places = scores.flatten().topk(min(self.settings.max_objects, scores.numel()))
        masks = clip.at_video_size(masks[None])[0] > 0 if len(masks) else masks.new_zeros(0, *clip.video_size).bool()
        masks = masks[places // len(things)]
        return Instances(values, things[places % len(things)], _pixel_boxes(masks), masks)


def semantic_sums(scores: Tensor, masks: Tensor, clip: Clip) -> Tensor:
    """Per class and pixel the sum of the queries' class and mask probabilities, [K, Ho, Wo].

    scores: [Q, K]; masks: logits [Q, H0, W0]. The best 200 queries take part.
    """
    rows = scores.max(1).values.topk(min(SEMANTIC_QUERIES, len(scores))).indices
    shares = (scores[rows] / TEMPERATURE).softmax(1)
    sums = torch.einsum("qk,qhw->khw", shares, masks[rows].sigmoid())
    if sums.shape[-2:] == clip.video_size:
        return sums
    return F.interpolate(sums[None], size=clip.video_size, mode="bilinear", align_corners=False)[0]


def _thing_queries(scores: Tensor, things: Tensor) -> Tensor:
    """Bool [Q]: queries whose best class is countable; where there is none, those that are most like a thing."""
    chosen = torch.isin(scores.argmax(1), things)
    if chosen.any() or not chosen.numel():
        return chosen
    best = scores[:, things].amax(1)
    return best >= best.max().clamp(max=LEAST_THING_SCORE)


def _pixel_boxes(masks: Tensor) -> Tensor:
    """Boxes of masks [N, H, W] in pixels, the last column and row included, float32 [N, 4]."""
    height, width = masks.shape[-2:]
    boxes = mask_boxes(masks)
    return boxes * boxes.new_tensor([width, height, width, height])
