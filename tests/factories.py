"""Test data: one merchant group, its divisions and people, and orders through the real door.

Shared by every test folder and by the development data of the pages: append, do not rewrite.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from config.tenancy.models import Division, Environment, Membership, Role, Tenant, User
from config.tenancy.scope import for_environment, for_tenant
from connectors.orders.canonical import (
    CanonicalLine,
    CanonicalOrder,
    CanonicalPayment,
    CanonicalReceipt,
)
from connectors.orders.models import Order
from connectors.orders.services import receive, receive_all
from connectors.orders.statuses import Stage
from connectors.shops.models import Source, SourceKind
from connectors.shops.services import get_or_create_source, record_freshness

NOW = datetime(2026, 11, 11, 6, 32, tzinfo=UTC)  # 14:32 in Shanghai
PASSWORD = "hedao-test-2026"
_numbers = itertools.count(1)


@dataclass
class World:
    """A merchant group with two divisions; people by role of the first division."""

    tenant: Tenant
    divisions: list[Division]
    production: Environment
    staging: Environment
    other: Environment  # production of the second division
    users: dict[str, User] = field(default_factory=dict)


def make_user(username: str, *, tenant: Tenant | None, **fields: Any) -> User:
    """A person who can sign in with PASSWORD."""
    user = User(username=username, tenant=tenant, **fields)
    user.set_password(PASSWORD)
    user.save()
    return user


def join(user: User, role: str, *, division: Division | None = None) -> None:
    """Give a person a role in a division, or (no division) in the tenant."""
    assert user.tenant is not None
    with for_tenant(user.tenant):
        Membership.objects.create(user=user, division=division, role=role)


def make_world(name: str = "云裳集团", *, prefix: str = "") -> World:
    """Two divisions with production and staging, one person per role, and one in the other."""
    tenant = Tenant.objects.create(name=name)
    divisions = [Division.objects.create(tenant=tenant, name=n) for n in ("女装", "童装")]
    made = {
        (d.name, kind): Environment.objects.create(tenant=tenant, division=d, kind=kind)
        for d in divisions
        for kind in ("production", "staging")
    }
    world = World(
        tenant=tenant,
        divisions=divisions,
        production=made[("女装", "production")],
        staging=made[("女装", "staging")],
        other=made[("童装", "production")],
    )
    names = {
        Role.AGENT: "李娜",
        Role.NEW_AGENT: "小周",
        Role.SUPERVISOR: "王敏",
        Role.DIRECTOR: "陈总",
        Role.TECH_SUPPORT: "刘工",
        Role.REVIEWER: "赵磊",
        Role.DIVISION_ADMIN: "孙洁",
        Role.HEADQUARTERS: "总部张",
        Role.SHOP_OWNER: "小店主",
    }
    for role, display in names.items():
        user = make_user(f"{prefix}{role}", tenant=tenant, display_name=display)
        join(user, role, division=None if role == Role.HEADQUARTERS else divisions[0])
        world.users[role] = user
    outsider = make_user(f"{prefix}outsider", tenant=tenant, display_name="外人")
    join(outsider, Role.SUPERVISOR, division=divisions[1])
    world.users["outsider"] = outsider
    return world


def make_sources(now: datetime = NOW, *, late: str = "") -> dict[str, Source]:
    """One feed per kind, complete until now; the kind named `late` is 40 minutes behind."""
    found = {}
    names = {
        SourceKind.CHANNEL: "天猫旗舰店",
        SourceKind.GATEWAY: "支付宝",
        SourceKind.OMS: "OMS",
        SourceKind.WMS: "WMS",
    }
    for kind, name in names.items():
        source = get_or_create_source(kind=kind, name=name)
        behind = timedelta(minutes=40) if kind == late else timedelta(minutes=1)
        record_freshness(source, complete_until=now - behind, now=now)
        found[str(kind)] = source
    return found


def canonical_order(now: datetime = NOW, **changes: Any) -> CanonicalOrder:
    """A paid Tmall order, one line, that arrived 30 minutes before now."""
    number = changes.pop("order_no", f"38201197{next(_numbers):08d}")
    placed = changes.pop("placed_at", now - timedelta(minutes=30))
    amount = changes.pop("amount_fen", 32700)
    values: dict[str, Any] = {
        "order_no": number,
        "channel": "tmall",
        "shop": "天猫旗舰店",
        "raw_status": "WAIT_SELLER_SEND_GOODS",
        "stage": Stage.AWAIT_SHIP,
        "placed_at": placed,
        "paid_at": placed + timedelta(minutes=2),
        "promised_ship_at": placed + timedelta(hours=48),
        "goods_fen": amount,
        "freight_fen": 0,
        "payable_fen": amount,
        "paid_fen": amount,
        "payment_method": "支付宝",
        "buyer": f"buyer-{number}",
        "receiver_name": "王小明",
        "receiver_phone": f"1380000{int(number[-4:]) if number[-4:].isdigit() else 0:04d}",
        "province": "浙江省",
        "city": "杭州市",
        "district": "余杭区",
        "address_detail": "文一西路 969 号 3 幢 501 室",
        "lines": (
            CanonicalLine(
                line_id="1",
                sku="DR-0417-M",
                title="羊绒大衣",
                quantity=1,
                price_fen=amount,
                amount_fen=amount,
            ),
        ),
    }
    return CanonicalOrder(**(values | changes))


def make_order(
    now: datetime = NOW, *, source: Source | None = None, is_history: bool = False, **changes: Any
) -> Order:
    """One order received in the scope in force."""
    source = source or get_or_create_source(kind=SourceKind.CHANNEL, name="天猫旗舰店")
    record = canonical_order(now, **changes)
    receive([record], source=source, now=now, is_history=is_history)
    found: Order = Order.objects.get(order_no=record.order_no, shop__name=record.shop)
    return found


__all__ = [
    "NOW",
    "PASSWORD",
    "CanonicalLine",
    "CanonicalOrder",
    "CanonicalPayment",
    "CanonicalReceipt",
    "World",
    "canonical_order",
    "for_environment",
    "for_tenant",
    "join",
    "make_order",
    "make_sources",
    "make_user",
    "make_world",
    "receive_all",
]
