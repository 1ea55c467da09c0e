"""`make test`: every check and every test, in order. `make lint` runs the first half.

Prints a heading and the time of each step, goes on after a failure, and ends with one line that
sums the tests up. The exit code is 1 when any step failed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
PACKAGES = ["config", "rules_engine", "connectors", "workflows", "frontend"]
UNIT = "not browser and not journey"
ON_POSTGRES = f"{UNIT} and not any_database"
BROWSER, JOURNEY = "browser and not journey", "journey"
# The long ones come first (tests/conftest.py), and who is done takes over from the other.
SIDE_BY_SIDE = ("-n", "2", "--dist", "worksteal")
SOAKED_ORDERS = 2000
NO_TESTS_COLLECTED = 5
IS_CI = os.environ.get("CI", "").lower() in {"1", "true", "yes"}
INSTALL_CHROMIUM = "apt-get install -y chromium fonts-noto-cjk"
INSTALL_GETTEXT = "apt-get install -y gettext"
# Enough for settings to load in production mode; nothing is opened with them.
PRODUCTION = {
    "HEDAO_MODE": "production",
    "SECRET_KEY": "check-only-0123456789-abcdefghijklmnopqrstuvwxyz-ABCDEFGHIJ",
    "FIELD_KEYS": "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
    "BLIND_INDEX_KEY": "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
    "DATABASE_URL": "postgresql://check@127.0.0.1/check",
    "REDIS_URL": "redis://127.0.0.1:6379/0",
    "ALLOWED_HOSTS": "hedao.example.com",
}


class Run:
    """One run: its temporary data folder, the counts so far and the steps that failed."""

    def __init__(self, temporary: Path) -> None:
        self.temporary = temporary
        self.counts: Counter[str] = Counter()
        self.failed: list[str] = []

    def say(self, text: str) -> None:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()

    def step(self, name: str, do: Callable[[], bool]) -> None:
        """Do one step under a heading; remember it when it fails."""
        self.say(f"\n=== {name}")
        begun = time.monotonic()
        ok = do()
        self.say(f"--- {name}: {'ok' if ok else 'FAILED'} ({time.monotonic() - begun:.1f} s)")
        if not ok:
            self.failed.append(name)

    def open(
        self, *command: str, output: int | TextIO = subprocess.PIPE, **environment: str
    ) -> subprocess.Popen[str]:
        """Start a program of the virtual environment; its errors go where its output goes."""
        base = {**os.environ, "PYTHONUNBUFFERED": "1"}
        for name in ("DJANGO_SETTINGS_MODULE", "HEDAO_MODE", "DATABASE_URL", "REDIS_URL"):
            base.pop(name, None)  # a developer's shell must not steer the checks
        # Nine thousand tests are compiled once, not in every process of every lane.
        base.pop("PYTHONDONTWRITEBYTECODE", None)
        base["HEDAO_DATA"] = str(self.temporary / "data")
        return subprocess.Popen(  # noqa: S603 - commands are written in this file
            [str(BIN / command[0]), *command[1:]],
            cwd=ROOT,
            env={**base, **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )

    def run(self, *command: str, **environment: str) -> tuple[int, str]:
        """Run a program of the virtual environment; print and return what it says."""
        lines = []
        with self.open(*command, **environment) as process:
            for line in process.stdout or ():
                sys.stdout.write(line)
                sys.stdout.flush()
                lines.append(line)
        return process.returncode, "".join(lines)

    def check(self, *command: str, **environment: str) -> bool:
        return self.run(*command, **environment)[0] == 0

    def pytest(self, marker: str, *arguments: str, **environment: str) -> bool:
        """Run a lane and add its counts to the sum."""
        code, output = self.run("pytest", "-m", marker, "-q", *arguments, **environment)
        summary = next(
            (s for s in reversed(output.splitlines()) if re.search(r" in [\d.]+s", s)), ""
        )
        for count, word in re.findall(
            r"(\d+) (passed|failed|errors?|skipped|xfailed|xpassed)", summary
        ):
            self.counts[word.removesuffix("s") if word.startswith("error") else word] += int(count)
        if code == NO_TESTS_COLLECTED:
            self.say(f"!!! NOT A SINGLE TEST is marked for this lane: {marker}")
            return not IS_CI
        if code and not summary:
            self.counts["error"] += 1  # it never came to a summary
        return code == 0


def lint(run: Run) -> None:
    """Everything that reads the code without running it as a product; mypy beside the others."""
    with (
        (run.temporary / "mypy.log").open("w+", encoding="utf-8") as log,
        run.open("mypy", *PACKAGES, output=log) as mypy,
    ):

        def finish_mypy() -> bool:
            code = mypy.wait()
            log.seek(0)
            run.say(log.read().rstrip())
            return code == 0

        run.step("ruff check", lambda: run.check("ruff", "check", "."))
        run.step("ruff format", lambda: run.check("ruff", "format", "--check", "."))
        run.step("import contracts", lambda: run.check("lint-imports"))
        run.step(
            "migrations",
            lambda: run.check("python", "manage.py", "makemigrations", "--check", "--dry-run"),
        )
        run.step(
            "deployment checks",
            lambda: run.check(
                "python", "manage.py", "check", "--deploy", "--fail-level", "WARNING", **PRODUCTION
            ),
        )
        run.step("mypy", finish_mypy)


def lanes(run: Run) -> None:
    """The tests: on SQLite, on PostgreSQL as the application role, in a browser with workers."""
    install_gettext(run)
    run.step("tests on SQLite", lambda: run.pytest(UNIT, *SIDE_BY_SIDE))
    run.step("tests on PostgreSQL as the application role", lambda: postgres_lane(run))
    run.step("tests in the browser, with workers and Redis", lambda: real_lane(run))


def postgres_lane(run: Run) -> bool:
    given = os.environ.get("TEST_DATABASE_URL")
    if given:
        return run.pytest(ON_POSTGRES, *SIDE_BY_SIDE, TEST_DATABASE_URL=given)
    sys.path.insert(0, str(ROOT))
    from tests.postgres_server import run_postgres

    with run_postgres() as url:
        return run.pytest(ON_POSTGRES, *SIDE_BY_SIDE, TEST_DATABASE_URL=url)


def real_lane(run: Run) -> bool:
    """Pages side by side; then journeys, which have workers of their own, beside a soaked day."""
    pages = True
    has_chromium = install_chromium(run)
    if has_chromium:
        pages = run.pytest(BROWSER, "-n", "2", "tests/frontend")
    else:
        run.say(f"!!! No Chromium: the browser tests CANNOT run. Install it: {INSTALL_CHROMIUM}")
    with soaking(run) as soak:
        journeys = run.pytest(
            JOURNEY if has_chromium else f"{JOURNEY} and not browser", "tests/journeys"
        )
    if not has_chromium and not IS_CI:
        run.say("!!! BROWSER TESTS SKIPPED (they fail this command where CI=true)")
    return journeys and pages and soak.is_good and (has_chromium or not IS_CI)


@dataclass
class Soak:
    """How a soaked day ended."""

    is_good: bool = False


@contextmanager
def soaking(run: Run) -> Iterator[Soak]:
    """Soak a day beside the block, in one process; its report is printed after the block."""
    soak, report = Soak(), run.temporary / "soak"
    command = ("tests/soak/run.py", "--orders", str(SOAKED_ORDERS), "--report", str(report))
    with (run.temporary / "soak.log").open("w+", encoding="utf-8") as log:
        with run.open("python", *command, output=log) as process:
            yield soak
        log.seek(0)
        run.say(log.read())
    soak.is_good = process.returncode == 0
    run.counts["passed" if soak.is_good else "failed"] += 1


def install_chromium(run: Run) -> bool:
    """Whether a Chromium is there, after installing it when we may."""
    wanted = Path(os.environ.get("CHROMIUM_PATH", "/usr/bin/chromium"))
    if not wanted.exists() and "CHROMIUM_PATH" not in os.environ:
        install(run, INSTALL_CHROMIUM)
    return wanted.exists()


def install_gettext(run: Run) -> None:
    """The tools that prove the catalogue complete; without them those tests skip and say so."""
    if shutil.which("xgettext") is None and not install(run, INSTALL_GETTEXT):
        run.say(f"!!! No gettext: the catalogue is not checked. Install it with: {INSTALL_GETTEXT}")


def install(run: Run, command: str) -> bool:
    """Install packages through apt when we may (root on Debian); whether that was done."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return False
    run.say(f"{command} …")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for words in ("apt-get update -qq", f"{command} -qq"):
        done = subprocess.run(  # noqa: S603 - commands are written in this file
            words.split(), env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        if done.returncode:
            run.say(f"!!! failed: {words}")
            return False
    return True


def main() -> int:
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="hedao-make-") as temporary:
        run = Run(Path(temporary))
        lint(run)
        if sys.argv[1:] != ["lint"]:
            lanes(run)
    minutes, seconds = divmod(int(time.monotonic() - begun), 60)
    run.say(f"\n{minutes} min {seconds} s in total")
    if run.failed:
        run.say(f"FAILED steps: {', '.join(run.failed)}")
    if sys.argv[1:] != ["lint"]:
        # A step that is no test but failed must show in the last line as well.
        steps = sum(1 for name in run.failed if not name.startswith("tests "))
        failed = run.counts["failed"] + run.counts["error"]
        parts = [f"{run.counts['passed']} passed", f"{failed} failed"]
        parts += [f"{run.counts['skipped']} skipped"] if run.counts["skipped"] else []
        parts += [f"{steps} checks failed"] if steps else []
        run.say(", ".join(parts))
    return 1 if run.failed else 0


if __name__ == "__main__":
    sys.exit(main())
