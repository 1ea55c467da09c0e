"""The own mall's simulator on the wire, judged by FORMAT.md and a signature of our own."""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import json
from datetime import datetime, timedelta
from urllib.parse import urlencode

import pytest

from connectors.simulators.core import Bucket
from connectors.simulators.keys import MallKeys
from connectors.simulators.life import LifeLine, LifePromotion, LifeShipment
from connectors.simulators.mall import MallApp
from tests.connectors.simulators.wire_world import NOON, WireWorld, keys, make_life, minutes

PUSH = "http://receiver/inbound/mall"
_numbers = itertools.count()


@pytest.fixture
def world():
    world = WireWorld(at=minutes(60))
    app = world.make(MallApp, keys().mall, push_url=PUSH)
    with world.serving(mall=app):
        yield world


def sign(secret, text):
    key = base64.b64decode(secret.removeprefix("whsec_"))
    return "v1," + base64.b64encode(hmac.digest(key, text, hashlib.sha256)).decode()


def headers_of(world, method, target, body=b"", **changes):
    number, stamp = f"n{next(_numbers)}", str(int(world.clock.now().timestamp()))
    number, stamp = changes.get("number", number), changes.get("stamp", stamp)
    text = f"{number}.{stamp}.{method}.{changes.get('signed_target', target)}.".encode() + body
    return {
        "webhook-id": number,
        "webhook-timestamp": stamp,
        "webhook-signature": sign(changes.get("secret", keys().mall.secret), text),
    }


def send(world, path, method="GET", body=b"", **changes):
    target = "/mall" + path
    return world.call(method, target, body, headers_of(world, method, target, body, **changes))


def refusal(world, path, **changes):
    reply = send(world, path, **changes)
    return reply.status, json.loads(reply.body)["error"]["code"]


def ask_page(world, start=NOON, end=None, *, limit=None, cursor=None):
    query = {
        "updated_from": start.isoformat(),
        "updated_to": (end or minutes(24 * 60)).isoformat(),
    }
    query |= {"limit": str(limit)} if limit else {}
    query |= {"cursor": cursor} if cursor else {}
    reply = send(world, "/orders?" + urlencode(query))
    assert reply.status == 200, reply.body
    return json.loads(reply.body)


def ask_all(world, start=NOON, end=None, *, limit=2):
    """What a careful client does: follow the cursor to its end."""
    orders, cursor = [], None
    while True:
        page = ask_page(world, start, end, limit=limit, cursor=cursor)
        orders += page["orders"]
        cursor = page.get("next_cursor")
        if not cursor:
            return orders


def ask_one(world, order_no="SO202511110001"):
    return json.loads(send(world, f"/orders/{order_no}").body)


def add_many(world, count):
    world.store.add(
        *(
            make_life(
                f"M{n}", placed=minutes(n), gateway_paid=minutes(n + 0.5), paid=minutes(n + 0.6)
            )
            for n in range(count)
        )
    )


# -- calls -------------------------------------------------------------------------------------


def test_the_signature_is_that_of_standard_webhooks():
    text = b'msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.{"test": 2432232314}'

    assert sign("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", text) == (
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    )


def test_orders_of_a_window_come_oldest_change_first(world):
    add_many(world, 5)

    orders = ask_all(world, minutes(1), minutes(3.6))

    assert [order["order_no"] for order in orders] == ["M1", "M2"]
    assert orders[0]["updated_at"] == "2025-11-11T12:01:36+08:00"


def test_the_end_of_a_window_is_not_part_of_it_and_its_start_is(world):
    world.store.add(make_life("M1", gateway_paid=None, paid=None, gateway=""))

    assert [o["order_no"] for o in ask_all(world, NOON, minutes(1))] == ["M1"]
    assert ask_all(world, minutes(-1), NOON) == []


def test_an_empty_window_gives_an_empty_list_and_no_cursor(world):
    assert ask_page(world) == {"orders": []}


def test_the_last_page_has_no_cursor(world):
    add_many(world, 4)

    first = ask_page(world, limit=2)
    second = ask_page(world, limit=2, cursor=first["next_cursor"])

    assert [o["order_no"] for o in first["orders"] + second["orders"]] == ["M0", "M1", "M2", "M3"]
    assert "next_cursor" not in second


def test_an_order_shows_in_the_list_with_its_lag_and_at_once_by_itself(world):
    world.store.add(
        make_life(
            "M1", placed=minutes(59.5), gateway_paid=None, paid=None, lag=timedelta(seconds=45)
        )
    )

    assert ask_all(world) == []
    assert ask_one(world, "M1")["status"] == "await_pay"
    world.clock.advance(timedelta(seconds=15))
    assert [order["order_no"] for order in ask_all(world)] == ["M1"]


def test_an_order_by_itself_can_be_told_as_it_was_seconds_ago_too(world):
    world.store.add(make_life("M1", placed=minutes(50), gateway_paid=minutes(59), paid=minutes(59)))
    world.store.add(make_life("M2", placed=minutes(59), gateway_paid=None, paid=None))
    world.faults.switch("mall", "orders.one", "stale_detail", times=2, seconds=90)

    assert ask_one(world, "M1")["status"] == "await_pay"
    assert refusal(world, "/orders/M2") == (404, "not_found")  # not born yet, then
    assert ask_one(world, "M1")["status"] == "await_ship"
    assert ask_one(world, "M2")["status"] == "await_pay"


def test_a_lagging_list_tells_the_order_as_it_was(world):
    world.store.add(
        make_life("M1", gateway_paid=minutes(59.4), paid=minutes(59.5), lag=timedelta(seconds=45))
    )

    [listed] = ask_all(world)

    assert (listed["status"], listed["updated_at"]) == ("await_pay", "2025-11-11T12:00:00+08:00")
    assert ask_one(world, "M1")["status"] == "await_ship"


@pytest.mark.parametrize(
    "query",
    [
        "",
        "updated_from=2025-11-11T12:00:00%2B08:00",
        "updated_from=2025-11-11T12:00:00&updated_to=2025-11-11T13:00:00",
        "updated_from=2025-11-11T12:00:00Z&updated_to=2025-11-11T12:00:00Z",
        "updated_from=2025-11-11T12:00:00Z&updated_to=2025-11-11T13:00:00Z&limit=201",
        "updated_from=2025-11-11T12:00:00Z&updated_to=2025-11-11T13:00:00Z&limit=0",
        "updated_from=2025-11-11T12:00:00Z&updated_to=2025-11-11T13:00:00Z&cursor=no",
    ],
)
def test_illegal_windows_limits_and_cursors_are_refused(world, query):
    assert refusal(world, "/orders?" + query) == (400, "bad_request")


def test_what_is_not_there_is_not_found(world):
    world.store.add(make_life("M1", placed=minutes(61)), make_life("M2", shop="another"))

    for path in ("/orders/M0", "/orders/M1", "/orders/M2", "/goods", "/orders/M1/dream"):
        assert refusal(world, path) == (404, "not_found")


def test_a_call_is_good_for_its_method_and_path_only(world):
    add_many(world, 1)

    assert send(world, "/orders/M0").status == 200
    assert send(world, "/orders/M0", signed_target="/orders/M0").status == 200  # without our prefix
    assert refusal(world, "/orders/M0", signed_target="/orders/M1") == (401, "bad_signature")
    assert refusal(world, "/orders/M0", secret="whsec_" + "A" * 44) == (401, "bad_signature")
    assert refusal(world, "/orders/M0", number="a.b") == (401, "bad_signature")
    assert world.call("GET", "/mall/orders/M0").status == 401


def test_an_old_call_is_refused(world):
    add_many(world, 1)
    now = int(world.clock.now().timestamp())

    assert send(world, "/orders/M0", stamp=str(now - 300)).status == 200
    assert refusal(world, "/orders/M0", stamp=str(now - 301)) == (401, "bad_timestamp")
    world.faults.switch("mall", "*", "wrong_clock", seconds=-900)
    assert refusal(world, "/orders/M0") == (401, "bad_timestamp")


@pytest.mark.parametrize(
    ("kind", "told"), [("throttle", (429, "rate_limited")), ("service_error", (500, "internal"))]
)
@pytest.mark.parametrize("path", ["/orders", "/orders/SO202511110001"])
def test_its_own_trouble_is_told_in_the_envelope_of_lists_and_orders(world, kind, told, path):
    world.store.add(make_life())
    if path == "/orders":
        query = {"updated_from": NOON.isoformat(), "updated_to": minutes(60).isoformat()}
        path += "?" + urlencode(query)
    world.faults.switch("mall", "*", kind, times=1)

    assert refusal(world, path) == told
    assert send(world, path).status == 200


def test_too_many_calls_and_a_spent_quota_are_told_apart():
    world = WireWorld(make_life("M1"), at=minutes(5))
    app = world.make(MallApp, keys().mall, bucket=Bucket(1, 2), calls_per_day=3)
    with world.serving(mall=app):
        assert [send(world, "/orders/M1").status for _ in range(3)] == [200, 200, 429]
        assert int(send(world, "/orders/M1").headers["retry-after"]) >= 1
        world.clock.advance(timedelta(seconds=5))
        assert send(world, "/orders/M1").status == 200
        assert refusal(world, "/orders/M1") == (429, "quota_exceeded")
        world.clock.advance(timedelta(hours=20))  # tomorrow, in Shanghai
        assert send(world, "/orders/M1").status == 200


# -- what an order says ------------------------------------------------------------------------

PAID = {"gateway_paid": minutes(1), "paid": minutes(1.1)}


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"gateway_paid": None, "paid": None}, "await_pay"),
        ({"gateway_paid": minutes(1), "paid": None}, "await_pay"),  # its callback is lost
        (PAID, "await_ship"),
        (PAID | {"group": True}, "await_group"),
        (PAID | {"group": True, "group_done": minutes(2)}, "await_ship"),
        (PAID | {"risk_from": minutes(2)}, "platform_hold"),
        (PAID | {"risk_from": minutes(2), "risk_until": minutes(3)}, "await_ship"),
        ({"gateway": "", "gateway_paid": None, "paid": None, "cod": True}, "await_ship"),
        (PAID | {"part_shipped": minutes(2)}, "part_shipped"),
        (PAID | {"shipped": minutes(2)}, "shipped"),
        (PAID | {"shipped": minutes(2), "delivered": minutes(3)}, "delivered"),
        (PAID | {"delivered": minutes(3), "completed": minutes(4)}, "completed"),
        (PAID | {"refunded": minutes(3)}, "closed_refunded"),
        ({"gateway_paid": None, "paid": None, "closed": minutes(3)}, "closed_unpaid"),
        (PAID | {"unknown_status": "dreaming", "unknown_from": minutes(2)}, "dreaming"),
        (
            {"gateway_paid": None, "paid": None, "presale": True, "deposit_paid": minutes(1)},
            "deposit_paid",
        ),
    ],
)
def test_the_status_follows_the_life(world, changes, status):
    world.store.add(make_life(**changes))

    assert ask_one(world)["status"] == status


@pytest.mark.parametrize("end", ["closed", "refunded", "forfeited"])
def test_an_order_that_ended_tells_when(world, end):
    world.store.add(make_life("M1", **{end: minutes(30)}), make_life("M2", **{end: minutes(61)}))

    assert ask_one(world, "M1")["closed_at"] == "2025-11-11T12:30:00+08:00"
    assert ask_one(world, "M2")["closed_at"] is None


def test_nothing_later_than_now_shows(world):
    world.store.add(
        make_life(shipped=minutes(61), shipments=(LifeShipment(minutes(61), "SF", "1"),))
    )

    order = ask_one(world)

    assert (order["status"], order["shipped_at"], order["shipments"]) == ("await_ship", None, [])


def test_money_is_told_in_fen_and_adds_up(world):
    lines = [
        LifeLine("A", "甲", 3, 29_900, discount_fen=1_000),
        LifeLine("B", "乙", 1, 10_001),
        LifeLine("G", "赠", 1, 0, is_gift=True, gift_of=0),
    ]
    promotions = (
        LifePromotion("mjs-1_2", "mjs", "满减", 7_000),
        LifePromotion("mz-1_2", "mz", "满赠", gift_sku="G", gift_quantity=1),
    )
    world.store.add(
        make_life(
            lines=lines,
            promotions=promotions,
            freight_fen=1_000,
            shop_discount_fen=7_000,
            coupon_fen=333,
            gifts_due=1,
        )
    )

    order = ask_one(world)

    amounts = order["amounts"]
    assert amounts["payable_fen"] == amounts["paid_fen"] == 89_700 + 10_001 + 1_000 - 7_333
    assert sum(item["amount_fen"] for item in order["items"]) == amounts["payable_fen"] - 1_000
    assert order["items"][2]["is_gift"] is True
    assert order["promotions"][1]["gift_sku"] == "G"
    assert order["gifts"] == {"due": 1, "packed": 0}
    assert all(isinstance(value, int) for value in amounts.values())


def test_a_wrong_price_shows_until_it_is_mended(world):
    world.store.add(make_life(price_error_fen=-2000, price_mended=minutes(90)))

    assert ask_one(world)["amounts"]["paid_fen"] == 25_900
    world.clock.set(minutes(91))
    assert ask_one(world)["amounts"]["paid_fen"] == 27_900


def test_a_presale_tells_both_payments_once_the_balance_is_in(world):
    life = make_life(
        gateway_paid=minutes(70),
        paid=minutes(70.1),
        presale=True,
        deposit_fen=5_000,
        deposit_paid=minutes(1),
        balance_opens=minutes(65),
        balance_due=minutes(90),
        balance_paid=minutes(70.1),
    )
    world.store.add(life)

    before = ask_one(world)
    world.clock.set(minutes(71))
    after = ask_one(world)

    assert before["presale"]["phase"] == "deposit_paid"
    assert [p["amount_fen"] for p in before["payments"]] == [5_000]
    assert before["paid_at"] is None
    assert after["presale"]["phase"] == "balance_paid"
    assert [(p["phase"], p["amount_fen"]) for p in after["payments"]] == [
        ("deposit", 5_000),
        ("balance", 22_900),
    ]
    assert after["paid_at"] == "2025-11-11T13:10:00+08:00"


# -- payment sync ------------------------------------------------------------------------------


def sync(world, order_no="SO202511110001"):
    reply = send(world, f"/orders/{order_no}/sync_payment", "POST")
    assert reply.status == 200, reply.body
    return json.loads(reply.body)


def test_a_sync_mends_a_lost_callback_once(world):
    world.store.add(make_life(paid=None, cause="支付回调丢失"))

    first, second = sync(world), sync(world)

    assert (first["result"], first["order"]["status"]) == ("paid", "await_ship")
    assert first["order"]["paid_at"] == "2025-11-11T12:00:30+08:00"
    assert first["order"]["payment_confirmed_at"] == "2025-11-11T13:00:00+08:00"
    assert second["result"] == "unchanged"
    assert world.store.get("SO202511110001").mended == minutes(60)
    assert [order["order_no"] for order in ask_all(world, minutes(60))] == ["SO202511110001"]


def test_a_sync_changes_nothing_when_the_gateway_has_no_money(world):
    world.store.add(make_life(gateway_paid=minutes(90), paid=None))

    answer = sync(world)

    assert (answer["result"], answer["order"]["status"]) == ("unpaid", "await_pay")
    assert world.store.get("SO202511110001").paid is None
    assert refusal(world, "/orders/SO1/sync_payment", method="POST") == (404, "not_found")
    assert refusal(world, "/orders/SO202511110001/sync_payment") == (404, "not_found")


def test_the_scenario_is_told_of_a_synced_order():
    world, told = WireWorld(make_life(paid=None), at=minutes(60)), []
    app = world.make(
        MallApp, keys().mall, on_synced=lambda life, now: told.append((life.order_no, now))
    )
    with world.serving(mall=app):
        sync(world)
        sync(world)

    assert told == [("SO202511110001", minutes(60))]


# -- pushes ------------------------------------------------------------------------------------


def events_of(world):
    return [json.loads(body) for _, _, body in world.receiver.got]


def test_pushes_are_signed_over_the_raw_body(world):
    world.store.add(make_life("M1", placed=minutes(60.1), gateway_paid=None, paid=None))

    world.run_to(minutes(61))

    [(url, headers, body)] = world.receiver.got
    text = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    assert url == PUSH
    assert headers["webhook-signature"] == sign(keys().mall.secret, text)
    assert "." not in headers["webhook-id"]
    assert (events_of(world)[0]["type"], events_of(world)[0]["data"]["order_no"]) == (
        "order.created",
        "M1",
    )


def test_a_life_is_pushed_as_it_goes(world):
    world.store.add(
        make_life(
            "M1",
            placed=minutes(61),
            gateway_paid=minutes(62),
            paid=minutes(63),
            shipped=minutes(64),
        )
    )

    world.run_to(minutes(70))

    told = [(e["type"], e["data"].get("status")) for e in events_of(world)]
    assert told == [
        ("order.created", "await_pay"),
        ("payment.updated", "paid"),
        ("order.updated", "await_ship"),
        ("order.updated", "shipped"),
    ]
    assert events_of(world)[1]["data"]["amount_fen"] == 27_900


def test_a_presale_pushes_each_payment_and_both_when_they_go_back(world):
    world.store.add(
        make_life(
            "M1",
            placed=minutes(60.5),
            presale=True,
            deposit_fen=5_000,
            deposit_paid=minutes(61),
            gateway_paid=minutes(62),
            paid=minutes(62.5),
            balance_paid=minutes(62.5),
            refunded=minutes(63),
        )
    )

    world.run_to(minutes(65))

    payments = [e["data"] for e in events_of(world) if e["type"] == "payment.updated"]
    assert [(p["phase"], p["status"], p["amount_fen"]) for p in payments] == [
        ("deposit", "paid", 5_000),
        ("balance", "paid", 22_900),
        ("deposit", "refunded", 5_000),
        ("balance", "refunded", 22_900),
    ]
    assert len({headers["webhook-id"] for _, headers, _ in world.receiver.got}) == len(
        world.receiver.got
    )


def test_a_push_is_repeated_with_its_id_and_a_new_signature_until_it_is_taken(world):
    world.store.add(make_life("M1", placed=minutes(60.1), gateway_paid=None, paid=None))
    world.receiver.answers = [(503, b""), (429, b"")]
    world.receiver.last = (409, b"known")

    world.run_to(minutes(24 * 60), timedelta(minutes=1))

    assert len({(h["webhook-id"], body) for _, h, body in world.receiver.got}) == 1
    assert len({h["webhook-signature"] for _, h, _ in world.receiver.got}) == 3
    assert [entry.status for entry in world.outbox.ledger] == [503, 429, 409]


def test_a_push_is_repeated_for_a_day_at_least(world):
    world.store.add(make_life("M1", gateway_paid=None, paid=None))
    world.receiver.last = (500, b"")

    world.run_to(minutes(5 * 24 * 60), timedelta(minutes=30))

    attempts = [entry.at for entry in world.outbox.ledger]
    assert attempts[-1] - attempts[0] >= timedelta(hours=24)
    assert len(attempts) == 10


def test_another_shops_orders_are_not_pushed(world):
    world.store.add(make_life("M1", shop="another"))

    world.run_to(minutes(61))

    assert world.receiver.got == []


def test_a_ping_tries_the_connection():
    world = WireWorld(at=NOON)
    app = world.make(MallApp, MallKeys("x", keys().mall.secret), push_url=PUSH)
    with world.serving(mall=app):
        app.ping()
        world.host.pump()

    assert events_of(world) == [{"type": "ping", "occurred_at": "2025-11-11T12:00:00+08:00"}]


# -- what a naive client makes of it -----------------------------------------------------------


def numbers_of(orders):
    return [order["order_no"] for order in orders]


def test_a_naive_client_that_stops_at_a_short_page_loses_orders(world):
    add_many(world, 6)
    world.faults.switch("mall", "orders", "half_page", page=1, times=2)

    def ask_naively():
        page = ask_page(world, limit=4)
        orders = page["orders"]
        while len(page["orders"]) == 4:
            page = ask_page(world, limit=4, cursor=page["next_cursor"])
            orders += page["orders"]
        return orders

    assert numbers_of(ask_naively()) == ["M0", "M1"]
    assert numbers_of(ask_all(world, limit=4)) == [f"M{n}" for n in range(6)]


def test_a_naive_client_that_adds_up_pages_doubles_orders(world):
    add_many(world, 6)
    world.faults.switch("mall", "orders", "repeated_page", page=2, times=1)

    orders = ask_all(world, limit=2)

    assert numbers_of(orders) == ["M0", "M1", "M0", "M1", "M2", "M3", "M4", "M5"]
    assert sorted({o["order_no"]: o for o in orders}) == [f"M{n}" for n in range(6)]


def test_a_naive_client_that_keeps_the_first_version_misses_what_changed_between_pages(world):
    add_many(world, 6)
    world.faults.switch("mall", "orders", "mutate_between_pages", page=1, times=1)

    orders = ask_all(world, limit=3)

    kept_naively = {}
    for order in orders:
        kept_naively.setdefault(order["order_no"], order["updated_at"])
    truth = {no: ask_one(world, no)["updated_at"] for no in kept_naively}
    kept = {order["order_no"]: order["updated_at"] for order in orders}
    assert len(orders) == 9  # three came again, changed
    assert kept == truth
    assert kept_naively != truth


def test_a_naive_client_that_moves_its_cursor_before_the_answer_loses_a_window(world):
    add_many(world, 3)
    world.faults.switch("mall", "orders", "http_503", times=1)

    def ask_naively(start, end):
        query = urlencode({"updated_from": start.isoformat(), "updated_to": end.isoformat()})
        reply = send(world, f"/orders?{query}")
        return json.loads(reply.body)["orders"] if reply.status == 200 else []

    windows = [(NOON, minutes(2)), (minutes(2), minutes(30))]
    naive = [order for window in windows for order in ask_naively(*window)]
    assert numbers_of(naive) == ["M2"]
    assert numbers_of(ask_all(world)) == ["M0", "M1", "M2"]


def test_a_naive_receiver_without_a_replay_table_counts_an_order_twice(world):
    world.faults.switch("mall", "order.created", "duplicate_callback", times=1)
    world.store.add(make_life("M1", placed=minutes(60.1), gateway_paid=None, paid=None))

    world.run_to(minutes(61))

    assert len(world.receiver.got) == 2
    assert len({headers["webhook-id"] for _, headers, _ in world.receiver.got}) == 1


def test_a_naive_receiver_of_pushes_only_loses_a_dropped_order(world):
    world.faults.switch("mall", "*", "drop_callback", times=1)
    world.store.add(
        make_life("M1", placed=minutes(60.1), gateway_paid=None, paid=None),
        make_life("M2", placed=minutes(60.2), gateway_paid=None, paid=None),
    )

    world.run_to(minutes(70))

    assert [e["data"]["order_no"] for e in events_of(world)] == ["M2"]
    assert numbers_of(ask_all(world)) == ["M1", "M2"]


def test_a_late_push_tells_an_older_state_than_the_list(world):
    world.faults.switch("mall", "order.created", "delay_callback", times=1, seconds=600)
    world.store.add(
        make_life("M1", placed=minutes(60.1), gateway_paid=minutes(61), paid=minutes(61.5))
    )

    world.run_to(minutes(75))

    orders = [e["data"] for e in events_of(world) if e["type"] != "payment.updated"]
    assert [order["status"] for order in orders] == ["await_ship", "await_pay"]
    times = [datetime.fromisoformat(order["updated_at"]) for order in orders]
    assert times[1] < times[0]  # a client without a version guard takes the order back to unpaid
