"""Settings of the tests: fast password hashing, a temporary data folder, fixed keys."""

from __future__ import annotations

import os
import tempfile

os.environ.setdefault("HEDAO_DATA", tempfile.mkdtemp(prefix="hedao-test-"))
if url := os.environ.get("TEST_DATABASE_URL"):
    os.environ["DATABASE_URL"] = url

from config.settings import *  # noqa: E402, F403 - the test settings are the settings, changed

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
AXES_ENABLED = False
LOG_LEVEL = "WARNING"
