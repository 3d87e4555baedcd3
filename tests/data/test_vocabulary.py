"""The lists of class names."""

from __future__ import annotations

import pytest

from univs.config import get_config
from univs.data.vocabulary import FOLDER, class_names, parse_vocabulary, read_vocabulary
from univs.errors import UserError
from univs.resources import config_file


@pytest.mark.parametrize("name", sorted(file.stem for file in FOLDER.glob("*.txt")))
def test_lists_have_as_many_names_as_the_published_table_has_rows(name):
    ranges = get_config(config_file("_base/model.yaml")).MODEL.UNIVS.TEXT.CLASS_RANGES
    rows = {short_name: count for short_name, first, count in ranges}
    vocabulary = read_vocabulary(name)
    assert len(vocabulary.names) == rows[name]
    assert all(vocabulary.names)


def test_things_and_stuff_are_told_apart():
    coco = read_vocabulary("coco_panoptic")
    assert coco.names[:80] == read_vocabulary("coco").names
    assert coco.is_thing == (True,) * 80 + (False,) * 53
    vipseg = read_vocabulary("vipseg")
    assert sum(vipseg.is_thing) == 58
    assert dict(zip(vipseg.names, vipseg.is_thing, strict=True))["sky"] is False


def test_a_users_file_is_read(tmp_path):
    path = tmp_path / "mine.txt"
    path.write_text("# my classes\nred car\n\nwet grass\tstuff\n#1 fan\n")
    vocabulary = read_vocabulary(str(path))
    assert vocabulary.names == ("red car", "wet grass", "#1 fan")
    assert vocabulary.is_thing == (True, False, True)


def test_mistakes_are_named():
    with pytest.raises(UserError, match=r"'nothing'; vocabularies are .*coco_panoptic"):
        read_vocabulary("nothing")
    with pytest.raises(UserError, match="line 2: 'thing'"):
        parse_vocabulary("a\nb\tthing\n", "list")
    with pytest.raises(UserError, match="no class names"):
        parse_vocabulary("# nothing\n", "list")


def test_data_sets_share_classes():
    assert class_names("burst") == class_names("lvis") == read_vocabulary("lvis").names
    assert class_names("viposeg") == class_names("vipseg")
    with pytest.raises(UserError, match="no vocabulary and no file 'objects365'"):
        class_names("objects365")
