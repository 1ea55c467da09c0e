"""Check the vendored front-end files: `python frontend/vendor/check.py [--rebuild]`.

Without an argument the committed files are compared with SHA256SUMS (no network, no Node; a test
does the same). With --rebuild the packages of package-lock.json are installed into a temporary
folder and the files in them compared byte for byte with the committed ones.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
STATIC = HERE.parent / "static" / "vendor"
# Committed file -> where the package has it. LogicFlow ships built; nothing is bundled by us.
ORIGINS = {
    "logicflow/core.min.js": "@logicflow/core/dist/index.min.js",
    "logicflow/core.css": "@logicflow/core/dist/index.css",
    "logicflow/LICENSE": "@logicflow/core/LICENSE",
}


def list_differences() -> list[str]:
    """Committed files that are missing, unlisted or not what SHA256SUMS says."""
    lines = (HERE / "SHA256SUMS").read_text().splitlines()
    sums = {name.strip(): digest for digest, _blank, name in (x.partition(" ") for x in lines)}
    found = {
        path.relative_to(STATIC).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in STATIC.rglob("*")
        if path.is_file()
    }
    names = sums.keys() | found.keys() | ORIGINS.keys()
    return sorted(n for n in names if sums.get(n) != found.get(n) or n not in ORIGINS)


def list_rebuilt_differences() -> list[str]:
    """Committed files that differ from a fresh installation of the locked packages."""
    npm = shutil.which("npm")
    if npm is None:
        raise SystemExit("npm is needed for --rebuild")
    with tempfile.TemporaryDirectory() as folder:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name, folder)
        subprocess.run([npm, "ci", "--ignore-scripts", "--silent"], cwd=folder, check=True)  # noqa: S603 - fixed words
        modules = Path(folder) / "node_modules"
        return [
            name
            for name, origin in ORIGINS.items()
            if (modules / origin).read_bytes() != (STATIC / name).read_bytes()
        ]


def main() -> int:
    """Name the files that differ; 0 when none does."""
    differences = list_differences()
    if "--rebuild" in sys.argv[1:]:
        differences += list_rebuilt_differences()
    sys.stdout.write("".join(f"differs: {name}\n" for name in differences) or "vendored files ok\n")
    return 1 if differences else 0


if __name__ == "__main__":
    raise SystemExit(main())
