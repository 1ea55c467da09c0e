"""The house keeps its shape: what lies at the top, which packages exist, what is required."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HOUSE = {
    "config",
    "connectors",
    "rules_engine",
    "workflows",
    "frontend",
    "tests",
    "manage.py",
    "requirements.txt",
}
META = {
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "pyproject.toml",
    "Makefile",
    "requirements-dev.txt",
    ".ci",
    ".gitignore",
}
PACKAGES = {
    "config": "tenancy audit releases secrets errors",
    "connectors": "http shops orders channels systems tabular sync simulators",
    "rules_engine": "formula facts rules scoring presets",
    "workflows": "causes interventions canvas rollup patrol",
    "frontend": "admin_site admin pages api inbound demo supervisor",
}


def _ignored() -> set[str]:
    lines = (ROOT / ".gitignore").read_text().split()
    return {line.rstrip("/") for line in lines} | {".git"}


def test_the_top_level_is_exactly_the_house():
    found = {p.name for p in ROOT.iterdir()} - _ignored()

    assert found == HOUSE | META


@pytest.mark.parametrize(("folder", "names"), PACKAGES.items())
def test_every_package_of_the_plan_exists(folder, names):
    paths = [ROOT / folder / name for name in names.split()]

    missing = [
        p for p in paths if not p.with_suffix(".py").is_file() and not (p / "__init__.py").is_file()
    ]
    assert missing == []


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_every_requirement_is_pinned_and_says_what_it_is_for(name):
    lines = (ROOT / name).read_text().splitlines()
    lines = [x for x in lines if x and not x.lstrip().startswith("#")]
    pinned = re.compile(r"[A-Za-z0-9_.\[\]-]+==\S+ +# \S.{3,}")

    assert lines
    assert [x for x in lines if not pinned.fullmatch(x) and x != "-r requirements.txt"] == []


def test_packages_come_from_the_configured_index_only():
    """No file of the set-up may name an index or a host to download from."""
    files = [ROOT / "Makefile", *ROOT.glob("requirements*.txt"), *(ROOT / ".ci").iterdir()]
    text = "\n".join(p.read_text() for p in files if p.is_file())

    assert (
        re.findall(r"--(?:extra-)?index-url|--find-links|https?://(?!127\.0\.0\.1)\S+", text) == []
    )


def test_ci_runs_the_command_of_the_readme():
    assert "make test" in (ROOT / ".ci" / "run").read_text()
    assert "make test" in (ROOT / "README.md").read_text()
    assert "make demo" in (ROOT / "README.md").read_text()


def test_row_locks_leave_key_checks_of_other_sessions_alone():
    # FOR UPDATE makes a session that only refers to the row wait; a scoring pass and a repair of
    # one of its orders then wait for each other (deadlock on PostgreSQL). No key is ever changed.
    strong = [
        f"{path.relative_to(ROOT)}:{number}"
        for package in ("config", "connectors", "rules_engine", "workflows", "frontend")
        for path in (ROOT / package).rglob("*.py")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if "select_for_update(" in line and "no_key=True" not in line
    ]
    assert strong == []


@pytest.mark.parametrize(
    ("mark", "folders"),
    [("journey", ("tests/journeys/",)), ("browser", ("tests/frontend/", "tests/journeys/"))],
)
def test_tests_of_a_lane_lie_where_the_lane_looks(mark, folders):
    """The lanes of .ci/test.py name folders: a marked test elsewhere would never run."""
    paths = [p.relative_to(ROOT).as_posix() for p in (ROOT / "tests").rglob("test_*.py")]
    marked = [p for p in paths if re.search(rf"pytest\.mark\.{mark}\b", (ROOT / p).read_text())]

    assert marked
    assert [p for p in marked if not p.startswith(folders)] == []
