"""From videos and a published-format checkpoint to files of tokens, with the real program."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.published_file import small_model, write_config, write_published
from tools.extract_tokens import main


def write_video(folder: Path, count: int) -> Path:
    """A folder of frames."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(count)
    for number in range(count):
        Image.fromarray(random.integers(0, 255, (48, 64, 3), np.uint8)).save(folder / f"{number:05d}.png")
    return folder


@pytest.fixture
def command(tmp_path) -> list[str]:
    config = write_config(tmp_path / "config.yaml", options=("INFERENCE.TASK", "semantic_extraction"))
    weights = write_published(tmp_path / "weights.pth", small_model())
    return ["--config-file", str(config), "--weights", str(weights), "--output", str(tmp_path / "out"), "--device=cpu"]


RATIOS = ["--set", "INFERENCE.COMPRESSION_RATIO=16", "--set", "INFERENCE.COMPRESSION_RATIO_TEMPORAL=2"]


def test_tokens_of_two_videos(command, tmp_path, capsys):
    videos = [str(write_video(tmp_path / "videos" / name, count)) for name, count in (("cat", 3), ("dog", 5))]
    assert main([*videos, *command, *RATIOS]) == 0
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    kinds = ("compression_mask_features", "obj_tokens")
    assert names == [f"{video}._{kind}_16_2.pt" for video in ("cat", "dog") for kind in kinds]
    tensors = [torch.load(tmp_path / "out" / name, weights_only=True) for name in names]
    assert [list(tensor.shape) for tensor in tensors] == [[2, 32, 3, 4], [2, 32, 6], [3, 32, 3, 4], [3, 32, 6]]
    assert all(tensor.isfinite().all() and tensor.std() > 0 for tensor in tensors)
    capsys.readouterr()
    assert main([*videos, *command, "--skip-existing", *RATIOS]) == 0
    assert "cat" not in capsys.readouterr().out


def test_a_video_that_cannot_be_read_does_not_stop_the_others(command, tmp_path, capsys):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    good = write_video(tmp_path / "good", 1)
    assert main([str(broken), str(good), *command]) == 2
    assert (tmp_path / "out" / "good._obj_tokens_32_1.pt").is_file()
    assert "broken.mp4 is left out" in (text := capsys.readouterr().err) and "1 of 2 videos" in text


def test_mistakes_are_told_in_a_sentence(command, tmp_path, capsys):
    write_video(tmp_path / "a" / "cat", 1), write_video(tmp_path / "b" / "cat", 1)
    assert main([str(tmp_path / "a" / "cat"), str(tmp_path / "b" / "cat"), *command]) == 2
    assert "2 videos are called cat" in capsys.readouterr().err
    assert main([str(tmp_path / "a" / "cat"), *command, "--set=INFERENCE.TASK=vos"]) == 2
    assert "semantic_extraction" in capsys.readouterr().err
