"""Names in any alphabet."""

from __future__ import annotations

import pytest
from PIL import ImageFont

from univs.video import labels


@pytest.fixture(autouse=True)
def fresh_fonts() -> None:
    labels.east_asian_font.cache_clear()
    labels.plate.cache_clear()


def test_a_system_font_is_taken_only_for_letters_that_the_usual_one_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    wider = ImageFont.load_default(14)
    monkeypatch.setattr(labels, "east_asian_font", lambda size: wider)
    assert labels.font_for("3 狗 93%", 14) is wider
    for text in ("3 dog 93%", "3 chien été", "3 собака"):
        assert labels.font_for(text, 14) is labels.usual_font(14)


def test_without_such_a_font_a_plate_is_drawn_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labels, "EAST_ASIAN_FONTS", ("no-such-font.ttc",))
    assert labels.font_for("狗", 14) is labels.usual_font(14)
    assert labels.plate("3 狗", 14, (200, 30, 30))[:, :, 3].min() == 0


def test_dark_letters_on_light_plates_and_light_on_dark() -> None:
    light, dark = labels.plate("1", 20, (250, 220, 60)), labels.plate("1", 20, (20, 30, 120))
    assert light[:, :, :3].sum(axis=2).min() < 150
    assert dark[:, :, :3].sum(axis=2).max() > 700


def test_plates_of_one_size_have_one_height() -> None:
    heights = {labels.plate(text, 14, (200, 30, 30)).shape[0] for text in ("1 dog", "2 axe", "3 Éyq")}
    assert len(heights) == 1
