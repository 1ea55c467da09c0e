"""The Alipay simulator on the wire, judged by channels.md 10.2 and a signature of our own."""

from __future__ import annotations

import base64
import hashlib
import json
from datetime import timedelta
from urllib.parse import parse_qsl, urlencode

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding

from connectors.simulators.alipay import AlipayApp
from connectors.simulators.core import Bucket
from tests.connectors.simulators.wire_world import WireWorld, keys, make_life, minutes

NODE = "alipay_trade_query_response"
NOTIFY = "http://receiver/inbound/alipay"


@pytest.fixture
def world():
    world = WireWorld(at=minutes(5))
    app = world.make(AlipayApp, keys().alipay, notify_url=NOTIFY)
    with world.serving(alipay=app):
        yield world


def text_of(params, *without):
    return "&".join(f"{k}={params[k]}" for k in sorted(params) if k not in without and params[k])


def signed(world, order_no="SO202511110001", *, key=None, **changes):
    params = {
        "app_id": keys().alipay.app_id,
        "method": "alipay.trade.query",
        "format": "JSON",
        "charset": "utf-8",
        "sign_type": "RSA2",
        "timestamp": (world.clock.now() + timedelta(hours=8)).strftime("%Y-%m-%d %H:%M:%S"),
        "version": "1.0",
        "biz_content": json.dumps({"out_trade_no": order_no}),
    } | changes
    private = serialization.load_pem_private_key(
        (key or keys().alipay.app).private_pem.encode(), None
    )
    sign = private.sign(text_of(params, "sign").encode(), padding.PKCS1v15(), hashes.SHA256())
    return params | {"sign": base64.b64encode(sign).decode()}


def send(world, params):
    reply = world.call(
        "POST",
        "/alipay/gateway.do",
        urlencode(params).encode(),
        {"Content-Type": "application/x-www-form-urlencoded"},
    )
    assert reply.status == 200  # failures too
    return reply.body.decode()


def ask(world, order_no="SO202511110001", **changes):
    return json.loads(send(world, signed(world, order_no, **changes)))[NODE]


def holds(message, sign):
    public = serialization.load_pem_public_key(keys().alipay.alipay.public_pem.encode())
    try:
        public.verify(base64.b64decode(sign), message, padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        return False
    return True


def test_the_text_to_sign_is_the_one_of_the_handbook():
    text = text_of(
        {
            "app_id": "2021000000000001",
            "method": "alipay.trade.query",
            "format": "JSON",
            "charset": "utf-8",
            "sign_type": "RSA2",
            "timestamp": "2025-11-11 00:15:00",
            "version": "1.0",
            "biz_content": '{"out_trade_no":"SO202511110001"}',
        }
    )

    assert hashlib.sha256(text.encode()).hexdigest() == (
        "0ec4ff9f71d3bc1366929ed57d17b4d028d2d4bdc0dbb9800da983a6ee057a5f"
    )


def test_a_paid_order_is_told_with_amount_and_time(world):
    world.store.add(make_life())

    trade = ask(world)

    assert (trade["code"], trade["trade_status"]) == ("10000", "TRADE_SUCCESS")
    assert (trade["total_amount"], trade["send_pay_date"]) == ("279.00", "2025-11-11 12:00:30")
    assert len(trade["trade_no"]) == 28


def test_parameters_may_come_in_the_address(world):
    world.store.add(make_life())

    reply = world.call("GET", "/alipay/gateway.do?" + urlencode(signed(world)))

    assert json.loads(reply.body)[NODE]["code"] == "10000"


def test_an_empty_parameter_is_not_part_of_the_signed_text(world):
    world.store.add(make_life())

    assert ask(world, notify_url="")["code"] == "10000"


def test_an_answer_is_signed_over_the_raw_text_of_its_node(world):
    world.store.add(make_life())

    body = send(world, signed(world))

    content = json.loads(body)
    raw = body[body.index(":") + 1 : body.rindex(',"sign":')]
    assert holds(raw.encode(), content["sign"])
    again = json.dumps(content[NODE], ensure_ascii=False, separators=(",", ":"))
    assert not holds(again.encode(), content["sign"])


@pytest.mark.parametrize(
    ("changes", "at", "status"),
    [
        ({"gateway_paid": minutes(5.2), "paid": None}, 5, "WAIT_BUYER_PAY"),
        ({"completed": minutes(60)}, 60, "TRADE_SUCCESS"),
        ({"completed": minutes(60)}, 60 + 90 * 24 * 60, "TRADE_FINISHED"),
        ({"refunded": minutes(4)}, 5, "TRADE_CLOSED"),
    ],
)
def test_the_status_follows_the_life(world, changes, at, status):
    world.store.add(make_life(**changes))
    world.clock.set(minutes(at))

    assert ask(world)["trade_status"] == status


def test_nothing_later_than_now_shows(world):
    world.store.add(make_life(refunded=minutes(6)))

    assert ask(world)["trade_status"] == "TRADE_SUCCESS"
    world.clock.set(minutes(6))
    assert ask(world)["trade_status"] == "TRADE_CLOSED"


def test_a_trade_nobody_opened_does_not_exist(world):
    world.store.add(make_life("SO1", gateway_paid=minutes(30), paid=None))
    world.store.add(make_life("SO2", gateway="wechat_pay"))

    for number in ("SO1", "SO2", "SO3"):
        answer = ask(world, number)
        assert (answer["code"], answer["sub_code"]) == ("40004", "ACQ.TRADE_NOT_EXIST")


def test_a_paid_amount_that_is_wrong_is_told_as_paid(world):
    world.store.add(make_life(price_error_fen=-500))

    assert ask(world)["total_amount"] == "274.00"


@pytest.mark.parametrize(
    ("changes", "code", "sub_code"),
    [
        ({"app_id": "2021"}, "40002", "isv.invalid-app-id"),
        ({"method": "alipay.trade.dream"}, "40002", "isv.invalid-method"),
        ({"sign_type": "RSA"}, "40002", "isv.invalid-signature-type"),
        ({"timestamp": ""}, "40001", "isv.missing-timestamp"),
        ({"timestamp": "yesterday"}, "40002", "isv.invalid-timestamp"),
        ({"timestamp": "2025-11-11 04:00:00"}, "40002", "isv.invalid-timestamp"),
        ({"biz_content": "{}"}, "40004", "ACQ.INVALID_PARAMETER"),
        ({"biz_content": "[]"}, "40004", "ACQ.INVALID_PARAMETER"),
        ({"biz_content": "no"}, "40004", "ACQ.INVALID_PARAMETER"),
    ],
)
def test_what_is_wrong_is_refused_with_http_200(world, changes, code, sub_code):
    world.store.add(make_life())

    content = json.loads(send(world, signed(world, **changes)))

    answer = content.get(NODE) or content["error_response"]
    assert (answer["code"], answer["sub_code"]) == (code, sub_code)


def test_a_wrong_key_and_a_changed_parameter_are_refused(world):
    world.store.add(make_life())
    params = signed(world)

    assert ask(world, key=keys().alipay.alipay)["sub_code"] == "isv.invalid-signature"
    changed = send(world, params | {"biz_content": '{"out_trade_no":"SO2"}'})
    assert json.loads(changed)[NODE]["sub_code"] == "isv.invalid-signature"
    unsigned = send(world, {k: v for k, v in params.items() if k != "sign"})
    assert json.loads(unsigned)[NODE]["sub_code"] == "isv.missing-signature"


def test_the_gateways_clock_can_be_wrong(world):
    world.store.add(make_life())
    world.faults.switch("alipay", "*", "wrong_clock", seconds=3600)

    assert ask(world)["sub_code"] == "isv.invalid-timestamp"


def test_too_many_calls_meet_a_busy_gateway():
    world = WireWorld(make_life(), at=minutes(5))
    app = world.make(AlipayApp, keys().alipay, bucket=Bucket(1, 2))
    with world.serving(alipay=app):
        codes = [ask(world)["code"] for _ in range(3)]
        world.clock.advance(timedelta(seconds=1))
        assert [*codes, ask(world)["code"]] == ["10000", "10000", "20000", "10000"]


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("throttle", ("20000", "isp.unknow-error")),
        ("service_error", ("40004", "ACQ.SYSTEM_ERROR")),
    ],
)
def test_a_busy_gateway_and_a_broken_one_are_told_apart_and_other_faults_refuse_nothing(
    world, kind, told
):
    world.store.add(make_life())
    world.faults.switch("alipay", "*", "half_page")
    world.faults.switch("alipay", "*", kind, times=1)

    answer = ask(world)

    assert (answer["code"], answer["sub_code"]) == told
    assert ask(world)["trade_status"] == "TRADE_SUCCESS"


# -- notifications -----------------------------------------------------------------------------


def read_notification(body):
    return dict(parse_qsl(body.decode(), keep_blank_values=True))


def test_a_notification_is_signed_without_sign_and_sign_type(world):
    world.store.add(make_life(paid=minutes(6), gateway_paid=minutes(5.9)))

    world.run_to(minutes(10))

    [(url, headers, body)] = world.receiver.got
    params = read_notification(body)
    assert url == NOTIFY
    assert headers["content-type"].startswith("application/x-www-form-urlencoded")
    assert (params["trade_status"], params["total_amount"]) == ("TRADE_SUCCESS", "279.00")
    assert holds(text_of(params, "sign", "sign_type").encode(), params["sign"])
    assert not holds(text_of(params, "sign").encode(), params["sign"])


def test_a_notification_is_repeated_on_schedule_until_the_answer_is_success(world):
    world.store.add(make_life(paid=minutes(5), gateway_paid=minutes(4.9)))
    world.receiver.last = (200, b'{"msg":"success"}')

    world.run_to(minutes(30), timedelta(minutes=1))
    world.receiver.last = (200, b"success")
    world.run_to(minutes(24 * 60), timedelta(minutes=10))

    attempts = [entry.at for entry in world.outbox.ledger]
    waits = [(b - a).total_seconds() // 60 for a, b in zip(attempts, attempts[1:], strict=False)]
    assert waits == [4, 10, 10, 60]
    assert len({body for _, _, body in world.receiver.got}) == 1
    assert [entry.accepted for entry in world.outbox.ledger] == [False] * 4 + [True]


def test_nobody_is_told_after_the_last_repeat(world):
    world.store.add(make_life())
    world.receiver.last = (500, b"")

    world.run_to(minutes(3 * 24 * 60), timedelta(minutes=30))

    assert len(world.outbox.ledger) == 8


def test_a_refund_is_notified_too_and_a_lost_callback_never(world):
    world.store.add(make_life("SO1", refunded=minutes(8)))
    world.store.add(make_life("SO2", paid=None))

    world.run_to(minutes(10))

    told = [read_notification(body) for _, _, body in world.receiver.got]
    assert [(t["out_trade_no"], t["trade_status"]) for t in told] == [
        ("SO1", "TRADE_SUCCESS"),
        ("SO1", "TRADE_CLOSED"),
    ]


# -- what a naive client makes of it -----------------------------------------------------------


def test_a_naive_client_that_believes_http_200_takes_a_paid_order_for_unpaid(world):
    world.store.add(make_life())
    world.faults.switch("alipay", "*", "throttle", times=1)

    def is_paid_naively():
        return ask(world).get("trade_status") == "TRADE_SUCCESS"

    assert not is_paid_naively()  # 20000 "busy" looks like an unpaid order
    assert is_paid_naively()


def test_a_naive_client_that_waits_for_callbacks_loses_a_payment(world):
    world.faults.switch("alipay", "notify", "drop_callback", times=1)
    world.store.add(make_life("SO1"), make_life("SO2"))

    world.run_to(minutes(24 * 60), timedelta(minutes=10))

    naive = {read_notification(body)["out_trade_no"] for _, _, body in world.receiver.got}
    asked = {no for no in ("SO1", "SO2") if ask(world, no)["trade_status"] == "TRADE_SUCCESS"}
    assert len(naive) == 1
    assert asked == {"SO1", "SO2"}
    assert [entry.note for entry in world.outbox.ledger].count("dropped") == 1


def test_a_naive_client_without_a_replay_table_books_a_payment_twice(world):
    world.faults.switch("alipay", "notify", "duplicate_callback", times=1)
    world.store.add(make_life())

    world.run_to(minutes(10))

    told = [read_notification(body) for _, _, body in world.receiver.got]
    booked_naively = sum(round(float(one["total_amount"]) * 100) for one in told)
    booked_once = {one["notify_id"]: round(float(one["total_amount"]) * 100) for one in told}
    assert booked_naively == 55_800
    assert sum(booked_once.values()) == 27_900
