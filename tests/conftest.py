"""Fixtures of all tests: the database as the application role, a browser, a running river."""

from __future__ import annotations

import gc
import hashlib
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import django
import pytest
from django.conf import settings
from django.db import connection

gc.disable()  # until nine thousand tests are collected: see pytest_collection_finish
ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("HEDAO_SHARED", ROOT.parent / "shared"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip, with a reason that is printed, what this machine or lane cannot run.

    On PostgreSQL, tests that open no database are left out: the SQLite lane has run them.
    """
    if connection.vendor == "postgresql":
        idle = [item for item in items if not _uses_database(item)]
        config.hook.pytest_deselected(items=idle)
        items[:] = [item for item in items if _uses_database(item)]
    # Long ones first: one that comes last keeps one worker busy while the other has nothing to do.
    # Those that empty the tables stay behind the others, where pytest-django put them.
    items.sort(key=lambda item: (_empties_tables(item), -_seconds(item)))
    for item in items:
        if item.get_closest_marker("postgres") and connection.vendor != "postgresql":
            item.add_marker(pytest.mark.skip(reason="the PostgreSQL lane runs this"))
        if item.get_closest_marker("shared_data") and not SHARED.is_dir():
            item.add_marker(pytest.mark.skip(reason=f"needs the shared data in {SHARED}"))


def pytest_collection_finish() -> None:
    """What stands now stays: half a million objects need not be looked through again and again."""
    gc.freeze()
    gc.enable()


def _seconds(item: pytest.Item) -> float:
    """About how long a test takes: zero, or what its mark `slow` says."""
    mark = item.get_closest_marker("slow")
    return 0 if mark is None else float(mark.args[0]) if mark.args else 1


def _empties_tables(item: pytest.Item) -> bool:
    mark = item.get_closest_marker("django_db")
    fixtures = {"transactional_db", "live_server"} & set(getattr(item, "fixturenames", ()))
    return bool(fixtures or (mark is not None and mark.kwargs.get("transaction")))


def _uses_database(item: pytest.Item) -> bool:
    fixtures = {"db", "transactional_db", "live_server"}
    return bool(
        item.get_closest_marker("django_db")
        or item.get_closest_marker("postgres")
        or fixtures & set(getattr(item, "fixturenames", ()))
    )


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of data that is not part of the repository."""
    return SHARED


# --- database -------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def django_db_setup(
    request: pytest.FixtureRequest,
    django_test_environment: None,
    django_db_blocker: Any,
    django_db_keepdb: bool,
    django_db_createdb: bool,
    django_db_modify_db_settings: None,
) -> Iterator[None]:
    """Create the test database as its owner; everything after runs as the application's role.

    As pytest-django's own, with three differences: the owner creates and drops, nothing is
    serialised (scoped managers refuse to read without a scope), and the application may TRUNCATE,
    which is how transactional tests empty the tables. Nowhere else does it have that right.
    """
    from django.test.utils import setup_databases, teardown_databases

    from config.tenancy.database_roles import as_owner

    with django_db_blocker.unblock(), as_owner():
        _create_application_role()
        template = _schema_template()
        is_made = template is not None and _copy_schema(template)
        databases = setup_databases(
            verbosity=0,
            interactive=False,
            serialized_aliases=(),
            keepdb=is_made or (django_db_keepdb and not django_db_createdb),
        )
        if template is not None and not is_made:
            _keep_schema(template)
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                role = connection.ops.quote_name(settings.APPLICATION_ROLE)
                cursor.execute(f"GRANT TRUNCATE ON ALL TABLES IN SCHEMA public TO {role}")
    yield
    if not django_db_keepdb:
        with django_db_blocker.unblock(), as_owner():
            teardown_databases(databases, verbosity=0)


def _schema_template() -> Path | None:
    """Where the migrated, empty SQLite database of just these migrations is kept between runs.

    Seventy migrations take ten seconds; a copy takes none. Its name is the hash of everything that
    makes a schema, so a changed migration makes a new one.
    """
    if connection.vendor != "sqlite":
        return None
    digest = hashlib.sha256(django.__version__.encode())
    sources = [*ROOT.glob("*/**/migrations/*.py"), ROOT / "config" / "tenancy" / "policies.py"]
    for path in sorted(sources):
        if ".venv" not in path.parts:
            digest.update(str(path.relative_to(ROOT)).encode() + path.read_bytes())
    folder = Path(tempfile.gettempdir()) / f"hedao-schemas-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder / f"{digest.hexdigest()[:20]}.sqlite3"


def _copy_schema(template: Path) -> bool:
    """Put a copy where the test database is expected; False when there is no template yet."""
    if not template.exists():
        return False
    target = Path(connection.settings_dict["TEST"]["NAME"])
    target.parent.mkdir(parents=True, exist_ok=True)
    for suffix in ("-wal", "-shm"):
        target.with_name(target.name + suffix).unlink(missing_ok=True)
    shutil.copyfile(template, target)
    return True


def _keep_schema(template: Path) -> None:
    """Keep the database that was just migrated as the template of later runs."""
    fresh = template.with_suffix(f".{os.getpid()}")
    with connection.cursor() as cursor:
        cursor.execute("VACUUM INTO %s", [str(fresh)])
    fresh.replace(template)
    for old in sorted(template.parent.glob("*.sqlite3"), key=lambda p: p.stat().st_mtime)[:-8]:
        old.unlink(missing_ok=True)


def _create_application_role() -> None:
    """Create the role before the migrations do: two xdist workers must not race for it."""
    if connection.vendor != "postgresql":
        return
    role = connection.ops.quote_name(settings.APPLICATION_ROLE)
    with connection._nodb_cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(7203)")
        cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [settings.APPLICATION_ROLE])
        if cursor.fetchone() is None:
            cursor.execute(f"CREATE ROLE {role} NOLOGIN NOSUPERUSER NOBYPASSRLS")
            cursor.execute(f"GRANT {role} TO CURRENT_USER")
        cursor.execute("SELECT pg_advisory_unlock(7203)")


# --- browser --------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any]) -> dict[str, Any]:
    """The system's Chromium, quiet and without a sandbox (tests may run as root)."""
    # Playwright keeps an event loop in the main thread, which Django would refuse to share.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    return {
        **browser_type_launch_args,
        "executable_path": os.environ.get("CHROMIUM_PATH", "/usr/bin/chromium"),
        "args": [
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
        ],
    }


@pytest.fixture(scope="session")
def browser_context_args(browser_context_args: dict[str, Any]) -> dict[str, Any]:
    """A Chinese desktop; phone tests add a `browser_context_args` marker."""
    return {
        "viewport": {"width": 1440, "height": 900},
        **browser_context_args,
        "locale": "zh-CN",
        "timezone_id": "Asia/Shanghai",
    }


@pytest.fixture
def page_problems() -> list[str]:
    """What pages of this test did wrong: script errors, breaches of the content policy."""
    return []


@pytest.fixture
def context(context: Any, page_problems: list[str]) -> Iterator[Any]:
    """A browser context whose pages must break neither the content policy nor a script."""

    def note_console(message: Any) -> None:
        if message.type == "error" and "Content Security Policy" in message.text:
            page_problems.append(message.text)

    context.on("console", note_console)
    context.on("weberror", lambda error: page_problems.append(str(error.error)))
    yield context
    assert page_problems == []


# --- a running river ------------------------------------------------------------------------


class River:
    """Redis and both Celery workers on the test database, under the real supervisor.

    Time does not pass by itself: the watch turns inside `wait_until`, so a killed child comes
    back while a test waits for something.
    """

    def __init__(self, supervisor: Any, product: Any) -> None:
        self.supervisor, self.product = supervisor, product

    def wait_until(self, is_done: Callable[[], Any], *, seconds: float = 60) -> Any:
        """Turn the watch until the answer is true, and return it; fail when the time is up."""
        until = time.monotonic() + seconds
        while not (answer := is_done()):
            assert time.monotonic() < until, f"not within {seconds} s; logs: {self.logs()}"
            self.supervisor.watch_once()
            time.sleep(0.1)
        return answer

    def kill(self, role: str) -> None:
        """kill -9 of a child ("redis", "urgent", "bulk") and of everything it started."""
        pid = self.supervisor.pid_of(role)
        assert pid is not None, f"{role} does not run"
        os.killpg(pid, signal.SIGKILL)

    def restart(self, role: str) -> None:
        """Kill a child and wait until its successor runs."""
        before = self.supervisor.pid_of(role)
        self.kill(role)
        self.wait_until(lambda: self.supervisor.pid_of(role) not in {None, before})

    def is_idle(self) -> bool:
        """Whether both workers answer and neither has anything in hand."""
        from config.celery import app

        # A connection of its own: pooled ones die with a killed Redis.
        with app.connection_for_write() as broker:
            inspect = app.control.inspect(timeout=1, connection=broker)
            active, reserved = inspect.active() or {}, inspect.reserved() or {}
        return len(active) == 2 and not any(active.values()) and not any(reserved.values())

    def logs(self) -> str:
        """The last lines of every child's log."""
        return "\n".join(
            f"--- {path.name}\n{path.read_text(errors='replace')[-1500:]}"
            for path in sorted(self.product.folder.logs.glob("*.log"))
        )


def _database_url() -> str:
    """URL of the test database for another process."""
    settings_dict = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{settings_dict['NAME']}"
    user, password = quote(settings_dict["USER"]), quote(settings_dict["PASSWORD"])
    host, port = quote(settings_dict["HOST"], safe=""), settings_dict["PORT"]
    at = f"{host}:{port}" if port else host
    return f"postgresql://{user}:{password}@{at}/{settings_dict['NAME']}"


@pytest.fixture(scope="session")
def running_river(django_db_setup: None, django_db_blocker: Any) -> Iterator[River]:
    """The river's processes, started once; tests use `river`."""
    from frontend.supervisor import DataFolder, Limits, Product, Supervisor

    folder = DataFolder(settings.DATA_DIR)
    folder.prepare(demo=False)
    product = Product(folder, port=0, heartbeat_every=1)
    supervisor = Supervisor(
        folder,
        say=lambda sentence: None,
        cwd=ROOT,
        is_redis_ready=product.is_redis_ready,
        limits=Limits(probe_every=1, back_off_first=0.2, back_off_most=2),
    )
    river = River(supervisor, product)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATABASE_URL", _database_url())
        patch.setenv("DJANGO_SETTINGS_MODULE", "config.settings")
        try:
            redis = product.redis()
            if redis is not None:
                supervisor.start(replace(redis, grace=5, stale_after=8))
            river.wait_until(product.is_redis_ready)
            for worker in product.workers():
                supervisor.start(replace(worker, grace=25, stale_after=12))
            river.wait_until(river.is_idle)
            yield river
        finally:
            supervisor.stop_all()


@pytest.fixture
def river(transactional_db: None, running_river: River) -> Iterator[River]:
    """A river at rest at the beginning and at the end of the test."""
    from config.celery import app

    yield running_river
    running_river.wait_until(running_river.product.is_redis_ready)
    with app.connection_for_write() as broker:
        app.control.purge(connection=broker)
    running_river.wait_until(running_river.is_idle)
