"""The WeChat Pay simulator on the wire, judged by channels.md 10.2 and code of our own."""

from __future__ import annotations

import base64
import hashlib
import json
from datetime import timedelta

import pytest
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from connectors.simulators.core import Bucket
from connectors.simulators.life import LifeLine
from connectors.simulators.wechat_pay import WeChatPayApp, seal
from tests.connectors.simulators.wire_world import WireWorld, keys, make_life, minutes

NOTIFY = "http://receiver/inbound/wechat_pay"
NO = "SO202511110001"


def wechat_life(order_no=NO, **changes):
    return make_life(order_no, **({"gateway": "wechat_pay"} | changes))


@pytest.fixture
def world():
    world = WireWorld(at=minutes(5))
    app = world.make(WeChatPayApp, keys().wechat_pay, notify_url=NOTIFY)
    with world.serving(wechat_pay=app):
        yield world


def message_of(method, target, stamp, nonce, body=""):
    return f"{method}\n{target}\n{stamp}\n{nonce}\n{body}\n"


def authorize(world, target, *, signed_target=None, pair=None, **changes):
    own = keys().wechat_pay
    parts = {
        "mchid": own.mchid,
        "nonce_str": "593BEC0C930BF1AFEB40B4A08C8FB242",
        "timestamp": str(int(world.clock.now().timestamp())),
        "serial_no": own.merchant_serial,
    } | changes
    private = serialization.load_pem_private_key((pair or own.merchant).private_pem.encode(), None)
    text = message_of("GET", signed_target or target, parts["timestamp"], parts["nonce_str"])
    sign = private.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
    parts["signature"] = base64.b64encode(sign).decode()
    written = ",".join(f'{name}="{value}"' for name, value in parts.items())
    return {"Authorization": f"WECHATPAY2-SHA256-RSA2048 {written}", "Accept": "application/json"}


def path_of(order_no=NO, mchid=None):
    mchid = keys().wechat_pay.mchid if mchid is None else mchid
    return f"/v3/pay/transactions/out-trade-no/{order_no}?mchid={mchid}"


def send(world, order_no=NO, mchid=None, **changes):
    target = "/wechat_pay" + path_of(order_no, mchid)
    return world.call("GET", target, headers=authorize(world, target, **changes))


def ask(world, order_no=NO, **changes):
    return json.loads(send(world, order_no, **changes).body)


def is_signed(headers, body):
    public = serialization.load_pem_public_key(keys().wechat_pay.platform.public_pem.encode())
    text = f"{headers['wechatpay-timestamp']}\n{headers['wechatpay-nonce']}\n".encode() + body
    try:
        public.verify(
            base64.b64decode(headers["wechatpay-signature"]),
            text + b"\n",
            padding.PKCS1v15(),
            hashes.SHA256(),
        )
    except InvalidSignature:
        return False
    return headers["wechatpay-serial"] == keys().wechat_pay.platform_serial


def test_the_text_to_sign_is_the_one_of_the_handbook():
    text = message_of(
        "GET",
        path_of("SO202511110001", "1900000001"),
        1762791300,
        "593BEC0C930BF1AFEB40B4A08C8FB242",
    )

    assert hashlib.sha256(text.encode()).hexdigest() == (
        "5aa5c1ab6c1516cf65c254b57470ee86aa0420ad150184f60270116c8985835e"
    )


def test_a_notification_is_sealed_as_in_the_handbook():
    plain = '{"out_trade_no":"SO202511110001","trade_state":"SUCCESS","amount":{"total":19900}}'

    sealed = seal(
        AESGCM(b"0123456789abcdef0123456789abcdef"), plain.encode(), "abcdefghijkl", "transaction"
    )

    assert sealed["ciphertext"] == (
        "Eu6myr+6GaECeJdOZPZ6BX5i9C2JslpqL48PrOJs/8hA6tSOTzCX/DkO8dRrsb3/zQD/9/4NJdny3S4gw9jmMe7J8u+"
        "OnxIsaXs5WRBR1A2HiLIrxvnZLWwtdhOToyqcFjw="
    )


def test_a_paid_order_is_told_in_fen_with_time_and_zone(world):
    world.store.add(wechat_life())

    reply = send(world)

    order = json.loads(reply.body)
    assert reply.status == 200
    assert (order["trade_state"], order["amount"]["total"]) == ("SUCCESS", 27_900)
    assert order["success_time"] == "2025-11-11T12:00:30+08:00"
    assert len(order["transaction_id"]) == 28
    assert is_signed(reply.headers, reply.body)
    assert not is_signed(reply.headers, reply.body + b" ")


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({"gateway_paid": minutes(5.2), "paid": None}, "USERPAYING"),
        ({"gateway_paid": minutes(50), "paid": None}, "NOTPAY"),
        ({"gateway_paid": None, "paid": None, "closed": minutes(4)}, "CLOSED"),
        ({"refunded": minutes(4)}, "REFUND"),
        ({"refunded": minutes(6)}, "SUCCESS"),
        ({"lines": [LifeLine("A", "甲", 1, 27_900, refunded=minutes(3))]}, "REFUND"),
    ],
)
def test_the_state_follows_the_life(world, changes, state):
    world.store.add(wechat_life(**changes))

    order = ask(world)

    assert order["trade_state"] == state
    assert ("success_time" in order) == (state in ("SUCCESS", "REFUND"))


def test_the_platforms_own_path_may_be_signed_without_the_hosts_prefix(world):
    world.store.add(wechat_life())

    assert ask(world, signed_target=path_of())["trade_state"] == "SUCCESS"
    assert ask(world, signed_target=path_of("SO2"))["code"] == "SIGN_ERROR"


@pytest.mark.parametrize(
    "changes",
    [
        {"serial_no": "0" * 40},
        {"mchid": "1900000009"},
        {"timestamp": "0"},
        {"timestamp": "now"},
        {"pair": "platform"},
    ],
)
def test_a_wrong_signature_is_401(world, changes):
    world.store.add(wechat_life())
    if changes.get("pair"):
        changes = {"pair": keys().wechat_pay.platform}
    target = "/wechat_pay" + path_of()

    reply = world.call("GET", target, headers=authorize(world, target, **changes))

    assert (reply.status, json.loads(reply.body)["code"]) == (401, "SIGN_ERROR")
    assert is_signed(reply.headers, reply.body)


def test_a_call_without_a_signature_is_401(world):
    world.store.add(wechat_life())

    for header in ({}, {"Authorization": "Bearer x"}):
        assert world.call("GET", "/wechat_pay" + path_of(), headers=header).status == 401


def test_five_minutes_are_allowed_and_no_more(world):
    world.store.add(wechat_life())
    now = int(world.clock.now().timestamp())

    assert send(world, timestamp=str(now - 300)).status == 200
    assert send(world, timestamp=str(now - 301)).status == 401


def test_an_order_of_nobody_is_404_and_anothers_merchant_403(world):
    world.store.add(make_life("SO2"))  # Alipay's

    for number in ("SO1", "SO2"):
        reply = send(world, number)
        assert (reply.status, json.loads(reply.body)["code"]) == (404, "ORDER_NOT_EXIST")
    reply = send(world, NO, "1900000009")
    assert (reply.status, json.loads(reply.body)["code"]) == (403, "NO_AUTH")
    reply = send(world, NO, "")
    assert (reply.status, json.loads(reply.body)["code"]) == (400, "PARAM_ERROR")


def test_too_many_calls_are_429_and_a_fault_500():
    world = WireWorld(wechat_life(), at=minutes(5))
    app = world.make(WeChatPayApp, keys().wechat_pay, bucket=Bucket(1, 1))
    with world.serving(wechat_pay=app):
        assert send(world).status == 200
        reply = send(world)
        assert (reply.status, json.loads(reply.body)["code"]) == (429, "FREQUENCY_LIMITED")
        world.faults.switch("wechat_pay", "*", "http_500", times=1)
        assert send(world).status == 500
        world.clock.advance(timedelta(seconds=1))
        assert send(world).status == 200


@pytest.mark.parametrize(
    ("kind", "told"),
    [("throttle", (429, "FREQUENCY_LIMITED")), ("service_error", (500, "SYSTEM_ERROR"))],
)
def test_its_own_trouble_comes_in_its_own_envelope_and_signed(world, kind, told):
    world.store.add(wechat_life())
    world.faults.switch("wechat_pay", "*", "half_page")
    world.faults.switch("wechat_pay", "*", kind, times=1)

    reply = send(world)

    assert (reply.status, json.loads(reply.body)["code"]) == told
    assert is_signed(reply.headers, reply.body)
    assert send(world).status == 200


# -- notifications -----------------------------------------------------------------------------


def open_notification(body):
    resource = json.loads(body)["resource"]
    cipher = AESGCM(keys().wechat_pay.api_v3_key.encode())
    text = cipher.decrypt(
        resource["nonce"].encode(),
        base64.b64decode(resource["ciphertext"]),
        resource["associated_data"].encode(),
    )
    return json.loads(text)


def test_a_notification_is_signed_and_sealed(world):
    world.store.add(wechat_life())

    world.run_to(minutes(10))

    [(url, headers, body)] = world.receiver.got
    assert url == NOTIFY
    assert is_signed(headers, body)
    order = open_notification(body)
    assert (order["out_trade_no"], order["trade_state"]) == (NO, "SUCCESS")
    broken = json.loads(body)
    broken["resource"]["associated_data"] = "refund"
    with pytest.raises(InvalidTag):
        open_notification(json.dumps(broken))


def test_a_repeat_keeps_its_id_and_is_signed_anew(world):
    world.store.add(wechat_life())
    world.receiver.answers = [(500, b""), (200, b"")]

    world.run_to(minutes(10), timedelta(seconds=5))

    (_, first, body), (_, second, again) = world.receiver.got
    assert body == again
    assert int(second["wechatpay-timestamp"]) == int(first["wechatpay-timestamp"]) + 15
    assert first["wechatpay-nonce"] != second["wechatpay-nonce"]
    assert is_signed(second, again)


def test_an_answer_of_204_ends_it_and_a_lost_callback_never_comes(world):
    world.store.add(wechat_life("SO1"), wechat_life("SO2", paid=None), make_life("SO3"))
    world.receiver.last = (204, b"")

    world.run_to(minutes(10))

    assert [entry.order_no for entry in world.outbox.ledger] == ["SO1"]


def test_every_refund_has_a_notice_of_its_own_signed_and_sealed_without_associated_data(world):
    """As 退款结果通知 of the v3 documents has it: REFUND.SUCCESS, original_type refund."""
    lines = [
        LifeLine("A", "围巾", 1, 10_000, refunded=minutes(20)),
        LifeLine("B", "帽子", 1, 17_900),
    ]
    world.store.add(wechat_life(lines=lines, refunded=minutes(40)))

    world.run_to(minutes(60), timedelta(minutes=1))

    told = [(json.loads(body), open_notification(body)) for _, _, body in world.receiver.got]
    assert all(is_signed(headers, body) for _, headers, body in world.receiver.got)
    assert [notice["event_type"] for notice, _ in told] == [
        "TRANSACTION.SUCCESS", "REFUND.SUCCESS", "REFUND.SUCCESS",
    ]  # fmt: skip
    assert len({notice["id"] for notice, _ in told}) == 3
    first, second = told[1:]
    assert (first[0]["summary"], first[0]["resource_type"]) == ("退款成功", "encrypt-resource")
    assert first[0]["resource"]["original_type"] == "refund"
    assert first[0]["resource"]["associated_data"] == ""
    assert (first[1]["out_trade_no"], first[1]["refund_status"]) == (NO, "SUCCESS")
    assert first[1]["transaction_id"] == told[0][1]["transaction_id"]
    assert "trade_state" not in first[1]  # nothing of the trade but its numbers: it is asked for
    assert first[1]["success_time"] == "2025-11-11T12:20:00+08:00"
    assert first[1]["amount"] == {
        "total": 27_900, "refund": 10_000, "payer_total": 27_900, "payer_refund": 10_000,
    }  # fmt: skip
    assert second[1]["amount"]["refund"] == 17_900
    assert first[1]["refund_id"] != second[1]["refund_id"]
    assert ask(world)["trade_state"] == "REFUND"


@pytest.mark.parametrize("status", ["ABNORMAL", "CLOSED"])
def test_a_refund_that_gave_nothing_back_is_told_as_that(world, status):
    life = wechat_life()
    world.store.add(life)
    world.run_to(minutes(6))

    world.host.apps["/wechat_pay"].notify_refund(life, minutes(6), "asked", 27_900, status)
    world.host.pump()

    _, headers, body = world.receiver.got[-1]
    content = open_notification(body)
    assert is_signed(headers, body)
    assert json.loads(body)["event_type"] == f"REFUND.{status}"
    assert (content["refund_status"], "success_time" in content) == (status, False)
    assert ask(world)["trade_state"] == "SUCCESS"


# -- what a naive client makes of it -----------------------------------------------------------


def test_a_naive_client_that_takes_any_refusal_for_unpaid_gives_a_paid_order_up(world):
    world.store.add(wechat_life())
    world.faults.switch("wechat_pay", "*", "throttle", times=1)

    naive = ask(world).get("trade_state", "NOTPAY")

    assert naive == "NOTPAY"
    assert ask(world)["trade_state"] == "SUCCESS"


def test_a_naive_client_without_a_replay_table_counts_a_payment_twice(world):
    world.store.add(wechat_life())
    world.receiver.answers = [(503, b"stored, but the answer was lost")]

    world.run_to(minutes(10))

    told = [(json.loads(body)["id"], open_notification(body)) for _, _, body in world.receiver.got]
    assert sum(order["amount"]["total"] for _, order in told) == 55_800
    assert sum({key: order["amount"]["total"] for key, order in told}.values()) == 27_900


def test_a_naive_client_that_takes_every_notice_for_a_payment_books_a_refund_as_income(world):
    world.store.add(wechat_life(refunded=minutes(8)))

    world.run_to(minutes(10), timedelta(minutes=1))

    told = [open_notification(body) for _, _, body in world.receiver.got]
    assert sum(one["amount"]["total"] for one in told) == 55_800
    assert sum(one["amount"]["total"] for one in told if "trade_state" in one) == 27_900
    assert ask(world)["trade_state"] == "REFUND"


def test_a_naive_client_that_waits_for_callbacks_loses_a_payment(world):
    world.faults.switch("wechat_pay", "notify", "drop_callback")
    world.store.add(wechat_life())

    world.run_to(minutes(24 * 60), timedelta(minutes=10))

    assert world.receiver.got == []
    assert ask(world)["trade_state"] == "SUCCESS"
