"""A browser at the simulated platforms' authorisation pages, and the platforms themselves."""

from __future__ import annotations

import http.client
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from html import unescape
from typing import Any
from urllib.parse import urlencode, urlsplit

from config.tenancy.models import Environment
from connectors.shops.addresses import approve_address, request_address
from connectors.simulators.core import Clock, Faults, Host, Outbox, Store
from connectors.simulators.douyin import Douyin
from connectors.simulators.keys import PlatformKeys, ShopToken
from connectors.simulators.tmall import Tmall
from tests.factories import for_environment

SHOP, OTHER_SHOP = "云裳旗舰店", "别家旗舰店"
TMALL_KEYS = PlatformKeys(
    "10000001",
    "demo-top-secret",
    (
        ShopToken(SHOP, "2200000001", "sess-demo-000001", "refresh-demo-000001"),
        ShopToken(OTHER_SHOP, "2200000002", "sess-demo-000002", "refresh-demo-000002"),
    ),
)
DOUYIN_KEYS = PlatformKeys(
    "7000000000000012345",
    "dd-demo-secret",
    (
        ShopToken(SHOP, "77977", "act-demo-000001", "rft-demo-000001"),
        ShopToken(OTHER_SHOP, "88988", "act-demo-000002", "rft-demo-000002"),
    ),
)


@dataclass
class Platforms:
    """Both platforms behind one host."""

    base: str
    clock: Clock
    faults: Faults
    tmall: Tmall
    douyin: Douyin

    def allow(self, environment: Environment, world: Any) -> None:
        """Put the host on an environment's allow-list."""
        with for_environment(environment):
            entry = request_address(
                host="127.0.0.1",
                port=urlsplit(self.base).port or 0,
                purpose="模拟平台",
                actor=world.users["tech_support"],
                now=self.clock.now(),
            )
            approve_address(entry, actor=world.users["reviewer"], now=self.clock.now())

    def tmall_form(self, **changes: str) -> dict[str, str]:
        """What the wizard asks for before anybody agrees."""
        return {
            "name": "",
            "base_url": f"{self.base}/tmall",
            "f_app_key": TMALL_KEYS.app_key,
            "f_app_secret": TMALL_KEYS.secret,
            "f_authorise_url": f"{self.base}/tmall/oauth/authorize",
        } | changes

    def douyin_form(self, **changes: str) -> dict[str, str]:
        return {
            "name": "",
            "base_url": f"{self.base}/douyin",
            "f_app_key": DOUYIN_KEYS.app_key,
            "f_app_secret": DOUYIN_KEYS.secret,
            "f_service_id": self.douyin.service_id,
            "f_authorise_url": f"{self.base}/douyin/authorize",
        } | changes


@contextmanager
def running_platforms(callback_host: str = "testserver") -> Iterator[Platforms]:
    """The platforms over HTTP; both know the product's way back."""
    clock, faults, store = Clock(), Faults(), Store()
    outbox = Outbox(clock, faults)
    tmall = Tmall(store, clock, faults, TMALL_KEYS, session_lives=timedelta(days=30))
    douyin = Douyin(store, clock, faults, outbox, DOUYIN_KEYS)
    tmall.sessions.callback_hosts = frozenset({callback_host})
    douyin.callback_url = f"http://{callback_host}/connections/authorised/"
    with Host({"/tmall": tmall, "/douyin": douyin}, clock, faults, outbox).running() as base:
        yield Platforms(base, clock, faults, tmall, douyin)


def find_link(page: str) -> str:
    """Where the page before leaving leads to."""
    found = re.search(r'<a [^>]*href="([^"]+)"[^>]*data-testid="go"', page)
    assert found, page
    return unescape(found.group(1))


def decide(url: str, *, decision: str = "agree", shop: str = SHOP) -> str:
    """Open the platform's page, press a button; where the browser is sent, path and query."""
    parts = urlsplit(url)
    for method, body in (("GET", None), ("POST", urlencode({"decision": decision, "shop": shop}))):
        link = http.client.HTTPConnection(parts.netloc, timeout=5)
        link.request(
            method, f"{parts.path}?{parts.query}", body=body,
            headers={"Content-Type": "application/x-www-form-urlencoded"},
        )  # fmt: skip
        answer = link.getresponse()
        words = answer.read().decode()
        link.close()
    assert answer.status == 302, words
    back = urlsplit(answer.headers["Location"])
    return f"{back.path}?{back.query}"
