"""What every test shares: Detectron2 made importable, one thread, and no GPU unless asked for."""

import os

# Small tensors are slower on many threads, and several test processes may share the machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch

from univs import compat

compat.apply()
torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests marked ``gpu`` where there is no CUDA GPU."""
    if torch.cuda.is_available():
        return
    skip = pytest.mark.skip(reason="needs a CUDA GPU, and this machine has none")
    for item in items:
        if "gpu" in item.keywords:
            item.add_marker(skip)
