"""The house rules that a reader relies on: what may import what, how large things get, and what is never written."""

from __future__ import annotations

import ast
import graphlib
import re
import statistics
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOUNDATION = frozenset({"univs", "errors", "compat", "runtime", "resources"})
MODEL_FLOORS = FOUNDATION | {"structures", "layers", "modeling"}
# What each floor may import, besides itself. `univs` is the front door, which opens the session when it is first used.
MAY_IMPORT = {
    "univs": frozenset({"inference"}),
    "errors": frozenset(),
    "compat": frozenset({"errors"}),
    "runtime": frozenset({"errors"}),
    "resources": frozenset({"errors"}),
    "config": FOUNDATION,
    "structures": FOUNDATION,
    "layers": FOUNDATION | {"structures"},
    "modeling": FOUNDATION | {"structures", "layers"},
    "data": FOUNDATION | {"structures"},
    "video": FOUNDATION | {"structures"},
    "inference": MODEL_FLOORS | {"config", "data", "video"},
    "evaluation.metrics": frozenset(),
    "evaluation": MODEL_FLOORS | {"config", "data", "video", "inference", "evaluation.metrics"},
    "engine": MODEL_FLOORS | {"config", "data", "video", "inference", "evaluation", "evaluation.metrics"},
}
EVERYTHING = frozenset(MAY_IMPORT)
MAY_IMPORT |= {"serving": EVERYTHING, "cli": EVERYTHING | {"serving"}, "__main__": EVERYTHING | {"serving", "cli"}}

LONGEST_FILE, LONGEST_FUNCTION, NINE_IN_TEN_FUNCTIONS, MEDIAN_FUNCTION = 400, 80, 40, 14
MOST_CONSTRUCTOR_ARGUMENTS = 9
PROGRAM_FOLDERS = ("univs", "tools", "benchmarks", "projects", "tests")
TEXT_SUFFIXES = {".py", ".md", ".txt", ".toml", ".yaml", ".yml", ".cff", ".json", ".html", ".js", ".css", ".sh", ""}

SHAPE = re.compile(r"\[[^\[\]]*\b[A-Z][^\[\]]*\]")
# Built from pieces, so that this file does not hold what it looks for.
MACHINE_PATH = re.compile(r"(?<![\w.:/])/(?:" + "|".join(("work", "root", "home", "Users", "mnt", "opt")) + r")/\w")
INDEX_HOST = re.compile(r"\b(?:" + "|".join(("pypi", "pythonhosted", "npmjs", "download.pytorch")) + r")\.(?:org|com)")
UNFINISHED = re.compile(r"\b(?:" + "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X")) + r")\b")
# Names of data sets; "coco" alone is also the name of a format and of a library.
DATA_SET_NAME = re.compile(
    r"davis|yt_?vis|youtube|yt_?vos|\bovis|vspw|vip_?seg|vip_?o_?seg|burst_?(?:19|20|bench|val|train)|ref_?coco|mevis|"
    r"\ba2d|jhmdb|cityscapes|ade20k|lvis|sa_?1b|\bmose\b|\blvos\b|entity_?seg|puma_?vos|oxford_?pets|"
    r"coco_?(?:\d|panoptic|stuff|instance|train|val|person|people)",
    re.IGNORECASE,
)
MAY_NAME_DATA_SETS = ("univs/data/", "univs/evaluation/benchmarks/", "univs/evaluation/submissions/")


# --- what there is ------------------------------------------------------------------------------------------------


@cache
def python_files(*folders: str) -> tuple[Path, ...]:
    return tuple(sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py")))


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def module_of(path: Path) -> str:
    """Dotted name of a module of the library, a package without its ``__init__``."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def floor_of(module: str) -> str:
    """The floor that a module ``univs...`` stands on."""
    parts = module.split(".")
    if parts[1:3] == ["evaluation", "metrics"]:
        return "evaluation.metrics"
    return parts[1] if len(parts) > 1 else "univs"


@cache
def library_modules() -> dict[str, Path]:
    return {module_of(path): path for path in python_files("univs")}


def imported_modules(path: Path, nodes: Iterator[ast.AST]) -> set[str]:
    """The library's own modules that the import statements among ``nodes`` name."""
    modules = library_modules()
    package = module_of(path).split(".")
    package = package if path.name == "__init__.py" else package[:-1]
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            beginning = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*beginning, *([node.module] if node.module else [])])
            found |= {f"{base}.{alias.name}" if f"{base}.{alias.name}" in modules else base for alias in node.names}
    return {name for name in found if name.split(".")[0] == "univs"}


@cache
def functions(*folders: str) -> tuple[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef], ...]:
    """Every function with the place where it stands, ``file:line name``."""
    found = []
    for path in python_files(*folders):
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                found.append((f"{name_of(path)}:{node.lineno} {node.name}", node))
    return tuple(found)


def length_of(function: ast.AST) -> int:
    return function.end_lineno - function.lineno + 1


@cache
def committed_texts() -> tuple[Path, ...]:
    """Text files that are committed, or, outside a clone, that lie in the project's folders."""
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listing.returncode == 0 and listing.stdout:
        paths = [ROOT / name for name in listing.stdout.split("\0") if name]
    else:
        folders = (*PROGRAM_FOLDERS, "configs", "docs", "datasets", "requirements")
        paths = [*ROOT.glob("*.*"), *(path for folder in folders for path in (ROOT / folder).rglob("*"))]
    return tuple(path for path in paths if path.suffix in TEXT_SUFFIXES and path.is_file())


def lines_that_match(pattern: re.Pattern[str], paths: tuple[Path, ...]) -> list[str]:
    found = []
    for path in paths:
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            if pattern.search(line):
                found.append(f"{name_of(path)}:{number} {line.strip()[:100]}")
    return found


# --- rooms and floors ---------------------------------------------------------------------------------------------


def test_every_module_stands_on_a_known_floor() -> None:
    unknown = {module for module in library_modules() if floor_of(module) not in MAY_IMPORT}
    assert not unknown, "give it a place in MAY_IMPORT, or move it to the room that it belongs to"


def test_imports_only_go_down() -> None:
    wrong = []
    for module, path in library_modules().items():
        floor = floor_of(module)
        for imported in imported_modules(path, ast.walk(tree_of(path))):
            if floor_of(imported) not in MAY_IMPORT[floor] | {floor}:
                wrong.append(f"{module} ({floor}) imports {imported}")
    assert not wrong


def test_no_circle_of_imports() -> None:
    graph = {module: imported_modules(path, iter(tree_of(path).body)) for module, path in library_modules().items()}
    for module, imported in graph.items():
        imported.discard(module)
    list(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError, which names the circle


def test_the_front_door_is_light() -> None:
    assert not imported_modules(ROOT / "univs" / "__init__.py", iter(tree_of(ROOT / "univs" / "__init__.py").body))


def test_the_library_does_not_import_programs_or_tests() -> None:
    wrong = []
    for path in python_files("univs"):
        for node in ast.walk(tree_of(path)):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            wrong += [f"{name_of(path)} imports {name}" for name in names if name.split(".")[0] in PROGRAM_FOLDERS[1:]]
    assert not wrong


def test_no_file_is_a_drawer_for_everything() -> None:
    drawers = {"utils", "util", "helpers", "helper", "misc", "common", "tools"}
    assert not [name_of(path) for path in python_files(*PROGRAM_FOLDERS) if path.stem in drawers]


# --- sizes --------------------------------------------------------------------------------------------------------


def test_no_file_is_too_long() -> None:
    lengths = {name_of(path): len(path.read_text().splitlines()) for path in python_files(*PROGRAM_FOLDERS)}
    assert not {name: length for name, length in lengths.items() if length > LONGEST_FILE}


def test_no_function_is_too_long() -> None:
    lengths = {place: length_of(function) for place, function in functions(*PROGRAM_FOLDERS)}
    assert not {place: length for place, length in lengths.items() if length > LONGEST_FUNCTION}


def test_functions_are_short_on_the_whole() -> None:
    lengths = sorted(length_of(function) for _, function in functions("univs"))
    assert statistics.median(lengths) <= MEDIAN_FUNCTION
    assert lengths[int(0.9 * len(lengths))] < NINE_IN_TEN_FUNCTIONS


def test_constructors_take_few_arguments() -> None:
    counts = {}
    for place, function in functions("univs"):
        if function.name == "__init__":
            arguments = function.args
            counts[place] = len([*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]) - 1
    assert not {place: count for place, count in counts.items() if count > MOST_CONSTRUCTOR_ARGUMENTS}


# --- types, shapes, words -----------------------------------------------------------------------------------------


def public_functions(path: Path) -> Iterator[tuple[str, ast.FunctionDef, bool]]:
    """Public functions and methods of a file, with their place and whether they are methods that take self or cls."""
    for node in tree_of(path).body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield f"{name_of(path)}:{node.lineno} {node.name}", node, False
        if not isinstance(node, ast.ClassDef) or node.name.startswith("_"):
            continue
        for method in node.body:
            public = isinstance(method, ast.FunctionDef) and (method.name[0] != "_" or method.name == "__init__")
            if public:
                static = any(isinstance(mark, ast.Name) and mark.id == "staticmethod" for mark in method.decorator_list)
                yield f"{name_of(path)}:{method.lineno} {node.name}.{method.name}", method, not static


def test_public_functions_are_fully_typed() -> None:
    untyped = []
    for path in python_files("univs"):
        for place, function, takes_self in public_functions(path):
            arguments = [*function.args.posonlyargs, *function.args.args][int(takes_self) :]
            arguments += [*function.args.kwonlyargs, function.args.vararg, function.args.kwarg]
            missing = [argument.arg for argument in arguments if argument and argument.annotation is None]
            missing += ["its result"] if function.returns is None and function.name != "__init__" else []
            untyped += [f"{place}: {', '.join(missing)}"] if missing else []
    assert not untyped


def test_forward_docstrings_state_shapes() -> None:
    silent = [
        place
        for place, function in functions("univs/layers", "univs/modeling")
        if function.name == "forward" and not SHAPE.search(ast.get_docstring(function) or "")
    ]
    assert not silent, "state the shapes in the docstring, as in [T, C, H, W]"


def words_of_code(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Identifiers and strings of a module, without docstrings and names of imported modules."""
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.lineno, node.value
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.lineno, node.name
        elif isinstance(node, ast.Name):
            yield node.lineno, node.id
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg


def test_data_sets_are_named_only_where_data_are_described() -> None:
    named = []
    for path in python_files("univs"):
        if not name_of(path).startswith(MAY_NAME_DATA_SETS):
            words = words_of_code(tree_of(path))
            named += [f"{name_of(path)}:{line} {word[:80]!r}" for line, word in words if DATA_SET_NAME.search(word)]
    assert not named, "a task is data, not code: put it into configs/ or univs/data/"


def test_nothing_is_left_unfinished() -> None:
    assert not lines_that_match(UNFINISHED, python_files(*PROGRAM_FOLDERS))


def test_no_path_of_a_machine_is_committed() -> None:
    assert not lines_that_match(MACHINE_PATH, committed_texts())


def test_no_package_index_is_named() -> None:
    assert not lines_that_match(INDEX_HOST, committed_texts())


# --- the rules themselves find what they look for -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "found", "passed"),
    [
        (SHAPE, "queries `[Q+K, T, C]`", "a list [of things]"),
        (MACHINE_PATH, "see " + "/home" + "/someone", "see https://host.example" + "/home" + "/page"),
        (INDEX_HOST, "https://" + "pypi" + ".org/simple", "the package index"),
        (UNFINISHED, "# TO" + "DO: later", "what is to do"),
        (DATA_SET_NAME, "ytvis_2019_val", "provided"),
        (DATA_SET_NAME, "coco_2017_val", "coco_mask"),
    ],
)
def test_patterns_tell_right_from_wrong(pattern: re.Pattern[str], found: str, passed: str) -> None:
    assert pattern.search(found)
    assert not pattern.search(passed)


def test_imports_are_found_in_every_form() -> None:
    path = ROOT / "univs" / "modeling" / "__init__.py"
    source = "import univs.layers\nfrom univs import compat\nfrom . import backbones\nfrom ..errors import UserError\n"
    found = imported_modules(path, ast.walk(ast.parse(source)))
    assert found == {"univs.layers", "univs.compat", "univs.modeling.backbones", "univs.errors"}
