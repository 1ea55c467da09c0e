"""The seven simulators of a place: how each is made, and where its callbacks go.

Tmall sends none: its messages are fetched. The OMS only answers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from connectors.simulators.alipay import AlipayApp
from connectors.simulators.core import App, Bucket, Clock, Faults, Outbox, Store
from connectors.simulators.douyin import Douyin
from connectors.simulators.keys import Keys
from connectors.simulators.life import Life
from connectors.simulators.mall import MallApp
from connectors.simulators.oms import OmsApp
from connectors.simulators.qimen import QimenApp
from connectors.simulators.tmall import Tmall
from connectors.simulators.wechat_pay import WeChatPayApp

# Where an app keeps the address of its callbacks; "" for one that calls nobody.
_URL_OF: Mapping[str, str] = {
    "tmall": "",
    "douyin": "push_url",
    "douyin.callback": "callback_url",  # the way back from its authorisation page
    "mall": "push_url",
    "alipay": "notify_url",
    "wechat_pay": "notify_url",
    "oms": "",
    "qimen": "callback_url",
}
APP_NAMES = frozenset(_URL_OF)
_TOPICS = frozenset(
    f"taobao_{name}"
    for name in (
        "trade_TradeCreate", "trade_TradeBuyerStepPay", "trade_TradeBuyerPay",
        "trade_TradePartlySellerShip", "trade_TradeSellerShip", "trade_TradeSuccess",
        "trade_TradeClose", "trade_TradeChanged", "trade_TradeLogisticsAddressChanged",
        "trade_TradeTimeoutRemind", "refund_RefundCreated",
    )
)  # fmt: skip


def build_apps(
    store: Store,
    clock: Clock,
    faults: Faults,
    outbox: Outbox,
    keys: Keys,
    *,
    since: datetime,
    on_synced: Callable[[Life, datetime], None],
) -> dict[str, App]:
    """Apps by name. Nothing that happened before `since` is called back: it is history.

    `on_synced` is told of an order whose payment the mall found after all. The buckets are wider
    than the platforms': a first read of a whole day should not take an hour on a desk.
    """
    tmall = Tmall(store, clock, faults, keys.tmall, messages_since=since)
    for shop in keys.tmall.shops:  # the permission a seller gives once, kept through restarts
        tmall.messages.keep_permission(shop.shop, shop.shop_id, _TOPICS)
    return {
        "tmall": tmall,
        "douyin": Douyin(store, clock, faults, outbox, keys.douyin, push_since=since),
        "mall": MallApp(
            store, clock, faults, outbox, keys.mall,
            push_since=since, bucket=_make_bucket(), on_synced=on_synced,
        ),
        "alipay": AlipayApp(
            store, clock, faults, outbox, keys.alipay, notify_since=since, bucket=_make_bucket()
        ),
        "wechat_pay": WeChatPayApp(
            store, clock, faults, outbox, keys.wechat_pay,
            notify_since=since, bucket=_make_bucket(),
        ),
        "oms": OmsApp(store, clock, faults, keys.oms, paging="cursor", bucket=_make_bucket()),
        "qimen": QimenApp(
            store, clock, faults, outbox, keys.qimen, callback_since=since, bucket=_make_bucket()
        ),
    }  # fmt: skip


def _make_bucket() -> Bucket:
    return Bucket(1000, 2000)


def point_at(apps: Mapping[str, App], urls: Mapping[str, str]) -> None:
    """Name the address an app calls back; one that is not named keeps its own."""
    for name, url in urls.items():
        if _URL_OF[name]:
            setattr(apps[name.partition(".")[0]], _URL_OF[name], url)
