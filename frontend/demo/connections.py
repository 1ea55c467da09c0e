"""The demo's connections: one per simulated platform and system, with the simulators' own keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.conf import settings
from django.urls import reverse

from config.errors import gettext_noop
from config.tenancy.models import Environment, User
from config.tenancy.scope import for_environment
from connectors.adapters.consent import PAGE_ADDRESS
from connectors.shops.addresses import approve_address, list_allowed_addresses, request_address
from connectors.shops.connections import change_connection, create_connection
from connectors.shops.models import Connection
from connectors.shops.services import get_or_create_shop
from connectors.simulators.keys import Keys
from connectors.simulators.outside import keys_folder
from frontend.demo.places import Place, simulators_address, simulators_port

PURPOSE = gettext_noop("演示用的本机平台模拟器")


# Where the simulators' authorisation pages are, below their own address.
CONSENT_PAGES: Mapping[str, str] = {"tmall": "/oauth/authorize", "douyin": "/authorize"}

# The form of the generic connector, filled in for the simulated OMS.
OMS_FORM: Mapping[str, str] = {
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
    "release_body": '{"reason": "{reason}"}',
}


@dataclass(frozen=True)
class Wanted:
    """One connection the demo makes. `app`: the simulator behind it."""

    app: str
    vendor: str
    kind: str
    name: str
    every_minutes: int
    shop: tuple[str, str] | None = None  # channel, name
    config: Mapping[str, Any] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)


def list_wanted(keys: Keys) -> tuple[Wanted, ...]:
    """The seven connections of one environment."""
    tmall, douyin = keys.tmall.shops[0], keys.douyin.shops[0]
    return (
        Wanted(
            "tmall", "tmall", "channel", tmall.shop, 5, ("tmall", tmall.shop),
            {"app_key": keys.tmall.app_key, "seller_nick": tmall.shop},
            {
                "app_secret": keys.tmall.secret,
                "access_token": tmall.access_token,
                "refresh_token": tmall.refresh_token,
            },
        ),
        Wanted(
            "douyin", "douyin", "channel", douyin.shop, 5, ("douyin", douyin.shop),
            {
                "app_key": keys.douyin.app_key,
                "service_id": keys.douyin.app_key[-5:],
                "shop_id": douyin.shop_id,
            },
            {
                "app_secret": keys.douyin.secret,
                "access_token": douyin.access_token,
                "refresh_token": douyin.refresh_token,
            },
        ),
        Wanted(
            "mall", "private_mall", "channel", keys.mall.shop, 2,
            ("private_mall", keys.mall.shop), {}, {"secret": keys.mall.secret},
        ),
        Wanted(
            "alipay", "alipay", "gateway", "支付宝", 2, None,
            {"app_id": keys.alipay.app_id, "alipay_public_key": keys.alipay.alipay.public_pem},
            {"private_key": keys.alipay.app.private_pem},
        ),
        Wanted(
            "wechat_pay", "wechat_pay", "gateway", "微信支付", 2, None,
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
        Wanted(
            "oms", "generic_oms", "oms", "订单管理系统 OMS", 2, None,
            OMS_FORM,
            {"auth_secret": keys.oms.token},
        ),
        Wanted(
            "qimen", "qimen", "wms", "杭州仓 WMS", 2, None,
            {
                "app_key": keys.qimen.app_key,
                "customer_id": keys.qimen.customer_id,
                "owner_code": "OWNER1",
                "warehouses": "WH01 可挂起",
            },
            {"app_secret": keys.qimen.secret},
        ),
    )  # fmt: skip


def allow_simulators(
    environment: Environment, *, people: Mapping[str, User], now: datetime
) -> None:
    """Put the simulators on the allow-list: asked for by one person, allowed by another."""
    address = ("127.0.0.1", simulators_port())
    with for_environment(environment):
        if address not in list_allowed_addresses():
            entry = request_address(
                host=address[0], port=address[1], purpose=PURPOSE, actor=people["asks"], now=now
            )
            approve_address(entry, actor=people["allows"], now=now)


def install_connections(
    place: Place, environment: Environment, *, now: datetime
) -> dict[str, Connection]:
    """Make what is missing and follow a changed port; connections by simulator.

    New ones are switched off: nothing is read on schedule before the first read is done.
    """
    keys = Keys.load_or_create(keys_folder(settings.DATA_DIR / "simulators", place.spec.key))
    made: dict[str, Connection] = {}
    with for_environment(environment):
        for wanted in list_wanted(keys):
            address = f"{simulators_address()}/{place.spec.key}/{wanted.app}"
            page = CONSENT_PAGES.get(wanted.app)
            places = {PAGE_ADDRESS: address + page} if page else {}
            found = (
                Connection.objects.select_related("source")
                .filter(source__kind=wanted.kind, source__name=wanted.name)
                .first()
            )
            if found is None:
                found = create_connection(
                    vendor=wanted.vendor,
                    kind=wanted.kind,
                    name=wanted.name,
                    shop=get_or_create_shop(*wanted.shop) if wanted.shop else None,
                    base_url=address,
                    config={**wanted.config, **places},
                    secrets=wanted.secrets,
                    actor=None,
                    now=now,
                    every_minutes=wanted.every_minutes,
                    is_active=False,
                )
            else:
                # A demo that was made before keeps what is its own, and learns what is new.
                config = {**wanted.config, **found.config, **places}
                found = change_connection(
                    found, actor=None, now=now, base_url=address, config=config
                )
            made[wanted.app] = found
    return made


def activate(
    environment: Environment, connections: Mapping[str, Connection], *, now: datetime
) -> None:
    """Let the ordinary schedule and the callbacks begin."""
    with for_environment(environment):
        for connection in connections.values():
            change_connection(connection, actor=None, now=now, is_active=True)


def list_targets(environment: Environment, connections: Mapping[str, Connection]) -> dict[str, str]:
    """Where each simulator sends its callbacks: the product's inbound addresses on this machine."""
    base = f"http://127.0.0.1:{settings.HEDAO_PORT}/in/{environment.public_id}"
    return {app: f"{base}/{connection.public_id}/" for app, connection in connections.items()}


def name_callback() -> dict[str, str]:
    """The way back from Douyin's authorisation page, as its application would register it."""
    place = reverse("connection_authorised")
    return {"douyin.callback": f"http://127.0.0.1:{settings.HEDAO_PORT}{place}"}
