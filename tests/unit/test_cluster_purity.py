"""The parts that decide know no clock, no chance, no socket and no file."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "caxton_cluster"
BANNED = {"asyncio", "time", "random", "socket", "logging", "os", "secrets", "threading"}
PURE = sorted(
    [
        *(PACKAGE / "swim").rglob("*.py"),
        *(PACKAGE / "serf").rglob("*.py"),
        *(PACKAGE / "registry").rglob("*.py"),
        PACKAGE / "partition.py",
        PACKAGE / "types.py",
        PACKAGE / "config.py",
        PACKAGE / "errors.py",
        PACKAGE / "overlay.py",
        PACKAGE / "transport" / "memory.py",
    ]
)


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return names


@pytest.mark.parametrize("path", PURE, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_pure_module_imports_no_effects(path):
    assert {name.split(".")[0] for name in imported(path)} & BANNED == set()


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.stem)
def test_the_package_stands_alone(path):
    assert {name.split(".")[0] for name in imported(path)} & {"caxton", "caxton_node"} == set()


@pytest.mark.parametrize("path", sorted((PACKAGE / "swim").rglob("*.py")), ids=lambda p: p.stem)
def test_the_machine_knows_nothing_above_it(path):
    above = ("caxton_cluster.cluster", "caxton_cluster.driver", "caxton_cluster.serf")
    assert not [name for name in imported(path) if name.startswith(above)]
