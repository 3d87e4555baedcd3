"""Objects that are given, followed through clips of any length and stride by a model whose answers are written down."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

from univs.inference.clips.seeds import GivenMasks, VideoSeeds
from univs.inference.clips.settings import ClipSettings, Corrections
from univs.inference.clips.stream import ClipStream
from univs.structures import ClipPrediction, FrameFeatures

SIZE = (32, 64)
DIM = 8
SURE = 8.0
# places on the mask map of 8 x 16 cells
LEFT, RIGHT, MIDDLE = (slice(None), slice(0, 4)), (slice(None), slice(12, 16)), (slice(None), slice(4, 8))
VOS = ClipSettings(clip_frames=3, memory_frames=3)
WHOLE = Corrections(every_frame=True, aligned_end=True)


@dataclass(frozen=True)
class Answer:
    """What is said of one object: where it is in a frame (None: nowhere), how surely, and what it looks like there."""

    where: Callable[[int], tuple[slice, slice] | None]
    looks: Callable[[int], int] = lambda frame: 0
    logit: float = SURE


class AnsweringStream(ClipStream):
    """A stream whose prompt queries answer for their objects; ``classes`` [T, 8, 16] is what the learnable ones see."""

    def __init__(self, answers: Mapping[int, Answer], settings: ClipSettings = VOS, **seeds) -> None:
        seeds = {"object_ids": sorted(answers), **seeds}
        super().__init__(_Encoder(), replace(settings, objects="sentences"), SIZE, VideoSeeds(**seeds))
        self.settings = settings
        self.steps = type(self.steps)(settings, self.seeds)
        self.answers = answers
        self.background: Tensor | None = None

    def _decode(self, clip) -> None:
        identities = self.state.ids.tolist()
        if not identities:
            return
        numbers = range(clip.first, clip.stop)
        masks = [torch.stack([self._mask(self.answers[i], frame) for frame in numbers]) for i in identities]
        looks = [torch.eye(DIM)[[self.answers[i].looks(frame) for frame in numbers]] for i in identities]
        classes, learnable = torch.zeros(len(masks), 0), 0
        if self.background is not None:
            learnable, count = len(self.background), len(self.background)
            masks = [mask.expand(len(numbers), -1, -1) for mask in self.background] + masks
            looks = [torch.zeros(len(numbers), DIM)] * count + looks
            classes = torch.cat([torch.eye(count) * 2 * SURE - SURE, torch.zeros(len(identities), count)])
        clip.prediction = ClipPrediction(classes[None], torch.stack(masks)[None], torch.stack(looks)[None], learnable)

    @staticmethod
    def _mask(answer: Answer, frame: int) -> Tensor:
        logits = torch.full((SIZE[0] // 4, SIZE[1] // 4), -SURE)
        place = answer.where(frame)
        if place is not None:
            logits[place] = answer.logit
        return logits

    def play(self, frames: int, given: Mapping[int, GivenMasks]) -> dict[int, dict[int, Tensor]]:
        """Masks by frame and object."""
        results = []
        for number in range(frames):
            results += self.step(torch.full((3, *SIZE), float(number)), given.get(number))
        results += self.finish()
        assert len({result.index for result in results}) == len(results)
        return {result.index: dict(zip(result.ids, result.masks, strict=True)) for result in results}


class _Encoder:
    """Stands for the model: counts the frames it has encoded."""

    def __init__(self) -> None:
        self.encoded: list[float] = []
        self.mask_decoder = None

    def encode_expressions(self, sentences) -> tuple[None, None]:
        return None, None

    def normalised_frames(self, samples) -> Tensor:
        return samples[0]["image"][None]

    def encode(self, images: Tensor) -> FrameFeatures:
        self.encoded += images[:, 0, 0, 0].tolist()
        return FrameFeatures([], images.new_zeros(1, DIM, SIZE[0] // 4, SIZE[1] // 4), SIZE, SIZE)


def mask(place: tuple[slice, slice]) -> Tensor:
    """The pixels of a place of the mask map."""
    cells = torch.zeros(SIZE[0] // 4, SIZE[1] // 4, dtype=torch.bool)
    cells[place] = True
    return cells.repeat_interleave(4, 0).repeat_interleave(4, 1)


def give(frame: int, **places: tuple[slice, slice]) -> dict[int, GivenMasks]:
    """Masks of objects o1, o2, ... in one frame."""
    ids = tuple(int(name[1:]) for name in places)
    return {frame: GivenMasks(ids, torch.stack([mask(place) for place in places.values()]))}


def still(place: tuple[slice, slice], **more) -> Answer:
    return Answer(lambda frame: place, **more)


def covers(found: Tensor, place: tuple[slice, slice]) -> bool:
    """Whether a mask is that of a place; its border is where a resized mask has it."""
    return int((found ^ mask(place)).sum()) <= 2 * SIZE[0]


def test_every_frame_is_encoded_once():
    stream = AnsweringStream({1: still(LEFT)}, replace(VOS, clip_frames=4, stride=2))
    stream.play(9, give(0, o1=LEFT))
    assert stream.model.encoded == list(range(9))


@pytest.mark.parametrize("clip_frames, stride, frames", [(3, 1, 7), (4, 2, 8), (4, 3, 9), (5, 1, 3), (5, 1, 1)])
def test_results_come_when_the_last_clip_of_a_frame_is_done(clip_frames, stride, frames):
    stream = AnsweringStream({1: still(LEFT)}, replace(VOS, clip_frames=clip_frames, stride=stride))
    given, seen = give(0, o1=LEFT), []
    for number in range(frames):
        seen += [(result.index, number) for result in stream.step(torch.zeros(3, *SIZE), given.get(number))]
    seen += [(result.index, frames) for result in stream.finish()]
    assert [index for index, _ in seen] == list(range(frames))
    for index, at in seen:
        last = index // stride * stride + clip_frames - 1
        assert at == (last if last < frames else frames)


@pytest.mark.parametrize(
    "clip_frames, stride, frames, published", [(1, 1, 4, [3]), (3, 3, 9, [0, 1, 3, 4, 6, 7, 8]), (3, 3, 4, [0, 1, 3])]
)
def test_as_published_some_frames_are_never_given_out(clip_frames, stride, frames, published):
    settings = replace(VOS, clip_frames=clip_frames, stride=stride)
    for corrections, wanted in ((Corrections(), published), (WHOLE, list(range(frames)))):
        stream = AnsweringStream({1: still(LEFT)}, replace(settings, corrections=corrections))
        assert list(stream.play(frames, give(0, o1=LEFT))) == wanted


@pytest.mark.parametrize("clip_frames, stride, frames", [(1, 1, 5), (3, 2, 8), (4, 3, 9), (4, 4, 6), (5, 1, 2)])
def test_a_moving_object_is_followed_with_every_stride(clip_frames, stride, frames):
    places = [LEFT, MIDDLE, RIGHT]
    moving = Answer(lambda frame: places[frame % 3])
    settings = replace(VOS, clip_frames=clip_frames, stride=stride, corrections=WHOLE)
    found = AnsweringStream({1: moving}, settings).play(frames, give(0, o1=LEFT))
    assert all(covers(found[frame][1], places[frame % 3]) for frame in range(frames))


def test_as_published_a_shorter_last_clip_shifts_what_is_known():
    # clips 0-3 and 3-4: the state is extended by two frames although only frame 4 is new
    moving = Answer(lambda frame: RIGHT if frame == 4 else LEFT)
    settings = replace(VOS, clip_frames=4, stride=3)
    stream = AnsweringStream({1: moving}, settings)
    published = stream.play(5, give(0, o1=LEFT))
    assert covers(published[3][1], LEFT) and covers(published[4][1], RIGHT)
    # what clip 0 had added to frame 3 is lost: it stands where frame 2 was
    assert float(stream.state.mask_logits[0, -2].max()) == SURE
    aligned = AnsweringStream({1: moving}, replace(settings, corrections=WHOLE))
    aligned.play(5, give(0, o1=LEFT))
    assert float(aligned.state.mask_logits[0, -2].max()) == 2 * SURE


def test_an_object_of_a_later_frame_is_empty_before_it():
    stream = AnsweringStream({1: still(LEFT), 2: still(RIGHT)})
    found = stream.play(7, {**give(0, o1=LEFT), **give(4, o2=RIGHT)})
    assert not any(found[frame][2].any() for frame in range(4))
    assert all(covers(found[frame][2], RIGHT) for frame in range(4, 7))
    assert stream.state.first_frames.tolist() == [0, 4]


def test_an_object_that_nobody_announced_is_added():
    stream = AnsweringStream({5: still(LEFT), 2: still(RIGHT)}, object_ids=[5])
    found = stream.play(6, {**give(0, o5=LEFT), **give(3, o2=RIGHT)})
    assert list(found[0]) == [5] and list(found[5]) == [2, 5]
    assert covers(found[5][2], RIGHT) and covers(found[5][5], LEFT)


def test_an_answer_that_contradicts_the_given_mask_is_not_taken():
    found = AnsweringStream({1: still(RIGHT)}).play(3, give(0, o1=LEFT))
    assert torch.equal(found[0][1], mask(LEFT))
    assert not found[1][1].any() and not found[2][1].any()


def test_a_small_object_needs_less_agreement():
    # one of four cells agrees: IoU 1/4 is enough for an area of 64 pixels, 1/50 is not
    corner = (slice(0, 2), slice(0, 2))
    found = AnsweringStream({1: still((slice(1, 2), slice(1, 2)))}).play(3, give(0, o1=corner))
    assert found[1][1].any()
    found = AnsweringStream({1: still((slice(2, 8), slice(2, 8)))}).play(3, give(0, o1=corner))
    assert not found[1][1].any()


def test_an_object_given_again_begins_anew():
    stream = AnsweringStream({1: Answer(lambda frame: LEFT if frame < 4 else RIGHT)})
    again = GivenMasks((1,), mask(RIGHT)[None], (7,))
    found = stream.play(8, {**give(0, o1=LEFT), 4: again})
    assert stream.state.first_frames.tolist() == [4] and stream.state.labels.tolist() == [7]
    assert torch.equal(found[4][1], mask(RIGHT))
    assert all(covers(found[frame][1], RIGHT) for frame in range(4, 8))


def test_an_empty_mask_is_not_given():
    empty = GivenMasks((1,), torch.zeros(1, *SIZE, dtype=torch.bool))
    stream = AnsweringStream({1: still(LEFT)})
    assert not any(frame[1].any() for frame in stream.play(4, {0: empty}).values())
    assert stream.state.first_frames.tolist() == [-1]


def test_a_pixel_belongs_to_one_object_and_a_hidden_one_is_left_out():
    wide = (slice(None), slice(0, 5))
    both = {1: still(wide), 2: Answer(lambda frame: (slice(None), slice(4, 8)) if frame < 3 else wide, logit=2.0)}
    found = AnsweringStream(both).play(9, give(0, o1=wide, o2=(slice(None), slice(5, 8))))
    for frame in range(9):
        assert not (found[frame][1] & found[frame][2]).any()
    assert covers(found[8][1], wide) and not found[8][2].any()


def test_objects_of_sentences_may_overlap():
    settings = replace(VOS, objects="sentences", overlap="none")
    answers = {3: still(LEFT), 8: still(LEFT, logit=2.0)}
    stream = AnsweringStream(answers, settings, object_ids=(), sentences={8: "one", 3: "another"})
    found = stream.play(5, {})
    assert list(found[0]) == [8, 3]
    assert all(covers(found[frame][i], LEFT) for frame in range(5) for i in (3, 8))


def test_an_object_that_looks_different_adds_nothing_and_fades():
    stream = AnsweringStream({1: still(LEFT, looks=lambda frame: 0 if frame < 5 else 1)}, replace(VOS, clip_frames=2))
    found = stream.play(9, give(0, o1=LEFT))
    assert covers(found[4][1], LEFT) and not found[8][1].any()
    # slots begin as the mean of the last one and are halved whenever the object is inconsistent
    length = stream.state.embeddings[0].norm(dim=1)
    assert 0 < float(length[-1]) < float(length[0]) <= 1


def test_stuff_is_filled_from_the_semantic_map():
    settings = replace(VOS, stuff_help=True, learnable=True)
    stream = AnsweringStream({1: still(LEFT), 2: still(RIGHT)}, settings, things=frozenset({0}))
    # three classes; class 1, which is stuff, is on the left half and class 2 on the right one
    planes = [torch.full((SIZE[0] // 4, SIZE[1] // 4), -SURE) for _ in range(3)]
    planes[1][:, :8] = SURE
    planes[2][:, 8:] = SURE
    stream.background = torch.stack(planes)
    given = GivenMasks((1, 2), torch.stack([mask(LEFT), mask(RIGHT)]), (1, 0))
    found = stream.play(6, {0: given})
    half = (slice(None), slice(0, 8))
    assert torch.equal(found[0][1], mask(LEFT))
    assert all(covers(found[frame][1], half) and covers(found[frame][2], RIGHT) for frame in range(1, 6))


def test_the_state_stays_small():
    stream = AnsweringStream({1: still(LEFT)}, replace(VOS, memory_frames=4))
    stream.play(40, give(0, o1=LEFT))
    assert stream.state.frames == stream.state.boxes.shape[1] == VOS.clip_frames + VOS.stride
    assert stream.state.embeddings.shape[1] == 4
    assert len(stream._frames) == VOS.clip_frames and not stream._given


def test_a_video_without_frames_has_no_results():
    assert AnsweringStream({1: still(LEFT)}).finish() == []
