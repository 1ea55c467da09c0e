"""Simulators and their wire tests share no code with the product, or they would share mistakes."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import connectors.simulators
from connectors.simulators.ledger import FILE
from connectors.simulators.outside import TRUTH_FOLDER
from connectors.simulators.platforms import APP_NAMES

HERE = Path(__file__).parent
OWN = ("connectors.simulators", "tests.connectors.simulators")
# A test in which a client that does not know better loses or doubles something.
_NAIVE = re.compile(r"def test_\w*(loses|lose_|doubles|twice)\w*\(")
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


def test_nothing_that_judges_a_simulator_imports_product_code():
    """Wire tests, naive clients, their callers and lives: all of this folder."""
    files = sorted(HERE.glob("*.py"))

    found = {path.name: [n for n in list_imports(path) if is_foreign(n)] for path in files}

    wire = [path for path in files if path.name.startswith("test_wire_")]
    assert len(wire) >= 12
    assert {name: imports for name, imports in found.items() if imports} == {}


def test_every_simulated_system_has_a_wire_test_and_a_naive_client():
    """One per app of a place and the robot: nobody adds a simulator without them."""
    texts = {path.name: path.read_text("utf-8") for path in HERE.glob("test_*.py")}
    for name in (*sorted(APP_NAMES - {"douyin.callback"}), "robot"):
        wire = [file for file in texts if file.startswith(f"test_wire_{name}")]
        assert wire, name
        judged = {*wire, f"test_naive_{name}.py"} & texts.keys()
        assert any(_NAIVE.search(texts[file]) for file in judged), name


def test_no_product_code_knows_where_the_truth_is():
    """The import contract keeps it from the package; this keeps it from the file by name. Only
    what seeds and starts the demo knows of the simulators' folder at all."""
    root = HERE.parents[2]
    names = (FILE, f"/{TRUTH_FOLDER}/", f'"{TRUTH_FOLDER}"', "simulators.ledger")
    told = {
        str(path.relative_to(root))
        for part in ("config", "connectors", "rules_engine", "workflows", "frontend")
        for path in (root / part).rglob("*.py")
        if any(name in path.read_text("utf-8") for name in names)
    }

    assert {name for name in told if not name.startswith("connectors/simulators/")} == set()
    assert told  # the search itself finds the simulators' own
