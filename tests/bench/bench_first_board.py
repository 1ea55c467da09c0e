"""From an empty folder to the first board, and a second start: what `make demo` makes one wait for."""

from __future__ import annotations

import http.cookiejar
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from django.db import connection

ROOT = Path(__file__).resolve().parents[2]
PORT, PATIENCE = 8690, 900


def _opener() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(
        urllib.request.ProxyHandler({}),
        urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()),
    )


def _sees_board(folder: Path) -> bool:
    """Sign in as the supervisor and look whether the river shows orders."""
    password = folder / "demo" / "password"
    if not password.exists():
        return False
    browser, base = _opener(), f"http://127.0.0.1:{PORT}"
    try:
        page = browser.open(f"{base}/login/", timeout=20).read().decode()
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
        form = {
            "csrfmiddlewaretoken": token[1] if token else "",
            "username": "zhuguan",
            "password": password.read_text().strip(),
        }
        page = (
            browser.open(f"{base}/login/", urllib.parse.urlencode(form).encode(), timeout=20)
            .read()
            .decode()
        )
    except (urllib.error.URLError, OSError):
        return False
    return bool(re.search(r'data-testid="node-callback" data-count="[1-9]', page))


def _time_start(folder: Path) -> float:
    started = time.perf_counter()
    product = subprocess.Popen(
        [sys.executable, "manage.py", "up", "--demo", "--port", str(PORT)],
        cwd=ROOT,
        env=os.environ | {"HEDAO_DATA": str(folder)},
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        while not _sees_board(folder):
            if time.perf_counter() - started > PATIENCE or product.poll() is not None:
                raise RuntimeError(f"no board after {time.perf_counter() - started:.0f} s")
            time.sleep(0.5)
        return time.perf_counter() - started
    finally:
        product.send_signal(signal.SIGINT)
        product.wait(120)


def run() -> None:
    """Print the seconds of a first and of a second start (SQLite and the embedded Redis)."""
    if connection.vendor != "sqlite":
        print("first board: measured on the embedded default only")  # noqa: T201 - a benchmark prints
        return
    with tempfile.TemporaryDirectory(prefix="hedao-board-") as name:
        folder = Path(name) / "data"
        first = _time_start(folder)
        print(f"first board from an empty folder: {first:.1f} s (goal 180 s)")  # noqa: T201
        print(f"second start to the board: {_time_start(folder):.1f} s (goal: seconds)")  # noqa: T201
