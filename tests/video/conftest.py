"""A clip of varying frame rate for the tests of the result folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.video.media import write_video
from tests.video.runs import FRAMES


@pytest.fixture(scope="session")
def uneven_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    moments = [0.0, 0.04, 0.08, 0.5, 0.54, 0.58, 0.62, 1.5]
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    return write_video(path, numbers=range(FRAMES), times=moments.__getitem__, options={"bf": "0"})
