"""What a training clip looks like."""

from __future__ import annotations

from dataclasses import dataclass, field

from .augmentation import MotionSettings


@dataclass(frozen=True)
class ClipSettings:
    """Settings of a clip for learning to follow objects.

    frames: T, or (least, most), drawn anew for each group of ``group`` samples so that a batch has one length.
    size: (H, W) of the crop in pixels. scale_width: the crop has the pixel scale of a frame of this width ...
    zoom: ... times a factor drawn from this range.
    video_share: share of annotated video. still_share: of the pseudo-videos, the share that moves a whole still; the
    rest moves cut-outs over a picture. distractor_share: of the pseudo-videos, the share that sets things of the same
    category side by side. paste_share: of the real clips, the share that a cut-out crosses.
    gaps: largest step in stored frames at the first sample and from sample ``gap_samples`` on, linear in between.
    max_objects: most objects of one clip. least_pixels: of an object in the first frame, as a fraction of the crop.
    flip: mirror half of the clips. colour: strength of the colour change.
    """

    frames: int | tuple[int, int] = 3
    group: int = 1
    size: tuple[int, int] = (192, 336)
    scale_width: int = 448
    zoom: tuple[float, float] = (0.75, 1.5)
    video_share: float = 0.5
    still_share: float = 0.5
    distractor_share: float = 0.4
    paste_share: float = 0.3
    gaps: tuple[int, int] = (2, 8)
    gap_samples: int = 20000
    max_objects: int = 3
    least_pixels: float = 0.002
    flip: bool = True
    colour: float = 1.0
    motion: MotionSettings = field(default_factory=MotionSettings)

    def largest_gap(self, index: int) -> int:
        """Largest step between the frames of sample ``index``, in stored frames."""
        first, last = self.gaps
        return round(first + (last - first) * min(1.0, index / max(1, self.gap_samples)))
