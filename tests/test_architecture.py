"""Imports run downward only: a module imports what stands below it in this table, and there are no circles."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import mat_vis_hub

PACKAGE = Path(mat_vis_hub.__file__).parent
LAYERS = [
    ["errors"],
    ["_internal"],
    ["_hub"],
    ["retry_after", "events"],
    ["policy", "gate", "buckets", "hooks", "budget"],
    ["turn"],
    ["throttle"],
    ["commits"],
    ["transport"],
    ["api"],
    ["testing"],
    ["local_hub"],
]
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}
MODULES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))


def name_of(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def imports(path: Path, *, lazy: bool) -> set[str]:
    """The modules of the package that a module imports at run time; `lazy`: also inside functions."""
    tree = ast.parse((PACKAGE / path).read_text(encoding="utf-8"))
    found: set[str] = set()
    nodes = [tree]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            nodes += node.orelse
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and not lazy:
            continue
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            found |= {f"{node.module}.{alias.name}" for alias in node.names if node.module}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        else:
            nodes += ast.iter_child_nodes(node)
    return {name.removeprefix("mat_vis_hub.") for name in found if name.startswith("mat_vis_hub.")}


def resolve(name: str) -> str:
    """The module that an imported name is, or lies in."""
    while name and not (PACKAGE / name.replace(".", "/")).is_dir():
        if (PACKAGE / f"{name.replace('.', '/')}.py").is_file():
            break
        name = name.rpartition(".")[0]
    return name


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_a_module_imports_only_what_stands_below_it(path):
    own = name_of(path).partition(".")[0]
    if own in ("__init__", "__main__", ""):
        return
    for imported in imports(path, lazy=True):
        other = imported.partition(".")[0]
        if other != own and other in RANK:
            assert RANK[other] < RANK[own] or {own, other} == {"local_hub", "testing"}, f"{path} imports {imported}"


def test_every_module_has_its_place():
    tops = {path.parts[0].removesuffix(".py") for path in MODULES} - {"__init__", "__main__", "cli"}
    assert tops == set(RANK)


def test_there_are_no_circles():
    graph = {name_of(path): {resolve(name) for name in imports(path, lazy=False)} - {""} for path in MODULES}
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, " -> ".join((*way, name))
        if name not in done:
            for other in graph.get(name, ()):
                if other != name:
                    visit(other, (*way, name))
            done.add(name)

    for name in graph:
        visit(name, ())
