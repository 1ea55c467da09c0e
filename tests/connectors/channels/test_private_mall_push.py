"""The own mall's push door: orders and payments whole, repeats told as such."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from connectors.adapters import PushItem, PushRequest
from connectors.channels.private_mall.push import PrivateMallPush
from connectors.orders.canonical import CanonicalOrder, CanonicalPayment
from connectors.wire import PayloadError, SignatureRefused
from tests.connectors.channels.gateways import NOW

KEY, OLD_KEY = bytes(range(32)), bytes(range(32, 64))
SECRET, OLD_SECRET = ("whsec_" + base64.b64encode(key).decode() for key in (KEY, OLD_KEY))
SECRETS = {"secret": SECRET}
DOOR = PrivateMallPush()
ORDER: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "payloads" / "private_mall" / "paid.json").read_text()
)["payload"]
PAYMENT = {"order_no": "M1", "payment_id": "p1", "status": "paid", "amount_fen": 100}


def _push(
    content: Any, *, key: bytes = KEY, number: str = "msg_1", age: timedelta = timedelta(0)
) -> PushRequest:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    stamp = str(int((NOW - age).timestamp()))
    sign = hmac.new(key, f"{number}.{stamp}.".encode() + body, hashlib.sha256).digest()
    headers = {
        "webhook-id": number,
        "webhook-timestamp": stamp,
        "webhook-signature": "v1," + base64.b64encode(sign).decode(),
    }
    return PushRequest(method="POST", headers=headers, query=(), body=body)


def _event(kind: str, data: Any) -> dict[str, Any]:
    return {"type": kind, "occurred_at": "2025-11-11T00:15:00+08:00", "data": data}


def _read(request: PushRequest, secrets: dict[str, str] = SECRETS) -> PushItem:
    verified = DOOR.verify(request, config={}, secrets=secrets, now=NOW)
    [item] = DOOR.read(request, verified, secrets=secrets)
    assert verified.replay_keys == (item.replay_key,)
    return item


@pytest.mark.parametrize("kind", ["order.created", "order.updated"])
def test_pushed_order_is_mapped_whole(kind: str) -> None:
    item = _read(_push(_event(kind, ORDER)))

    assert (item.kind, item.order_no) == ("record", ORDER["order_no"])
    assert item.replay_key == "private_mall:msg_1"
    answered = DOOR.map(item, shop="甲店", stages=None)
    assert isinstance(answered.mapped.record, CanonicalOrder)
    assert answered.mapped.record.shop == "甲店"
    assert answered.payload == ORDER


def test_pushed_order_is_mapped_with_the_business_table() -> None:
    item = _read(_push(_event("order.updated", ORDER)))

    record: Any = DOOR.map(item, shop="甲店", stages={ORDER["status"]: "shipped"}).mapped.record

    assert record.stage == "shipped"


def test_pushed_payment_is_a_payment() -> None:
    item = _read(_push(_event("payment.updated", PAYMENT)))

    record = DOOR.map(item, shop="甲店", stages=None).mapped.record

    assert item.order_no == "M1"
    assert isinstance(record, CanonicalPayment)
    assert (record.payment_id, record.amount_fen) == ("p1", 100)


def test_ping_asks_for_an_answer_only() -> None:
    assert _read(_push({"type": "ping"})).kind == "probe"


def test_event_nobody_knows_is_kept_as_unknown() -> None:
    item = _read(_push(_event("coupon.used", {"order_no": "M9"})))

    assert (item.kind, item.topic, item.order_no) == ("unknown", "coupon.used", "M9")
    with pytest.raises(PayloadError):
        DOOR.map(item, shop="甲店", stages=None)


def test_order_that_cannot_be_mapped_is_taken_and_put_aside_later() -> None:
    item = _read(_push(_event("order.updated", {"order_no": {"x": 1}})))

    assert (item.kind, item.order_no) == ("record", "")
    with pytest.raises(PayloadError) as caught:
        DOOR.map(item, shop="甲店", stages=None)
    assert caught.value.params["field"]


def test_both_secrets_count_while_they_are_changed() -> None:
    request = _push({"type": "ping"}, key=OLD_KEY)

    with pytest.raises(SignatureRefused):
        DOOR.verify(request, config={}, secrets=SECRETS, now=NOW)
    assert _read(request, SECRETS | {"previous_secret": OLD_SECRET}).kind == "probe"


@pytest.mark.parametrize("age", [timedelta(minutes=6), timedelta(minutes=-6)])
def test_push_of_another_time_is_refused(age: timedelta) -> None:
    with pytest.raises(SignatureRefused) as caught:
        DOOR.verify(_push({"type": "ping"}, age=age), config={}, secrets=SECRETS, now=NOW)

    assert caught.value.code == "signature_stale"


def test_changed_byte_is_refused() -> None:
    request = _push(_event("order.updated", ORDER))
    changed = PushRequest("POST", request.headers, (), request.body + b" ")

    with pytest.raises(SignatureRefused):
        DOOR.verify(changed, config={}, secrets=SECRETS, now=NOW)


def test_connection_without_its_secret_refuses_everything() -> None:
    with pytest.raises(SignatureRefused):
        DOOR.verify(_push({"type": "ping"}), config={}, secrets={}, now=NOW)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b'{"data":{}}', b'{"type":"order.updated","data":5}', b'{"type":{}}']
)
def test_signed_body_that_is_no_event_is_unreadable(body: bytes) -> None:
    request = _push(body)
    verified = DOOR.verify(request, config={}, secrets=SECRETS, now=NOW)

    with pytest.raises(PayloadError):
        DOOR.read(request, verified, secrets=SECRETS)


@pytest.mark.parametrize(
    ("outcome", "status"),
    [("stored", 200), ("repeated", 409), ("refused", 401), ("unreadable", 400)],
)
def test_answers_are_those_of_the_format(outcome: str, status: int) -> None:
    answer = DOOR.answer(outcome)

    assert answer.status == status
    assert ("error" in json.loads(answer.body)) == (status != 200)
