"""The OMS simulator on the wire: four ways to be let in, four ways to page, hold and release."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import timedelta
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest

from connectors.simulators.core import Bucket
from connectors.simulators.oms import AUTH_KINDS, PAGING_KINDS, OmsApp
from tests.connectors.simulators.wire_world import NOON, WireWorld, keys, make_life, minutes

NO = "SO202511110001"


def received(order_no=NO, at=1.0, **changes):
    """An order the OMS received; reviewed nine minutes later, in the warehouse after twenty more."""
    moments = {
        "oms": minutes(at),
        "reviewed": minutes(at + 9),
        "wms": minutes(at + 29),
        "printed": minutes(at + 39),
        "out": minutes(at + 60),
        "shipped": minutes(at + 61),
    }
    return make_life(order_no, **(moments | changes))


def world_of(*lives, at=60.0, **options):
    world = WireWorld(*lives, at=minutes(at))
    app = OmsApp(world.store, world.clock, world.faults, keys().oms, **options)
    return world.serving(oms=app)


@pytest.fixture
def world():
    with world_of() as world:
        yield world


def bearer():
    return {"Authorization": f"Bearer {keys().oms.token}"}


def headers_of(auth):
    own = keys().oms
    basic = base64.b64encode(f"{own.user}:{own.password}".encode()).decode()
    return {
        "bearer": bearer(),
        "api_key": {"X-Api-Key": own.api_key},
        "basic": {"Authorization": f"Basic {basic}"},
        "hmac": {},
    }[auth]


def sign_query(world, method, path, query, body=b"", **changes):
    own = keys().oms
    stamp = str(int(world.clock.now().timestamp()))
    params = dict(query) | {"appKey": own.app_key, "timestamp": stamp, "nonce": "n1"} | changes
    pairs = "&".join(f"{k}={params[k]}" for k in sorted(params))
    text = f"{method}\n{path}\n{pairs}\n".encode() + body
    return params | {"sign": hmac.new(own.secret.encode(), text, hashlib.sha256).hexdigest()}


def shanghai(moment):
    return (moment + timedelta(hours=8)).strftime("%Y-%m-%d %H:%M:%S")


def window(start=NOON, end=None):
    return {"updated_from": shanghai(start), "updated_to": shanghai(end or minutes(24 * 60))}


def send(world, path="/api/orders", query=None, method="GET", body=b"", headers=None):
    target = "/oms" + path + ("?" + urlencode(query) if query else "")
    return world.call(method, target, body, bearer() if headers is None else headers)


def ask(world, path="/api/orders", query=None, **options):
    reply = send(world, path, query, **options)
    assert reply.status == 200, reply.body
    content = json.loads(reply.body)
    assert content["code"] == 0
    return content["data"]


def refusal(world, *args, **options):
    reply = send(world, *args, **options)
    return reply.status, json.loads(reply.body)["code"]


def change(world, action, order_no=NO):
    return ask(
        world,
        f"/api/orders/{order_no}/{action}",
        method="POST",
        body=json.dumps({"reason": "健康分低于 50"}).encode(),
    )


def numbers_of(rows):
    return [row["orderNo"] for row in rows]


# -- who is let in -----------------------------------------------------------------------------


@pytest.mark.parametrize("auth", AUTH_KINDS)
def test_each_kind_of_authentication_lets_in_its_own_only(auth):
    with world_of(received(), auth=auth) as world:
        for kind in AUTH_KINDS:
            query = window()
            if kind == "hmac":
                query = sign_query(world, "GET", "/oms/api/orders", query)
            reply = send(world, query=query, headers=headers_of(kind))
            assert (kind, reply.status) == (kind, 200 if kind == auth else 401)
            if kind != auth:
                assert json.loads(reply.body)["code"] == 40100


def test_a_signed_query_covers_method_path_parameters_body_and_time():
    with world_of(received(at=55.0), auth="hmac") as world:
        path, now = f"/api/orders/{NO}/hold", int(world.clock.now().timestamp())

        def status_of(method, signed_path, body=b"{}", signed_body=b"{}", extra=(), **changes):
            query = sign_query(world, method, signed_path, {"a": "1 &="}, signed_body, **changes)
            query |= dict(extra)
            return send(world, path, query, method="POST", body=body, headers={}).status

        assert status_of("POST", "/oms" + path) == 200
        assert status_of("POST", path) == 200  # without the host's prefix
        assert status_of("GET", "/oms" + path) == 401
        assert status_of("POST", "/oms/api/orders/other/hold") == 401
        assert status_of("POST", "/oms" + path, body=b"{ }") == 401
        assert status_of("POST", "/oms" + path, extra=[("a", "2")]) == 401
        assert status_of("POST", "/oms" + path, timestamp=str(now - 300)) == 200
        assert status_of("POST", "/oms" + path, timestamp=str(now - 301)) == 401
        assert status_of("POST", "/oms" + path, appKey="other") == 401


def test_a_wrong_token_is_refused(world):
    for headers in ({}, {"Authorization": "Bearer x"}, {"Authorization": keys().oms.token}):
        assert refusal(world, query=window(), headers=headers) == (401, 40100)


# -- what it tells -----------------------------------------------------------------------------


def test_a_row_tells_when_the_order_was_received_and_reviewed(world):
    world.store.add(received())
    world.clock.set(minutes(12))

    row = ask(world, f"/api/orders/{NO}")

    assert (row["recvTime"], row["auditTime"]) == ("2025-11-11 12:01:00", "2025-11-11 12:10:00")
    assert row["pushTime"] is None
    assert row["status"] == {"code": "20", "name": "已审核"}
    assert row["detail"]["payAmount"] == "279.00"
    assert row["updateTime"] == "2025-11-11 12:10:00"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"reviewed": None, "wms": None}, "10"),
        ({"wms": None}, "20"),
        ({}, "30"),
        ({"refunded": minutes(50)}, "90"),
    ],
)
def test_the_status_follows_the_life(world, changes, code):
    world.store.add(received(**changes))

    assert ask(world, f"/api/orders/{NO}")["status"]["code"] == code


def test_an_order_the_oms_never_received_is_not_there(world):
    late = received("SO3", at=61.0, refunded=minutes(50))
    world.store.add(make_life("SO1"), received("SO2", at=61.0), late)

    for number in ("SO1", "SO2", "SO3", "SO4"):
        assert refusal(world, f"/api/orders/{number}") == (404, 40400)
    assert ask(world, query=window()) == {"rows": [], "total": 0}


def test_all_channels_stand_in_one_list(world):
    world.store.add(
        received("A", at=1.0, channel="tmall"),
        received("B", at=2.0, channel="douyin"),
        received("C", at=3.0),
    )

    rows = ask(world, query=window())["rows"]

    assert [(row["orderNo"], row["platform"]) for row in rows] == [
        ("A", "TM"),
        ("B", "DY"),
        ("C", "MALL"),
    ]


def test_a_window_is_half_open_and_by_the_last_update(world):
    world.store.add(received("A", at=1.0, reviewed=None, wms=None, shipped=None))

    assert numbers_of(ask(world, query=window(minutes(1), minutes(2)))["rows"]) == ["A"]
    assert ask(world, query=window(NOON, minutes(1)))["rows"] == []
    world.store.add(received("B", at=2.0))
    assert numbers_of(ask(world, query=window(minutes(2), minutes(20)))["rows"]) == []
    assert numbers_of(ask(world, query=window(minutes(31), minutes(32)))["rows"]) == ["B"]


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"updated_from": "2025-11-11 12:00:00"},
        window() | {"updated_to": "2025-11-11T13:00:00"},
        window(minutes(5), minutes(5)),
        window() | {"page": "0"},
        window() | {"size": "101"},
        window() | {"size": "many"},
    ],
)
def test_illegal_windows_and_pages_are_refused(world, query):
    assert refusal(world, query=query) == (400, 40000)


def test_other_addresses_and_methods_are_refused(world):
    world.store.add(received())

    assert refusal(world, "/api/goods") == (404, 40400)
    assert refusal(world, "/api/orders", method="POST") == (405, 40500)
    assert refusal(world, f"/api/orders/{NO}/hold") == (404, 40400)
    assert refusal(world, f"/api/orders/{NO}/dream", method="POST") == (404, 40400)


@pytest.mark.parametrize(
    ("kind", "status", "code"), [("throttle", 429, 42900), ("service_error", 500, 50000)]
)
@pytest.mark.parametrize("path", ["/api/orders", f"/api/orders/{NO}"])
def test_its_own_trouble_is_told_in_the_envelope_of_lists_and_orders(
    world, kind, status, code, path
):
    world.store.add(received())
    query = window() if path == "/api/orders" else None
    world.faults.switch("oms", "*", kind, times=1)

    reply = send(world, path, query)

    assert (reply.status, json.loads(reply.body)["code"]) == (status, code)
    assert ask(world, path, query)


def test_too_many_calls_are_told_how_long_to_wait():
    with world_of(received(), bucket=Bucket(0.5, 1)) as world:
        assert send(world, query=window()).status == 200
        reply = send(world, query=window())
        assert (reply.status, reply.headers["retry-after"]) == (429, "2")
        world.clock.advance(timedelta(seconds=2))
        assert send(world, query=window()).status == 200


# -- paging ------------------------------------------------------------------------------------


def read_all(world, paging, size=2):
    """What a careful client does of each kind."""
    query, found = window(), []
    if paging == "page":
        for page in range(1, 10):
            data = ask(world, query=query | {"page": page, "size": size})
            found.append(data["rows"])
            if page * size >= data["total"]:
                break
    elif paging == "offset":
        for offset in range(0, 20, size):
            data = ask(world, query=query | {"offset": offset, "limit": size})
            found.append(data["rows"])
            if offset + size >= data["total"]:
                break
    elif paging == "cursor":
        data = {"hasMore": True, "nextCursor": ""}
        while data["hasMore"]:
            data = ask(world, query=query | {"cursor": data["nextCursor"], "limit": size})
            found.append(data["rows"])
    else:
        data = ask(world, query=query | {"limit": size})
        found.append(data["rows"])
        while data.get("next"):
            parts = urlsplit(data["next"])
            assert f"http://{parts.netloc}" == world.address
            data = ask(world, parts.path.removeprefix("/oms"), dict(parse_qsl(parts.query)))
            found.append(data["rows"])
    return found


@pytest.mark.parametrize("paging", PAGING_KINDS)
@pytest.mark.parametrize("count", [0, 1, 2, 4, 5])
def test_each_kind_of_paging_gives_every_row_once(paging, count):
    lives = [received(f"S{n}", at=float(n)) for n in range(count)]
    with world_of(*lives, paging=paging) as world:
        pages = read_all(world, paging)

    assert numbers_of(sum(pages, [])) == [f"S{n}" for n in range(count)]
    assert len(pages) == max(1, (count + 1) // 2)


def test_a_cursor_of_nobody_is_refused():
    with world_of(received(), paging="cursor") as world:
        assert refusal(world, query=window() | {"cursor": "no"}) == (400, 40000)


# -- hold and release --------------------------------------------------------------------------


def test_a_held_order_is_not_sent_to_the_warehouse_until_it_is_released(world):
    world.store.add(received(at=55.0))

    row = change(world, "hold")
    world.clock.set(minutes(120))
    waiting = ask(world, f"/api/orders/{NO}")
    change(world, "release")
    world.clock.set(minutes(145))

    assert row["detail"]["hold"] == {
        "held": True,
        "reason": "健康分低于 50",
        "since": "2025-11-11 13:00:00",
    }
    assert (waiting["status"]["code"], waiting["auditTime"]) == ("40", None)
    assert world.store.get(NO).wms == minutes(84 + 60)
    assert world.store.get(NO).shipped == minutes(116 + 60)
    after = ask(world, f"/api/orders/{NO}")
    assert (after["status"]["code"], after["detail"]["hold"]["held"]) == ("30", False)


def test_a_hold_and_a_release_move_the_record(world):
    world.store.add(received(at=55.0))
    change(world, "hold")
    assert numbers_of(ask(world, query=window(minutes(60)))["rows"]) == [NO]

    world.clock.set(minutes(90))
    assert ask(world, query=window(minutes(61)))["rows"] == []
    change(world, "release")
    assert ask(world, query=window(minutes(90)))["rows"][0]["updateTime"] == "2025-11-11 13:30:00"


def test_holding_and_releasing_are_safe_to_repeat(world):
    world.store.add(received(at=55.0))

    for action in ("hold", "hold", "release", "release"):
        change(world, action)
        world.clock.advance(timedelta(minutes=1))

    assert world.store.get(NO).reviewed == minutes(64 + 2)


def test_an_order_in_the_warehouse_cannot_be_held_here(world):
    world.store.add(received())

    assert refusal(world, f"/api/orders/{NO}/hold", method="POST") == (409, 40901)
    assert refusal(world, "/api/orders/S9/hold", method="POST") == (404, 40400)


# -- what a naive client makes of it -----------------------------------------------------------


def add_many(world, count):
    world.store.add(*(received(f"S{n}", at=float(n)) for n in range(count)))


def test_a_naive_client_that_pages_forwards_by_number_loses_what_moves_up(world):
    add_many(world, 6)
    world.faults.switch("oms", "orders", "mutate_between_pages", page=1, times=1)
    query = window(end=minutes(60))  # closed, as a careful client's windows are

    naive = []
    for page in (1, 2, 3):
        naive += ask(world, query=query | {"page": page, "size": 2})["rows"]

    assert numbers_of(naive) == ["S0", "S1", "S4", "S5"]  # S2 and S3 moved to the page just read
    missed = ask(world, query=query)["rows"] + ask(world, query=window(minutes(60)))["rows"]
    assert {"S2", "S3"} <= set(numbers_of(missed))


def test_a_client_that_pages_backwards_loses_nothing(world):
    add_many(world, 6)
    query = window(end=minutes(60))
    world.faults.switch("oms", "orders", "mutate_between_pages", page=3, times=1)

    rows = []
    for page in (3, 2, 1):
        rows += ask(world, query=query | {"page": page, "size": 2})["rows"]

    assert set(numbers_of(rows)) == {f"S{n}" for n in range(6)}


def test_a_naive_client_that_stops_at_a_short_page_loses_orders(world):
    add_many(world, 6)
    world.faults.switch("oms", "orders", "half_page", page=1, times=2)

    naive = ask(world, query=window() | {"page": 1, "size": 4})
    again = ask(world, query=window() | {"page": 1, "size": 4})

    assert naive["total"] == 6
    assert len(naive["rows"]) == 2  # fewer than the total says: page 1 is not whole
    assert len(again["rows"]) == 2
    assert len(ask(world, query=window() | {"page": 1, "size": 4})["rows"]) == 4


@pytest.mark.parametrize("paging", ["cursor", "next_link"])
def test_a_short_page_of_a_cursor_is_no_end(paging):
    lives = [received(f"S{n}", at=float(n)) for n in range(4)]
    with world_of(*lives, paging=paging) as world:
        world.faults.switch("oms", "orders", "half_page", times=2)
        pages = read_all(world, paging)

    assert [numbers_of(page) for page in pages] == [["S0"], ["S1"], ["S2", "S3"]]
    assert len(pages[0]) < 2  # a naive client stops here


@pytest.mark.parametrize("paging", ["page", "offset"])
def test_a_naive_client_that_adds_up_pages_counts_a_repeated_page_twice(paging):
    lives = [received(f"S{n}", at=float(n)) for n in range(4)]
    with world_of(*lives, paging=paging) as world:
        world.faults.switch("oms", "orders", "repeated_page", page=2, times=1)
        pages = read_all(world, paging)

    assert numbers_of(sum(pages, [])) == ["S0", "S1", "S0", "S1"]


@pytest.mark.parametrize("paging", ["cursor", "next_link"])
def test_a_repeated_page_of_a_cursor_repeats_its_cursor(paging):
    lives = [received(f"S{n}", at=float(n)) for n in range(6)]
    with world_of(*lives, paging=paging) as world:
        world.faults.switch("oms", "orders", "repeated_page", page=2, times=1)
        pages = read_all(world, paging)

    assert numbers_of(sum(pages, [])) == ["S0", "S1", "S0", "S1", "S2", "S3", "S4", "S5"]


def test_a_naive_client_that_believes_http_200_takes_garbage_for_an_empty_list(world):
    add_many(world, 2)
    world.faults.switch("oms", "orders", "garbage", times=1)

    reply = send(world, query=window())

    assert reply.status == 200
    with pytest.raises(ValueError, match=".*"):
        json.loads(reply.body)
    assert len(ask(world, query=window())["rows"]) == 2


def test_a_naive_client_that_repeats_a_silent_release_as_a_hold_stops_the_order(world):
    world.store.add(received(at=55.0))
    change(world, "hold")
    world.faults.switch("oms", "orders.release", "timeout_after_accept", times=1)

    with pytest.raises(OSError, match=".*"):
        change(world, "release")

    assert ask(world, f"/api/orders/{NO}")["detail"]["hold"]["held"] is False  # it was released
    assert change(world, "release")["detail"]["hold"]["held"] is False  # asking again is safe
