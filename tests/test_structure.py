"""Rooms and arrows: who may import whom, no circle of files, nothing private of another package."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import snnmodels

ROOT = Path(snnmodels.__file__).parent
TEXT = (ROOT.parent / "docs" / "architecture.md").read_text()
# from the ground up
FLOORS = [line.split() for line in re.search(r"```floors\n(.*?)```", TEXT, re.S).group(1).splitlines()][::-1]  # type: ignore[union-attr]
FLOORS.append(["__main__"])
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
# what a generated project brings along, to run without the package
FILES = [p for p in ROOT.rglob("*.py") if "files" not in p.relative_to(ROOT).parts[:-1]]


def module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module(p): p for p in FILES}


def imports(name: str) -> set[str]:
    """What a module imports of the package, wherever in the file, as ``package.module.name``."""
    path = MODULES[name]
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            found |= {f"{base}.{a.name}" for a in node.names if base.split(".")[0] == "snnmodels"}
        elif isinstance(node, ast.Import):
            found |= {a.name for a in node.names if a.name.split(".")[0] == "snnmodels"}
    return found


def home(imported: str) -> str:
    """The module that an imported name comes from."""
    return imported if imported in MODULES else imported.rpartition(".")[0]


def room(name: str) -> str:
    return name.split(".")[1] if "." in name else ""


def test_every_room_has_a_floor() -> None:
    assert {room(m) for m in MODULES} - {""} == set(FLOOR)


@pytest.mark.parametrize("name", sorted(m for m in MODULES if room(m)))
def test_a_room_imports_from_lower_floors_alone(name: str) -> None:
    for imported in imports(name):
        there = room(home(imported))
        assert there in ("", room(name)) or FLOOR[there] < FLOOR[room(name)], f"{name} imports {imported}"


def test_no_circle_of_files() -> None:
    graph = {m: {home(i) for i in imports(m)} - {m} for m in MODULES}
    assert sum(map(len, graph.values())) > 300
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


@pytest.mark.parametrize("name", sorted(MODULES))
def test_nothing_private_of_another_package(name: str) -> None:
    package = name if MODULES[name].name == "__init__.py" else name.rpartition(".")[0]
    for imported in imports(name):
        parts = imported.split(".")
        for k, part in enumerate(parts):
            if part.startswith("_") and not part.startswith("__"):
                owner = ".".join(parts[:k])
                assert owner in (package, name), f"{name} imports {imported}"


def test_the_reference_knows_nothing_of_what_it_judges() -> None:
    for name in MODULES:
        if room(name) == "oracle":
            assert not {room(home(i)) for i in imports(name)} & {"events", "targets", "gradients", "brian"}


def test_the_rooms_are_drawn(tmp_path: Path) -> None:
    command = [sys.executable, "scripts/figure_rooms.py", "--out", str(tmp_path), "--dpi", "50"]
    subprocess.run(command, cwd=ROOT.parent, check=True, capture_output=True)
    assert (tmp_path / "rooms.png").stat().st_size > 5_000
