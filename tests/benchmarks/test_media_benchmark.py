"""The benchmark of reading and writing runs, and its report is whole."""

from __future__ import annotations

from pathlib import Path

from benchmarks.media import measure
from benchmarks.shapes import MovingShapes
from univs.video import open_video


def test_the_benchmark_reads_and_writes_every_frame(tmp_path: Path) -> None:
    report = measure(MovingShapes(2, 6, (48, 64)), tmp_path)
    assert report["peak_rss_mb_backwards"] >= report["peak_rss_mb"] > 0
    assert all(report[name] >= 0 for name in ("read_ms_per_frame", "write_ms_per_frame", "backwards_ms_per_frame"))
    assert len(open_video(tmp_path / "out" / "overlay.mp4")) == 6
    assert len(list((tmp_path / "out" / "masks").iterdir())) == 6
