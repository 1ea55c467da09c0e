"""Settings of the tests: fast password hashing, a temporary data folder, fixed keys."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile

if "HEDAO_DATA" not in os.environ:
    os.environ["HEDAO_DATA"] = tempfile.mkdtemp(prefix="hedao-test-")
    atexit.register(shutil.rmtree, os.environ["HEDAO_DATA"], ignore_errors=True)
if url := os.environ.get("TEST_DATABASE_URL"):
    os.environ["DATABASE_URL"] = url

from config.settings import *  # noqa: E402, F403 - the test settings are the settings, changed

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
AXES_ENABLED = False
LOG_LEVEL = "WARNING"
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":  # noqa: F405 - from settings
    # A file, as in real life: live servers and workers of the tests open it as well.
    DATABASES["default"]["TEST"] = {"NAME": str(DATA_DIR / "test.sqlite3")}  # noqa: F405
