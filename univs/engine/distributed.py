"""Processes of a training run: one per GPU, started by ourselves or by torchrun, on one machine or several."""

from __future__ import annotations

import gc
import inspect
import os
import socket
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import torch
import torch.distributed as dist
from detectron2.utils import comm
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from univs.errors import UserError


def run_processes(main: Callable[[Any], None], arguments: Any) -> None:
    """Run ``main(arguments)`` in every process of the run; Detectron2's arguments say how many there are.

    Under torchrun each process is there already and its place is read from the environment: NCCL where there are
    GPUs, else Gloo. Otherwise ``--num-gpus`` processes are started here.

    Raises:
        UserError: more GPUs are asked for than this machine has, or ``--dist-url`` is no place to meet.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ or {"RANK", "WORLD_SIZE", "MASTER_ADDR"} <= os.environ.keys():
        _run_under_torchrun(main, arguments)
        return
    world_size = arguments.num_gpus * arguments.num_machines
    if world_size > 1 and arguments.num_gpus > torch.cuda.device_count():
        raise UserError(
            f"--num-gpus {arguments.num_gpus}: this machine has {torch.cuda.device_count()}; ask for fewer, or run "
            "several CPU processes with torchrun."
        )
    if world_size <= 1:
        main(arguments)
        return
    torch.multiprocessing.spawn(
        _run_spawned,
        (main, arguments, *_meeting_place(arguments.dist_url, arguments.num_machines)),
        nprocs=arguments.num_gpus,
    )


def _meeting_place(url: str, machines: int) -> tuple[str, int]:
    """Host and port where the processes meet; "auto" stands for a free port of the only machine."""
    if url == "auto" and machines == 1:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return probe.getsockname()
    try:
        place = urlsplit(url)
        if place.scheme == "tcp" and place.hostname and place.port:
            return place.hostname, place.port
    except ValueError:  # no such port
        pass
    raise UserError(f"--dist-url {url}: must be tcp://HOST:PORT of the first machine, or auto on a single one.")


def _run_spawned(local_rank: int, main: Callable[[Any], None], arguments: Any, host: str, port: int) -> None:
    """One started process, with what torchrun would tell it."""
    local_size = arguments.num_gpus
    places = {
        "MASTER_ADDR": host,
        "MASTER_PORT": port,
        "WORLD_SIZE": local_size * arguments.num_machines,
        "RANK": local_size * arguments.machine_rank + local_rank,
        "LOCAL_WORLD_SIZE": local_size,
        "LOCAL_RANK": local_rank,
    }
    os.environ |= {name: str(value) for name, value in places.items()}
    _run_under_torchrun(main, arguments)


def _run_under_torchrun(main: Callable[[Any], None], arguments: Any) -> None:
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    local_size = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    with_gpus = torch.cuda.device_count() >= local_size
    if with_gpus:
        torch.cuda.set_device(local_rank)
    dist.init_process_group("nccl" if with_gpus else "gloo")
    try:
        _tell_local_group(local_size)
        main(arguments)
    finally:
        _leave_processes()


def _leave_processes() -> None:
    """End this process's groups together with the threads that serve them, while Python still runs.

    A thread of Gloo that lets go of its last tensor while the interpreter shuts down aborts the process. Detectron2
    and a distributed model keep groups alive, so both are let go first.
    """
    comm._LOCAL_PROCESS_GROUP = None
    comm._get_global_gloo_group.cache_clear()
    dist.destroy_process_group()
    gc.collect()


def _tell_local_group(local_size: int) -> None:
    """Let Detectron2 know which processes share this machine."""
    if hasattr(comm, "create_local_process_group"):
        comm.create_local_process_group(local_size)
        return
    for first in range(0, dist.get_world_size(), local_size):
        group = dist.new_group(list(range(first, first + local_size)))
        if first <= dist.get_rank() < first + local_size:
            comm._LOCAL_PROCESS_GROUP = group


def wrap_model(model: nn.Module) -> nn.Module:
    """The model, averaging gradients over processes if there are several.

    Prompts and optional parts leave some parameters without a gradient in some steps, so those are searched for.
    """
    if comm.get_world_size() == 1:
        return model
    devices = [comm.get_local_rank()] if next(model.parameters()).is_cuda else None
    # Buffers are the same everywhere; newer PyTorch has another word for leaving them alone.
    known = inspect.signature(DistributedDataParallel).parameters
    buffers = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
    return DistributedDataParallel(model, device_ids=devices, find_unused_parameters=True, **{buffers: False})
