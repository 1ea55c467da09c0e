"""Connections with a past, for the tests and pictures of the connectors' pages."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime, timedelta
from typing import Any

from config.errors import Phrase, gettext_noop
from config.secrets import encrypt
from connectors.shops.connections import create_connection, record_success, record_trouble
from connectors.shops.models import Connection
from connectors.shops.services import get_or_create_shop, record_freshness
from connectors.sync.models import (
    CALL_PURPOSE,
    MESSAGE_PURPOSE,
    QUARANTINE_PURPOSE,
    BackfillRun,
    CallLog,
    CallOrder,
    Cursor,
    InboundMessage,
    Quarantine,
    SyncRun,
)

CANARY = "CANARY-7f3d9a51c0-secret"
TMALL_CONFIG = {"app_key": "12345678"}
TMALL_SECRETS = {
    "app_secret": f"{CANARY}-app",
    "access_token": f"{CANARY}-token",
    "refresh_token": f"{CANARY}-refresh",
}


def connect(now: datetime, *, name: str = "天猫旗舰店", **changes: Any) -> Connection:
    """A Tmall shop that was connected a day ago, in the scope in force."""
    values: dict[str, Any] = {
        "vendor": "tmall",
        "kind": "channel",
        "name": name,
        "base_url": "https://eco.taobao.com",
        "config": TMALL_CONFIG,
        "secrets": TMALL_SECRETS,
        "actor": None,
        "now": now - timedelta(days=1),
    }
    if "shop" not in changes:
        values["shop"] = get_or_create_shop("tmall", name)
    return create_connection(**(values | changes))


def read_well(connection: Connection, now: datetime, *, runs: int = 3) -> None:
    """Runs every quarter of an hour, the last one a moment ago; the feed is fresh."""
    for number in range(runs):
        at = now - timedelta(minutes=1 + 15 * number)
        SyncRun.objects.create(
            connection=connection,
            kind=SyncRun.Kind.PULL,
            stream="modified",
            state=SyncRun.State.DONE,
            started_at=at,
            finished_at=at + timedelta(seconds=4),
            window_start=at - timedelta(minutes=25),
            window_end=at - timedelta(minutes=1),
            windows=1,
            pages=1,
            calls=33,
            fetched=32,
            new=20,
            updated=12,
        )
    Cursor.objects.create(
        connection=connection, stream="modified", done_until=now, slot=now - timedelta(minutes=1)
    )
    record_freshness(connection.source, complete_until=now - timedelta(minutes=2), now=now)
    record_success(connection, now=now)


def fail(connection: Connection, now: datetime, *, code: str = "authorisation") -> None:
    """The platform no longer accepts the authorisation."""
    words = {
        "authorisation": Phrase(
            gettext_noop("授权已失效，请商家重新授权：%(reason)s"),
            {"reason": Phrase(gettext_noop("取不到令牌：请重新授权店铺"))},
        ),
        "address_refused": Phrase(gettext_noop("目标地址不允许：只支持 http 和 https")),
    }
    found = words.get(code) or Phrase(gettext_noop("目标地址不允许：域名无法解析"))
    record_trouble(connection, code=code, words=found, now=now - timedelta(hours=2))


def log_call(
    connection: Connection, now: datetime, *, order_no: str = "", **changes: Any
) -> CallLog:
    """One call about an order, with a body that holds a person."""
    values: dict[str, Any] = {
        "connection": connection,
        "operation": "taobao.trade.fullinfo.get",
        "at": now - timedelta(minutes=1),
        "duration_ms": 182,
        "http_status": 200,
        "outcome": CallLog.Outcome.OK,
        "request_sealed": _seal(
            '{"method": "taobao.trade.fullinfo.get", "tid": "1"}', CALL_PURPOSE
        ),
        "answer_sealed": _seal(
            json.dumps(
                {"trade": {"tid": order_no, "receiver_name": "王小明", "payment": "327.00"}},
                ensure_ascii=False,
            ),
            CALL_PURPOSE,
        ),
    }
    call: CallLog = CallLog.objects.create(**(values | changes))
    if order_no:
        CallOrder.objects.create(call=call, order_no=order_no)
    return call


def log_message(
    connection: Connection, now: datetime, *, key: str, order_no: str = "", **changes: Any
) -> InboundMessage:
    """One message about an order."""
    payload = json.dumps({"tid": order_no, "buyer_nick": "小明同学"}, ensure_ascii=False)
    values: dict[str, Any] = {
        "connection": connection,
        "replay_key": key,
        "kind": "hint",
        "topic": "taobao_trade_TradeBuyerPay",
        "order_no": order_no,
        "payload_sealed": _seal(payload, MESSAGE_PURPOSE),
        "received_at": now - timedelta(minutes=2),
        "state": InboundMessage.State.DONE,
    }
    message: InboundMessage = InboundMessage.objects.create(**(values | changes))
    return message


def put_in_quarantine(
    connection: Connection, now: datetime, *, order_no: str = "", **changes: Any
) -> Quarantine:
    """A payload with an amount nobody can read."""
    payload = {"tid": order_no, "payment": "一百元", "receiver_mobile": "13812345678"}
    text = json.dumps(payload, ensure_ascii=False)
    values: dict[str, Any] = {
        "connection": connection,
        "order_no": order_no,
        "digest": hashlib.sha256(text.encode()).hexdigest(),
        "payload_sealed": _seal(text, QUARANTINE_PURPOSE),
        "code": "payload_field",
        "message": gettext_noop("报文字段 %(field)s 的值不对：应为%(wanted)s"),
        "params": {"field": "trade.payment", "wanted": "以元为单位、最多两位小数的金额"},
        "times": 3,
        "first_at": now - timedelta(hours=3),
        "last_at": now - timedelta(minutes=5),
    }
    row: Quarantine = Quarantine.objects.create(**(values | changes))
    return row


def ask_backfill(connection: Connection, now: datetime, **changes: Any) -> BackfillRun:
    """A back-fill of the last week, a third of the way."""
    values: dict[str, Any] = {
        "connection": connection,
        "stream": "modified",
        "start": now - timedelta(days=7),
        "end": now,
        "mark": now - timedelta(days=4, hours=16),
        "state": BackfillRun.State.RUNNING,
        "estimate": 1200,
        "estimate_seconds": 130,
        "fetched": 410,
        "new": 380,
        "updated": 20,
        "unchanged": 9,
        "quarantined": 1,
        "requested_at": now - timedelta(minutes=3),
        "started_at": now - timedelta(minutes=2),
    }
    run: BackfillRun = BackfillRun.objects.create(**(values | changes))
    return run


def _seal(text: str, purpose: str) -> str:
    return encrypt(text, purpose=purpose)
