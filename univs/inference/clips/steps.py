"""The interface between the loop over clips and what is done with each of them."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor

from univs.inference.clips.clip import Clip
from univs.inference.clips.state import ObjectState


class ClipSteps(Protocol):
    """What is done with a decoded clip; one kind for each way in which objects begin."""

    def first_held(self, clip: Clip) -> int:
        """The first frame before ``clip`` whose masks must still be held; ``clip.first`` if none must."""

    def begin(self, state: ObjectState, clip: Clip) -> None:
        """Write into the extended state what is known before the clip is decoded."""

    def follow(self, state: ObjectState, clip: Clip) -> None:
        """Follow the objects that were seen before the clip."""

    def take_in(self, state: ObjectState, clip: Clip) -> None:
        """Take in the objects that begin in the clip."""

    def kept(self, state: ObjectState, clip: Clip) -> Tensor | None:
        """Before the next clip is begun: rows of the objects that go on, ascending; None where all do."""

    def give_out(self, state: ObjectState, clip: Clip) -> list[Any]:
        """Results that are final as soon as the clip is done, whether or not another one comes."""

    def close(self, state: ObjectState, clip: Clip, is_last: bool) -> list[Any]:
        """Further results, now that it is known whether ``clip`` is the last one; called just before the next clip is
        begun, or at the end of the video."""


class NothingFollowed:
    """The steps of clips that each stand alone: nothing is known before them, nothing is kept of them."""

    def first_held(self, clip: Clip) -> int:
        """No masks are held."""
        return clip.first

    def begin(self, state: ObjectState, clip: Clip) -> None:
        """Nothing is known."""

    def kept(self, state: ObjectState, clip: Clip) -> None:
        """There is nothing to keep."""

    def follow(self, state: ObjectState, clip: Clip) -> None:
        """There is nothing to follow."""

    def take_in(self, state: ObjectState, clip: Clip) -> None:
        """Nothing is kept."""
