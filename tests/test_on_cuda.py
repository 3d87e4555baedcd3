"""The library on a CUDA GPU: as on the CPU, repeatable, in bounded memory, in every precision that it offers."""

from __future__ import annotations

import contextlib
import functools
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.shapes import MovingShapes
from tests import parity, rule, rule_video
from tests.engine.test_objectives import clip, mini, still
from univs.cli import main
from univs.config import get_config
from univs.engine.name_sampler import NameSampler
from univs.engine.objective import Objective
from univs.engine.objectives import AnsweringObjective, FollowingObjective
from univs.engine.trainer import Trainer
from univs.inference.clips.seeds import GivenMasks, VideoSeeds
from univs.inference.clips.settings import ClipSettings, clip_settings
from univs.inference.clips.stream import ClipStream, encoded
from univs.inference.loading import load_segmenter
from univs.inference.protocol import Segmenter
from univs.inference.session import VideoSession
from univs.inference.viewing import Preview
from univs.modeling.meta_arch import UniVS
from univs.structures import FrameFeatures

pytestmark = pytest.mark.gpu

ROOT = Path(__file__).parents[1]
SIZE = (240, 428)
OBJECTS = (1, 2, 3)
FRAMES = 12
# of the clip that the published model sees
INPUTS = {"video_tag": "on_cuda", "T": 5, "H": 128, "W": 224, "n": 3, "ids": [1, 2, 3], "start": [0, 0, 0]}


@functools.cache
def segmenter(device: str) -> Segmenter:
    """The embedded model."""
    return load_segmenter("univs_mini", device=device)


def session_on(model: Segmenter, objects: tuple[int, ...], frames: int) -> VideoSession:
    """Three textured ellipses that move: the first begins with its mask, the second with a box, the third a click."""
    video = MovingShapes(len(OBJECTS), frames, SIZE, seed=3)
    ids, session = video.id_map(0), VideoSession(model, video)
    for number in objects:
        rows, columns = np.nonzero(ids == number)
        if number == 1:
            session.add_mask(1, 0, ids == 1)
        elif number == 2:
            session.add_box(2, 0, (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1))
        else:
            session.add_click(3, 0, [video.centres(0)[2][::-1]])
    return session


def followed(device: str, *objects: int) -> dict[int, list[Preview]]:
    """The own masks of objects in all frames."""
    session = session_on(segmenter(device), objects, FRAMES)
    assert len(list(session.propagate())) == FRAMES
    return {number: [session.preview(number, frame)[0] for frame in range(FRAMES)] for number in objects}


def same_bits(ours: list[Preview], theirs: list[Preview]) -> bool:
    return all((a.mask == b.mask).all() and a.score == b.score for a, b in zip(ours, theirs, strict=True))


@functools.cache
def on_gpu() -> dict[int, list[Preview]]:
    return followed("cuda", *OBJECTS)


def test_masks_are_those_of_the_cpu() -> None:
    ours, theirs = on_gpu(), followed("cpu", *OBJECTS)
    for number in OBJECTS:
        for frame, (a, b) in enumerate(zip(ours[number], theirs[number], strict=True)):
            assert b.mask.any(), f"object {number}, frame {frame}"
            overlap = (a.mask & b.mask).sum() / (a.mask | b.mask).sum()
            assert overlap >= 0.97, f"object {number}, frame {frame}: {overlap:.4f}"


def test_two_runs_give_the_same_bits() -> None:
    again = followed("cuda", *OBJECTS)
    assert all(same_bits(on_gpu()[number], again[number]) for number in OBJECTS)


@pytest.mark.parametrize("number", OBJECTS)
def test_objects_do_not_know_of_each_other(number: int) -> None:
    assert same_bits(on_gpu()[number], followed("cuda", number)[number])


def test_memory_does_not_grow_with_the_video() -> None:
    def peak(frames: int) -> int:
        torch.cuda.reset_peak_memory_stats()
        for _ in session_on(segmenter("cuda"), OBJECTS, frames).propagate():
            pass
        return torch.cuda.max_memory_allocated()

    peak(20)  # what is made once
    short, long = peak(20), peak(80)
    assert long <= 1.05 * short, f"{short} bytes for 20 frames, {long} for 80"


@functools.cache
def published() -> UniVS:
    """A model of the published size, with weights by rule that make decided masks."""
    cfg = get_config(ROOT / "configs" / "_base" / "backbone_r50.yaml", ["MODEL.UNIVS.TEXT.ENCODER", "NONE"])
    return parity.fill(UniVS(cfg), "on_cuda", weight=rule_video.weight).eval().to("cuda")


def looked_at(frame: torch.Tensor) -> tuple[FrameFeatures, torch.Tensor]:
    """Maps of a frame, and the mask logits of the learnable queries."""
    features = encoded(published(), frame, 0)
    return features, published().mask_decoder(features).mask_logits


def settings_of(task: str, file: str) -> ClipSettings:
    return clip_settings(get_config(ROOT / "configs" / "eval" / task / file))


def streamed(task: str, precision: torch.dtype | None) -> torch.Tensor:
    """Masks or segments of five frames of a clip stream, int64 [T, ...], on the CPU."""
    model = published()
    given: dict[int, GivenMasks] = {}
    if task == "vos":
        settings = settings_of("vos", "univs_r50_davis17.yaml")
        rows, masks = zip(*rule_video.given_masks(INPUTS)[0], strict=True)
        seeds = VideoSeeds(object_ids=[row + 1 for row in rows])
        given[0] = GivenMasks(tuple(row + 1 for row in rows), torch.from_numpy(np.stack(masks)))
    else:
        settings = settings_of("vps", "univs_r50_vipseg.yaml")
        table = torch.from_numpy(rule.weight("on_cuda", "clip_cls_text_emb", (124, 640))).to("cuda")
        seeds = VideoSeeds(class_embeddings=table, things=frozenset(range(58)), ranking_embeddings=table)
    stream, results = ClipStream(model, settings, (128, 224), seeds), []
    with torch.autocast("cuda", precision) if precision else contextlib.nullcontext():
        for number, frame in enumerate(rule_video.frames(INPUTS)):
            results += stream.step(torch.from_numpy(frame), given.get(number))
        results += stream.finish()
    maps = [item.ids() if task == "vps" else item.masks for item in results if hasattr(item, "index")]
    return torch.stack(maps).cpu().long()


@functools.cache
def single_precision(task: str) -> torch.Tensor:
    return streamed(task, None)


@pytest.mark.parametrize("task", ["vos", "vps"])
def test_clips_of_a_published_model_find_objects(task: str) -> None:
    maps = single_precision(task)
    assert maps.shape[0] == 5 and maps.shape[-2:] == (128, 224)
    assert 0.01 < (maps > 0).float().mean() < 0.99
    assert torch.equal(maps, streamed(task, None))


@torch.inference_mode()
@pytest.mark.parametrize(
    ("precision", "error", "agreement"),
    [(torch.float16, 0.005, 0.95), (torch.bfloat16, 0.02, 0.92)],
    ids=["half", "bfloat16"],
)
def test_lower_precision_sees_nearly_the_same(precision: torch.dtype, error: float, agreement: float) -> None:
    frame = torch.from_numpy(rule_video.frames(INPUTS)[0])
    exact, masks = looked_at(frame)
    with torch.autocast("cuda", precision):
        maps, found = looked_at(frame)
    for ours, theirs in zip([*maps.levels, maps.mask_features], [*exact.levels, exact.mask_features], strict=True):
        assert (ours - theirs).norm() <= error * theirs.norm()
    # attention to a mask is all or nothing, and weights by rule make many undecided masks
    share = ((found > 0) == (masks > 0)).float().mean()
    assert share >= agreement, f"{share:.4f} of the pixels"


@pytest.mark.parametrize("precision", [torch.float16, torch.bfloat16], ids=["half", "bfloat16"])
@pytest.mark.parametrize("task", ["vos", "vps"])
def test_clips_run_in_lower_precision(task: str, precision: torch.dtype) -> None:
    maps = streamed(task, precision)
    assert maps.shape[-2:] == (128, 224) and 0.01 < (maps > 0).float().mean() < 0.99
    assert torch.equal(maps, streamed(task, precision))


def objective_of(step: str, model: nn.Module) -> tuple[Objective, Any]:
    if step == "follow":
        return FollowingObjective(model, 1), clip
    return AnsweringObjective(model, NameSampler(model.text_encoder.encode, ["bowl", "cat", "cup", "dog"], 2)), still


@pytest.mark.parametrize("precision", [None, "float16", "bfloat16"])
@pytest.mark.parametrize("step", ["follow", "answer"])
def test_a_training_step(step: str, precision: str | None, tmp_path: Path) -> None:
    model, cfg = mini(step)
    # steps in half precision are left out until the scale of the losses has come down to what the gradients bear
    steps = 17 if precision == "float16" else 1
    changes = ["SOLVER.MAX_ITER", steps, "SOLVER.AMP.ENABLED", precision is not None, "OUTPUT_DIR", str(tmp_path)]
    cfg.merge_from_list([*changes, "MODEL.WEIGHTS", "", *(["SOLVER.AMP.PRECISION", precision] if precision else [])])
    objective, sample = objective_of(step, model.to("cuda"))
    trainer = Trainer(cfg, model, lambda first: itertools.repeat([sample(1), sample(2)]), objective=objective)
    before = {name: value.detach().clone() for name, value in model.named_parameters() if value.requires_grad}
    trainer.train()
    changed = [name for name, value in model.named_parameters() if name in before and (value != before[name]).any()]
    assert len(changed) > 0.5 * len(before)
    assert all(value.isfinite().all() for value in model.state_dict().values())


def test_the_command_line_segments_on_the_gpu(tmp_path: Path) -> None:
    video = ROOT / "datasets" / "demo_clips" / "dog_walk.mp4"
    line = ["demo", "--video", str(video), "--click", "1:300,225@0", "--end", "4", "--device", "cuda"]
    assert main([*line, "--output", str(tmp_path / "out")]) == 0
    assert len(list((tmp_path / "out" / "masks").glob("*.png"))) == 5
    assert (tmp_path / "out" / "overlay.mp4").stat().st_size > 0
