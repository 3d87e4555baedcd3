"""Make a small virtual environment of this clone on top of packages that all clones share."""

from __future__ import annotations

import contextlib
import fcntl
import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from install_packages import (
    ROOT,
    add_import_folders,
    as_site_folder,
    hash_of,
    install_packages,
    lock_files,
    make_virtual_environment,
    packages_name,
    python_of,
    site_packages,
)

READY = "univs-ready.json"


def recipe_key() -> str:
    """Hash of everything that decides what an environment holds, except the interpreter and the PyTorch."""
    return hash_of([*lock_files(), *sorted((ROOT / "tools").glob("install*.py"))])


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
    if packages != environment:
        link_programs(environment, packages, set(commands))


def link_programs(environment: Path, packages: Path, scripts: set[str]) -> None:
    """Give ``environment`` what in ``packages`` is no Python script, such as ruff."""
    for program in (packages / "bin").iterdir():
        link = environment / "bin" / program.name
        if program.name not in scripts and not program.name.lower().startswith(("python", "activate", "pip")):
            link.unlink(missing_ok=True)
            link.symlink_to(program)


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
