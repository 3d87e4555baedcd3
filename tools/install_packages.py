"""Fill an environment with the locked packages. Nothing is resolved, nothing is unhashed, nothing is compiled.

The content of this file is part of the name of a folder of shared packages: a change here makes every clone install
anew. What changes no package belongs into install_environment.py.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

from install_process import NO_VENV, InstallError, fill_in, run_step

ROOT = Path(__file__).resolve().parents[1]
OLDEST_TORCH = (2, 4)
LOCKS = ("lock-build.txt", "lock-torch.txt", "lock.txt")
# These come as source only; everything else must come as a wheel, so that no compiler is ever asked for.
SOURCE_ONLY = "fvcore,antlr4-python3-runtime"


def hash_of(paths: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def lock_files() -> list[Path]:
    return [ROOT / "requirements" / name for name in LOCKS]


def packages_name(outside: list[str], torch_spec: str) -> str:
    """Name of a folder of packages: what is installed, the interpreter, and the PyTorch that is kept or asked for."""
    recipe = hash_of([*lock_files(), ROOT / "tools" / "install_packages.py", ROOT / "tools" / "install_detectron2.py"])
    interpreter = [sys.version, platform.machine(), os.path.realpath(sys.base_prefix)]
    digest = hashlib.sha256("\n".join([recipe, *interpreter, torch_spec, *outside]).encode())
    return "py{}{}-{}".format(*sys.version_info[:2], digest.hexdigest()[:12])


def python_of(environment: Path) -> Path:
    return environment / "bin" / "python"


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
