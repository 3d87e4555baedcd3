"""Prompts become tokens: clicks, boxes, masks and strokes in pixels of the original video."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from univs.errors import UserError
from univs.layers.draws import Draws, RepeatableDraws
from univs.modeling.prompt_encoder import (
    PROMPT_ENCODER_REGISTRY,
    Placement,
    PromptEncoder,
    PromptEncoderSettings,
    PromptFrame,
    VisualPromptSettings,
    encode_boxes,
    encode_masks,
    encode_points,
)
from univs.modeling.prompt_encoder.regions import grid_boxes, region_tokens, tight_boxes
from univs.modeling.prompt_encoder.scribble import places_along
from univs.modeling.prompt_queries import InitialQueries
from univs.structures import BoxPrompt, MaskPrompt, PointPrompt, ScribblePrompt, TextPrompt

HEIGHT, WIDTH = 8, 12  # cells
SETTINGS = VisualPromptSettings(tokens=8)
# a video of 30 x 44 pixels, shown at twice its size and padded
PLACEMENT = Placement(video_size=(30, 44), image_size=(60, 88), padded_size=(64, 96))


def _frame() -> PromptFrame:
    """A frame whose first two channels are the column and row of the cell, and whose codes are the negatives."""
    row, column = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing="ij")
    source = torch.stack([column, row, *[torch.ones_like(row)] * 14]).float()
    return PromptFrame(source, -1 - source, torch.zeros(16))


def _square(top: int, left: int, height: int, width: int) -> torch.Tensor:
    mask = torch.zeros(8 * HEIGHT, 8 * WIDTH)
    mask[top : top + height, left : left + width] = 1
    return mask


def _cells(features: torch.Tensor) -> set[tuple[int, int]]:
    """(row, column) of tokens [R, C] of `_frame`."""
    return {(int(row), int(column)) for column, row in features[:, :2].round().tolist()}


# --- points and strokes ---------------------------------------------------------------------------------------------


def test_clicks_share_the_tokens_positive_ones_first():
    centres = (torch.tensor([[[9.5, 1.5], [2.5, 3.5], [6.5, 5.5]]]) / torch.tensor([WIDTH, HEIGHT])).repeat(2, 1, 1)
    labels = torch.tensor([[0, 1, 1], [0, 0, -1]])
    plain = encode_points(centres, labels, _frame(), SETTINGS)
    assert plain.valid.tolist() == [True, False] and plain.negative is None
    assert [tuple(x) for x in plain.features[0, :3, :2].round().tolist()] == [(2, 3), (6, 5), (2, 3)]
    assert not plain.features[1].any() and not plain.positions[1].any()
    both = encode_points(centres, labels, _frame(), VisualPromptSettings(tokens=8, negative_clicks=True))
    assert [tuple(x) for x in both.features[0, :4, :2].round().tolist()] == [(2, 3), (6, 5), (9, 1), (2, 3)]
    assert both.negative[0].tolist() == [False, False, True, False, False, True, False, False]
    assert both.valid.tolist() == [True, False]


def test_points_outside_the_frame_do_not_count():
    points = torch.tensor([[[1.2, 0.5], [0.5, 0.5]], [[-0.1, 0.5], [0.5, 1.01]]])
    tokens = encode_points(points, torch.ones(2, 2, dtype=torch.int64), _frame(), SETTINGS)
    assert tokens.valid.tolist() == [True, False]
    assert len(set(map(tuple, tokens.features[0].tolist()))) == 1


def test_more_points_than_tokens_are_thinned_evenly():
    points = torch.stack([torch.linspace(0.06, 0.94, 24), torch.full((24,), 0.5)], 1)[None]
    tokens = encode_points(points, torch.ones(1, 24, dtype=torch.int64), _frame(), SETTINGS)
    steps = tokens.features[0, 1:, 0] - tokens.features[0, :-1, 0]
    torch.testing.assert_close(steps, steps.mean().expand(7), atol=1e-3, rtol=1e-3)


def test_negative_clicks_are_marked_and_left_out_of_the_first_query():
    settings = PromptEncoderSettings(12, 16, 2, visual=VisualPromptSettings(tokens=4, negative_clicks=True))
    encoder = PromptEncoder(settings)
    click = PointPrompt(((5.0, 5.0), (30.0, 20.0)), (1, 0))
    plain = encoder.encode([click], _frame(), PLACEMENT, Draws())
    with torch.no_grad():
        encoder.negative.weight.fill_(3.0)
    marked = encoder.encode([click], _frame(), PLACEMENT, Draws())
    difference = (marked.features - plain.features)[0, :, 0]
    assert difference[[0, 2]].eq(0).all() and difference[[1, 3]].eq(3).all()
    start = InitialQueries(16).eval()
    alone = encoder.encode([PointPrompt(((5.0, 5.0),), (1,))], _frame(), PLACEMENT, Draws())
    contents = [start([prompt], 1, Draws()).content for prompt in (marked, alone)]
    torch.testing.assert_close(*contents)


def test_places_along_strokes():
    corner = [((0.0, 0.0), (4.0, 0.0), (4.0, 4.0))]
    expected = torch.tensor([[1.0, 0.0], [3.0, 0.0], [4.0, 1.0], [4.0, 3.0]])
    torch.testing.assert_close(places_along(corner, 4), expected)
    two = places_along([((0.0, 0.0), (1.0, 0.0)), ((5.0, 5.0), (5.0, 8.0))], 4)
    torch.testing.assert_close(two, torch.tensor([[0.5, 0.0], [5.0, 5.5], [5.0, 6.5], [5.0, 7.5]]))
    assert places_along([((2.0, 3.0),)], 3).tolist() == [[2.0, 3.0]] * 3
    assert places_along([], 3).shape == (0, 2)


def test_strokes_on_and_off_the_object():
    scribble = ScribblePrompt((((4.0, 4.0), (36.0, 4.0)), ((4.0, 24.0), (36.0, 24.0))), (1, 0))
    frame = _frame()
    for negative, rows in ((False, [0] * 8), (True, [0] * 6 + [5] * 2)):
        settings = PromptEncoderSettings(12, 16, 2, visual=VisualPromptSettings(8, negative_clicks=negative))
        tokens = PromptEncoder(settings).encode([scribble], frame, PLACEMENT, Draws())
        # row 4 px of the video is 8 px of the input, half a cell below the centre of row 0
        assert tokens.features[0, :, 0, 1].sub(0.5).round().int().tolist() == rows
        assert tokens.features[0, :6, 0, 0].diff().gt(0).all()


# --- boxes and masks ------------------------------------------------------------------------------------------------


def test_cells_of_boxes():
    cells = grid_boxes(torch.tensor([[0.25, 0.25, 0.5, 0.5], [0.0, 0.0, 0.01, 1.0]]), HEIGHT, WIDTH)
    assert cells[0].nonzero().amin(0).tolist() == [3, 4] and cells[0].nonzero().amax(0).tolist() == [4, 6]
    # the first row and column never belong
    assert cells[1].nonzero().amin(0).tolist() == [1, 1] and cells[1].nonzero().amax(0).tolist() == [7, 1]


def test_tight_boxes():
    masks = torch.stack([_square(8, 24, 16, 8), torch.zeros(64, 96)])
    torch.testing.assert_close(tight_boxes(masks), torch.tensor([[0.25, 0.125, 1 / 3, 0.375], [0, 0, 0, 0]]))


@pytest.mark.parametrize("training", [False, True])
def test_tokens_lie_in_the_mask(training):
    masks = torch.stack([_square(8, 24, 40, 48), _square(16, 16, 8, 16)])
    tokens = encode_masks(masks, tight_boxes(masks), _frame(), SETTINGS, Draws(), training)
    inside = {(row, column) for row in range(1, 6) for column in range(3, 9)}
    assert _cells(tokens.features[0]) <= inside
    assert _cells(tokens.features[1]) == {(2, 2), (2, 3)}
    torch.testing.assert_close(tokens.positions, -1 - tokens.features)
    if not training:  # no cell twice
        assert len(_cells(tokens.features[0])) == 8
    else:  # leftmost, top, rightmost, bottom
        corners = [(1, 3), (1, 3), (1, 8), (5, 3)]
        assert [(int(row), int(column)) for column, row in tokens.features[0, :4, :2].tolist()] == corners


def test_extreme_cells_of_a_crooked_region():
    region = torch.zeros(1, HEIGHT, WIDTH, dtype=torch.bool)
    for row, columns in ((1, (5, 6)), (2, (2, 3, 4, 5, 6, 9)), (4, (2, 9)), (6, (4, 5))):
        region[0, row, list(columns)] = True
    frame = _frame()
    blank = torch.zeros(1, 16), torch.zeros(1, 16)
    features, _ = region_tokens(frame, region, blank, 8, Draws(), extremes=True)
    assert [(int(y), int(x)) for x, y in features[0, :4, :2].tolist()] == [(2, 2), (1, 5), (2, 9), (6, 4)]


def test_thin_masks_and_independent_objects():
    thin, large = _square(3, 10, 2, 2), _square(0, 0, 32, 32)
    published, robust = VisualPromptSettings(8), VisualPromptSettings(8, independent_objects=True)

    def tokens(masks, settings):
        masks = torch.stack(masks)
        return encode_masks(masks, tight_boxes(masks), _frame(), settings, RepeatableDraws())

    # published: beside another object a mask between the sampled pixels has no cell, alone it has every cell
    assert not tokens([thin, large], published).features[0].any()
    assert len(_cells(tokens([thin], published).features[0])) == 8
    # independent: it has the cell that it touches, whatever else there is
    alone, beside = tokens([thin], robust), tokens([large, thin], robust)
    assert _cells(alone.features[0]) == {(0, 1)}
    assert torch.equal(alone.features[0], beside.features[1])


def test_invalid_prompts_have_no_tokens():
    boxes = torch.tensor([[0.2, 0.2, 0.2, 0.6], [0.2, 0.2, 0.7, 0.6]])
    tokens = encode_boxes(boxes, _frame(), SETTINGS, Draws())
    assert tokens.valid.tolist() == [False, True]
    assert not tokens.features[0].any() and tokens.features[1].any()
    empty = torch.stack([torch.zeros(64, 96), _square(0, 0, 16, 16)])
    assert encode_masks(empty, tight_boxes(empty), _frame(), SETTINGS, Draws()).valid.tolist() == [False, True]


# --- all kinds together ---------------------------------------------------------------------------------------------


def test_placement_of_pixels():
    corners = torch.tensor([[0.0, 0.0], [44.0, 30.0]])
    torch.testing.assert_close(PLACEMENT.points(corners), torch.tensor([[0.0, 0.0], [88 / 96, 60 / 64]]))
    masks = PLACEMENT.masks(torch.ones(1, 30, 44))
    assert masks.shape == (1, 64, 96) and masks[0, :60, :88].all() and masks.sum() == 60 * 88


def test_prompts_of_several_kinds_keep_their_order():
    mask = np.zeros((30, 44), bool)
    mask[8:24, 4:12] = True  # input rows 16..47, columns 8..23
    prompts = [
        MaskPrompt.from_array(mask),
        PointPrompt(((34.0, 6.0),), (1,)),
        BoxPrompt((20.0, 10.0, 36.0, 26.0)),
        PointPrompt(((6.0, 26.0),), (1,)),
    ]
    encoder = PromptEncoder(PromptEncoderSettings(12, 16, 2, visual=SETTINGS))
    tokens = encoder.encode(prompts, _frame(), PLACEMENT, Draws())
    assert tokens.features.shape == tokens.positions.shape == (4, 8, 1, 16) and tokens.valid.all()
    assert _cells(tokens.features[0, :, 0]) <= {(row, column) for row in range(2, 6) for column in (1, 2)}
    torch.testing.assert_close(tokens.features[1, 0, 0, :2], torch.tensor([8.0, 1.0]))
    assert _cells(tokens.features[2, :, 0]) <= {(row, column) for row in range(3, 8) for column in range(6, 10)}
    torch.testing.assert_close(tokens.features[3, 0, 0, :2], torch.tensor([1.0, 6.0]))


def test_text_has_no_place_in_a_frame():
    encoder = PromptEncoder(PromptEncoderSettings(12, 16, 2))
    with pytest.raises(UserError, match="text"):
        encoder.encode([TextPrompt("the dog")], _frame(), PLACEMENT, Draws())


def test_every_kind_is_registered():
    assert {encoder.kind for _, encoder in PROMPT_ENCODER_REGISTRY} == {"point", "box", "mask", "scribble", "text"}


def test_repeatable_draws_do_not_depend_on_what_came_before():
    first, second = RepeatableDraws(4), RepeatableDraws(4)
    second.uniform("other", (5,))
    assert torch.equal(first.permutation("cells", 50), second.permutation("cells", 50))
    assert torch.equal(first.permutation("cells", 50), first.permutation("cells", 50))
    assert torch.equal(first.uniform("noise", (2, 3)), second.uniform("noise", (2, 3)))
    assert not torch.equal(first.permutation("cells", 50), first.permutation("points", 50))
    assert not torch.equal(first.permutation("cells", 50), RepeatableDraws(5).permutation("cells", 50))
    assert sorted(first.permutation("cells", 50).tolist()) == list(range(50))
