"""The work of ``univs demo``: open, prompt, propagate, write, report."""

from __future__ import annotations

import argparse
import contextlib
import logging
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from univs.cli.prompts import LinePrompt, parse_prompts
from univs.errors import UserError
from univs.inference.predictor import VideoPredictor
from univs.inference.session import VideoSession
from univs.inference.session_result import ResultRecorder
from univs.inference.tasks import Task, find_task
from univs.runtime import prepare
from univs.structures import FrameResult
from univs.video.files import safe_name
from univs.video.reader import open_video
from univs.video.results import ResultOptions

INTERRUPTED = 130
WRITTEN = {
    "overlay": "the video with the masks drawn over it",
    "masks": "one palette PNG per frame, value = object id",
    "results": "objects, prompts, scores and masks (COCO RLE) as JSON",
    "mattes": "one matte per object, white on black",
    "cutout": "the objects with transparency round them",
    "tracks": "the objects as video instance annotations",
}


def segment_video(arguments: argparse.Namespace) -> int:
    """Segment the video; returns the exit code, 130 when it was interrupted."""
    prompts, task = parse_prompts(arguments), find_task(arguments.task)
    _check(arguments, prompts, task)
    with _open_session(arguments, task) as session:
        for prompt in prompts:
            prompt.edit(session)
        folder = Path(arguments.output or Path("output") / safe_name(Path(session.source.label).stem))
        options = ResultOptions(
            overlay=not arguments.no_overlay,
            tracks=arguments.tracks or task.tracks,
            mattes=arguments.matte,
            cutout=arguments.cutout,
        )
        written, complete = _segment(session, arguments, task, folder, options)
        if arguments.save_session:
            session.save(arguments.save_session)
        _report(session, folder, written, arguments.save_session)
    return 0 if complete else INTERRUPTED


def _check(arguments: argparse.Namespace, prompts: list[LinePrompt], task: Task) -> None:
    if not arguments.video and not arguments.session:
        raise UserError("There is no video; give --video PATH (or --session FILE).")
    if not prompts and not arguments.session:
        raise UserError(
            "There is nothing to look for; give --click, --box, --mask, --scribble, --text or --categories."
        )
    if not arguments.session:
        task.check(prompt.kind for prompt in prompts)


def _open_session(arguments: argparse.Namespace, task: Task) -> VideoSession:
    """The video is opened before the model, so that a wrong path is known at once."""
    video = open_video(arguments.video, arguments.rate) if arguments.video else None
    device = prepare(arguments.device, arguments.threads)
    with _told_of_weights(arguments.weights is not None):
        predictor = VideoPredictor.from_pretrained(
            arguments.config, arguments.weights, str(device), arguments.quality, task.settings(), task.name
        )
    if arguments.session:
        return predictor.load(arguments.session, video)
    return predictor.open(video)


@contextlib.contextmanager
def _told_of_weights(wanted: bool) -> Iterator[None]:
    """What loading says of a file of weights as one line on the error stream."""
    log, handler = logging.getLogger("univs.inference.loading"), logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("univs: note: %(message)s"))
    level = log.level
    if wanted:
        log.addHandler(handler)
        log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)


def _segment(
    session: VideoSession, arguments: argparse.Namespace, task: Task, folder: Path, options: ResultOptions
) -> tuple[dict[str, Path], bool]:
    """Propagate and write; what was finished is kept when the user interrupts. Returns the files and if it is whole."""
    complete, count, progress = True, 0, Progress()
    results = _frames(session, arguments, task, progress)
    with ResultRecorder(session, folder, options) as recorder:
        began = time.perf_counter()
        try:
            for result in results:
                recorder.write(result)
                count += 1
        except KeyboardInterrupt:
            complete = False
        seconds = time.perf_counter() - began
        progress.close()
        written = recorder.close(complete)
    if not complete:
        print("Interrupted; what is finished is kept.", file=sys.stderr)
    print(f"{count} frames in {seconds:.1f} s ({count / max(seconds, 1e-9):.1f} frames/s)")
    return written, complete


def _frames(
    session: VideoSession, arguments: argparse.Namespace, task: Task, progress: Progress
) -> Iterator[FrameResult]:
    direction = "both" if arguments.backward else "forward"
    end = (arguments.start or 0) if task.single_frame else arguments.end
    return session.propagate(arguments.start, end, direction, on_step=progress)


class Progress:
    """A progress bar with frames/s and the time left; it appears with the first step."""

    def __init__(self) -> None:
        self._bar: tqdm | None = None

    def __call__(self, done: int, total: int) -> None:
        """So many steps are done of so many in all."""
        if self._bar is None:
            self._bar = tqdm(unit=" frames", desc="Segmenting", dynamic_ncols=True)
        self._bar.total = total
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        """Leave the bar as it is."""
        if self._bar is not None:
            self._bar.close()


def _report(session: VideoSession, folder: Path, written: dict[str, Path], saved: str | None) -> None:
    """Say what was found, what was written and where."""
    for object_id, item in session.objects.items():
        label = " ".join(filter(None, (str(object_id), item.name, item.category)))
        frames = ", ".join(str(frame.frame) for frame in item.frames)
        how = f"{'found' if item.discovered else 'prompted'} in frame {frames}" if frames else "not found"
        print(f"  object {label}: {how}")
    print(f"Wrote to {folder}:")
    for what, path in written.items():
        name = path.relative_to(folder).as_posix() + ("/" if path.is_dir() else "")
        print(f"  {name:<18} {WRITTEN.get(what, what)}")
    if saved:
        print(f"Saved the session as {saved}; go on with: univs demo --session {saved}")
