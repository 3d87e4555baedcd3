"""The lists of class names."""

from __future__ import annotations

import hashlib

import pytest

from univs.config import get_config
from univs.data.vocabulary import FOLDER, class_names, parse_vocabulary, read_vocabulary
from univs.errors import UserError
from univs.resources import config_file

# The published model gave its classes rows by these names in this order; checked against public lists of each data set.
DIGESTS = {
    "ade20k": "aaab84ac88c425d4",
    "bdd_track": "ec520b0d1f840ccd",
    "coco": "d7654b2610157284",
    "coco_panoptic": "a670bc7c1167e453",
    "entityseg_instance": "d8ed1e85879c41db",
    "entityseg_panoptic": "01ced8ede4b7699e",
    "imagenet": "571ae1c583b4be7d",
    "lvis": "f55fb68fe1223718",
    "objects365": "781cbe6a97f8ed64",
    "ovis": "ff4e5269c7e9a99d",
    "vipseg": "adf08b5fa7278027",
    "vspw": "adf08b5fa7278027",
    "ytvis19": "862854aa92b0271b",
    "ytvis21": "a9907dde77b39902",
}
# class number, as in annotation files (in the published class table for entityseg_instance): name
KNOWN_CLASSES = {
    "bdd_track": {1: "pedestrian", 3: "car", 6: "train", 8: "bicycle"},
    "entityseg_instance": {1: "table", 15: "man", 47: "person", 103: "keyboard", 206: "cable_car"},
    "entityseg_panoptic": {1: "unknown", 2: "man", 4: "sky", 101: "pipe", 278: "pipe", 641: "person_ot", 644: "girl"},
    "objects365": {
        1: "Person",
        2: "Sneakers",
        5: "Hat",
        38: "Moniter/TV",
        93: "Dog",
        246: "Trumpet",
        308: "Campel",
        365: "Table Tennis",
    },
    "ovis": {1: "person", 12: "poultry", 13: "giant_panda", 21: "bicycle", 25: "vehical"},
    "vipseg": {1: "wall", 3: "door", 42: "sculpture", 61: "person", 116: "computer", 118: "mobile_phone", 124: "train"},
    "vspw": {1: "wall", 7: "playground_slide", 29: "sky", 61: "person", 124: "train"},
    "ytvis19": {1: "person", 6: "sedan", 21: "motorbike", 26: "owl", 39: "earless_seal", 40: "tennis_racket"},
    "ytvis21": {1: "airplane", 14: "flying_disc", 23: "motorbike", 26: "person", 32: "squirrel", 40: "zebra"},
}


@pytest.mark.parametrize("name", sorted(file.stem for file in FOLDER.glob("*.txt")))
def test_lists_have_as_many_names_as_the_published_table_has_rows(name):
    ranges = get_config(config_file("_base/model.yaml")).MODEL.UNIVS.TEXT.CLASS_RANGES
    rows = {short_name: count for short_name, first, count in ranges}
    vocabulary = read_vocabulary(name)
    assert len(vocabulary.names) == rows[name]
    assert all(vocabulary.names)


@pytest.mark.parametrize("name", sorted(file.stem for file in FOLDER.glob("*.txt")))
def test_names_are_in_the_order_of_the_published_table(name):
    names = read_vocabulary(name).names
    assert {number: names[number - 1] for number in KNOWN_CLASSES.get(name, {})} == KNOWN_CLASSES.get(name, {})
    assert hashlib.sha256("\n".join(names).encode()).hexdigest()[:16] == DIGESTS[name]


def test_every_class_of_the_published_table_has_a_name():
    ranges = get_config(config_file("_base/model.yaml")).MODEL.UNIVS.TEXT.CLASS_RANGES
    named = [False] * 3938
    for dataset, first, count in ranges:
        vocabulary = read_vocabulary(dataset)
        assert len(vocabulary.names) == count, dataset
        named[first : first + count] = [True] * count
    assert len(named) == 3938 and all(named)


def test_things_and_stuff_are_told_apart():
    coco = read_vocabulary("coco_panoptic")
    assert coco.names[:80] == read_vocabulary("coco").names
    assert coco.is_thing == (True,) * 80 + (False,) * 53
    vipseg = read_vocabulary("vipseg")
    assert sum(vipseg.is_thing) == 58
    assert dict(zip(vipseg.names, vipseg.is_thing, strict=True))["sky"] is False
    entities = read_vocabulary("entityseg_panoptic")
    assert sum(entities.is_thing) == 535
    assert [entities.is_thing[row] for row in (0, 1, 3, 100, 277, 502, 638, 643)] == [
        *(True, True, False, False, True, False, False, True)
    ]
    assert all(read_vocabulary("entityseg_instance").is_thing) and all(read_vocabulary("objects365").is_thing)


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
    assert read_vocabulary("entityseg") == read_vocabulary("entityseg_panoptic")
    assert read_vocabulary("viposeg") == read_vocabulary("vipseg")
    with pytest.raises(UserError, match="no vocabulary and no file 'objects366'"):
        class_names("objects366")
