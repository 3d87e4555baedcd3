"""What a user installs: lock files, the package and its files, the commands of the Makefile, versions that agree."""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import univs

ROOT = Path(__file__).resolve().parents[1]
LOCKS = ("lock-build.txt", "lock-torch.txt", "lock-train.txt", "lock.txt")
LOOSE = ("build", "torch", "runtime", "evaluation", "serve", "test", "train")
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
MACHINES = {
    "Linux x86_64": {"sys_platform": "linux", "platform_machine": "x86_64", "platform_system": "Linux"},
    "Linux aarch64": {"sys_platform": "linux", "platform_machine": "aarch64", "platform_system": "Linux"},
    "macOS arm64": {"sys_platform": "darwin", "platform_machine": "arm64", "platform_system": "Darwin"},
}


def entries_of(lock: str) -> list[tuple[Requirement, list[str]]]:
    """The pins of a lock file, each with its hashes."""
    text = (ROOT / "requirements" / lock).read_text()
    blocks = re.findall(r"^[^#\s].*\n(?:[ \t]+.*\n)*", text, flags=re.MULTILINE)
    return [(Requirement(block.split("\\")[0]), re.findall(r"--hash=sha256:([0-9a-f]{64})", block)) for block in blocks]


def loose_requirements(name: str) -> list[Requirement]:
    lines = (ROOT / "requirements" / f"{name}.txt").read_text().splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def pins_on(python: str, machine: dict[str, str]) -> dict[str, list[Version]]:
    """The versions that all lock files together install on one kind of machine."""
    facts = {"python_version": python, "python_full_version": f"{python}.5", **machine}
    pins: dict[str, list[Version]] = {}
    for lock in LOCKS:
        for requirement, _ in entries_of(lock):
            if requirement.marker is None or requirement.marker.evaluate(facts):
                version = Version(next(iter(requirement.specifier)).version)
                pins.setdefault(canonicalize_name(requirement.name), []).append(version)
    return pins


# --- lock files ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lock", LOCKS)
def test_every_package_is_pinned_and_hashed(lock: str) -> None:
    entries = entries_of(lock)
    assert entries
    for requirement, hashes in entries:
        assert [specifier.operator for specifier in requirement.specifier] == ["=="], requirement
        assert hashes, requirement
        assert requirement.url is None, requirement


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_files_name_no_index(lock: str) -> None:
    assert not re.search(r"://|^\s*-(?!-hash)", (ROOT / "requirements" / lock).read_text(), flags=re.MULTILINE)


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("python", PYTHONS)
def test_locks_hold_what_the_loose_ranges_ask_for(python: str, machine: str) -> None:
    pins = pins_on(python, MACHINES[machine])
    assert not {name: versions for name, versions in pins.items() if len(versions) > 1}
    for source in LOOSE:
        for requirement in loose_requirements(source):
            # A bare machine has no libGL: the locks hold the build of OpenCV without windows instead.
            name = requirement.name if requirement.name != "opencv-python" else "opencv-python-headless"
            (version,) = pins[canonicalize_name(name)]
            assert requirement.specifier.contains(version), f"{requirement}, locked {version}"


def test_a_pytorch_that_is_kept_is_not_locked_again() -> None:
    rest = {canonicalize_name(requirement.name) for requirement, _ in entries_of("lock.txt")}
    assert not [name for name in rest if re.match(r"torch$|torchvision$|triton$|nvidia-|cuda-", name)]
    assert {"torch", "torchvision"} <= {requirement.name for requirement, _ in entries_of("lock-torch.txt")}


def test_opencv_is_there_once() -> None:
    names = [requirement.name for requirement, _ in entries_of("lock.txt")]
    assert [name for name in names if name.startswith("opencv")] == ["opencv-python-headless"]


def test_resolution_is_split_into_the_lock_files() -> None:
    spec = importlib.util.spec_from_file_location("lock_requirements", ROOT / "tools" / "lock_requirements.py")
    lock_requirements = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(lock_requirements)
    entry = "{} \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\n"
    names = ("numpy==2.0", "torch==2.14.1 ; sys_platform == 'linux'", "nvidia-nccl-cu13==2.0", "wheel==1.0")
    resolved = "".join(entry.format(name) for name in names)
    files = lock_requirements.split_entries(resolved)
    assert files["lock.txt"] == [entry.format(names[0])]
    assert files["lock-torch.txt"] == [entry.format(names[1]), entry.format(names[2])]
    assert files["lock-build.txt"] == [entry.format(names[3])]


# --- the package --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library as setup.py would install it, and its metadata, in a folder of their own."""
    folder = tmp_path_factory.mktemp("built")
    command = [sys.executable, "setup.py", "--quiet", "build_py", "--build-lib", str(folder)]
    command += ["egg_info", "--egg-base", str(folder)]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    return folder


def test_installed_package_holds_every_module_and_file(built: Path) -> None:
    for folder in ("univs", "configs"):
        suffixes = {".py", ".yaml", ".txt", ".safetensors"}
        wanted = {path.relative_to(ROOT) for path in (ROOT / folder).rglob("*") if path.suffix in suffixes}
        inside = "univs" if folder == "configs" else ""
        missing = [path.as_posix() for path in sorted(wanted) if not (built / inside / path).is_file()]
        assert wanted
        assert not missing, "add them to package_data in setup.py"


def test_installed_package_holds_nothing_else(built: Path) -> None:
    assert sorted(path.name for path in built.iterdir()) == ["univs", "univs.egg-info"]


def test_installed_package_finds_its_configs(built: Path) -> None:
    program = "from univs.resources import config_file; print(config_file('_base/model.yaml'))"
    answer = subprocess.run([sys.executable, "-c", program], cwd=built, capture_output=True, text=True, check=True)
    assert Path(answer.stdout.strip()) == built / "univs" / "configs" / "_base" / "model.yaml"


def test_metadata_say_what_is_needed(built: Path) -> None:
    information = built / "univs.egg-info"
    metadata = (information / "PKG-INFO").read_text()
    assert f"\nVersion: {univs.__version__}\n" in metadata
    assert "\nRequires-Python: >=3.10\n" in metadata
    for extra in ("evaluation", "serve", "test", "train", "all"):
        assert f"\nProvides-Extra: {extra}\n" in metadata
    assert "univs = univs.cli:main" in (information / "entry_points.txt").read_text()
    assert "detectron2" not in (information / "requires.txt").read_text()


def test_every_import_of_the_library_is_required() -> None:
    distributions = importlib.metadata.packages_distributions()
    sources = ("runtime", "evaluation", "serve", "train")
    required = {canonicalize_name(requirement.name) for source in sources for requirement in loose_requirements(source)}
    required |= {"pb1-detectron2", "detectron2", "opencv-python-headless"}
    unnamed = {}
    for path in (ROOT / "univs").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and not node.level else []
            for name in {name.split(".")[0] for name in names} - {"univs"} - sys.stdlib_module_names:
                if not required & {canonicalize_name(found) for found in distributions.get(name, [name])}:
                    unnamed[name] = path.relative_to(ROOT).as_posix()
    unnamed.pop("pkg_resources", None)  # the layer looks for it, and does without
    assert not unnamed, "name it in requirements/runtime.txt"


def test_versions_agree() -> None:
    version = re.escape(univs.__version__)
    assert re.search(rf"^version: {version}$", (ROOT / "CITATION.cff").read_text(), flags=re.MULTILINE)
    assert re.search(rf"^## {version}\b", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)


def test_licence_is_complete() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_every_requirement_has_its_notice() -> None:
    notices = (ROOT / "THIRD_PARTY.md").read_text().lower().replace("_", "-")
    names = [requirement.name for source in LOOSE for requirement in loose_requirements(source)]
    missing = [name for name in names if canonicalize_name(name) not in notices]
    assert not missing, "name it and its licence in THIRD_PARTY.md"


def test_everything_that_is_brought_along_has_its_notice() -> None:
    notices = (ROOT / "THIRD_PARTY.md").read_text()
    brought = [*(ROOT / "univs" / "weights").glob("*.safetensors"), *(ROOT / "datasets" / "demo_clips").glob("*.mp4")]
    assert not [path.name for path in brought if path.name not in notices], "name it in THIRD_PARTY.md, with its terms"


def test_pages_name_files_that_exist() -> None:
    folders = "univs|tests|tools|configs|docs|benchmarks|requirements|datasets|projects"
    missing = []
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        names = re.findall(rf"`((?:{folders})/[\w./-]*)`", page.read_text())
        # capitals stand for a name to be filled in
        missing += [
            f"{page.name}: {name}"
            for name in names
            if not re.search("[A-Z]{4}", name.replace("README", "")) and not (ROOT / name).exists()
        ]
    assert not missing


# --- commands -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["demo", "test", "lint", "bench", "test-gpu", "train-mini"])
def test_every_command_installs_first(target: str) -> None:
    answer = subprocess.run(["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True, check=True)
    installs, *rest = [
        line for line in answer.stdout.splitlines() if "tools/install.py" in line or "/bin/python" in line
    ]
    assert "tools/install.py" in installs
    assert rest
    scripts = re.findall(r"\b((?:tools|benchmarks)/\w+\.py)", answer.stdout)
    assert not [script for script in scripts if not (ROOT / script).is_file()]


def test_make_names_the_python_that_is_missing() -> None:
    command = ["make", "install", "PYTHON=no-such-python"]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert answer.returncode != 0
    assert "UniVS needs Python 3.10 to 3.13, and no no-such-python is found" in answer.stderr


@pytest.mark.parametrize(("lint", "tests"), [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_ci_fails_with_either_and_ends_with_the_tests(tmp_path: Path, lint: int, tests: int) -> None:
    make = tmp_path / "make"
    make.write_text(
        f'#!/bin/sh\ncase "$*" in *lint*) echo linted; exit {lint};; *test*) echo tested; exit {tests};; esac\nexit 9\n'
    )
    make.chmod(0o755)
    variables = dict(os.environ, PATH=f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    answer = subprocess.run([ROOT / ".ci" / "run"], env=variables, capture_output=True, text=True)
    assert bool(answer.returncode) == bool(lint or tests)
    assert answer.stdout.split() == ["linted", "tested"]
