"""`make bench`: run every tests/bench/bench_*.py on SQLite and on PostgreSQL, each in a fresh house.

A bench module has `run()`, which prints its rows. It finds Django set up, an empty migrated
database and a temporary data folder. Nothing is asserted here: figures are printed. With
arguments only the named modules run: `tests/bench/run.py receive scoring`. BENCH_ON=sqlite or
BENCH_ON=postgresql runs one database only.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def list_modules(wanted: list[str]) -> list[str]:
    """Names of the bench modules, all or the wanted ones; exits when one does not exist."""
    found = sorted(p.stem for p in HERE.glob("bench_*.py"))
    names = [f"bench_{name.removeprefix('bench_')}" for name in wanted]
    if missing := sorted(set(names) - set(found)):
        sys.exit(f"no such bench: {', '.join(missing)}; there are: {', '.join(found) or 'none'}")
    return names or found


def run_module(name: str) -> None:
    """In a process of its own: migrate the empty database and run one module."""
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0, interactive=False)
    importlib.import_module(f"tests.bench.{name}").run()


def run_on(database: str, url: str, names: list[str]) -> int:
    """Run the modules on one database; returns how many failed."""
    failed = 0
    for name in names:
        _say(f"\n=== {name.removeprefix('bench_')} on {database}")
        with tempfile.TemporaryDirectory(prefix="hedao-bench-") as data:
            environment = {k: v for k, v in os.environ.items() if k != "REDIS_URL"}
            environment |= {
                "HEDAO_DATA": data,
                "DJANGO_SETTINGS_MODULE": "config.settings",
                "DATABASE_URL": url or f"sqlite:///{data}/hedao.sqlite3",
                "LOG_LEVEL": "WARNING",
                "PYTHONPATH": str(ROOT),
            }
            begun = time.monotonic()
            done = subprocess.run([sys.executable, __file__, "--module", name], env=environment)
            _say(f"--- {time.monotonic() - begun:.1f} s")
        failed += done.returncode != 0
    return failed


def main(arguments: list[str]) -> int:
    if arguments[:1] == ["--module"]:
        run_module(arguments[1])
        return 0
    sys.path.insert(0, str(ROOT))
    from tests.postgres_server import run_postgres

    names = list_modules(arguments)
    if not names:
        _say("no tests/bench/bench_*.py yet")
    failed = 0
    only = os.environ.get("BENCH_ON", "")
    if only in {"", "sqlite"}:
        failed += run_on("SQLite", "", names)
    if only in {"", "postgresql"}:
        for name in names:
            with run_postgres(durable=True) as url:
                failed += run_on("PostgreSQL", url, [name])
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
