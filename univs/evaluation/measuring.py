"""Measure sequences one by one, here or in several processes; the plain bytes that come back are the same."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass

import cv2

from univs.errors import UserError
from univs.evaluation.benchmark import BrokenSequence, Scoring
from univs.evaluation.part_store import Table, decode, encode
from univs.runtime import keep_freed_memory

AHEAD_OF_WORKERS = 2
"""Sequences handed out per process, so that none waits for work and results never pile up."""


@dataclass(frozen=True)
class Measured:
    """What was measured of a sequence, encoded, with the benchmark's table over it alone; or what is wrong with it.

    of_a_file: what is wrong may concern more than this sequence. unexpected: the program failed on it rather than told
    what is wrong.
    """

    sequence: str
    content: bytes = b""
    own_table: Table = ()
    problem: str | None = None
    of_a_file: bool = False
    unexpected: bool = False


def measure(scoring: Scoring, sequence: str) -> Measured:
    """Measure one sequence; whatever is wrong with it is said in the result, never raised."""
    try:
        content = encode(scoring.measure(sequence))
        table = scoring.summarise({sequence: decode(content)}).table if scoring.each_alone else []
        return Measured(sequence, content, [(name, float(value)) for name, value in table])
    except BrokenSequence as error:
        return Measured(sequence, problem=str(error))
    except (UserError, OSError) as error:
        return Measured(sequence, problem=str(error), of_a_file=True)
    except ModuleNotFoundError as error:
        problem = f"This benchmark needs the package {error.name}, which is not installed: pip install {error.name}."
        return Measured(sequence, problem=problem, of_a_file=True)
    except Exception as error:  # hours of scoring must not end at one strange file
        return Measured(sequence, problem=f"it cannot be scored ({type(error).__name__}: {error}).", unexpected=True)


def measured_sequences(scoring: Scoring, sequences: Sequence[str], jobs: int) -> Iterator[Measured]:
    """Measure all sequences, with several jobs in the order in which they are finished.

    Raises:
        UserError: a process was killed.
    """
    if min(jobs, len(sequences)) <= 1:
        yield from (measure(scoring, sequence) for sequence in sequences)
        return
    with _one_thread_each(), _pool(scoring, min(jobs, len(sequences))) as pool:
        waiting, running = iter(sequences), set()
        try:
            while True:
                while len(running) < AHEAD_OF_WORKERS * jobs and (name := next(waiting, None)) is not None:
                    running.add(pool.submit(_measure_here, name))
                if not running:
                    return
                done, running = concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED)
                yield from (future.result() for future in done)
        except BrokenProcessPool as error:
            raise UserError(
                "A process that measured was killed, mostly for want of memory; what is finished is kept: go on with "
                "fewer --jobs."
            ) from error


@contextmanager
def _pool(scoring: Scoring, jobs: int) -> Iterator[concurrent.futures.ProcessPoolExecutor]:
    # A forked process would inherit locks of threads that it has not; a spawned one starts clean on every system.
    context = multiprocessing.get_context("spawn")
    pool = concurrent.futures.ProcessPoolExecutor(jobs, context, _begin, (scoring,))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Processes that start in this block use one thread each: there are as many as the user wants to keep busy."""
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before


_scoring_here: Scoring


def _begin(scoring: Scoring) -> None:
    """Prepare a process: it keeps the scoring, and leaves Ctrl-C to the process that started it."""
    global _scoring_here
    _scoring_here = scoring
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    cv2.setNumThreads(1)
    keep_freed_memory()


def _end_with_parent() -> None:
    """End this process when the one that started it is killed: nobody else would ever tell it."""
    multiprocessing.connection.wait([multiprocessing.parent_process().sentinel])
    os._exit(1)


def _measure_here(sequence: str) -> Measured:
    return measure(_scoring_here, sequence)
