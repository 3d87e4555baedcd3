"""The installer: what it reuses, what it keeps, and the one sentence that it says where it cannot go on.

No test uses the network: pip is replaced by a recorder, failures are faked from what pip and venv print.
"""

from __future__ import annotations

import errno
import importlib
import importlib.util
import os
import shutil
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest

install = importlib.import_module("install")
environment_steps = importlib.import_module("install_environment")
package_steps = importlib.import_module("install_packages")
process = importlib.import_module("install_process")

PIP_NO_NETWORK = """
WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError: Failed to establish a new connection'
ERROR: Could not find a version that satisfies the requirement setuptools==84.2.1 (from versions: none)
ERROR: No matching distribution found for setuptools==84.2.1
"""
PIP_NO_NAME = (
    "Retrying after connection broken by ... [Errno -3] Temporary failure in name resolution')': /simple/torch/"
)
PIP_DISK = "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device"
PIP_HASH = "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE. Expected sha256 aa, Got bb"
PIP_NO_WHEEL = "ERROR: No matching distribution found for torch==2.14.1"
VENV_MISSING = "The virtual environment was not created successfully because ensurepip is not available."
PIP_OTHER = "Collecting torch\nERROR: something new happened\n"


@pytest.fixture
def quiet_variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No variable of the person who runs the tests steers the installer; returns the cache folder."""
    for name in ("TORCH_SPEC", "VENV", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    cache = tmp_path / "cache"
    monkeypatch.setenv("UNIVS_CACHE", str(cache))
    monkeypatch.setattr(environment_steps, "outside_packages", lambda environment: [])
    return cache


@pytest.fixture
def filled(monkeypatch: pytest.MonkeyPatch, quiet_variables: Path) -> list[Path]:
    """The packages are a bare virtual environment with one module; returns the folders that were filled."""
    calls: list[Path] = []

    def fill(environment: Path, outside: list[str], torch_spec: str) -> None:
        calls.append(environment)
        package_steps.make_virtual_environment(environment, "--without-pip")
        (package_steps.site_packages(environment) / "stands_for_torch.py").write_text("value = 7\n")

    monkeypatch.setattr(environment_steps, "install_packages", fill)
    return calls


def clone(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Path:
    """Let the installer believe that it stands in a clone at ``folder``; returns its .venv."""
    folder.mkdir(exist_ok=True)
    (folder / "own_module.py").write_text(f"place = {str(folder)!r}\n")
    monkeypatch.setattr(environment_steps, "ROOT", folder)
    return folder / ".venv"


def answer_of(environment: Path, program: str) -> str:
    command = [environment / "bin" / "python", "-c", program]
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=os.sep).stdout.strip()


# --- reuse --------------------------------------------------------------------------------------------------------


def test_second_clone_reuses_the_packages_of_the_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, filled: list[Path]
) -> None:
    for name in ("first", "second"):
        environment = clone(monkeypatch, tmp_path / name)
        environment_steps.install(environment)
        program = "import own_module, stands_for_torch; print(own_module.place, stands_for_torch.value)"
        assert answer_of(environment, program) == f"{tmp_path / name} 7"
        assert (environment / "bin" / "univs").read_text().startswith("#!/bin/sh")
    assert len(filled) == 1


def test_ready_environment_is_left_alone_and_mended_when_its_packages_are_gone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, filled: list[Path]
) -> None:
    environment = clone(monkeypatch, tmp_path / "clone")
    environment_steps.install(environment)
    (environment / "bin" / "univs").unlink()
    environment_steps.install(environment)
    assert not (environment / "bin" / "univs").exists(), "nothing is made anew while all is there"
    shutil.rmtree(filled[0])
    environment_steps.install(environment)
    assert len(filled) == 2
    assert (environment / "bin" / "univs").exists()


def test_environment_follows_a_clone_that_moves(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, filled: list[Path]
) -> None:
    environment = clone(monkeypatch, tmp_path / "before")
    environment_steps.install(environment)
    (tmp_path / "before").rename(tmp_path / "after")
    environment = clone(monkeypatch, tmp_path / "after")
    environment_steps.install(environment)
    assert answer_of(environment, "import own_module; print(own_module.place)") == str(tmp_path / "after")
    assert len(filled) == 1


def test_name_of_the_packages_follows_what_is_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    lock = tmp_path / "lock.txt"
    lock.write_text("numpy==1\n")
    monkeypatch.setattr(package_steps, "lock_files", lambda: [lock])
    names = {package_steps.packages_name([], ""), package_steps.packages_name([], "")}
    assert len(names) == 1
    names |= {package_steps.packages_name([], "torch==2.6.0"), package_steps.packages_name(["/somewhere"], "")}
    lock.write_text("numpy==2\n")
    names.add(package_steps.packages_name([], ""))
    assert len(names) == 4


def test_environment_of_the_user_is_completed_in_place(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, filled: list[Path]
) -> None:
    environment = clone(monkeypatch, tmp_path / "clone")
    (environment / "kept").mkdir(parents=True)
    environment_steps.install(environment)
    assert filled == [environment]
    assert (environment / "kept").exists()
    assert environment_steps.is_ready(environment, "")


def test_packages_go_into_the_environment_itself_without_a_cache(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, filled: list[Path]
) -> None:
    monkeypatch.setenv("UNIVS_CACHE", "")
    environment = clone(monkeypatch, tmp_path / "clone")
    environment_steps.install(environment)
    assert filled == [environment]


def test_interrupted_filling_is_taken_up_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, filled: list[Path]
) -> None:
    environment = clone(monkeypatch, tmp_path / "clone")
    with monkeypatch.context() as patch:
        patch.setattr(environment_steps, "install_packages", stop_half_way)
        with pytest.raises(process.InstallError, match="half way"):
            environment_steps.install(environment)
    assert not environment.exists()
    environment_steps.install(environment)
    assert len(filled) == 1
    assert environment_steps.is_ready(environment, "")


def stop_half_way(environment: Path, outside: list[str], torch_spec: str) -> None:
    environment.mkdir()
    raise process.InstallError("stopped half way")


# --- which PyTorch ------------------------------------------------------------------------------------------------


@pytest.fixture
def pip_calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    calls: list[tuple[str, ...]] = []
    monkeypatch.setattr(package_steps, "pip_install", lambda step, environment, *arguments: calls.append(arguments))
    return calls


@pytest.mark.parametrize(
    ("spec", "usable", "expected"),
    [
        ("torch==2.6.0 torchvision==0.21.0", True, ("torch==2.6.0", "torchvision==0.21.0")),
        ("", True, None),
        ("", False, ("--require-hashes", "lock-torch.txt")),
    ],
)
def test_pytorch_is_named_kept_or_locked(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    pip_calls: list[tuple[str, ...]],
    spec: str,
    usable: bool,
    expected: tuple[str, ...] | None,
) -> None:
    monkeypatch.setattr(package_steps, "has_usable_torch", lambda environment: usable)
    package_steps.install_torch(tmp_path, spec)
    assert len(pip_calls) == (expected is not None)
    for part in expected or ():
        assert any(argument.endswith(part) for argument in pip_calls[0])
    assert all("--no-compile" in call for call in pip_calls)


@pytest.mark.parametrize(
    ("modules", "is_kept"),
    [(("torch", "torchvision"), True), (("detectron2",), True), (("torch",), False), ((), False)],
)
def test_packages_of_the_running_python_are_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, modules: tuple[str, ...], is_kept: bool
) -> None:
    folder = tmp_path / "site-packages"
    for module in modules:
        (folder / module).mkdir(parents=True)
        (folder / module / "__init__.py").touch()
    monkeypatch.setattr(sys, "path", [str(folder)])
    with monkeypatch.context() as patch:
        for module in [name for name in sys.modules if name.split(".")[0] in ("torch", "torchvision", "detectron2")]:
            patch.delitem(sys.modules, module)
        importlib.invalidate_caches()
        found = environment_steps.outside_packages(tmp_path / ".venv")
    assert found == ([str(folder)] if is_kept else [])


def test_torch_spec_is_remembered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, filled: list[Path]) -> None:
    environment = clone(monkeypatch, tmp_path / "clone")
    monkeypatch.setenv("TORCH_SPEC", "torch==2.6.0 torchvision==0.21.0")
    environment_steps.install(environment)
    monkeypatch.delenv("TORCH_SPEC")
    environment_steps.install(environment)
    assert len(filled) == 1


def test_lock_files_are_installed_checked_and_without_a_compiler() -> None:
    arguments = package_steps.from_lock("lock.txt")
    assert {"--no-deps", "--require-hashes", "--only-binary", ":all:", "--no-build-isolation"} <= set(arguments)
    assert Path(arguments[-1]).is_file()


def test_variables_of_pip_reach_pip(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "https://mirror.example/simple")
    monkeypatch.setenv("PIP_USER", "1")
    monkeypatch.setenv("PIP_TARGET", "elsewhere")
    variables = process.step_variables(tmp_path)
    assert variables["PIP_INDEX_URL"] == "https://mirror.example/simple"
    assert variables["PIP_USER"] == "0"
    assert "PIP_TARGET" not in variables


# --- failures -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("printed", "words"),
    [
        (PIP_NO_NETWORK, "package index cannot be reached"),
        (PIP_NO_NAME, "package index cannot be reached"),
        (PIP_DISK, "disk is full"),
        (PIP_HASH, "not the one that the lock file names"),
        (PIP_NO_WHEEL, "nothing that fits this machine"),
        (VENV_MISSING, "install its venv module"),
        (PIP_OTHER, "something new happened"),
        ("", "no output"),
    ],
)
def test_failed_step_gives_one_sentence_and_keeps_the_output(tmp_path: Path, printed: str, words: str) -> None:
    program = f"import sys; print({printed!r}); sys.exit(1)"
    with pytest.raises(process.InstallError, match=words) as failure:
        process.run_step("a step", [sys.executable, "-c", program], tmp_path)
    assert "\n" not in str(failure.value)
    assert printed in (tmp_path / "univs-install.log").read_text()
    assert not (tmp_path / "tmp").exists()


def test_step_that_works_says_how_long_it_took(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    process.run_step("a step", [sys.executable, "-c", "print('fine')"], tmp_path)
    assert capsys.readouterr().out.startswith("  a step: ")
    assert "fine" in (tmp_path / "univs-install.log").read_text()


def test_too_little_space_is_told_before_anything_is_downloaded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, pip_calls: list[tuple[str, ...]]
) -> None:
    usage = types.SimpleNamespace(free=10**9)
    monkeypatch.setattr(package_steps.shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(process.InstallError, match=r"needs about \d GB .* where 1\.0 GB are free"):
        package_steps.install_packages(tmp_path / "not" / "there", [], "")
    assert not pip_calls
    assert not (tmp_path / "not").exists()


def test_missing_venv_module_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "ensurepip" else found(name))
    with pytest.raises(process.InstallError, match="install its venv module .*apt install python3"):
        package_steps.make_virtual_environment(tmp_path / "new")


@pytest.mark.parametrize(
    ("raised", "code", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), 1, "The disk is full"),
        (PermissionError(errno.EACCES, "Permission denied", "/some/folder"), 1, "cannot use /some/folder: Permission"),
        (process.InstallError("What went wrong."), 1, "What went wrong."),
        (KeyboardInterrupt(), 130, "Stopped; run this again to go on."),
    ],
)
def test_program_ends_with_one_sentence(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    quiet_variables: Path,
    raised: BaseException,
    code: int,
    words: str,
) -> None:
    assert run_main(monkeypatch, raise_always(raised)) == code
    printed = capsys.readouterr().err.strip()
    assert words in printed
    assert "\n" not in printed


def test_old_python_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 9, 18, "final", 0))
    assert install.main() == 2
    printed = capsys.readouterr().err
    assert "needs Python 3.10 to 3.13" in printed
    assert "is Python 3.9;" in printed


def test_help_names_the_variables(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run_main(monkeypatch, raise_always(AssertionError()), "--help")
    printed = capsys.readouterr().out
    assert all(name in printed for name in ("TORCH_SPEC", "UNIVS_CACHE", "VENV", "PIP_INDEX_URL"))


def test_cache_is_cleared(monkeypatch: pytest.MonkeyPatch, quiet_variables: Path) -> None:
    (quiet_variables / "environments" / "py311-0").mkdir(parents=True)
    assert run_main(monkeypatch, raise_always(AssertionError()), "--clear-cache") == 0
    assert not (quiet_variables / "environments").exists()


def raise_always(error: BaseException) -> Callable[[Path], None]:
    def fail(environment: Path) -> None:
        raise error

    return fail


def run_main(monkeypatch: pytest.MonkeyPatch, instead_of_install: Callable[[Path], None], *arguments: str) -> int:
    monkeypatch.setattr(environment_steps, "install", instead_of_install)
    monkeypatch.setattr(environment_steps, "leave_own_environment", lambda: None)
    monkeypatch.setattr(sys, "argv", ["install.py", *arguments])
    return install.main()
