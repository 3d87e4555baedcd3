"""Names that fit a picture, names that do not, and what means one object only."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from univs.engine.name_sampler import NameSampler

VOCABULARY = ["bowl", "cat", "cup", "dog", "kitten", "tree"]


class Letters:
    """An encoder that notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def __call__(self, names: list[str]) -> torch.Tensor:
        self.asked.append(names)
        return torch.tensor([[float(ord(name[0])), float(len(name))] for name in names])


def sampler(misfits: int = 2) -> NameSampler:
    return NameSampler(Letters(), VOCABULARY, misfits)


def picture(number: int = 0, partial: bool = False) -> dict[str, Any]:
    categories = [["cat", "kitten"], ["dog"], ["cat"], []]
    sentences = [[], ["the dog at the tree"], [], []]
    return {"sample": number, "categories": categories, "expressions": sentences, "partial_annotation": partial}


def test_every_text_is_encoded_once() -> None:
    names = sampler()
    first = names.embed(["cup", "cat", "cup"])
    assert first.tolist() == [[99, 3], [99, 3], [99, 3]] and names.encode.asked == [["cup", "cat"]]
    assert names.embed(["tree", "cat"]).tolist() == [[116, 4], [99, 3]]
    assert names.encode.asked[1:] == [["tree"]]


def test_names_of_the_picture_come_first_then_names_that_nothing_bears() -> None:
    seen = set()
    for number in range(20):
        drawn = sampler().draw(picture(number))
        assert len(drawn) == len(set(drawn)) and drawn == sampler().draw(picture(number))
        present, misfits = drawn[:-2], drawn[-2:]
        assert set(present) <= {"cat", "kitten", "dog"} and {"cat", "dog"} <= set(present)
        assert set(misfits) <= {"bowl", "cup", "tree"}
        seen |= set(drawn)
    assert seen == set(VOCABULARY)


def test_there_are_no_more_misfits_than_names() -> None:
    assert set(sampler(16).draw(picture())[-3:]) == {"bowl", "cup", "tree"}
    assert NameSampler(Letters(), ["cat", "dog", "kitten"]).draw(picture(3))[-1] in ("cat", "dog")


def test_a_name_means_one_object_only() -> None:
    found = {
        place: {sampler().of_object(picture(), place, np.random.default_rng(seed)) for seed in range(30)}
        for place in range(4)
    }
    # "cat" is borne by two objects, "kitten" by one; the fourth has no name at all.
    assert found == {0: {"kitten"}, 1: {"dog", "the dog at the tree"}, 2: {None}, 3: {None}}


def test_in_a_partly_annotated_picture_only_sentences_mean_one_object() -> None:
    sample = picture(partial=True)
    found = {sampler().of_object(sample, 1, np.random.default_rng(seed)) for seed in range(30)}
    assert found == {"the dog at the tree", None}
    assert sampler().of_object(sample, 0, np.random.default_rng(0)) is None
