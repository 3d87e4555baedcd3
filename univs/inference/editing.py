"""Edits of a timeline: each takes one and returns another."""

from __future__ import annotations

from dataclasses import replace

from univs.errors import UserError
from univs.inference.timeline import CategorySearch, Timeline, TrackedObject, UserFrame
from univs.structures import MaskPrompt, Prompt, TextPrompt


def find(timeline: Timeline, object_id: int) -> TrackedObject:
    """The object of an id; UserError when there is none."""
    item = timeline.objects.get(object_id)
    if item is None:
        known = ", ".join(map(str, timeline.objects)) or "none yet"
        raise UserError(f"There is no object {object_id}; the objects are: {known}.")
    return item


def add_prompt(timeline: Timeline, object_id: int, frame: int, prompt: Prompt, base: MaskPrompt | None) -> Timeline:
    """Add a prompt to an object's frame; ``base`` is noted when it is the first one there."""
    item = timeline.objects.get(object_id) or TrackedObject(object_id)
    there = {other.frame: other for other in item.frames}.get(frame)
    return timeline.with_object(item.with_frame((there or UserFrame(frame, base=base)).adding(prompt)))


def add_sentence(timeline: Timeline, object_id: int, sentence: TextPrompt, searched: int) -> Timeline:
    """Add a sentence that has no frame; if the object has no frame either it is looked for from ``searched`` on."""
    item = timeline.objects.get(object_id) or TrackedObject(object_id)
    sentences = tuple(sorted({*item.sentences, sentence}, key=lambda each: each.text))
    return timeline.with_object(item.with_frames(item.frames, sentences=sentences, searched=searched))


def clear(timeline: Timeline, object_id: int, frame: int | None, kind: str | None) -> Timeline:
    """Remove prompts of an object: of one frame or all, of one kind or all; a mask found by category counts as one."""
    item = find(timeline, object_id)
    if frame is not None and frame not in item.user_frames:
        raise UserError(f"Object {object_id} has no prompt on frame {frame}.")
    frames = [_without(each, kind) if frame in (None, each.frame) else each for each in item.frames]
    all_text = frame is None and kind in (None, "text")
    sentences = () if all_text else item.sentences
    return timeline.with_object(item.with_frames([each for each in frames if each is not None], sentences=sentences))


def rename(timeline: Timeline, object_id: int, name: str | None) -> Timeline:
    """Give an object a name, or take it away; the id stays."""
    return timeline.with_object(replace(find(timeline, object_id), name=name))


def remove(timeline: Timeline, object_id: int) -> Timeline:
    """Remove an object; its id is not used again."""
    return timeline.without_object(find(timeline, object_id).object_id)


def merge(timeline: Timeline, keep: int, other: int, masks: dict[int, MaskPrompt]) -> Timeline:
    """Make one object of two: ``keep`` takes the united ``masks`` of the frames on which either was prompted."""
    kept, gone = find(timeline, keep), find(timeline, other)
    frames = [UserFrame(frame, base=mask) for frame, mask in masks.items()]
    merged = kept.with_frames(
        frames,
        sentences=(),
        name=kept.name or gone.name,
        category=kept.category or gone.category,
        discovered=kept.discovered and gone.discovered,
    )
    return timeline.without_object(other).with_object(merged)


def discover(timeline: Timeline, names: tuple[str, ...], every: int) -> Timeline:
    """Add a category search; the same categories again change only how often."""
    same = next((search for search in timeline.searches if search.names == names), CategorySearch(names, every))
    others = tuple(search for search in timeline.searches if search.names != names)
    return replace(timeline, searches=(*others, replace(same, every=every)))


def _without(item: UserFrame, kind: str | None) -> UserFrame | None:
    """A user frame without its prompts of one kind; None when nothing is left."""
    prompts = tuple(prompt for prompt in item.prompts if kind is not None and prompt.kind != kind)
    return replace(item, prompts=prompts) if prompts else None
