"""The work of ``univs demo``: open, prompt, propagate, write, report."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from univs.cli.clip_segmenting import (
    FINDING_TASKS,
    ClipRecorder,
    ClipRun,
    check_configuration,
    is_simple,
    meant_task,
)
from univs.cli.progress import Progress, counted
from univs.cli.prompts import LinePrompt, parse_prompts
from univs.config import keys_and_values
from univs.errors import UserError
from univs.inference.loading import LoadedModel, load_model, segmenter_of
from univs.inference.predictor import VideoPredictor
from univs.inference.session import VideoSession
from univs.inference.session_result import ResultRecorder
from univs.inference.tasks import Task, find_task
from univs.runtime import prepare
from univs.structures import FrameResult
from univs.video.files import safe_name
from univs.video.reader import open_video
from univs.video.results import ResultOptions
from univs.video.source import VideoSource

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
    # The video is opened before the model, so that a wrong path is known at once.
    video = open_video(arguments.video, arguments.rate) if arguments.video else None
    device = str(prepare(arguments.device, arguments.threads))
    loaded = _given_model(arguments, meant_task(task.name, prompts), device)
    if loaded is not None and loaded.model.dense_memory is None and not _needs_session(arguments, prompts, task):
        return _segment_clips(arguments, prompts, task, loaded, video)
    if task.clips:
        missing = "needs a published model; give its --weights"
        once = "goes through a video once, from one kind of prompt; leave clicks, boxes, scribbles, other kinds, "
        once += "--backward and sessions out"
        raise UserError(f"The task {task.name} ({task.title}) {missing if loaded is None else once}.")
    with _open_session(arguments, task, loaded, device, video) as session:
        for prompt in prompts:
            prompt.edit(session)
        folder, progress = _folder(arguments, session.source), Progress("Segmenting", "frames")
        results = _frames(session, arguments, task, progress)
        with ResultRecorder(session, folder, _options(arguments, task)) as recorder:
            written, complete = _record(results, recorder, progress)
        if arguments.save_session:
            session.save(arguments.save_session)
        for object_id, item in session.objects.items():
            label = " ".join(filter(None, (str(object_id), item.name, item.category)))
            frames = ", ".join(str(frame.frame) for frame in item.frames)
            how = f"{'found' if item.discovered else 'prompted'} in frame {frames}" if frames else "not found"
            print(f"  object {label}: {how}")
        _report(folder, written, arguments.save_session)
    return 0 if complete else INTERRUPTED


def _segment_clips(
    arguments: argparse.Namespace, prompts: list[LinePrompt], task: Task, loaded: LoadedModel, video: VideoSource | None
) -> int:
    """The same with a model that sees clips."""
    check_configuration(loaded.cfg.INFERENCE.TASK, task.name, prompts)
    run = ClipRun(arguments, prompts, loaded)
    with video:
        folder, progress = _folder(arguments, video), Progress("Segmenting", "frames")
        results = run.results(video, progress)
        with ClipRecorder(run, video, folder, _options(arguments, task)) as recorder:
            written, complete = _record(results, recorder, progress)
        for line in recorder.found():
            print(f"  object {line}")
        _report(folder, written, None)
    return 0 if complete else INTERRUPTED


def _needs_session(arguments: argparse.Namespace, prompts: list[LinePrompt], task: Task) -> bool:
    """Whether a video is not simply gone through once, from masks, from sentences or from categories."""
    once = is_simple(task.name, prompts)
    return not once or bool(arguments.backward or arguments.session or arguments.save_session)


def _check(arguments: argparse.Namespace, prompts: list[LinePrompt], task: Task) -> None:
    if not arguments.video and not arguments.session:
        raise UserError("There is no video; give --video PATH (or --session FILE).")
    if arguments.set and not arguments.weights:
        raise UserError("--set changes the configuration of --weights FILE; give both.")
    if not prompts and arguments.weights and task.name in FINDING_TASKS:
        return
    if not prompts and not arguments.session:
        raise UserError(
            "There is nothing to look for; give --click, --box, --mask, --scribble, --text or --categories."
        )
    if not arguments.session:
        task.check(prompt.kind for prompt in prompts)


def _folder(arguments: argparse.Namespace, video: VideoSource) -> Path:
    return Path(arguments.output or Path("output") / safe_name(Path(video.label).stem))


def _options(arguments: argparse.Namespace, task: Task) -> ResultOptions:
    return ResultOptions(
        overlay=not arguments.no_overlay,
        tracks=arguments.tracks or task.tracks,
        mattes=arguments.matte,
        cutout=arguments.cutout,
    )


def _given_model(arguments: argparse.Namespace, task: str, device: str) -> LoadedModel | None:
    """The model of the user's own weights, told in one line; None without them."""
    if not arguments.weights or not Path(arguments.weights).is_file():
        return None
    loaded = load_model(arguments.config, arguments.weights, device, task, keys_and_values(arguments.set))
    print(f"univs: note: {loaded.report}", file=sys.stderr)
    return loaded


def _open_session(
    arguments: argparse.Namespace, task: Task, loaded: LoadedModel | None, device: str, video: VideoSource | None
) -> VideoSession:
    if loaded is not None:
        predictor = VideoPredictor(segmenter_of(loaded, arguments.quality), task.settings())
    else:
        predictor = VideoPredictor.from_pretrained(
            arguments.config, arguments.weights, device, arguments.quality, task.settings()
        )
    if arguments.session:
        return predictor.load(arguments.session, video)
    return predictor.open(video)


def _record(
    results: Iterator[FrameResult], recorder: ResultRecorder | ClipRecorder, progress: Progress
) -> tuple[dict[str, Path], bool]:
    """Write results; what was finished is kept when the user interrupts. Returns the files and if it is whole."""
    complete, count = True, 0
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
    print(f"{counted(count, 'frame')} in {seconds:.1f} s ({count / max(seconds, 1e-9):.1f} frames/s)")
    return written, complete


def _frames(
    session: VideoSession, arguments: argparse.Namespace, task: Task, progress: Progress
) -> Iterator[FrameResult]:
    direction = "both" if arguments.backward else "forward"
    end = (arguments.start or 0) if task.single_frame else arguments.end
    return session.propagate(arguments.start, end, direction, on_step=progress)


def _report(folder: Path, written: dict[str, Path], saved: str | None) -> None:
    """Say what was written and where."""
    print(f"Wrote to {folder}:")
    for what, path in written.items():
        name = path.relative_to(folder).as_posix() + ("/" if path.is_dir() else "")
        print(f"  {name:<18} {WRITTEN.get(what, what)}")
    if saved:
        print(f"Saved the session as {saved}; go on with: univs demo --session {saved}")
