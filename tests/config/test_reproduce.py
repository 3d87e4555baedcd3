"""The page of published figures: every row has a configuration that names the same figure and takes its keys."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from univs.config import get_config

ROOT = Path(__file__).parents[2]
EVAL = ROOT / "configs" / "eval"
ENCODERS = {"R50": "r50", "Swin-T": "swint", "Swin-B": "swinb", "Swin-L": "swinl"}
ROW = re.compile(r"^\| ([^|]+) \| (R50|Swin-[TBL]) \| ([^|]+) \| `([^`]+)` \| `([^`]+)` \| `([^`]+)` \|$", re.MULTILINE)
ROWS = ROW.findall((ROOT / "docs" / "REPRODUCE.md").read_text())


def test_ten_data_sets_and_four_encoders() -> None:
    assert len({(data, encoder) for data, encoder, *_ in ROWS}) == len(ROWS) == 10 * 4


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0]}-{row[1]}".replace(" ", "_"))
def test_a_row_can_be_run(row: tuple[str, ...]) -> None:
    _, encoder, figure, checkpoint, config, keys = row
    assert f"univs_{ENCODERS[encoder]}_" in config and checkpoint.startswith(f"univs_{ENCODERS[encoder]}_stage")
    assert f"# Figure: {figure} on " in (EVAL / config).read_text()
    cfg = get_config(EVAL / config, keys.split())
    assert (cfg.INPUT.CLIP_FRAMES, cfg.INPUT.MIN_SIZE_TEST) == (5, 640)


@pytest.mark.parametrize("path", sorted(EVAL.glob("*/*.yaml")), ids=lambda path: path.stem)
def test_every_file_names_its_source_and_its_figure(path: Path) -> None:
    source, figure = path.read_text().splitlines()[:2]
    assert "(published: " in source or "(no published file of its own: " in source
    assert figure.startswith("# Figure: ") and figure.endswith(".")
