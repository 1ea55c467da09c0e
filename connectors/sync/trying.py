"""Trying a connection before it is saved: one authorised call, and the answer in words."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from config.errors import AppError, Phrase, gettext_noop
from config.tenancy.models import Environment
from config.tenancy.scope import for_environment
from connectors import http
from connectors.adapters import Access, Outgoing
from connectors.http import ConnectorError, Request, Response
from connectors.shops.addresses import list_allowed_addresses
from connectors.sync.masking import mask_body, scrub
from connectors.sync.registry import get_connector

MAX_SHOWN = 8_000


@dataclass(frozen=True)
class Trial:
    """How a try went: in words, with what came back (masked) for those who want to see it."""

    ok: bool
    words: Phrase
    answer: str
    seconds: float
    code: str = ""  # of the error, for what a page has to explain


def try_connection(
    environment: Environment,
    *,
    vendor: str,
    base_url: str,
    config: Mapping[str, Any],
    secrets: Mapping[str, str],
    shop: str,
    now: datetime,
) -> Trial:
    """Make the vendor's cheapest authorised call. Outside any scope; nothing is stored.

    Never raises for what the outside does: a refusal is an answer, and the words say the remedy.
    """
    heard: list[str] = []
    started = time.monotonic()
    try:
        client = open_unsaved(
            environment, vendor=vendor, base_url=base_url, config=config, secrets=secrets,
            shop=shop, now=now, heard=heard,
        )  # fmt: skip
        told = client.check()
        words = Phrase(gettext_noop("连接成功：%(told)s"), {"told": told})
        ok, code = True, ""
    except AppError as error:
        words, ok, code = explain_failure(error), False, error.code
    shown = mask_body(scrub(heard[-1], secrets.values()))[:MAX_SHOWN] if heard else ""
    return Trial(ok, words, shown, time.monotonic() - started, code)


def open_unsaved(
    environment: Environment,
    *,
    vendor: str,
    base_url: str,
    config: Mapping[str, Any],
    secrets: Mapping[str, str],
    shop: str,
    now: datetime,
    heard: list[str],
) -> Any:
    """The client of a connection that is not stored; every answer's text is appended to `heard`.

    Raises AppError when the settings alone are wrong.
    """
    with for_environment(environment, write=False):
        allowed = list_allowed_addresses()

    def send(call: Outgoing) -> Response:
        response = http.send(
            Request(
                method=call.method, url=call.url, headers=call.headers, body=call.body,
                allowed=allowed,
            )
        )  # fmt: skip
        heard.append(response.body[: MAX_SHOWN * 3].decode("utf-8", "replace"))
        return response

    return get_connector(vendor).open(
        Access(
            shop=shop, base_url=base_url.rstrip("/"), config=config, secrets=secrets,
            send=send, clock=lambda: now,
        )
    )  # fmt: skip


def explain_failure(error: AppError) -> Phrase:
    """What went wrong and what to do, as one sentence."""
    reason = Phrase(error.message, error.params)
    code = getattr(error, "vendor_code", "") if isinstance(error, ConnectorError) else ""
    if code:
        return Phrase(
            gettext_noop("%(reason)s（对方代码 %(code)s）"), {"reason": reason, "code": code}
        )
    return reason
