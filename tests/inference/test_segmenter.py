"""The embedded model, with random weights, as the session sees it."""

import numpy as np
import pytest
import torch

from univs.config import get_config
from univs.errors import UserError
from univs.inference import dense_following
from univs.inference.dense_bank import BankSettings, DenseBank, ObjectValues, cell_boxes
from univs.inference.loading import build_model, load_segmenter
from univs.inference.segmenter import SegmenterSettings, UniVSSegmenter, network_size, points_along, stabilities
from univs.resources import config_file
from univs.structures import BoxPrompt, MaskPrompt, PointPrompt, ScribblePrompt, TextPrompt

SIZE = (90, 160)


@pytest.fixture(scope="module")
def segmenter() -> UniVSSegmenter:
    torch.manual_seed(0)
    model = build_model(get_config(config_file("mini/univs_mini.yaml")))
    return UniVSSegmenter(model, SegmenterSettings(area=96 * 160, bank=BankSettings(window=4)))


@pytest.fixture(scope="module")
def frames() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    base = rng.integers(0, 255, (SIZE[0], SIZE[1] + 40, 3), np.uint8)
    return [np.ascontiguousarray(base[:, 4 * i : 4 * i + SIZE[1]]) for i in range(5)]


def _logits(top: int, left: int, grid=(24, 40)) -> torch.Tensor:
    out = torch.full(grid, -5.0)
    out[top : top + 8, left : left + 8] = 4.0
    return out


def _follow(segmenter, frames, objects: dict[int, torch.Tensor]) -> dict[int, list[torch.Tensor]]:
    memory = segmenter.start()
    out = {i: [] for i in objects}
    for index, frame in enumerate(frames):
        features = segmenter.encode(frame)
        logits = objects
        if index:
            answers = segmenter.follow(memory, index, features, sorted(objects))
            logits = {i: answer.mask_logits for i, answer in answers.items()}
            for i, mask in logits.items():
                out[i].append(mask)
        segmenter.remember(memory, index, features, logits, permanent=index == 0)
    return out


def test_objects_are_independent_to_the_last_bit(segmenter, frames):
    first, second, third = _logits(3, 4), _logits(10, 24), _logits(14, 6)
    alone = _follow(segmenter, frames, {1: first})
    together = _follow(segmenter, frames, {1: first, 2: second, 7: third})
    for ours, theirs in zip(alone[1], together[1], strict=True):
        assert torch.equal(ours, theirs)


def test_the_memory_is_bounded(segmenter, frames):
    memory = segmenter.start()
    sizes = []
    for index in range(40):
        features = segmenter.encode(frames[index % 5])
        segmenter.remember(memory, index, features, {1: _logits(3, 4)}, permanent=index == 0)
        sizes.append(segmenter.memory_report(memory)["bytes"])
    assert max(sizes[20:]) == max(sizes[10:20])
    # the first, two kept ones and the last, which may be one of them
    assert 3 <= segmenter.memory_report(memory)["frames"] <= 4
    segmenter.forget(memory, [1])
    assert segmenter.memory_report(memory) == {"frames": 0, "objects": 0, "bytes": 0}


def test_every_kind_of_prompt_is_answered(segmenter, frames):
    features = segmenter.encode(frames[0])
    mask = np.zeros(SIZE, bool)
    mask[20:60, 30:90] = True
    kinds = [
        PointPrompt(((60.0, 40.0), (5.0, 5.0)), (1, 0)),
        BoxPrompt((30.0, 20.0, 90.0, 60.0)),
        ScribblePrompt((((35.0, 30.0), (80.0, 50.0)),), (1,)),
        TextPrompt("the brown dog"),
        MaskPrompt.from_array(mask),
    ]
    for prompt in kinds:
        answers = segmenter.answer(features, SIZE, [prompt], None)
        assert len(answers) == 1 and answers[0].mask_logits.shape == (24, 40)
        assert 0 <= answers[0].score <= 1
    everything = segmenter.answer(features, SIZE, kinds[:4], mask)
    assert everything[0].mask_logits.isfinite().all()


def test_an_ambiguous_click_has_alternatives(segmenter, frames):
    features = segmenter.encode(frames[0])
    click = PointPrompt(((60.0, 40.0),), (1,))
    assert len(segmenter.answer(features, SIZE, [click], None, alternatives=True)) == 3
    box = BoxPrompt((30.0, 20.0, 90.0, 60.0))
    assert len(segmenter.answer(features, SIZE, [click, box], None, alternatives=True)) == 1


def test_a_mask_is_taken_as_it_is(segmenter, frames):
    mask = np.zeros(SIZE, bool)
    mask[20:60, 30:90] = True
    answer = segmenter.answer(segmenter.encode(frames[0]), SIZE, [MaskPrompt.from_array(mask)], None)[0]
    values, top, left = segmenter.geometry(SIZE).enlarge(answer.mask_logits.numpy())
    assert (top, left) == (0, 0)
    difference = (values > 0) != mask
    assert difference.sum() < 0.02 * mask.sum()


def test_discovery_gives_named_instances(segmenter, frames):
    found = segmenter.discover(segmenter.encode(frames[0]), SIZE, ["person", "dog"])
    assert all(item.category in ("person", "dog") and item.mask_logits.shape == (24, 40) for item in found)


def test_values_are_those_of_the_whole_frame(segmenter, frames):
    features, mask = segmenter.encode(frames[0]), _logits(10, 16)
    memory = segmenter.start()
    segmenter.remember(memory, 0, features, {1: mask}, permanent=True)
    with torch.inference_mode():
        whole = segmenter.model.dense_memory.values(features.dense, torch.where(mask > 0, mask.sigmoid(), 0)[None])[0]
    own = memory.objects[1].values[0]
    stored = memory.frames[0].blank.clone()
    stored[own.part] = own.values
    torch.testing.assert_close(stored, whole.permute(1, 2, 0), rtol=1e-4, atol=1e-5)


def test_network_sizes():
    assert network_size((480, 854), 352 * 640, 32) == (352, 640)
    assert network_size((854, 480), 352 * 640, 32) == (640, 352)
    assert network_size((10, 2000), 352 * 640, 32)[0] == 32


def test_bank_keeps_frames_common_to_all_and_none_of_another_scene():
    bank = DenseBank(BankSettings(window=1, kept=2, interval=3))
    nothing, values = ObjectValues((0, 0, 0, 0), torch.randn(0, 0, 3)), ObjectValues((1, 1, 3, 4), torch.randn(2, 3, 3))
    for frame in range(18):
        bank.share(frame, torch.randn(2, 4, 4), torch.randn(4, 4, 3))
        if frame == 11:
            bank.objects[1].elsewhere = True
        bank.write(frame, 1, nothing if 8 <= frame < 15 else values, permanent=frame == 0)
        assert set(bank.frames) == {f for f, _ in bank.objects[1].frames} | {frame}
        if frame == 14:
            assert [f for f, _ in bank.objects[1].frames] == [0, 6, 9, 10]
    assert [f for f, _ in bank.objects[1].frames] == [0, 9, 15, 17]
    bank.forget([1], [9])
    assert [f for f, _ in bank.objects[1].frames] == [0, 15, 17]


def test_a_frame_that_is_of_another_scene_for_one_object_alone():
    bank = DenseBank(BankSettings())
    nothing, values = ObjectValues((0, 0, 0, 0), torch.randn(0, 0, 3)), ObjectValues((1, 1, 3, 4), torch.randn(2, 3, 3))
    for frame in range(3):
        bank.share(frame, torch.randn(2, 4, 4), torch.randn(4, 4, 3))
        bank.write(frame, 1, values if frame == 0 else nothing, permanent=frame == 0)
        bank.write(frame, 2, values, permanent=frame == 0)
        bank.objects[1].elsewhere = True
        assert set(bank.frames) == {f for item in bank.objects.values() for f in item.values}
    assert [f for f, _ in bank.objects[1].frames] == [0] and [f for f, _ in bank.objects[2].frames] == [0, 2]


def test_what_nothing_shows_is_absent_without_decoding(segmenter, frames, monkeypatch):
    memory, decoded = segmenter.start(), []
    decode = segmenter.model.dense_memory.decode
    monkeypatch.setattr(
        segmenter.model.dense_memory, "decode", lambda read, *rest: decoded.append(len(read)) or decode(read, *rest)
    )
    for index, frame in enumerate(frames[:2]):
        features = segmenter.encode(frame)
        if index:
            answers = segmenter.follow(memory, index, features, [1, 2])
        segmenter.remember(memory, index, features, {1: _logits(3, 4), 2: torch.full((24, 40), -5.0)}, permanent=True)
    assert decoded == [1]
    assert segmenter.follow(memory, 2, features, []) == {}
    assert (answers[2].mask_logits < 0).all() and answers[2].score == 0


def test_an_object_is_decoded_round_what_was_read_of_it():
    share = torch.full((16, 24), 0.04)
    assert dense_following.where_read(share, (0, 0, 16, 24)) is None
    share[5, 6] = 0.9
    assert dense_following.where_read(share, (8, 10, 24, 34)) == (10, 12, 18, 20)


def test_strange_is_an_object_with_its_surroundings():
    share, best = torch.zeros(16, 24), torch.full((16, 24), -4.0)
    share[5, 6], best[5, 6], share[5, 7], best[5, 7] = 0.75, -12.0, 0.25, -8.0
    around = (382 * 4 + 12 + 8) / 384
    assert dense_following.strangeness(share, best.flatten()) == pytest.approx((around + 11) / 2)


def remembered_object(*boxes):
    """A bank with object 1, last seen in ``boxes`` one after the other."""
    bank = DenseBank(BankSettings())
    bank.share(0, torch.randn(2, 4, 4), torch.randn(4, 4, 3))
    bank.write(0, 1, ObjectValues((0, 0, 0, 0), torch.randn(0, 0, 3)), permanent=True)
    for box in boxes:
        bank.place(1, box)
    return bank.objects[1]


def test_an_object_is_looked_for_where_its_sides_go():
    steps = [
        ((10, 10, 20, 20), None),  # not followed yet
        ((10, 13, 20, 23), (0, 0, 0, 3)),  # to the right
        ((8, 13, 19, 23), (2, 0, 0, 2)),  # upwards; the speed to the right fades
        (None, (2, 0, 0, 2)),
        ((8, 12, 19, 23), (1, 1, 0, 1)),
    ]
    for count, (box, speeds) in enumerate(steps, 1):
        item = remembered_object(*(box for box, _ in steps[:count]))
        assert item.speeds == speeds and item.missing == (box is None)


@pytest.mark.parametrize(
    ("boxes", "region"),
    [
        ([], (0, 0, 40, 60)),  # never seen: everywhere
        ([(16, 20, 24, 32)], (4, 10, 36, 42)),  # not followed yet: as if it were fast
        ([(16, 20, 24, 32)] * 2, (12, 18, 28, 34)),
        ([(16, 20, 24, 32)] * 2 + [None] * 2, (12, 14, 28, 38)),  # not seen twice: two cells farther
        ([(16, 20, 24, 32)] * 2 + [(16, 20, 24, 26)], (12, 10, 28, 34)),  # half of it is hidden
        ([(16, 20, 24, 32)] * 2 + [(17, 20, 24, 32)] * 80, (12, 18, 28, 34)),  # what was long ago is forgotten
    ],
)
def test_where_an_object_can_be(boxes, region):
    top, left, bottom, right = dense_following.region_of(remembered_object(*boxes), 2, 40, 60)
    assert (top, left, bottom, right) == region
    assert not any(side % 2 for side in region)


def test_regions_hold_what_they_are_made_for():
    for start in range(-3, 40):
        for stop in range(max(1, start + 1), 44):
            top, _, bottom, _ = dense_following.fitted((start, 0, stop, 8), (2, 0, 2, 0), 40, 60)
            assert 0 <= top <= max(0, start - 2) and min(40, stop + 2) <= bottom <= 40
            assert top % 2 == 0 and ((bottom - top) % dense_following.SIZE_STEP == 0)


def test_boxes_of_cells():
    masks = torch.full((3, 8, 12), -1.0)
    masks[1, 2:4, 5] = 1.0
    masks[2, 0, 11] = 1.0
    assert cell_boxes(masks) == [None, (1, 2, 2, 3), (0, 5, 1, 6)]
    assert cell_boxes(masks, 1)[1:] == [(0, 1, 3, 4), (0, 4, 2, 6)]
    assert cell_boxes(masks, above=-2.0) == [(0, 0, 4, 6)] * 3


def test_small_tools():
    assert points_along([(0.0, 0.0), (10.0, 0.0)], step=2.5) == [(x, 0.0) for x in (0.0, 2.5, 5.0, 7.5, 10.0)]
    assert points_along([(0.0, 0.0), (4.0, 0.0), (4.0, 4.0)], step=4.0) == [(0.0, 0.0), (4.0, 0.0), (4.0, 4.0)]
    assert points_along([(3.0, 4.0)], step=1.0) == [(3.0, 4.0)]
    assert stabilities(torch.tensor([[[2.0, 0.0], [-2.0, 2.0]]])) == [pytest.approx(2 / 3)]


def test_loading_refuses_what_it_does_not_know(tmp_path):
    with pytest.raises(UserError, match="shipped models: univs_mini"):
        load_segmenter("nothing_like_it")
    with pytest.raises(UserError, match="Quality 'best' is unknown"):
        load_segmenter("univs_mini", quality="best")
    with pytest.raises(UserError, match="needs weights"):
        load_segmenter(config_file("mini/univs_mini.yaml"))
