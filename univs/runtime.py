"""The machine that a program runs on: which device computes, and on how many threads.

Programs call ``prepare(arguments.device)`` once, after ``add_device_argument(parser)``. PyTorch is imported by the
functions, so that ``--help`` answers at once.
"""

from __future__ import annotations

import argparse
import ctypes
import math
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from univs.errors import UserError

if TYPE_CHECKING:
    import torch

# CPU seconds of this group of processes that Linux allows per period, in microseconds: "QUOTA PERIOD" or "max PERIOD"
_CPU_QUOTA_FILE = Path("/sys/fs/cgroup/cpu.max")
_THREAD_VARIABLE = "OMP_NUM_THREADS"
# rounds that a thread of GNU's OpenMP waits awake for the others before it sleeps; by default 300,000
_AWAKE_ROUNDS = "1000"
# options of glibc's mallopt, and their new value
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_KEPT_BYTES = 1 << 30


def add_device_argument(parser: argparse.ArgumentParser) -> None:
    """Add ``--device`` and ``--threads`` to a program's options."""
    parser.add_argument(
        "--device",
        default="auto",
        help="auto, cpu, cuda, cuda:1, mps, ...; auto takes CUDA, else Apple's MPS, else the CPU (default: auto)",
    )
    parser.add_argument("--threads", type=int, help="CPU threads (default: the cores that this process may use)")


def sleep_while_waiting() -> None:
    """Let threads that wait for others sleep soon; it counts if PyTorch has not been loaded yet.

    Where another program keeps a core busy, threads that wait awake take from each other the core that they wait for:
    the demo on two cores, one of them busy, is four times slower so. On idle cores it makes no difference.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", _AWAKE_ROUNDS)


def prepare(device: str = "auto", threads: int | None = None) -> torch.device:
    """Choose the device and set the number of CPU threads of this process.

    Raises:
        UserError: the device is unknown or not on this machine, or ``threads`` is below 1.
    """
    chosen = choose_device(device)
    set_threads(threads)
    keep_freed_memory()
    return chosen


def keep_freed_memory() -> bool:
    """Let the C library keep freed blocks instead of giving them back; returns whether it could be told.

    Networks free and take the same large blocks with every frame. To hand them back to Linux and have them zeroed again
    costs about a tenth of the time of a frame. Elsewhere than on Linux with glibc nothing is done.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return all(mallopt(option, _KEPT_BYTES) == 1 for option in (_MMAP_THRESHOLD, _TRIM_THRESHOLD))


def choose_device(name: str = "auto") -> torch.device:
    """The device called ``name`` (as PyTorch writes it); ``"auto"`` takes CUDA, else MPS, else the CPU.

    Raises:
        UserError: PyTorch knows no such device, or this machine does not have it.
    """
    import torch

    if name == "auto":
        name = next(kind for kind in ("cuda", "mps", "cpu") if _count_devices(kind))
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"--device {name!r} is no device; use auto, cpu, cuda, cuda:N or mps.") from None
    count = _count_devices(device.type)
    if count == 0:
        raise UserError(f"--device {name}: PyTorch sees no such device on this machine; use --device auto or cpu.")
    if device.index is not None and device.index >= count:
        raise UserError(f"--device {name}: this machine has {count}, numbered from 0; use --device {device.type}:0.")
    return device


def _count_devices(kind: str) -> int:
    """Number of devices of a kind that PyTorch can compute on here."""
    import torch

    if kind == "cuda":
        return torch.cuda.device_count() if torch.cuda.is_available() else 0
    if kind == "mps":
        return int(torch.backends.mps.is_available())
    return int(kind == "cpu")


def set_threads(count: int | None = None) -> int:
    """Let PyTorch and OpenCV compute on ``count`` CPU threads; returns the number.

    By default the user's OMP_NUM_THREADS holds, else every core that this process may use: PyTorch alone would take
    all cores of the machine, and be slowed down where a container grants only some of them.

    Raises:
        UserError: ``count`` is below 1.
    """
    import torch

    if count is None:
        from_user = os.environ.get(_THREAD_VARIABLE, "")
        count = int(from_user) if from_user.isdigit() and int(from_user) > 0 else usable_cores()
    if count < 1:
        raise UserError(f"--threads {count}: at least 1 thread is needed.")
    torch.set_num_threads(count)
    _set_opencv_threads(count)
    return count


_on_one_thread = threading.Lock()


@contextmanager
def on_one_thread() -> Iterator[None]:
    """Let PyTorch compute on one thread for a while; for work of many small steps, also as a decorator.

    Two threads share such steps in hardly less time than one takes alone, and both are busy meanwhile. Only one of
    several that ask at a time changes the number, which holds for the whole process.
    """
    import torch

    count = torch.get_num_threads()
    if count == 1 or not _on_one_thread.acquire(blocking=False):
        yield
        return
    try:
        torch.set_num_threads(1)
        yield
    finally:
        torch.set_num_threads(count)
        _on_one_thread.release()


def _set_opencv_threads(count: int) -> None:
    try:
        import cv2
    except ImportError:
        return
    cv2.setNumThreads(count)


def usable_cores() -> int:
    """Cores that this process may use: those it is bound to, within the quota of its container."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(bound, _quota_cores(_CPU_QUOTA_FILE)))


def _quota_cores(quota_file: Path) -> int:
    """Whole cores that Linux grants to this container, rounded up; a very large number where there is no limit."""
    unlimited = 1 << 20
    try:
        quota, period = quota_file.read_text().split()[:2]
    except (OSError, ValueError):
        return unlimited
    return unlimited if quota == "max" else math.ceil(int(quota) / int(period))
