"""`manage.py simulators`: one process with the demo's whole outside, stopped by a signal."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

ROOT = Path(__file__).resolve().parents[2]


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def test_a_place_that_cannot_be_read_is_refused_with_the_way_to_write_it(tmp_path):
    with pytest.raises(CommandError, match="KEY:SEED:SCALE:RATE"):
        call_command("simulators", "--port", "1", "--folder", str(tmp_path), "--place", "women")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_it_serves_every_platform_until_it_is_stopped(tmp_path):
    port = _free_port()
    process = subprocess.Popen(
        [sys.executable, "manage.py", "simulators", "--port", str(port),
         "--folder", str(tmp_path / "outside"), "--place", "women:1:0.005:6"],
        cwd=ROOT, env=os.environ | {"HEDAO_DATA": str(tmp_path)},
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        state = _wait_for_state(port, process)
        assert state["places"]["women"]["orders"] > 50
        page = urllib.request.urlopen(f"http://127.0.0.1:{port}/_control/", timeout=5).read()
        assert "模拟平台控制台" in page.decode()
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/nowhere", timeout=5)
        assert refused.value.code == 404
    finally:
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=30)

    assert process.returncode == 0
    assert "已停止" in output
    assert (tmp_path / "outside" / "truth" / "women" / "truth.jsonl").exists()


def _wait_for_state(port: int, process: subprocess.Popen[str]) -> dict:
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        try:
            address = f"http://127.0.0.1:{port}/_scenario/state"
            with urllib.request.urlopen(address, timeout=5) as answer:
                return json.load(answer)
        except OSError:
            time.sleep(0.2)
    raise AssertionError("the simulators never answered")
