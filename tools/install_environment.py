"""Fill a folder with the locked packages, and put a small virtual environment of this clone on top of it."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from install_process import NO_VENV, InstallError, fill_in, run_step

ROOT = Path(__file__).resolve().parents[1]
OLDEST_TORCH = (2, 4)
READY = "univs-ready.json"
LOCKS = ("lock-build.txt", "lock-torch.txt", "lock.txt")
# These come as source only; everything else must come as a wheel, so that no compiler is ever asked for.
SOURCE_ONLY = "fvcore,antlr4-python3-runtime"


# --- what is asked for, and what is there -------------------------------------------------------------------------


def recipe_key() -> str:
    """Hash of everything that decides what is installed, except the interpreter and a kept or named PyTorch."""
    digest = hashlib.sha256()
    for path in [*(ROOT / "requirements" / name for name in LOCKS), *sorted((ROOT / "tools").glob("install*.py"))]:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def packages_name(outside: list[str], torch_spec: str) -> str:
    """Name of a folder of packages: recipe, interpreter, and the PyTorch that is kept or asked for."""
    interpreter = [sys.version, platform.machine(), os.path.realpath(sys.base_prefix)]
    digest = hashlib.sha256("\n".join([recipe_key(), *interpreter, torch_spec, *outside]).encode())
    return "py{}{}-{}".format(*sys.version_info[:2], digest.hexdigest()[:12])


def cache_folder() -> Path | None:
    """Where shared packages lie, or None where there is no such folder (UNIVS_CACHE empty, or not writable)."""
    chosen = os.environ.get("UNIVS_CACHE")
    if chosen == "":
        return None
    user_cache = Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache")
    folder = Path(chosen) if chosen else Path(os.environ.get("XDG_CACHE_HOME") or user_cache) / "univs"
    folder = folder.absolute() / "environments"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        if chosen:
            raise
        return None
    return folder if os.access(folder, os.W_OK) else None


def clear_cache() -> None:
    """Remove the shared packages; the next `make install` of each clone puts them there again."""
    folder = cache_folder()
    if folder is not None:
        shutil.rmtree(folder)
        print(f"Removed {folder}.")


def outside_packages(environment: Path) -> list[str]:
    """The package folders of the running Python, where they hold a PyTorch with torchvision or a Detectron2."""
    if Path(sys.prefix) == environment:
        return []
    torch_pair = all(importlib.util.find_spec(name) for name in ("torch", "torchvision"))
    if not torch_pair and importlib.util.find_spec("detectron2") is None:
        return []
    return [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]


def read_ready(environment: Path) -> dict[str, str]:
    """What the installer noted about ``environment``; empty where it noted nothing."""
    try:
        return json.loads((environment / READY).read_text())
    except (OSError, ValueError):
        return {}


def write_ready(environment: Path, **facts: str) -> None:
    """Note ``facts`` about ``environment``, in one piece or not at all."""
    partial = environment / f"{READY}.part"
    partial.write_text(json.dumps(facts, indent=1) + "\n")
    partial.replace(environment / READY)


def python_of(environment: Path) -> Path:
    return environment / "bin" / "python"


def is_ready(environment: Path, torch_spec: str) -> bool:
    """True where ``environment`` holds what the lock files of this clone say, and its packages are still there."""
    facts = read_ready(environment)
    shared = facts.get("packages", "")
    return (
        facts.get("recipe") == recipe_key()
        and facts.get("project") == str(ROOT)
        and facts.get("torch_spec", "") == torch_spec
        and python_of(environment).exists()
        and (not shared or bool(read_ready(Path(shared))))
    )


def leave_own_environment() -> None:
    """Start anew with the Python that a small environment of ours was made from, where one is active."""
    if "packages" in read_ready(Path(sys.prefix)):
        base = sys._base_executable
        os.execv(base, [base, *sys.argv])


# --- the steps ----------------------------------------------------------------------------------------------------


def check_space(folder: Path, gigabytes: float) -> None:
    """Raise InstallError where the disk of ``folder`` has less than ``gigabytes`` free."""
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free / 1e9
    if free < gigabytes:
        raise InstallError(
            f"The installation needs about {gigabytes:.0f} GB in {folder}, where {free:.1f} GB are free: free some "
            "space, or point UNIVS_CACHE to a folder on another disk."
        )


def make_virtual_environment(environment: Path, *options: str) -> None:
    """Make ``environment`` with the running Python, where its own does not work."""
    if python_of(environment).exists():
        return
    needed = ("venv",) if "--without-pip" in options else ("venv", "ensurepip")
    if not all(importlib.util.find_spec(name) for name in needed):
        raise InstallError(fill_in(NO_VENV))
    run_step("virtual environment", [sys.executable, "-m", "venv", *options, str(environment)], environment)


def pip_install(step: str, environment: Path, *arguments: str) -> None:
    run_step(step, [str(python_of(environment)), "-m", "pip", "install", *arguments], environment)


def from_lock(name: str) -> list[str]:
    """Arguments that make pip install a lock file: nothing resolved, nothing unhashed, nothing compiled."""
    wheels = ["--only-binary", ":all:", "--no-binary", SOURCE_ONLY, "--no-build-isolation"]
    return ["--no-deps", "--require-hashes", *wheels, "-r", str(ROOT / "requirements" / name)]


def has_usable_torch(environment: Path) -> bool:
    """True where ``environment`` imports a PyTorch that is new enough, and the torchvision that fits it."""
    if not python_of(environment).exists():
        return False
    question = (
        "import torch, torchvision; from torchvision.ops import nms; "
        f"assert tuple(map(int, torch.__version__.split('.')[:2])) >= {OLDEST_TORCH}"
    )
    return subprocess.run([str(python_of(environment)), "-c", question], capture_output=True).returncode == 0


def site_packages(environment: Path) -> Path:
    question = "import sysconfig; print(sysconfig.get_path('purelib'))"
    answer = subprocess.run([str(python_of(environment)), "-c", question], capture_output=True, text=True, check=True)
    return Path(answer.stdout.strip())


def add_import_folders(environment: Path, name: str, lines: list[str]) -> None:
    """Write a .pth file: folders that ``environment`` imports from, behind its own packages."""
    (site_packages(environment) / name).write_text("\n".join(lines) + "\n")


def as_site_folder(folder: str | Path) -> str:
    """Line of a .pth file that adds ``folder`` together with the .pth files in it."""
    return f"import site; site.addsitedir({str(folder)!r})"


def install_torch(environment: Path, torch_spec: str) -> None:
    """Install the PyTorch of ``torch_spec``, or the locked one unless a usable one is there."""
    if torch_spec:
        pip_install("PyTorch of TORCH_SPEC", environment, "--no-compile", "--no-cache-dir", *torch_spec.split())
    elif has_usable_torch(environment):
        print("  PyTorch: the one that is there is kept", flush=True)
    else:
        pip_install("PyTorch", environment, "--no-compile", "--no-cache-dir", *from_lock("lock-torch.txt"))


def install_packages(environment: Path, outside: list[str], torch_spec: str) -> None:
    """Fill ``environment``; after an interruption, a second call goes on where the first one stopped."""
    downloads_torch = sys.platform == "linux" and not (outside or torch_spec or has_usable_torch(environment))
    check_space(environment, 9 if downloads_torch else 3)
    print(f"Installing into {environment} (once; a few minutes, most of them for PyTorch):", flush=True)
    make_virtual_environment(environment)
    pip_install("build tools", environment, *from_lock("lock-build.txt"))
    if outside:
        add_import_folders(environment, "univs-outside.pth", [as_site_folder(folder) for folder in outside])
    install_torch(environment, torch_spec)
    pip_install("packages of the lock file", environment, *from_lock("lock.txt"))
    run_step("Detectron2", [str(python_of(environment)), str(ROOT / "tools" / "install_detectron2.py")], environment)
    check = "import sys; sys.path.insert(0, sys.argv[1]); from univs import compat; compat.apply(); import av, cv2"
    run_step("check", [str(python_of(environment)), "-c", check, str(ROOT)], environment)


# --- the environment of this clone --------------------------------------------------------------------------------


def link_scripts(environment: Path, packages: Path) -> None:
    """Give ``environment`` the commands of ``packages``, run by its own Python, and the command ``univs``."""
    commands = {"univs": "univs.cli:main"}
    if packages != environment:
        for distribution in importlib.metadata.distributions(path=[str(site_packages(packages))]):
            scripts = (entry for entry in distribution.entry_points if entry.group == "console_scripts")
            commands |= {entry.name: entry.value for entry in scripts}
    for name, target in commands.items():
        module, function = target.split("[")[0].strip().split(":")
        script = environment / "bin" / name
        # Read by sh first, since a path with a blank cannot stand behind "#!".
        script.write_text(
            f"#!/bin/sh\n'''exec' \"{python_of(environment)}\" \"$0\" \"$@\"\n' '''\n"
            f"import sys\n\nfrom {module} import {function.split('.')[0]}\n\n"
            f'if __name__ == "__main__":\n    sys.exit({function}())\n'
        )
        script.chmod(0o755)


def attach(environment: Path, packages: Path, torch_spec: str) -> None:
    """Make ``environment`` import this clone and what lies in ``packages`` (which may be itself)."""
    facts = {"packages": str(packages)} if packages != environment else {}
    lines = [str(ROOT)]
    if facts:
        version = "{}.{}".format(*sys.version_info[:2])
        if environment.is_symlink():
            environment.unlink()
        elif read_ready(environment).get("python") != version:
            shutil.rmtree(environment, ignore_errors=True)
        environment.mkdir(parents=True, exist_ok=True)
        # Not ready yet, but known as ours if the next lines are interrupted.
        write_ready(environment, python=version, **facts)
        make_virtual_environment(environment, "--without-pip")
        lines.append(as_site_folder(site_packages(packages)))
        facts["python"] = version
    add_import_folders(environment, "univs-project.pth", lines)
    link_scripts(environment, packages)
    write_ready(environment, recipe=recipe_key(), project=str(ROOT), torch_spec=torch_spec, **facts)


@contextlib.contextmanager
def only_one_installer(folder: Path, name: str) -> Iterator[None]:
    """Let one process at a time fill the shared folder ``name``; a second one waits and finds it filled."""
    with (folder / f"{name}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("Another process is installing the same packages; waiting for it.", flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def install(environment: Path) -> None:
    """Make ``environment`` ready: on top of shared packages where it is ours or new, and in place where it is not."""
    facts = read_ready(environment)
    torch_spec = os.environ.get("TORCH_SPEC", facts.get("torch_spec", ""))
    if is_ready(environment, torch_spec):
        return
    outside = [] if torch_spec else outside_packages(environment)
    cache = cache_folder()
    if cache is None or (environment.exists() and "packages" not in facts):
        install_packages(environment, outside, torch_spec)
        attach(environment, environment, torch_spec)
        return
    name = packages_name(outside, torch_spec)
    packages = cache / name
    with only_one_installer(cache, name):
        if not read_ready(packages):
            install_packages(packages, outside, torch_spec)
            write_ready(packages, python=platform.python_version())
    attach(environment, packages, torch_spec)
    print(f"The environment {environment} is ready; its packages are in {packages}.", flush=True)
