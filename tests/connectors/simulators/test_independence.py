"""Simulators and their wire tests share no code with the product, or they would share mistakes."""

from __future__ import annotations

import ast
from pathlib import Path

import connectors.simulators

HERE = Path(__file__).parent
OWN = ("connectors.simulators", "tests.connectors.simulators")
PRODUCT = {"config", "connectors", "rules_engine", "workflows", "frontend", "django", "tests"}


def list_imports(path):
    names = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names.append(node.module or "")
    return names


def is_foreign(name):
    return name.split(".")[0] in PRODUCT and not name.startswith(OWN)


def test_no_simulator_imports_product_code():
    files = sorted(Path(connectors.simulators.__file__).parent.glob("*.py"))

    found = {path.name: [n for n in list_imports(path) if is_foreign(n)] for path in files}

    assert len(files) > 20
    assert {name: imports for name, imports in found.items() if imports} == {}


def test_no_wire_test_imports_product_code():
    files = sorted(HERE.glob("test_wire_*.py")) + [HERE / "wire_world.py"]

    found = {path.name: [n for n in list_imports(path) if is_foreign(n)] for path in files}

    assert len(files) >= 8
    assert {name: imports for name, imports in found.items() if imports} == {}
