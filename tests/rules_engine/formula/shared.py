"""The samples beside the repository; absent, the tests that need them skip loudly."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).resolve().parents[4] / "shared" / "formula"

needs_samples = pytest.mark.skipif(
    not FOLDER.is_dir(), reason=f"SAMPLES ABSENT: {FOLDER} is not there, nothing was compared"
)


def read_sample(name: str) -> list[dict[str, Any]]:
    path = FOLDER / name
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text("utf-8").split("\n") if line]


def read_field(value: Any) -> Any:
    """A {"$date": ...} is a local date-time; lists are rows of one column."""
    if isinstance(value, dict):
        return dt.datetime.fromisoformat(value["$date"])
    if isinstance(value, list):
        return [read_field(item) for item in value]
    return value
