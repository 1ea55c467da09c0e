"""The vendored files are the ones that were checked in, each with its licence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from frontend.vendor import check


def test_vendored_files_are_what_the_sums_say() -> None:
    assert check.list_differences() == []


def test_a_changed_or_added_file_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in check.ORIGINS:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes((check.STATIC / name).read_bytes())
    monkeypatch.setattr(check, "STATIC", tmp_path)
    assert check.list_differences() == []

    (tmp_path / "logicflow/core.css").write_text("changed")
    (tmp_path / "extra.js").write_text("added")
    (tmp_path / "logicflow/LICENSE").unlink()

    assert check.list_differences() == ["extra.js", "logicflow/LICENSE", "logicflow/core.css"]


def test_the_lock_pins_what_the_readme_says() -> None:
    lock = json.loads((check.HERE / "package-lock.json").read_text())
    readme = (check.HERE / "README.md").read_text()

    for name, version in lock["packages"][""]["dependencies"].items():
        assert lock["packages"][f"node_modules/{name}"]["version"] == version
        assert f"| `{name}` | {version} |" in readme
        assert lock["packages"][f"node_modules/{name}"]["integrity"].startswith("sha512-")
