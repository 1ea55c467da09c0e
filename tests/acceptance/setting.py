"""What both acceptance scripts share: a fresh environment in a temporary data folder, in-process.

`prepare()` must run before anything of the project is imported: settings read the data folder from
the environment at import. DATABASE_URL and REDIS_URL are honoured as they are; every run makes a
tenant of its own, so that a given PostgreSQL may be used again and again.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "tests" / "data"
ZONE = "Asia/Shanghai"
CHUNK = 2000  # orders per transaction


def read_arguments(description: str, *, has_out: bool) -> argparse.Namespace:
    """--data, --as-of and, if asked for, --out."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--data", type=Path, required=True, help="folder with the files")
    parser.add_argument("--as-of", type=read_moment, required=True, help="ISO 8601")
    if has_out:
        parser.add_argument("--out", type=Path, help="CSV of every order below healthy")
    return parser.parse_args()


def read_moment(text: str) -> datetime:
    """An ISO moment; without a zone it is one of Asia/Shanghai."""
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(ZONE))


def run(work: Callable[[], dict[str, Any]]) -> int:
    """Set up, do the work, print its answer as the last line, clean up; returns the exit code."""
    folder = tempfile.mkdtemp(prefix="hedao-acceptance-")
    try:
        prepare(Path(folder))
        from config.errors import AppError

        try:
            answer = work()
        except AppError as error:
            logging.getLogger("acceptance").error("%s", error.text)
            return 2
        sys.stdout.write(json.dumps(answer, ensure_ascii=False) + "\n")
        sys.stdout.flush()
        return 0
    finally:
        from django.db import connections

        connections.close_all()
        shutil.rmtree(folder, ignore_errors=True)


def prepare(folder: Path) -> None:
    """Point the settings at a temporary folder, load Django."""
    os.environ["HEDAO_DATA"] = str(folder)
    os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
    os.environ.setdefault("LOG_LEVEL", "WARNING")
    sys.path.insert(0, str(ROOT))
    import django

    django.setup()


def make_environment() -> Any:
    """Migrate; a tenant, division and production environment of this run only, in Asia/Shanghai."""
    from django.core.management import call_command

    from config.tenancy.models import Division, Environment, Tenant

    call_command("migrate", verbosity=0, interactive=False, stdout=sys.stderr)
    name = f"acceptance-{secrets.token_hex(6)}"
    tenant = Tenant.objects.create(name=name)
    division = Division.objects.create(tenant=tenant, name=name)
    return Environment.objects.create(
        tenant=tenant, division=division, kind="production", time_zone=ZONE
    )


def find_folder(mapping_name: str, folder: Path) -> tuple[Any, Any]:
    """The mapping and the files it asks for; AppError names one that is missing."""
    from connectors.tabular.mapping import find_files, load_mapping

    mapping = load_mapping(DATA / mapping_name)
    return mapping, find_files(mapping, folder)


def import_folder(environment: Any, found_folder: tuple[Any, Any], as_of: datetime) -> None:
    """Import what `find_folder` found through the same service as the workers."""
    from connectors.tabular.services import run_import

    mapping, files = found_folder
    found = run_import(
        environment,
        mapping=mapping,
        files=files,
        complete_until=as_of,
        now=as_of,
        is_history=True,
    )
    logging.getLogger("acceptance").warning("import: %s %s", found.state, found.counts)
    for notice in found.notices:
        logging.getLogger("acceptance").warning("notice: %s", notice)


def score_all(
    environment: Any, order_ids: list[int], *, now: datetime, as_of: datetime | None = None
) -> None:
    """Score orders as the workers do, a chunk per transaction."""
    from config.tenancy.scope import for_environment
    from rules_engine.scoring.services import score_orders
    from workflows.causes import classify

    why = "as_of" if as_of else "received"
    for start in range(0, len(order_ids), CHUNK):
        with for_environment(environment):
            score_orders(
                order_ids[start : start + CHUNK],
                now=now,
                why=why,
                classify=classify,
                as_of=as_of,
            )


def count_bands(environment: Any) -> dict[str, int]:
    """Orders per band, best first."""
    from django.db.models import Count

    from config.tenancy.scope import for_environment
    from rules_engine.scoring.bands import Band
    from rules_engine.scoring.models import Score

    with for_environment(environment, write=False):
        found = dict(Score.objects.values_list("band").annotate(n=Count("pk")).order_by())
    return {str(band): found.get(str(band), 0) for band in Band}
