"""Lives of a scenario told to the product without a wire: rendered by the simulators, mapped by us.

Quick where a test is not about calls: what each platform would answer at a moment goes through the
product's own mappings and the one door `receive()`. Systems tell plain receipts and payments.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from config.tenancy.models import Environment
from config.tenancy.scope import for_environment
from config.tenancy.statistics import refresh_statistics
from connectors.channels.douyin.mapping import map_order as map_douyin
from connectors.channels.private_mall.mapping import map_order as map_mall
from connectors.channels.tmall.mapping import map_order as map_tmall
from connectors.orders.canonical import CanonicalOrder, CanonicalPayment, CanonicalReceipt
from connectors.orders.services import receive_all, rewalk_orders
from connectors.shops.models import Source
from connectors.shops.services import get_or_create_source, record_freshness
from connectors.simulators.douyin_orders import is_listed_as_risky
from connectors.simulators.douyin_orders import render_order as render_douyin
from connectors.simulators.life import Life, has_come
from connectors.simulators.mall_orders import render_order as render_mall
from connectors.simulators.tmall_trades import FIELDS, Trade

TMALL_FIELDS = sorted(FIELDS)
SHOP_ID = 77977


def tell_order(life: Life, now: datetime) -> CanonicalOrder:
    """What the channel of a life tells of it at a moment, in our words."""
    if life.channel == "tmall":
        payload = Trade(life, now).render(TMALL_FIELDS, is_list=False, simplify=False)
        return map_tmall(payload, shop=life.shop).record
    if life.channel == "douyin":
        payload = render_douyin(life, now, SHOP_ID, ("", 0))
        in_review = is_listed_as_risky(life, now)
        return map_douyin(payload, shop=life.shop, in_risk_review=in_review).record
    return map_mall(render_mall(life, now), shop=life.shop).record


_FIRST = 500  # enough for statistics; the rest is received with them


def _past(moment: datetime | None, now: datetime) -> datetime | None:
    return moment if has_come(moment, now) else None


def take_lives(
    environment: Environment, lives: Iterable[Life], *, now: datetime, is_history: bool = False
) -> None:
    """Receive everything that is known of these lives at `now`; every source is complete then."""
    known = [life for life in lives if life.placed + life.lag <= now]
    gateway = [
        CanonicalPayment(
            order_no=life.order_no, payment_id=f"G{life.order_no}", status="paid",
            amount_fen=life.paid_fen_at(now), paid_at=life.gateway_paid,
        )
        for life in known
        if has_come(life.gateway_paid, now)
    ]  # fmt: skip
    oms = [
        CanonicalReceipt(life.order_no, life.oms, _past(life.reviewed, now))
        for life in known
        if has_come(life.oms, now)
    ]
    wms = [
        CanonicalReceipt(
            life.order_no, life.wms, None, _past(life.picked, now), _past(life.out, now)
        )
        for life in known
        if has_come(life.wms, now)
    ]
    with for_environment(environment):
        for channel in ("tmall", "douyin", "private_mall"):
            told = [tell_order(life, now) for life in known if life.channel == channel]
            _receive(told, kind="channel", name=channel, now=now, is_history=is_history)
        _receive(gateway, kind="gateway", name="支付网关", now=now, is_history=is_history)
        _receive(oms, kind="oms", name="OMS", now=now, is_history=is_history)
        _receive(wms, kind="wms", name="WMS", now=now, is_history=is_history)
        after: int | None = 0
        while after is not None:  # as after every first OMS or WMS
            after = rewalk_orders(now=now, after_id=after)


def _receive(records: Iterable, *, kind: str, name: str, now: datetime, is_history: bool) -> Source:
    source = get_or_create_source(kind=kind, name=name)
    rest = list(records)
    first, rest = rest[:_FIRST], rest[_FIRST:]
    for some in filter(None, (first, rest)):
        receive_all(some, source=source, now=now, is_history=is_history)
        refresh_statistics()  # as the tick does: without figures SQLite reads whole environments
    record_freshness(source, complete_until=now, now=now)
    return source
