"""The tiny data folder, written once."""

from __future__ import annotations

from pathlib import Path

import pytest

from .tiny import make_data


@pytest.fixture(scope="session")
def tiny_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_data(tmp_path_factory.mktemp("data"))
