#!/usr/bin/env python3
"""Semantic tokens of videos: what a published model's queries hold of every frame, and its mask features, reduced.

  python tools/extract_tokens.py --config-file configs/eval/semantic_extraction/univs_swinb_internvid.yaml \\
    --weights univs_swinb_stage3.pth --output output/tokens videos/*.mp4

For each video two tensors of T frames are written, for torch.load: VIDEO._obj_tokens_R_E.pt [T, C, Q] and
VIDEO._compression_mask_features_R_E.pt [T, C, height / R, width / R]. R is INFERENCE.COMPRESSION_RATIO, and every E-th
frame is written (INFERENCE.COMPRESSION_RATIO_TEMPORAL).
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

# A clone works without being installed.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from univs import compat
from univs.cli import guarded
from univs.errors import UserError
from univs.runtime import add_device_argument

if TYPE_CHECKING:
    import numpy as np
    import torch

    from univs.inference.clips.results import FrameTokens
    from univs.video.source import VideoSource

# kinds of tensors as their files are called
QUERIES, MASK_FEATURES = "obj_tokens", "compression_mask_features"


def parser() -> argparse.ArgumentParser:
    """The options of the program."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("videos", nargs="+", metavar="VIDEO", help="files, or folders of frames")
    options.add_argument("--config-file", required=True, metavar="FILE", help="one of configs/eval/semantic_extraction")
    options.add_argument("--weights", required=True, metavar="FILE", help="checkpoint, ours or a published one")
    options.add_argument("--output", required=True, type=Path, metavar="DIR", help="folder to write to")
    options.add_argument("--skip-existing", action="store_true", help="leave videos out whose files are there")
    options.add_argument("--set", metavar="KEY=VALUE", action="append", default=[], help="a key of the configuration")
    add_device_argument(options)
    return options


def extract(arguments: argparse.Namespace) -> int:
    """Write the files of every video; videos that cannot be read are named in the end.

    Raises:
        UserError: two videos would have the same files, something of the model does not fit, or videos were left out.
    """
    from univs.config import get_config, keys_and_values
    from univs.inference.clips.run import segment_video
    from univs.inference.clips.settings import clip_settings
    from univs.inference.loading import load_configured
    from univs.runtime import prepare
    from univs.video.reader import open_video

    names = _names(arguments.videos)
    # the tokens do not depend on words
    cfg = get_config(arguments.config_file, [*keys_and_values(arguments.set), "MODEL.UNIVS.TEXT.ENCODER", "NONE"])
    settings, every = clip_settings(cfg), cfg.INFERENCE.COMPRESSION_RATIO_TEMPORAL
    if settings.result != "tokens" or every < 1:
        raise UserError(f"{arguments.config_file} is not for tokens; use one of configs/eval/semantic_extraction.")
    loaded = load_configured(cfg, arguments.weights, str(prepare(arguments.device, arguments.threads)))
    print(loaded.report)
    arguments.output.mkdir(parents=True, exist_ok=True)
    failed = []
    for path, name in names.items():
        files = [
            arguments.output / f"{name}._{kind}_{settings.compression_ratio}_{every}.pt"
            for kind in (QUERIES, MASK_FEATURES)
        ]
        if arguments.skip_existing and all(file.is_file() for file in files):
            continue
        try:
            with open_video(path) as video:
                results = segment_video(loaded.model, _decoded(video), settings)
                tensors = collected(results, every)
        except UserError as error:
            failed.append(path)
            print(f"extract_tokens: {path} is left out: {error}", file=sys.stderr)
            continue
        for file, tensor in zip(files, tensors, strict=True):
            _save(tensor, file)
            print(f"{file} {list(tensor.shape)}")
    if failed:
        raise UserError(f"{len(failed)} of {len(names)} videos were left out; the files of the others are complete.")
    return 0


def _names(videos: Iterable[str]) -> dict[str, str]:
    """What the files of each video are called after."""
    from univs.video.files import safe_name

    names = {video: safe_name(Path(video).stem) for video in videos}
    name, count = Counter(names.values()).most_common(1)[0]
    if count > 1:
        raise UserError(f"{count} videos are called {name}, and their files would be the same; give them one by one.")
    return names


def _decoded(video: VideoSource) -> Iterator[np.ndarray]:
    """The frames [H, W, 3] with a progress bar; a damaged one ends the video."""
    from tqdm import tqdm

    from univs.video.source import LostFrame

    for index, frame in tqdm(video.iterate(), total=video.length, desc=video.label, unit="frame", leave=False):
        if isinstance(frame, LostFrame):
            raise UserError(f"frame {index} cannot be decoded ({frame.reason}).")
        yield frame


def collected(frames: Iterable[FrameTokens], every: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Query contents [T, C, Q] and mask features [T, C, h, w] of every so many frames, on the CPU."""
    import torch

    kept = [frame for frame in frames if frame.index % every == 0]
    queries, maps = ([getattr(frame, name).cpu() for frame in kept] for name in ("queries", "mask_features"))
    return torch.stack(queries), torch.stack(maps)


def _save(tensor: torch.Tensor, file: Path) -> None:
    """Write a tensor so that the file is never half there."""
    import torch

    partial = file.with_suffix(".partial")
    torch.save(tensor, partial)
    os.replace(partial, file)


def main(argv: list[str] | None = None) -> int:
    """Run the program; returns its exit code, 2 for a user's mistake."""
    compat.apply()
    arguments = parser().parse_args(argv)
    return guarded(lambda: extract(arguments), "extract_tokens")


if __name__ == "__main__":
    sys.exit(main())
