"""The order of the package: which part may import which, and how much a folder holds."""

import ast
from collections import Counter
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "scalecli"
# From the ground up: a part imports from the floors below its own, and from nowhere else.
FLOORS = (
    {"errors", "results", "tables", "times", "__init__"},
    {"specs", "storage"},
    {"strict"},
    {"costs", "data", "manifest"},
    {"architectures", "models"},
    {"shape"},
    {"api", "released"},
    {"analysis", "devices", "interchange", "references"},
    {"evaluation", "training"},
    {"runs", "studies"},
    {"cli"},
    {"__main__"},
)
FLOOR_OF = {part: number for number, parts in enumerate(FLOORS) for part in parts}
FILES = {file: file.relative_to(PACKAGE.parent).with_suffix("").parts for file in PACKAGE.rglob("*.py")}
MODULES = {".".join(parts).removesuffix(".__init__"): ast.parse(file.read_bytes()) for file, parts in FILES.items()}
MOST_FILES = 13  # __init__.py among them
ONE_FILE_EACH = {"architectures/papers"}  # one for each of the papers' architectures


def imported(nodes):
    """The modules that import statements name, those of the package as far as they are modules."""
    for node in nodes:
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            for name in node.names:
                inner = f"{node.module}.{name.name}"
                yield inner if inner in MODULES else node.module
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names)


def part_of(module):
    return [*module.split("."), "__init__"][1]


def test_imports_run_downwards():
    upwards = {
        f"{module} imports {target}"
        for module, tree in MODULES.items()
        for target in imported(ast.walk(tree))
        if target.split(".")[0] == "scalecli"
        and part_of(target) != part_of(module)
        and FLOOR_OF[part_of(target)] >= FLOOR_OF[part_of(module)]
    }
    assert not upwards


def run_time_nodes(tree):
    """The nodes of a module without what only type checkers read."""
    for node in ast.iter_child_nodes(tree):
        if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            yield node
            yield from run_time_nodes(node)


def test_no_modules_need_each_other():
    """Not in functions either, but for those that open a part of their own package."""
    needed = {
        module: {
            target
            for target in imported(run_time_nodes(tree))
            if target in MODULES and target != module and not target.startswith(f"{module}.")
        }
        | {*imported(tree.body)} & MODULES.keys() - {module}
        for module, tree in MODULES.items()
    }
    try:
        TopologicalSorter(needed).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_the_command_line_library_is_imported_in_cli_alone():
    users = {part_of(module) for module, tree in MODULES.items() if "click" in {*imported(ast.walk(tree))}}
    assert users == {"cli"}


def test_a_folder_can_be_overlooked():
    counts = Counter(
        file.parent.relative_to(PACKAGE).as_posix()
        for file in PACKAGE.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    )
    assert {folder: count for folder, count in counts.items() if count > MOST_FILES}.keys() <= ONE_FILE_EACH
