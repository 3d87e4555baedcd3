"""A data folder, and a folder for runs of the whole program."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from detectron2.utils.logger import setup_logger

from tests.data.tiny import make_data


@pytest.fixture(scope="package")
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_data(tmp_path_factory.mktemp("data"), stills=4)


@pytest.fixture
def folder(data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where a run writes. Afterwards the loggers let go of the streams and files of this test."""
    monkeypatch.setenv("UNIVS_DATA", str(data_root))
    yield tmp_path
    for name in ("detectron2", "fvcore"):
        logging.getLogger(name).handlers.clear()
    setup_logger.cache_clear()
