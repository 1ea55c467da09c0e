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
        "address_detail": f"文一西路 969 号 3 幢 {number[-4:]} 室",
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


# --- a small promo day for pages: rules, orders in every condition, scores over a day ------------


def page_rules() -> dict[str, Any]:
    """Five dimensions that the orders of `make_day` pass and fail."""

    def dimension(key: str, name: str, formula: str, points: int, **more: Any) -> dict[str, Any]:
        row: dict[str, Any] = {
            "key": key,
            "name": name,
            "formula": formula,
            "kind": "judgement",
            "points": points,
            "cap": None,
            "when_insufficient": "no_points",
            "when_not_applicable": "full",
            "when_late": "no_deduction",
            "reason": "",
            "cause": name,
        }
        return row | more

    return {
        "name": "页面用规则",
        "lines": {"yellow": 70, "orange": 60, "red": 50},
        "dimensions": [
            dimension(
                "address",
                "地址完整",
                '且(省<>"", 市<>"", 区县<>"")',
                20,
                cap=59,
                cause="地址触发风控",
                reason="收件地址缺区县：{省} {市}",
            ),
            dimension(
                "callback",
                "支付回调成功",
                '如果(且(网关支付状态="支付成功", 阶段="待付款"), 不通过, 通过)',
                30,
                cap=49,
                cause="支付回调丢失",
                reason="网关已收 {网关支付金额} 元，{距今小时(网关支付时间)}未收到回调",
                when_insufficient="no_deduction",
            ),
            dimension(
                "warehouse",
                "仓库收到",
                "如果(是空(付款时间), 不适用, 如果(距今小时(付款时间)<4, 通过, 非(是空(WMS接收时间))))",
                25,
                cap=49,
                cause="推送 WMS 丢单",
                reason="已付款 {距今小时(付款时间)}，WMS 未接收",
            ),
            dimension(
                "price",
                "价格校验通过",
                "如果(是空(实付金额), 不适用, 金额相等(实付金额, 应付金额))",
                15,
                cap=59,
                cause="促销叠加价格异常",
                reason="实付 {实付金额} 元，应付 {应付金额} 元",
            ),
            dimension("stock", "金额合理", "应付金额>0", 10, cap=69, cause="库存冲突"),
        ],
    }


def make_day(environment: Environment, *, now: datetime = NOW, size: int = 120) -> None:
    """Orders of one day in one environment, received and scored hour by hour through the doors."""
    from rules_engine.rules.services import install_rule_set
    from rules_engine.scoring.services import list_due_order_ids, score_orders
    from workflows.causes import classify

    with for_environment(environment):
        install_rule_set(page_rules(), origin="tests", now=now - timedelta(hours=26))
    start = now - timedelta(hours=22)
    plans = [_plan(number, start + (now - start) * number / size) for number in range(size)]
    moments = [start + timedelta(hours=n) for n in range(1, 23)] + [now]
    for moment in sorted(set(moments)):
        with for_environment(environment):
            sources = make_sources(moment)
            told: dict[str, list[Any]] = {kind: [] for kind in sources}
            for plan in plans:
                if plan["placed_at"] <= moment:
                    _tell(plan, moment, told)
            for kind, records in told.items():
                receive_all(records, source=sources[kind], now=moment)
            due = list_due_order_ids()
            score_orders(due, now=moment, why="clock", classify=classify)


_CHANNELS = (
    ("tmall", "天猫旗舰店"),
    ("douyin", "抖音女装馆"),
    ("private_mall", "私域小程序"),
    ("jd", "京东自营店"),
)


def _plan(number: int, placed: datetime) -> dict[str, Any]:
    channel, shop = _CHANNELS[number % len(_CHANNELS)]
    amount = 8900 + (number * 3571) % 120_000
    trouble = {3: "address", 7: "price", 11: "lost", 6: "callback"}.get(number % 16, "")
    if channel != "private_mall" and trouble == "callback":
        trouble = ""
    return {
        "order_no": f"{channel[:2].upper()}{20261111}{number:06d}",
        "channel": channel,
        "shop": shop,
        "placed_at": placed,
        "amount_fen": amount,
        "trouble": trouble,
        "mends_after": timedelta(hours=3) if number % 32 == 3 else None,
    }


def _tell(plan: dict[str, Any], now: datetime, told: dict[str, list[Any]]) -> None:
    """What channel, gateway, OMS and WMS know of an order by now."""
    placed, number = plan["placed_at"], plan["order_no"]
    age, trouble = now - placed, plan["trouble"]
    if plan["mends_after"] and age > plan["mends_after"]:
        trouble = ""
    paid = placed + timedelta(minutes=3)
    changes: dict[str, Any] = {
        k: plan[k] for k in ("order_no", "channel", "shop", "placed_at", "amount_fen")
    }
    if trouble == "address":
        changes["district"] = ""
    if trouble == "price":
        changes["paid_fen"] = plan["amount_fen"] - 3000
    if trouble == "callback":
        changes |= {"stage": Stage.AWAIT_PAY, "paid_at": None, "paid_fen": None}
        changes["promised_ship_at"] = placed + timedelta(hours=24)
    if not trouble and age > timedelta(hours=9):
        changes |= {"stage": Stage.SHIPPED, "shipped_at": placed + timedelta(hours=9)}
    told["channel"].append(canonical_order(now, **changes))
    payment = CanonicalPayment(
        order_no=number,
        payment_id=f"2026{number}",
        method="支付宝",
        amount_fen=plan["amount_fen"],
        paid_at=paid,
    )
    if paid <= now:
        told["gateway"].append(payment)
    if trouble in {"callback", "lost", "address"}:
        return
    steps = {name: placed + timedelta(minutes=m) for name, m in _STEPS.items()}
    known = {name: at for name, at in steps.items() if at <= now}
    oms = {k: v for k, v in known.items() if k in {"received_at", "reviewed_at"}}
    if oms:
        told["oms"].append(CanonicalReceipt(order_no=number, **oms))
    wms = {
        "received_at": known.get("wms_at"),
        "picked_at": known.get("picked_at"),
        "shipped_at": known.get("shipped_at"),
    }
    if wms["received_at"]:
        told["wms"].append(CanonicalReceipt(order_no=number, **wms))


_STEPS = {
    "received_at": 8,
    "reviewed_at": 40,
    "wms_at": 75,
    "picked_at": 300,
    "shipped_at": 520,
}


# --- lookup tables -------------------------------------------------------------------------------


def table_content(**changes: Any) -> dict[str, Any]:
    """A freight table by province: fee and days."""
    return {
        "key": "freight",
        "name": "运费表",
        "columns": [
            {"key": "province", "label": "省", "type": "text", "is_key": True, "default": None},
            {"key": "fee", "label": "运费", "type": "money", "is_key": False, "default": None},
            {"key": "days", "label": "天数", "type": "number", "is_key": False, "default": "5"},
        ],
        "rows": [["浙江省", "6.00", "2"], ["西藏自治区", "25", ""]],
    } | changes


def publish_document(
    content: dict[str, Any],
    world: World,
    *,
    kind: str,
    key: str,
    now: datetime = NOW,
) -> Any:
    """A version of any kind, written by the supervisor and published by the reviewer."""
    from config.releases import services as releases

    author, reviewer = world.users[Role.SUPERVISOR], world.users[Role.REVIEWER]
    name = str(content.get("name", key))
    document = releases.get_or_create_document(kind=kind, key=key, name=name)
    draft = releases.create_draft(document, content=content, author=author)
    draft = releases.submit_version(draft, actor=author, note="", now=now)
    draft = releases.approve_version(draft, reviewer=reviewer, comment="", now=now)
    return releases.publish_version(draft, actor=reviewer, now=now)


def publish_table(world: World, *, now: datetime = NOW, **changes: Any) -> Any:
    """The freight table, published in the environment in force."""
    content = table_content(**changes)
    return publish_document(content, world, kind="lookup_table", key=content["key"], now=now)


def rules_of_one(formula: str, **changes: Any) -> dict[str, Any]:
    """A rule set of one dimension."""
    row = {"key": "d", "name": "一项", "formula": formula, "points": 100, "cause": "价格"}
    return {
        "name": "一项",
        "lines": {"yellow": 70, "orange": 60, "red": 50},
        "dimensions": [row | changes],
    }


def publish_rules(content: dict[str, Any], world: World, *, now: datetime = NOW) -> Any:
    """Rules in force in the environment in force."""
    return publish_document(content, world, kind="rule_set", key="default", now=now)
