"""`make soak`: a simulated day through all connectors with every fault, and what is left of it.

    tests/soak/run.py [--orders 54000] [--seed 7] [--report FOLDER] [--postgres]

Prints a short text and writes it beside the figures (soak.txt, soak.json) into FOLDER. Exit code 1
when an order, an event, a payment or a message was lost or doubled. A fresh SQLite file is used and
thrown away; with --postgres a PostgreSQL server of its own; SOAK_DATABASE_URL names another database
to fill.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _find_database(data: str, stack: ExitStack, *, is_postgres: bool) -> str:
    if is_postgres:
        from tests.postgres_server import run_postgres

        return stack.enter_context(run_postgres())
    return os.environ.get("SOAK_DATABASE_URL") or f"sqlite:///{data}/hedao.sqlite3"


def _set_up(data: str, database: str) -> None:
    os.environ |= {
        "HEDAO_DATA": data,
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "DATABASE_URL": database,
        "LOG_LEVEL": "ERROR",
    }
    os.environ.pop("REDIS_URL", None)
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0, interactive=False)


def main(arguments: list[str]) -> int:
    """Run one soak; returns the exit code."""
    parser = argparse.ArgumentParser(description="a simulated day with every fault on")
    parser.add_argument("--orders", type=int, default=54_000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--step", type=int, default=10, help="minutes of one step of the day")
    parser.add_argument("--report", type=Path, default=ROOT / "build" / "soak")
    parser.add_argument("--postgres", action="store_true", help="on a server that is thrown away")
    wish = parser.parse_args(arguments)
    sys.path.insert(0, str(ROOT))
    began = time.perf_counter()
    with ExitStack() as stack:
        data = stack.enter_context(tempfile.TemporaryDirectory(prefix="hedao-soak-"))
        _set_up(data, _find_database(data, stack, is_postgres=wish.postgres))
        from django.db import connections

        stack.callback(connections.close_all)
        from datetime import timedelta

        from tests.factories import make_world
        from tests.soak.report import say_report
        from tests.soak.soak import soak

        report = soak(
            make_world().production,
            orders=wish.orders,
            seed=wish.seed,
            step=timedelta(minutes=wish.step),
            say=lambda text: _say(f"{time.perf_counter() - began:7.0f} s  {text}"),
        )
    report["wall_seconds"] = round(time.perf_counter() - began, 1)
    report["finished_at"] = datetime.now(UTC).isoformat(timespec="seconds")
    text = f"{say_report(report)}\n{report['wall_seconds']} s by the wall clock"
    wish.report.mkdir(parents=True, exist_ok=True)
    (wish.report / "soak.json").write_text(
        json.dumps(report, ensure_ascii=False, indent=1), encoding="utf-8"
    )
    (wish.report / "soak.txt").write_text(text + "\n", encoding="utf-8")
    _say(text)
    return 0 if report["is_good"] else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
