"""What a training run optimises: a module that takes a batch of samples and returns weighted losses.

The published model is its own objective (`UniVS.forward`). The dense parts of the embedded model learn from simpler
samples: clips to follow objects in, and single pictures to answer prompts on.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
import torch.nn.functional as F
from detectron2.config import CfgNode
from torch import Tensor, nn

from univs.data.catalog import development_root
from univs.data.formats.stills_index import read_stills
from univs.data.prompt_drawing import correction_click, first_click, jittered_box, scribble
from univs.engine.name_sampler import NameSampler
from univs.engine.objective import Objective, Sample
from univs.engine.query_objective import QueryObjective
from univs.errors import UserError
from univs.modeling.losses.following import (
    UNKNOWN,
    ClipMasks,
    dice_loss,
    following_losses,
    hard_pixel_cross_entropy,
)
from univs.modeling.prompt_answer import AnswerMaps, FramePrompts

LOOK_AGAIN, CORRECT_MASK = 0.35, 0.25  # how often an answer is followed by a second look, by a correction of its mask
TOUCHING_SHARE = 2.0  # how much likelier an object that touches another one is chosen


def batch_pixels(model: nn.Module, batch: list[Sample]) -> Tensor:
    """Normalised frames [B * T, 3, H, W] of samples whose ``image`` lists T uint8 tensors [3, H, W]."""
    frames = torch.stack([frame for sample in batch for frame in sample["image"]])
    pixels = (frames.to(model.pixel_mean.device).float() - model.pixel_mean) / model.pixel_std
    return pixels.contiguous(memory_format=torch.channels_last)


def build_objective(cfg: CfgNode, model: nn.Module) -> Objective | None:
    """The objective that MODEL.UNIVS.OBJECTIVE names; None for the published one, which is the model's own forward.

    Raises:
        UserError: no objective has this name.
    """
    kind = cfg.MODEL.UNIVS.OBJECTIVE
    if kind == "published":
        return None
    if kind == "following":
        return FollowingObjective(model, cfg.SOLVER.MAX_ITER)
    if kind == "answering":
        pictures = read_stills(development_root(), "train")
        names = sorted({name for picture in pictures for item in picture.objects for name in item.categories})
        return AnsweringObjective(model, NameSampler(model.text_encoder.encode, names))
    if kind == "queries":
        return QueryObjective.of_pictures(model, read_stills(development_root(), "train"))
    raise UserError(f"MODEL.UNIVS.OBJECTIVE is '{kind}'; it must be published, following, answering or queries.")


class FollowingObjective(Objective):
    """Follow the objects of short clips with the dense memory, on its own predictions."""

    def __init__(self, model: nn.Module, steps: int) -> None:
        super().__init__(model)
        self.steps = steps

    @torch.no_grad()
    def start(self, batches: Iterable[list[Sample]]) -> None:
        """Before the first step: the keys start as the principal directions of what the backbone sees."""
        match, seen = self.model.dense_memory.match, []
        for batch in batches:
            features = self.model.backbone(batch_pixels(self.model, [{"image": s["image"][:1]} for s in batch]))
            seen.append(match.descriptors(features["res3"], features["res4"]).transpose(0, 1).flatten(1).t())
        match.start_from(torch.cat(seen))

    def forward(self, batch: list[Sample]) -> dict[str, Tensor]:
        """Losses of clips ``image`` T x [3, H, W], ``id_map`` [T, H, W]; every object is visible in frame 0."""
        memory = self.model.dense_memory
        maps = memory.maps(self.model.backbone(batch_pixels(self.model, batch)))
        clip_maps = [maps.frames(slice(i * len(s["image"]), (i + 1) * len(s["image"]))) for i, s in enumerate(batch)]
        # The samples have chosen their objects; leaving out small ones here could leave a batch without any.
        clips = [ClipMasks.from_id_map(s["id_map"].to(maps.keys.device), smallest=0.0) for s in batch]
        draws = np.random.default_rng([batch[0]["sample"], 1]).random(len(batch[0]["image"])).tolist()
        losses = following_losses(memory, clip_maps, clips, self.hard_share, draws)
        weights = {"loss_carried_mask": 1.5, "loss_carried_dice": 0.5}
        return {name: value * weights.get(name, 1.0) for name, value in losses.items()}

    @property
    def hard_share(self) -> float:
        """Share of hardest pixels in the cross entropy: all at first, 30 % from the middle of the run on."""
        return max(0.3, 1 - 1.4 * self.step / max(1, self.steps))


class AnsweringObjective(Objective):
    """Answer clicks, boxes, scribbles and names on single pictures, with rounds of second looks and corrections."""

    rounds = 4
    objects_per_picture = 3

    def __init__(self, model: nn.Module, names: NameSampler) -> None:
        super().__init__(model)
        self.names = names

    def forward(self, batch: list[Sample]) -> dict[str, Tensor]:
        """Losses of pictures ``image`` [3, H, W] (T = 1) with ``id_map`` [1, H, W] and ``categories`` per object."""
        answer = self.model.prompt_answer
        with torch.no_grad():
            features = self.model.backbone(batch_pixels(self.model, batch))
            descriptors = self.model.dense_memory.match.descriptors(features["res3"], features["res4"])
        maps = answer.maps(features, descriptors)
        losses = {"loss_text": self._text_loss(maps, batch)}
        objects = [item for i, sample in enumerate(batch) for item in choose_objects(i, sample, self)]
        losses.update(self._answer_losses(maps, objects))
        return losses

    def _text_loss(self, maps: AnswerMaps, batch: list[Sample]) -> Tensor:
        """Cross entropy of the text heat against the names; a partly annotated picture counts on its objects only."""
        terms = []
        for i, sample in enumerate(batch):
            names = self.names.draw(sample)
            id_map = sample["id_map"][0].to(maps.coarse.device)
            logits = self.model.prompt_answer.text_heat(maps.frame(i), self.names.embed(names).to(id_map.device))[0]
            labels = torch.stack([_named_area(id_map, sample["categories"], name, logits.shape[-2:]) for name in names])
            known = (id_map != UNKNOWN) & ((id_map > 0) if sample["partial_annotation"] else True)
            weight = F.adaptive_avg_pool2d(known.float()[None], logits.shape[-2:])
            loss = F.binary_cross_entropy_with_logits(logits, labels, reduction="none")
            hard = (labels - logits.sigmoid()).abs().detach().square()
            terms.append((loss * (hard + 0.5 * labels) * weight).sum() / (labels * weight).sum().clamp(min=8))
        return torch.stack(terms).mean()

    def _answer_losses(self, maps: AnswerMaps, objects: list[PicturedObject]) -> dict[str, Tensor]:
        context = [torch.cat([x[o.picture : o.picture + 1] for o in objects]) for x in maps.context]
        targets = torch.stack([o.target for o in objects]).to(maps.coarse.device)
        known = torch.stack([o.known for o in objects]).to(maps.coarse.device)
        others = torch.stack([o.others for o in objects]).to(maps.coarse.device)
        mask_terms, dice_terms, other_terms, overlap_terms = [], [], [], []
        for turn in range(self.rounds):
            given = [(maps.frame(o.picture), o.prompts.to(targets.device)) for o in objects]
            prompts = torch.stack([self.model.prompt_answer.prompt_maps(*pair) for pair in given])
            logits = self.model.prompt_answer(prompts, context)
            mask_terms.append(hard_pixel_cross_entropy(logits[:, 0], targets, known, 0.5))
            dice_terms.append(dice_loss(logits[:, 0], targets, known))
            other_terms.append((F.softplus(logits[:, 0]) * others).sum() / others.sum().clamp(min=1))
            overlaps = _overlaps(logits, targets, known)
            predicted = self.model.prompt_answer.predicted_overlaps(logits, prompts, context)
            overlap_terms.append(F.binary_cross_entropy_with_logits(predicted, overlaps))
            if turn == 0:
                best = logits[torch.arange(len(logits)), _soft_overlaps(logits, targets, known).argmax(1)]
                mask_terms.append(0.5 * hard_pixel_cross_entropy(best, targets, known, 0.5))
                dice_terms.append(0.5 * dice_loss(best, targets, known))
            for item, mask in zip(objects, logits[:, 0].detach(), strict=True):
                item.go_on(mask)
        # what belongs to another object is the likeliest thing to be taken for this one
        return {
            "loss_answer_mask": 2 * sum(mask_terms),
            "loss_answer_dice": sum(dice_terms),
            "loss_answer_others": 0.5 * sum(other_terms),
            "loss_answer_overlap": sum(overlap_terms),
        }


class PicturedObject:
    """One object of one picture, what is known of it, and the prompts given so far."""

    def __init__(self, picture: int, number: int, id_map: np.ndarray, rng: np.random.Generator) -> None:
        self.picture, self.rng = picture, rng
        self.mask, self.unknown = id_map == number, id_map == UNKNOWN
        others = (id_map > 0) & ~self.mask & ~self.unknown
        self.target, self.known, self.others = (
            F.avg_pool2d(torch.from_numpy(area).float()[None], 4)[0] for area in (self.mask, ~self.unknown, others)
        )
        self.prompts = FramePrompts(torch.zeros(0, 2), torch.zeros(0, dtype=torch.long))

    def start(self, text: Tensor | None) -> None:
        """Draw the first prompt: a click, a box, a scribble, the object's name (if given), or name and click."""
        draw = self.rng.random()
        if text is not None and draw < 0.3:
            self.prompts.text = text
            if draw >= 0.15:
                self._add([(first_click(self.rng, self.mask), 1)])
        elif draw < 0.45:
            box = np.asarray(jittered_box(self.rng, self.mask), np.float32)
            height, width = self.mask.shape
            self.prompts.box = torch.from_numpy(box / np.asarray([width, height, width, height], np.float32))
        elif draw < 0.52:
            self._add([(point, 1) for point in scribble(self.rng, self.mask)])
        else:
            self._add([(first_click(self.rng, self.mask), 1)])

    def go_on(self, logits: Tensor) -> None:
        """What comes after the answer [h4, w4]: a second look, a correction of the mask, or one more click afresh.

        A second look has the answer itself as its base, a correction of a mask that the user saw has it with hard
        edges; clicks that were all made before anything was followed have none.
        """
        draw = self.rng.random()
        self.prompts.base = None
        if draw < LOOK_AGAIN:
            self.prompts.base = logits.sigmoid()
            return
        if draw < LOOK_AGAIN + CORRECT_MASK:
            self.prompts.base = (logits > 0).float()
        self.correct(logits)

    def correct(self, logits: Tensor) -> None:
        """Add the click that a user would make on the answer [h4, w4]."""
        grown = F.interpolate(logits[None, None], size=self.mask.shape, mode="bilinear", align_corners=False)
        click = correction_click(self.rng, (grown[0, 0] > 0).cpu().numpy(), self.mask, self.unknown, central=0.7)
        if click is not None:
            self._add([click])

    def _add(self, clicks: list[tuple[tuple[float, float], int]]) -> None:
        height, width = self.mask.shape
        points = torch.tensor([[x / width, y / height] for (x, y), _ in clicks], dtype=torch.float32)
        labels = torch.tensor([label for _, label in clicks])
        self.prompts.points = torch.cat([self.prompts.points, points])
        self.prompts.labels = torch.cat([self.prompts.labels, labels])


def choose_objects(picture: int, sample: Sample, objective: AnsweringObjective) -> list[PicturedObject]:
    """Some objects of a picture, larger ones and those that touch others more often, each with its first prompt."""
    rng = np.random.default_rng([sample["sample"], 2])
    id_map = sample["id_map"][0].numpy()
    areas = np.array([(id_map == i + 1).sum() for i in range(len(sample["categories"]))], float)
    chances = np.sqrt(areas) * np.where(_touching(id_map, len(areas)), TOUCHING_SHARE, 1)
    count = min(objective.objects_per_picture, int((areas > 0).sum()))
    chosen = rng.choice(len(areas), count, replace=False, p=chances / chances.sum()) if count else []
    out = []
    for i in chosen:
        item = PicturedObject(picture, int(i) + 1, id_map, rng)
        name = objective.names.of_object(sample, int(i), rng)
        item.start(None if name is None else objective.names.embed([name])[0])
        out.append(item)
    return out


def _touching(id_map: np.ndarray, count: int) -> np.ndarray:
    """Which of the objects 1 .. count of an id map [H, W] have a pixel beside a pixel of another one: [count] bool."""
    pairs = [(id_map[1:], id_map[:-1]), (id_map[:, 1:], id_map[:, :-1])]
    found = [np.stack([a, b])[:, (a != b) & (a > 0) & (b > 0) & (a <= count) & (b <= count)].ravel() for a, b in pairs]
    return np.isin(np.arange(1, count + 1), np.concatenate(found))


def _named_area(id_map: Tensor, categories: list[list[str]], name: str, size: tuple[int, int]) -> Tensor:
    """Share of each cell [h, w] that is covered by objects which bear the name."""
    ids = torch.tensor([i + 1 for i, names in enumerate(categories) if name in names], device=id_map.device)
    return F.adaptive_avg_pool2d(torch.isin(id_map, ids).float()[None], size)[0]


def _soft_overlaps(logits: Tensor, targets: Tensor, known: Tensor) -> Tensor:
    """Overlaps (IoU) of probabilities of masks [K, N, h, w] with targets [K, h, w] where those are known: [K, N]."""
    with torch.no_grad():
        return _overlap(logits.sigmoid(), targets, known)


def _overlaps(logits: Tensor, targets: Tensor, known: Tensor) -> Tensor:
    """Overlaps (IoU) of masks as they are shown; see `_soft_overlaps`."""
    with torch.no_grad():
        return _overlap((logits > 0).float(), (targets > 0.5).float(), known)


def _overlap(masks: Tensor, targets: Tensor, known: Tensor) -> Tensor:
    masks = masks * known[:, None]
    both = (masks * targets[:, None]).flatten(2).sum(2)
    either = masks.flatten(2).sum(2) + (targets * known).flatten(1).sum(1)[:, None] - both
    return both / either.clamp(min=1)
