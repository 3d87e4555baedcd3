"""What docs/SESSION.md says is run and compared with the code."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from univs.inference.predictor import VideoPredictor
from univs.inference.session import VideoSession
from univs.inference.settings import SessionSettings
from univs.inference.soft_mask import encode
from univs.video.arrays import REMEMBERED_FRAMES
from univs.video.writer import VideoWriter

from .fake import ColourSegmenter, squares

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "SESSION.md").read_text()


@pytest.mark.filterwarnings("ignore::univs.errors.SessionWarning")
def test_the_python_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(VideoPredictor, "from_pretrained", lambda name: VideoPredictor(ColourSegmenter()))
    frames = squares(32, (240, 400), side=60)
    with VideoWriter("clip.mp4") as video:
        for frame in frames:
            video.write(frame)
    names = {"camera_frames": [np.zeros((480, 854, 3), np.uint8)] * 3}
    blocks = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    assert len(blocks) == 4
    for block in blocks:
        exec(compile(block, "docs/SESSION.md", "exec"), names)
    assert (tmp_path / "out" / "overlay.mp4").exists()
    assert names["result"].index == 2
    assert list(VideoSession.load("clip.univs", VideoPredictor(ColourSegmenter())).objects)[:3] == [1, 2, 3]


def test_every_method_is_listed() -> None:
    table = TEXT[TEXT.index("## All methods") : TEXT.index("## The rules")]
    listed = set(re.findall(r"`(?:VideoSession\.|predictor\.)?(\w+)\(", table))
    public = {name for name, value in vars(VideoSession).items() if not name.startswith("_") and callable(value)}
    public |= {"load"}
    assert listed == public - {"restore"}


def test_the_numbers_are_those_of_the_settings() -> None:
    settings = SessionSettings()
    rules = " ".join(TEXT[TEXT.index("## The rules") :].split())
    for said in (
        f"every {settings.text_interval} frames, until the score reaches {settings.text_threshold}",
        f"IoU of {settings.same_iou} or more",
        f"mostly ({settings.covered_share:.0%})".replace("%", " %"),
        f"not seen for {settings.expire_frames} frames",
        f"features of the last {settings.cached_frames} are held",
        f"one of the last {REMEMBERED_FRAMES}",
    ):
        assert said in rules, said


def test_a_stored_mask_is_as_described() -> None:
    import struct
    import zlib

    logits = np.full((6, 9), -20, np.float32)
    logits[2:4, 3:6] = [[4, 1, -0.5], [2, 9, 0.25]]
    code = encode(logits)
    top, left, height, width = struct.unpack("<4H", code[:8])
    q = np.frombuffer(zlib.decompress(code[8:]), np.int8).reshape(height, width) / 127
    stored = (q / (1 - np.abs(q)))[2 - top : 4 - top, 3 - left : 6 - left]
    assert stored == pytest.approx(logits[2:4, 3:6], rel=0.1)
