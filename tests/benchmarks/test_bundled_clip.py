"""The reference masks of the bundled clip, and the embedded model against them."""

from __future__ import annotations

import json

import pytest

from benchmarks import bundled_clip


def test_references_show_both_objects_in_every_frame_drawn() -> None:
    references = bundled_clip.references()
    assert list(references) == [0, 24, 48, 60]
    for ids in references.values():
        assert ids.shape == (360, 640) and sorted(set(ids.flat)) == [0, 1, 2]
        assert 3000 < (ids == 1).sum() < 9000 and 6000 < (ids == 2).sum() < 12000


def test_the_embedded_model_follows_dog_and_woman(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    words = ["--device", "cpu", "--prompt", "mask", "--frames", "25", "--json"]
    monkeypatch.setattr("sys.argv", ["bundled_clip.py", *words])
    assert bundled_clip.main() == 0
    scores = json.loads(capsys.readouterr().out.splitlines()[-1])["mask"]
    assert set(scores) == {"dog", "woman"} and min(scores.values()) > 0.7
