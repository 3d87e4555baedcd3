"""What is told and what is built when Detectron2 is put into an environment; nothing is downloaded."""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import os
import subprocess
import sys
import types
from pathlib import Path

import pytest

installer = importlib.import_module("install_detectron2")

# What the release's setup.py does with torch, shortened; the last line shows what reached distutils.
RELEASE_SETUP = """
import json, distutils.core
distutils.core.setup = lambda **settings: print(json.dumps(settings, default=str))
import setuptools
import torch
from torch.utils.cpp_extension import CUDA_HOME, CppExtension, CUDAExtension
assert tuple(int(part) for part in torch.__version__.split(".")[:2]) >= (1, 7)
assert not torch.cuda.is_available() and torch.version.hip is None
setuptools.setup(
    packages=["detectron2", "detectron2.layers", "detectron2.projects.point_rend", "tools"],
    ext_modules=[CppExtension("detectron2._C", [])],
    cmdclass={"build_ext": torch.utils.cpp_extension.BuildExtension},
    extras_require={"all": ["panopticapi @ https://example.org/panopticapi.zip"]},
    install_requires=["black==21.4b2"],
)
"""


@pytest.fixture
def absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installer, "is_installed", lambda: False)


def let_pip_end_with(monkeypatch: pytest.MonkeyPatch, code: int) -> list[list[str]]:
    """Replace pip by a recorder that checks what pip is given."""
    commands: list[list[str]] = []

    def run(command: list[str], env: dict[str, str]) -> types.SimpleNamespace:
        commands.append(command)
        assert Path(env["PYTHONPATH"], "torch", "__init__.py").is_file()
        assert Path(command[-1]).read_text() == f"pb1-detectron2==0.6 --hash=sha256:{installer.SHA256}\n"
        return types.SimpleNamespace(returncode=code)

    monkeypatch.setattr(installer.subprocess, "run", run)
    monkeypatch.setattr(installer, "missing_build_tools", lambda: None)
    return commands


def test_detectron2_that_is_there_is_kept(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    commands = let_pip_end_with(monkeypatch, 0)
    monkeypatch.setattr(installer, "is_installed", lambda: True)
    assert installer.main() == 0
    assert "it is kept" in capsys.readouterr().out
    assert not commands


def test_release_is_installed_checked_and_alone(monkeypatch: pytest.MonkeyPatch, absent: None) -> None:
    commands = let_pip_end_with(monkeypatch, 0)
    assert installer.main() == 0
    assert {"--require-hashes", "--no-deps", "--no-build-isolation", "--use-pep517"} <= set(commands[0])


def test_failure_names_the_other_way(
    monkeypatch: pytest.MonkeyPatch, absent: None, capsys: pytest.CaptureFixture[str]
) -> None:
    let_pip_end_with(monkeypatch, 1)
    assert installer.main() == 1
    assert "INSTALL.md of facebookresearch/detectron2" in capsys.readouterr().err


@pytest.mark.parametrize(("setuptools", "is_told"), [("65.5.0", True), (None, True), ("70.1.0", False)])
def test_missing_build_tools_are_told(monkeypatch: pytest.MonkeyPatch, setuptools: str | None, is_told: bool) -> None:
    def version(name: str) -> str:
        if setuptools is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return setuptools

    monkeypatch.setattr(importlib.metadata, "version", version)
    assert ("pip install" in (installer.missing_build_tools() or "")) == is_told


def test_stand_in_leaves_only_the_python_part(tmp_path: Path) -> None:
    folder = installer.write_stand_in(tmp_path)
    (tmp_path / "setup.py").write_text(RELEASE_SETUP)
    variables = dict(os.environ, PYTHONPATH=str(folder))
    command = [sys.executable, "setup.py"]
    answer = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    settings = json.loads(answer.stdout)
    assert settings["packages"] == ["detectron2", "detectron2.layers", "detectron2.projects.point_rend"]
    assert settings["ext_modules"] == []
    assert settings["extras_require"] == {}
    assert settings["install_requires"] == installer.REQUIRES
