"""Talking to the process of the demo's simulators: is it there, where shall it call, go on.

Only its steering (`/_scenario/`); everything else reaches the product through connectors.
"""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Mapping
from typing import Any

from config.errors import AppError, gettext_noop
from frontend.demo.places import simulators_address

PATIENCE_SECONDS = 90.0
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class OutsideSilent(AppError):
    """The simulators do not answer."""

    code = "outside_silent"


def wait_for_outside(*, seconds: float = PATIENCE_SECONDS) -> dict[str, Any]:
    """What the simulators say of themselves, once they answer; raises OutsideSilent."""
    until = time.monotonic() + seconds
    while True:
        try:
            return _call("/_scenario/state")
        except OSError as error:
            if time.monotonic() > until:
                raise OutsideSilent(
                    gettext_noop("平台模拟器没有应答（%(address)s），请看它的日志"),
                    address=simulators_address(),
                ) from error
            time.sleep(0.3)


def name_targets(place: str, urls: Mapping[str, str]) -> None:
    """Tell the simulators of a place where their callbacks go, by app."""
    _call("/_scenario/targets", {"place": place, "urls": dict(urls)})


def open_place(place: str) -> None:
    """Let live orders begin; a place that is open already stays as it is."""
    _call("/_scenario/open", {"place": place})


def _call(path: str, value: Mapping[str, Any] | None = None) -> dict[str, Any]:
    request = urllib.request.Request(  # noqa: S310 - our own loopback address
        simulators_address() + path,
        data=None if value is None else json.dumps(value).encode(),
        headers={"Content-Type": "application/json"},
    )
    with _opener.open(request, timeout=30) as answer:
        found: dict[str, Any] = json.load(answer)
    return found
