"""Simulated platforms with a clock of their own, connected to one environment of ours.

Real HTTP both ways: our calls go to the host on loopback, its callbacks come in through our own
address of pushes. Time moves only when a test says so; a client that waits moves it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import cache
from typing import Any
from unittest import mock
from urllib.parse import urlsplit

from django.test import RequestFactory

from config.tenancy.models import Environment
from config.tenancy.scope import for_environment
from connectors.shops.connections import create_connection
from connectors.shops.models import AllowedAddress, Connection
from connectors.shops.services import get_or_create_shop
from connectors.simulators.core import Clock, Faults, Host, Outbox, Store
from connectors.simulators.keys import Keys, make_keys
from connectors.simulators.life import Life
from connectors.simulators.platforms import build_apps, point_at
from connectors.sync.limits import Limiter
from frontend.inbound.views import receive_push

# app of the host -> vendor of ours, kind of its source
VENDORS: Mapping[str, tuple[str, str]] = {
    "tmall": ("tmall", "channel"),
    "douyin": ("douyin", "channel"),
    "mall": ("private_mall", "channel"),
    "alipay": ("alipay", "gateway"),
    "wechat_pay": ("wechat_pay", "gateway"),
    "qimen": ("qimen", "wms"),
    "oms": ("generic_oms", "oms"),
}

# The form of the generic connector, filled in for the simulated OMS as the host serves it.
OMS_FORM: dict[str, Any] = {
    "auth_kind": "bearer",
    "list_path": "/api/orders",
    "start_name": "updated_from",
    "end_name": "updated_to",
    "paging_kind": "cursor",
    "page_name": "cursor",
    "size_name": "limit",
    "page_size": "100",
    "rows_path": "data.rows",
    "cursor_path": "data.nextCursor",
    "ok_path": "code",
    "ok_value": "0",
    "code_path": "code",
    "order_no_path": "orderNo",
    "updated_path": "updateTime",
    "received_path": "recvTime",
    "reviewed_path": "auditTime",
    "status_path": "status.name",
    "detail_path": "/api/orders/{order_no}",
    "detail_row_path": "data",
    "hold_path": "/api/orders/{order_no}/hold",
    "hold_body": '{"reason": "{reason}"}',
    "release_path": "/api/orders/{order_no}/release",
}


@cache
def shared_keys() -> Keys:
    """One set of keys for all tests: RSA pairs take a moment to make."""
    return make_keys()


def _wake_nobody(*args: Any, **more: Any) -> bool:
    """In the place of the queue. A function: making a mock takes longer than a push does."""
    return False


class Outside:
    """Everything outside of one environment."""

    def __init__(
        self,
        environment: Environment,
        *,
        at: datetime,
        host: Host | None = None,
        clock: Clock | None = None,
    ) -> None:
        """`host`: one that serves already; it serves this outside from now on, and no other.
        `clock`: another than one that stands at `at`."""
        self.environment = environment
        self.clock = clock or Clock(at=at)
        self.faults, self.store, self.keys = Faults(), Store(), shared_keys()
        self.outbox = Outbox(self.clock, self.faults, transport=self._push, workers=1)
        self.apps = build_apps(
            self.store, self.clock, self.faults, self.outbox, self.keys,
            since=at, on_synced=lambda life, now: None,
        )  # fmt: skip
        served = {f"/{name}": app for name, app in self.apps.items()}
        self.host = host or Host(served, self.clock, self.faults, self.outbox)
        if host is not None:
            host.apps, host.clock = served, self.clock
            host.faults, host.outbox = self.faults, self.outbox
        self.requests = RequestFactory()
        self.address = ""
        self.waited = 0.0
        self.limiter = Limiter(clock=lambda: self.clock.now().timestamp())
        self.shops = {
            "tmall": self.keys.tmall.shops[0].shop,
            "douyin": self.keys.douyin.shops[0].shop,
            "private_mall": self.keys.mall.shop,
        }

    # -- time ------------------------------------------------------------------------------------

    def now(self) -> datetime:
        """The moment on everybody's clock."""
        return self.clock.now()

    def sleep(self, seconds: float) -> None:
        """What a waiting client does: time passes."""
        self.waited += seconds
        self.clock.advance(timedelta(seconds=seconds))

    def pass_time(self, **span: float) -> None:
        """Let time pass, and what became due go out."""
        self.clock.advance(timedelta(**span))
        self.host.pump()

    @property
    def tools(self) -> dict[str, Any]:
        """What every function of connectors.sync takes."""
        return {"clock": self.now, "sleep": self.sleep, "limiter": self.limiter}

    # -- orders ----------------------------------------------------------------------------------

    def add(self, *lives: Life) -> None:
        """Orders that are placed, or will be."""
        self.store.add(*lives)

    # -- connections -----------------------------------------------------------------------------

    def connect(self, app: str, **changes: Any) -> Connection:
        """Connect one app; its callbacks come to us from now on."""
        vendor, kind = VENDORS[app]
        shop_name = self.shops.get(vendor)
        config, secrets = self.credentials(app)
        parts = urlsplit(self.address)
        with for_environment(self.environment):
            AllowedAddress.objects.get_or_create(
                host=parts.hostname,
                port=parts.port,
                defaults={
                    "purpose": "模拟器",
                    "requested_at": self.now(),
                    "approved_at": self.now(),
                },
            )
            shop = get_or_create_shop(vendor, shop_name) if shop_name else None
            connection = create_connection(
                vendor=vendor,
                kind=kind,
                name=changes.pop("name", f"{vendor}来源"),
                shop=shop,
                base_url=f"{self.address}/{app}",
                config={"calls_per_second": 1000, **config, **changes.pop("config", {})},
                secrets={**secrets, **changes.pop("secrets", {})},
                actor=None,
                now=self.now(),
                **changes,
            )
        self.listen(app, connection)
        return connection

    def listen(self, app: str, connection: Connection) -> None:
        """The app's callbacks come to this connection from now on."""
        path = f"/in/{self.environment.public_id}/{connection.public_id}/"
        point_at(self.apps, {app: f"http://testserver{path}"})

    def credentials(self, app: str) -> tuple[dict[str, Any], dict[str, str]]:
        """What the form of the wizard would ask for: openly, and in confidence."""
        keys = self.keys
        if app in ("tmall", "douyin"):
            platform = getattr(keys, app)
            token = platform.shops[0]
            return {"app_key": platform.app_key, "shop_id": token.shop_id}, {
                "app_secret": platform.secret,
                "access_token": token.access_token,
                "refresh_token": token.refresh_token,
            }
        found: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
            "mall": ({}, {"secret": keys.mall.secret}),
            "alipay": (
                {"app_id": keys.alipay.app_id, "alipay_public_key": keys.alipay.alipay.public_pem},
                {"private_key": keys.alipay.app.private_pem},
            ),
            "wechat_pay": (
                {
                    "merchant_id": keys.wechat_pay.mchid,
                    "merchant_serial_no": keys.wechat_pay.merchant_serial,
                    "platform_public_key": keys.wechat_pay.platform.public_pem,
                    "platform_serial_no": keys.wechat_pay.platform_serial,
                },
                {
                    "private_key": keys.wechat_pay.merchant.private_pem,
                    "api_v3_key": keys.wechat_pay.api_v3_key,
                },
            ),
            "qimen": (
                {
                    "app_key": keys.qimen.app_key,
                    "customer_id": keys.qimen.customer_id,
                    "owner_code": "OWNER1",
                    "warehouses": "WH01 可挂起",
                },
                {"app_secret": keys.qimen.secret},
            ),
            "oms": (OMS_FORM, {"auth_secret": keys.oms.token}),
        }
        return found[app]

    def _push(self, url: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        """A callback on its way to us."""
        told = {name.lower(): value for name, value in headers.items()}
        content_type = told.pop("content-type", "application/json")
        parts = urlsplit(url)
        request = self.requests.generic(
            "POST",
            f"{parts.path}?{parts.query}" if parts.query else parts.path,
            data=body,
            content_type=content_type,
            headers=told,
        )
        _, _, environment, connection, _ = parts.path.split("/")
        with (
            mock.patch("frontend.inbound.views.timezone.now", self.now),
            mock.patch("frontend.inbound.views.enqueue", _wake_nobody),
        ):
            answer = receive_push(request, environment, connection)
        return answer.status_code, answer.content


@contextmanager
def open_outside(environment: Environment, *, at: datetime) -> Iterator[Outside]:
    """The outside of an environment, served for the length of the block."""
    outside = Outside(environment, at=at)
    with outside.host.running() as address:
        outside.address = address
        yield outside
