"""Put Detectron2 into the environment of the Python that runs this file; nothing is compiled.

A Detectron2 that is installed already is kept. Otherwise pip installs the Python part of release 0.6 from the package
index, from a source archive whose hash is checked. PyTorch need not be installed yet.

The archive's setup.py imports torch to describe an extension whose sources the archive does not hold, and names an
extra by address, which current pip refuses. Its build therefore sees a stand-in for torch that takes both away.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import subprocess
import sys
import tempfile
from pathlib import Path

NAME, VERSION = "pb1-detectron2", "0.6"
SHA256 = "5d2e9e51e523ec72f6a31cca04b0a515492e9514b773a3d134cedc0677170b29"
OLDEST_SETUPTOOLS = (70, 1)
# The release's own requirements, less an exact pin of a code formatter.
REQUIRES = [
    "Pillow>=7.1",
    "matplotlib",
    "pycocotools>=2.0.2",
    "termcolor>=1.1",
    "yacs>=0.1.8",
    "tabulate",
    "cloudpickle",
    "tqdm>4.29.0",
    "tensorboard",
    "fvcore>=0.1.5,<0.1.6",
    "iopath>=0.1.7,<0.1.10",
    "omegaconf>=2.1,<2.4",
    "hydra-core>=1.1",
    "packaging",
]
# Besides the extension, setup() loses the stray top-level package "tools" and gains the configs of the model zoo.
STAND_IN_TORCH = f"""
import distutils.core, types
from . import utils
__version__ = "99.0"
version = types.SimpleNamespace(hip=None)
cuda = types.SimpleNamespace(is_available=lambda: False)
original_setup = distutils.core.setup
def setup(**settings):
    settings.update(ext_modules=[], cmdclass={{}}, extras_require={{}}, install_requires={REQUIRES!r})
    settings["packages"] = [name for name in settings["packages"] if name.split(".")[0] == "detectron2"]
    settings["package_data"] = {{"detectron2.model_zoo": ["configs/*.yaml", "configs/**/*.yaml", "configs/**/*.py"]}}
    return original_setup(**settings)
distutils.core.setup = setup
"""
STAND_IN_EXTENSION = """
CUDA_HOME = ROCM_HOME = BuildExtension = None
def CppExtension(*args, **settings):
    return None
CUDAExtension = CppExtension
"""
UPSTREAM = (
    "install Detectron2 into this environment as INSTALL.md of facebookresearch/detectron2 says and run this again: "
    "it is then kept."
)


def is_installed() -> bool:
    """True where Detectron2 can be found; importing the release would fail before ``univs.compat.apply()``."""
    return importlib.util.find_spec("detectron2") is not None


def missing_build_tools() -> str | None:
    """The command that installs what the build needs, or None where it is there."""
    try:
        version = importlib.metadata.version("setuptools").split(".")
        importlib.metadata.version("wheel")
        if (int(version[0]), int(version[1])) >= OLDEST_SETUPTOOLS:
            return None
    except importlib.metadata.PackageNotFoundError:
        pass
    return f'{sys.executable} -m pip install "setuptools>=70.1" wheel'


def write_stand_in(folder: Path) -> Path:
    """Write the stand-in for torch; returns the folder to put on PYTHONPATH."""
    package = folder / "stand_in" / "torch"
    (package / "utils").mkdir(parents=True)
    (package / "__init__.py").write_text(STAND_IN_TORCH)
    (package / "utils" / "__init__.py").write_text("from . import cpp_extension\n")
    (package / "utils" / "cpp_extension.py").write_text(STAND_IN_EXTENSION)
    return package.parent


def pip_command(requirement: Path) -> list[str]:
    """The pip command that builds and installs the one hashed ``requirement`` without isolation."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-cache-dir", "--no-deps"]
    build = ["--no-build-isolation", "--use-pep517", "--no-binary", NAME]
    return [*pip, *build, "--require-hashes", "-r", str(requirement)]


def main() -> int:
    if is_installed():
        print("Detectron2 is installed already; it is kept.")
        return 0
    command = missing_build_tools()
    if command:
        print(f"Detectron2 is built with setuptools 70.1 or newer and wheel; run `{command}` first.", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder:
        requirement = Path(folder, "detectron2.txt")
        requirement.write_text(f"{NAME}=={VERSION} --hash=sha256:{SHA256}\n")
        environment = dict(os.environ, PYTHONPATH=str(write_stand_in(Path(folder))))
        if subprocess.run(pip_command(requirement), env=environment).returncode:
            print(f"Detectron2 could not be taken from the package index; {UPSTREAM}", file=sys.stderr)
            return 1
    print(f"Detectron2 {VERSION} (Python part) is installed.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
