"""A whole video through the stream of clips: frames of any size in, results of the video's size out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from detectron2.data.transforms import ResizeShortestEdge
from PIL import Image
from torch import Tensor

from univs.data.vocabulary import read_vocabulary
from univs.errors import UserError
from univs.inference.clips.seeds import GivenMasks, VideoSeeds
from univs.inference.clips.settings import ClipSettings
from univs.inference.clips.stream import ClipStream
from univs.layers.draws import Draws
from univs.modeling.meta_arch import UniVS

REMOVED_FIRST = str.maketrans("", "", "0123456789()")
REMOVED_THEN = str.maketrans("-/", "  ", ".,'!?\"()*#:;")


def segment_video(
    model: UniVS,
    frames: Iterable[np.ndarray],
    settings: ClipSettings,
    *,
    given: Mapping[int, GivenMasks] | None = None,
    sentences: Mapping[int, str] | None = None,
    categories: Sequence[str] = (),
    draws: Draws | None = None,
) -> Iterator[Any]:
    """Results of a video, each as soon as it is final; see `results` for what they are.

    Args:
        frames: uint8 [Ho, Wo, 3] RGB, all of one size.
        given: masks by number of the frame, bool [n, Ho, Wo] at the video's size.
        sentences: expressions by id.
        categories: names to look for; without them the vocabulary of the settings. All are taken as countable.
        draws: random choice of prompt tokens; by default the same for the same video.

    Raises:
        UserError: what the settings start objects from was not given, or frames differ in size.
    """
    given = given or {}
    seeds = video_seeds(model, settings, given, sentences, categories)
    stream = None
    for number, frame in enumerate(frames):
        size = frame.shape[:2]
        if stream is None:
            stream = ClipStream(model, settings, size, seeds, draws)
        if size != stream.video_size:
            raise UserError(f"Frame {number} is {size[1]} x {size[0]} pixels, those before it were of another size.")
        shape = input_size(size, settings)
        yield from stream.step(resized_frame(frame, shape), _resized_masks(given.get(number), shape))
    if stream is not None:
        yield from stream.finish()


def video_seeds(
    model: UniVS,
    settings: ClipSettings,
    given: Mapping[int, GivenMasks] | None = None,
    sentences: Mapping[int, str] | None = None,
    categories: Sequence[str] = (),
) -> VideoSeeds:
    """What is known of a video before its first frame.

    Raises:
        UserError: the settings need masks or sentences and there are none.
    """
    given, sentences = given or {}, dict(sentences or {})
    if settings.objects == "masks" and not given:
        raise UserError("Objects that are to be followed need a mask in some frame; none was given.")
    if settings.objects == "sentences" and not sentences:
        raise UserError("There is no sentence that says what to look for.")
    embeddings, things, ranking = None, frozenset(), None
    if categories:
        embeddings = model.class_embeddings.of_names(categories, model.device)
        things = frozenset(range(len(categories)))
    elif settings.learnable and settings.vocabulary:
        embeddings = model.class_embeddings(settings.vocabulary, model.device)
        is_thing = read_vocabulary(settings.vocabulary).is_thing
        things = frozenset(place for place, thing in enumerate(is_thing) if thing)
    if settings.objects == "best_queries":
        ranking = model.class_embeddings.whole_table(model.device)
    return VideoSeeds(
        object_ids=sorted({identity for masks in given.values() for identity in masks.ids}),
        sentences={identity: cleaned_sentence(text) for identity, text in sentences.items()},
        class_embeddings=embeddings,
        things=things,
        ranking_embeddings=ranking,
    )


def cleaned_sentence(text: str) -> str:
    """A sentence as the published models were trained with: lower case, without digits and punctuation.

    Raises UserError where nothing is left.
    """
    cleaned = text.replace("_", " ").translate(REMOVED_FIRST).lower().translate(REMOVED_THEN)
    if not cleaned.strip():
        raise UserError(f"The sentence {text!r} has no word.")
    return cleaned


def input_size(video_size: tuple[int, int], settings: ClipSettings) -> tuple[int, int]:
    """(height, width) at which the network sees frames of ``video_size``: the shorter side has ``min_size`` pixels
    unless the longer one would then pass ``max_size`` or the square."""
    if not settings.min_size:
        return video_size
    longest = min(settings.max_size, settings.square) if settings.square else settings.max_size
    return ResizeShortestEdge.get_output_shape(*video_size, settings.min_size, longest)


def resized_frame(frame: np.ndarray, size: tuple[int, int]) -> Tensor:
    """A frame [Ho, Wo, 3] at ``size``, uint8 [3, H0, W0]."""
    if frame.shape[:2] != size:
        frame = np.asarray(Image.fromarray(frame).resize(size[::-1], Image.Resampling.BILINEAR))
    return torch.from_numpy(np.ascontiguousarray(frame.transpose(2, 0, 1)))


def _resized_masks(given: GivenMasks | None, size: tuple[int, int]) -> GivenMasks | None:
    """Given masks at ``size``, each pixel that of the nearest one."""
    if given is None or given.masks.shape[-2:] == size:
        return given
    pictures = [Image.fromarray(mask.astype(np.uint8)) for mask in torch.as_tensor(given.masks).cpu().numpy()]
    masks = [np.asarray(picture.resize(size[::-1], Image.Resampling.NEAREST)) > 0 for picture in pictures]
    return GivenMasks(given.ids, torch.from_numpy(np.stack(masks)), given.labels)
