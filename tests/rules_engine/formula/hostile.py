"""Hostile expressions: the sample beside the repository and our own further ones.

A line of tests/data/hostile.jsonl has `kind`, and `expr` or `gen` (a Python expression that builds
a long one, written by us). What each kind must come to is in `test_hostile.py`.
"""

from __future__ import annotations

import json
from pathlib import Path

OWN = Path(__file__).parents[2] / "data" / "hostile.jsonl"


def expand(case: dict[str, str]) -> str:
    """The expression of a case."""
    if "gen" in case:
        return str(eval(case["gen"], {"__builtins__": {"str": str, "range": range, "chr": chr}}))  # noqa: S307 - our own files
    return case["expr"]


def read_own() -> list[dict[str, str]]:
    """Our own hostile expressions, each with its place as id."""
    lines = OWN.read_text("utf-8").split("\n")
    return [
        json.loads(line) | {"id": f"own:{number}"} for number, line in enumerate(lines, 1) if line
    ]
