"""The two acceptance scripts as they are called: other process, other folder, no variables."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
AS_OF = "2025-11-11T14:32:00"
pytestmark = [pytest.mark.shared_data, pytest.mark.slow(40)]


def run_script(name: str, *arguments: str) -> tuple[dict[str, object], str]:
    """The JSON of the last line, and standard error; in a process without variables of the tests."""
    environment = {
        k: v for k, v in os.environ.items() if not k.startswith(("HEDAO", "DATABASE", "DJANGO"))
    }
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests/acceptance" / name), *arguments],
        capture_output=True, text=True, env=environment, cwd="/", check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 1  # logs go to standard error
    return json.loads(lines[-1]), done.stderr


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_promo_day_is_found_whole_with_right_causes_and_no_false_alarm(
    shared_data: Path, tmp_path: Path
) -> None:
    day, out = shared_data / "promo" / "day", tmp_path / "stuck.csv"

    answer, _logs = run_script("promo.py", "--data", str(day), "--as-of", AS_OF, "--out", str(out))

    truth = {row["订单号"]: row["原因"] for row in read(day / "truth.csv")}
    found = {row["order_no"]: row["cause"] for row in read(out)}
    assert found == truth  # recall 100 % per cause, right cause 100 %, no false alarm
    assert answer["orders"] == 6000
    assert answer["causes"] == dict(Counter(truth.values()).most_common())
    assert answer["bands"] == {"healthy": 5570, "yellow": 110, "orange": 174, "red": 146}
    assert {row["band"] for row in read(out)} == {"yellow", "orange", "red"}


def test_olist_script_prints_the_figures_of_the_issue(shared_data: Path) -> None:
    folder = shared_data / "data" / "olist"

    answer, _logs = run_script("olist.py", "--data", str(folder), "--as-of", "2018-10-18T00:00:00")

    assert answer == {
        "orders": 8135,
        "bands": {"healthy": 5052, "yellow": 1100, "orange": 1155, "red": 828},
        "failed": {"N1": 0, "N2": 3, "N3": 21, "N4": 592, "N5": 775, "N6": 71, "N7": 2382,
                   "N8": 266, "N9": 142, "N10": 3376, "N11": 2963, "N12": 80},
    }  # fmt: skip


def test_missing_file_is_said_in_chinese_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "渠道订单.csv").write_text("订单号\n", encoding="utf-8")

    done = subprocess.run(
        [sys.executable, str(ROOT / "tests/acceptance/promo.py"), "--data", str(tmp_path), "--as-of", AS_OF],
        capture_output=True, text=True, check=False,
        env={k: v for k, v in os.environ.items() if not k.startswith(("HEDAO", "DATABASE", "DJANGO"))},
    )  # fmt: skip

    assert (done.returncode, done.stdout) == (2, "")
    assert "OMS接收.csv" in done.stderr
