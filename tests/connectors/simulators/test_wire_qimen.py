"""The Qimen warehouse on the wire, judged by channels.md 10.1 and a signature of our own."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from urllib.parse import parse_qsl, urlencode, urlsplit
from xml.etree import ElementTree

import pytest

from connectors.simulators.core import Bucket
from connectors.simulators.life import LifeLine, LifeShipment
from connectors.simulators.qimen import QimenApp
from connectors.simulators.wms import Wms
from tests.connectors.simulators.wire_world import NOON, WireWorld, keys, make_life, minutes

CALLBACK = "http://receiver/inbound/qimen?shop=1"
OK = (200, b"<response><flag>success</flag><code>0</code><message>ok</message></response>")
NO = "SO202511110001"


def stored(order_no=NO, **changes):
    """An order the warehouse received at noon; every step ten minutes after the one before."""
    steps = {
        "wms": NOON,
        "printed": minutes(10),
        "picked": minutes(20),
        "packed": minutes(30),
        "out": minutes(40),
        "shipped": minutes(41),
        "delivered": minutes(500),
        "locked": minutes(0.7),
        "shipments": (LifeShipment(minutes(41), "SF", "SF100"),),
    }
    return make_life(order_no, **(steps | changes))


@pytest.fixture
def world():
    world = WireWorld(at=minutes(5))
    world.receiver.last = OK
    wms = Wms(world.store, can_hold={"WH02": False})
    with world.serving(qimen=world.make(QimenApp, keys().qimen, wms=wms, callback_url=CALLBACK)):
        yield world


def sign(params, body, secret):
    text = "".join(f"{k}{params[k]}" for k in sorted(params) if k != "sign")
    return hashlib.md5(secret.encode() + text.encode() + body + secret.encode()).hexdigest().upper()  # noqa: S324


def shanghai(moment):
    return (moment + timedelta(hours=8)).strftime("%Y-%m-%d %H:%M:%S")


def xml(content):
    if not isinstance(content, dict):
        return str(content)
    return "".join(
        f"<{name}>{xml(item)}</{name}>"
        for name, value in content.items()
        for item in (value if isinstance(value, list) else [value])
    )


def request(content):
    return f'<?xml version="1.0" encoding="utf-8"?><request>{xml(content)}</request>'.encode()


def params_of(world, operation, body, *, secret=None, **changes):
    own = keys().qimen
    params = {
        "method": f"taobao.qimen.{operation}",
        "timestamp": shanghai(world.clock.now()),
        "format": "xml",
        "app_key": own.app_key,
        "v": "2.0",
        "sign_method": "md5",
        "customerId": own.customer_id,
    } | changes
    return params | {"sign": sign(params, body, secret or own.secret)}


def send(world, params, body):
    reply = world.call("POST", "/qimen/router/qimen/service?" + urlencode(params), body)
    assert reply.status == 200  # failures too
    return ElementTree.fromstring(reply.body)  # noqa: S314 - the simulator's own


def ask(world, operation, content, **changes):
    body = request(content)
    return send(world, params_of(world, operation, body, **changes), body)


def verdict(answer):
    return answer.findtext("flag"), answer.findtext("code")


def pend(world, action="pending", order_no=NO, warehouse="WH01"):
    return ask(
        world,
        "order.pending",
        {
            "actionType": action,
            "warehouseCode": warehouse,
            "ownerCode": "OWNER1",
            "orderCode": order_no,
            "orderType": "JYCK",
            "reason": "健康分低于 50",
        },
    )


def steps_of(world, order_no=NO):
    answer = ask(world, "orderprocess.query", {"orderCode": order_no})
    return [p.findtext("processStatus") for p in answer.iter("process")]


def create(world, code="SO9", **changes):
    order = {
        "deliveryOrderCode": code,
        "orderType": "JYCK",
        "warehouseCode": "WH01",
        "createTime": "2025-11-11 12:00:00",
        "placeOrderTime": "2025-11-11 11:59:00",
        "operateTime": "2025-11-11 12:00:00",
        "shopNick": "河道",
        "totalAmount": "279.00",
        "arAmount": "0",
        "gotAmount": "279.00",
        "receiverInfo": {"name": "张三", "mobile": "13800000000", "detailAddress": "文三路 1 号"},
    }
    line = {
        "ownerCode": "OWNER1",
        "itemCode": "SCARF-CAMEL",
        "planQty": "1",
        "actualPrice": "279.00",
    }
    for name, value in changes.items():
        (line if name in line else order)[name] = value
    lines = {"orderLine": line}
    return ask(world, "deliveryorder.create", {"deliveryOrder": order, "orderLines": lines})


# -- the gateway -------------------------------------------------------------------------------


def test_the_signature_is_the_one_of_the_handbook():
    params = {
        "app_key": "10000001",
        "customerId": "CUST0001",
        "format": "xml",
        "method": "taobao.qimen.order.pending",
        "sign_method": "md5",
        "timestamp": "2025-11-11 00:15:00",
        "v": "2.0",
    }
    body = request(
        {
            "actionType": "pending",
            "warehouseCode": "WH01",
            "ownerCode": "OWNER1",
            "orderCode": "SO202511110001",
            "orderType": "JYCK",
            "reason": "order health score below 50",
        }
    )

    assert sign(params, body, "qimen-demo-secret") == "7BE650B9A789D2454342C61F4B66366F"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"method": ""}, "21"),
        ({"method": "taobao.qimen.dream"}, "22"),
        ({"method": "order.pending"}, "22"),
        ({"app_key": "1"}, "29"),
        ({"v": "3.0"}, "33"),
        ({"format": "json"}, "23"),
        ({"customerId": "CUST0009"}, "41"),
        ({"timestamp": "now"}, "31"),
        ({"timestamp": shanghai(minutes(16))}, "31"),
        ({"sign_method": "hmac"}, "25"),
    ],
)
def test_what_the_gateway_refuses_has_its_number(world, changes, code):
    world.store.add(stored())

    answer = ask(world, "orderprocess.query", {"orderCode": NO}, **changes)

    assert verdict(answer) == ("failure", code)


def test_a_wrong_secret_a_changed_body_and_no_signature_are_refused(world):
    world.store.add(stored())
    body = request({"orderCode": NO})
    params = params_of(world, "orderprocess.query", body)

    assert verdict(send(world, params, body)) == ("success", "0")
    assert verdict(send(world, params, body + b" ")) == ("failure", "25")
    wrong = params_of(world, "orderprocess.query", body, secret="other")
    assert verdict(send(world, wrong, body)) == ("failure", "25")
    assert verdict(send(world, params | {"sign": ""}, body)) == ("failure", "24")


def test_ten_minutes_are_allowed(world):
    world.store.add(stored())

    for at in (minutes(-5), minutes(15)):
        answer = ask(world, "orderprocess.query", {"orderCode": NO}, timestamp=shanghai(at))
        assert verdict(answer) == ("success", "0")


def test_what_is_not_xml_is_refused_by_the_warehouse(world):
    bodies = (b"", b"{}", b"<other/>", b'<!DOCTYPE x [<!ENTITY a "b">]><request/>')

    for body in bodies:
        answer = send(world, params_of(world, "orderprocess.query", body), body)
        assert verdict(answer) == ("failure", "S001")


def test_too_many_calls_are_limited():
    world = WireWorld(stored(), at=minutes(5))
    with world.serving(qimen=world.make(QimenApp, keys().qimen, bucket=Bucket(1, 1))):
        codes = [verdict(pend(world))[1] for _ in range(2)]
        world.clock.advance(timedelta(seconds=1))
        assert [*codes, verdict(pend(world))[1]] == ["0", "7", "0"]


# -- orders and their steps --------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "code"), [("throttle", "7"), ("service_error", "15")])
def test_the_gateways_own_trouble_has_tops_numbers(world, kind, code):
    world.store.add(stored())
    world.faults.switch("qimen", "*", "half_page")
    world.faults.switch("qimen", "*", kind, times=1)

    assert verdict(pend(world)) == ("failure", code)
    assert steps_of(world) == ["ACCEPT"]
    assert verdict(pend(world)) == ("success", "0")


def test_steps_come_on_the_clock(world):
    world.store.add(stored())
    expected = {
        5: ["ACCEPT"],
        15: ["ACCEPT", "PRINT"],
        25: ["ACCEPT", "PRINT", "PICK"],
        35: ["ACCEPT", "PRINT", "PICK", "PACKAGE"],
        45: ["ACCEPT", "PRINT", "PICK", "PACKAGE", "DELIVERED"],
    }

    for at, steps in expected.items():
        world.clock.set(minutes(at))
        assert steps_of(world) == steps


def test_an_order_the_warehouse_never_received_does_not_exist(world):
    world.store.add(make_life("SO1"), stored("SO2", wms=minutes(6)))

    for number in ("SO1", "SO2", "SO3"):
        answer = ask(world, "orderprocess.query", {"orderCode": number})
        assert verdict(answer) == ("failure", "S002")
        assert verdict(pend(world, order_no=number)) == ("failure", "S002")


def test_a_rejected_order_goes_no_further(world):
    world.store.add(stored(rejected=minutes(2)))
    world.clock.set(minutes(60))

    assert steps_of(world) == ["ACCEPT", "REJECT"]
    assert verdict(pend(world)) == ("failure", "S006")


def test_the_order_query_tells_status_packages_and_lines(world):
    world.store.add(stored())
    content = {"orderCode": NO, "page": 1, "pageSize": 100}

    before = ask(world, "deliveryorder.query", content)
    world.clock.set(minutes(42))
    after = ask(world, "deliveryorder.query", content)

    assert before.findtext("deliveryOrder/status") == "ACCEPT"
    assert before.findtext("orderLines/orderLine/actualQty") == "0"
    assert after.findtext("deliveryOrder/status") == "DELIVERED"
    assert after.findtext("packages/package/expressCode") == "SF100"
    assert after.findtext("orderLines/orderLine/actualQty") == "1"
    assert after.findtext("deliveryOrder/orderConfirmTime") == "2025-11-11 12:40:00"
    for page in ({}, {"page": 0, "pageSize": 10}, {"page": 1, "pageSize": 101}):
        answer = ask(world, "deliveryorder.query", {"orderCode": NO} | page)
        assert verdict(answer) == ("failure", "S001")


# -- create ------------------------------------------------------------------------------------


def test_a_created_order_goes_the_warehouses_pace(world):
    answer = create(world)

    assert verdict(answer) == ("success", "0")
    assert answer.findtext("deliveryOrderId")
    assert steps_of(world, "SO9") == ["ACCEPT"]
    world.clock.advance(timedelta(hours=3))
    assert steps_of(world, "SO9") == ["ACCEPT", "PRINT", "PICK", "PACKAGE", "DELIVERED"]


def test_creating_twice_makes_one_order(world):
    first = create(world)
    world.clock.advance(timedelta(minutes=5))
    second = create(world)

    assert first.findtext("deliveryOrderId") == second.findtext("deliveryOrderId")
    assert [life.wms for life in world.store.of("erp")] == [minutes(5)]


def test_an_order_that_hung_before_the_warehouse_flows_on(world):
    world.store.add(make_life("SO1", cause="WMS未接收"))

    create(world, "SO1")

    life = world.store.get("SO1")
    assert (life.wms, life.mended) == (minutes(5), minutes(5))
    assert life.shipped is not None
    assert world.store.of("erp") == []


def test_an_order_whose_price_is_wrong_is_not_mended_by_arriving(world):
    world.store.add(make_life("SO1", cause="促销叠加价格异常"))

    create(world, "SO1")

    assert world.store.get("SO1").mended is None


@pytest.mark.parametrize(
    "changes",
    [
        {"orderType": "DREAM"},
        {"orderType": ""},
        {"warehouseCode": ""},
        {"shopNick": ""},
        {"createTime": "2025-11-11"},
        {"planQty": "0"},
        {"planQty": "x"},
        {"itemCode": ""},
        {"actualPrice": "free"},
        {"gotAmount": "278.00"},
        {"itemAmount": "300.00", "discountAmount": "20.00"},
    ],
)
def test_an_order_that_is_not_legal_is_not_created(world, changes):
    assert verdict(create(world, **changes)) == ("failure", "S001")
    assert len(world.store) == 0


# -- hold, release, cancel ---------------------------------------------------------------------


def test_a_held_order_stands_still_until_it_is_restored(world):
    world.store.add(stored())

    assert verdict(pend(world)) == ("success", "0")
    world.clock.set(minutes(300))
    assert steps_of(world) == ["ACCEPT"]
    assert world.store.get(NO).shipped is None  # the platform sees it too
    assert verdict(pend(world, "restore")) == ("success", "0")
    assert steps_of(world) == ["ACCEPT"]
    world.clock.set(minutes(306))
    assert steps_of(world) == ["ACCEPT", "PRINT"]
    assert world.store.get(NO).shipped == minutes(41 + 295)
    assert world.store.get(NO).shipments[0].at == minutes(41 + 295)


def test_holding_and_restoring_are_safe_to_repeat(world):
    world.store.add(stored())

    for action in ("pending", "pending", "restore", "restore"):
        assert verdict(pend(world, action)) == ("success", "0")
        world.clock.advance(timedelta(minutes=1))

    assert world.store.get(NO).printed == minutes(12)


@pytest.mark.parametrize("at", [20, 30, 60])
def test_from_picking_on_a_hold_is_refused(world, at):
    world.store.add(stored())
    world.clock.set(minutes(at))

    assert verdict(pend(world)) == ("failure", "S003")
    world.clock.set(minutes(60))
    assert steps_of(world)[-1] == "DELIVERED"


def test_a_warehouse_without_the_method_refuses_to_hold(world):
    world.store.add(stored(lines=[LifeLine("A", "甲", warehouse="WH02")]))

    assert verdict(pend(world, warehouse="WH02")) == ("failure", "S004")
    assert verdict(pend(world, warehouse="WH01")) == ("failure", "S005")
    assert verdict(pend(world, "dream", warehouse="WH02")) == ("failure", "S001")


def test_a_cancelled_order_goes_no_further(world):
    world.store.add(stored())
    content = {"orderCode": NO, "warehouseCode": "WH01", "cancelReason": "退款"}

    assert verdict(ask(world, "order.cancel", content)) == ("success", "0")
    assert verdict(ask(world, "order.cancel", content)) == ("success", "0")
    world.clock.set(minutes(60))
    assert steps_of(world) == ["ACCEPT", "CANCELED"]
    assert verdict(pend(world)) == ("failure", "S006")


def test_a_picked_order_cannot_be_cancelled(world):
    world.store.add(stored())
    world.clock.set(minutes(21))

    answer = ask(world, "order.cancel", {"orderCode": NO, "warehouseCode": "WH01"})

    assert verdict(answer) == ("failure", "S003")


# -- stock -------------------------------------------------------------------------------------


def stock_of(answer):
    return [
        (item.findtext("itemCode"), item.findtext("quantity"), item.findtext("lockQuantity"))
        for item in answer.iter("item")
    ]


def test_stock_tells_what_is_free_and_what_is_locked(world):
    world.store.add(
        stored("SO1"),
        stored("SO2", lines=[LifeLine("SCARF-CAMEL", "围巾", 3, stock_available=12)]),
        stored("SO3", lines=[LifeLine("OTHER", "帽子", 1)]),
    )
    criteria = [{"itemCode": sku, "warehouseCode": "WH01"} for sku in ("SCARF-CAMEL", "OTHER")]
    content = {"criteriaList": {"criteria": criteria}}

    assert stock_of(ask(world, "inventory.query", content)) == [
        ("SCARF-CAMEL", "12", "4"),
        ("OTHER", "500", "1"),
    ]
    world.clock.set(minutes(45))
    assert stock_of(ask(world, "inventory.query", content))[0] == ("SCARF-CAMEL", "12", "0")


def test_the_stock_query_pages(world):
    world.store.add(stored())

    answer = ask(world, "stock.query", {"itemCode": "SCARF-CAMEL", "page": 1, "pageSize": 10})

    assert answer.findtext("totalCount") == "1"
    assert stock_of(answer) == [("SCARF-CAMEL", "35", "1")]
    nothing = ask(world, "stock.query", {"itemCode": "DREAM", "page": 1, "pageSize": 10})
    assert (nothing.findtext("totalCount"), stock_of(nothing)) == ("0", [])


# -- callbacks ---------------------------------------------------------------------------------


def callbacks(world):
    found = []
    for url, _, body in world.receiver.got:
        params = dict(parse_qsl(urlsplit(url).query))
        found.append((params, body, ElementTree.fromstring(body)))  # noqa: S314 - our own
    return found


def packages_of(report):
    """Company, number and contents of each package."""
    return [
        (
            package.findtext("logisticsCode"), package.findtext("expressCode"),
            [(item.findtext("itemCode"), item.findtext("quantity"))
             for item in package.iter("item")],
        )
        for package in report.iter("package")
    ]  # fmt: skip


def quantities_of(report):
    return [line.findtext("actualQty") for line in report.iter("orderLine")]


def test_every_step_is_reported_and_the_delivery_confirmed(world):
    world.store.add(stored(wms=minutes(5)))

    world.run_to(minutes(60))

    told = [(p["method"], r.findtext("process/processStatus")) for p, _, r in callbacks(world)]
    assert told == [
        ("orderprocess.report", "ACCEPT"),
        ("orderprocess.report", "PRINT"),
        ("orderprocess.report", "PICK"),
        ("orderprocess.report", "PACKAGE"),
        ("orderprocess.report", "DELIVERED"),
        ("deliveryorder.confirm", None),
    ]
    assert callbacks(world)[5][2].findtext("deliveryOrder/deliveryOrderCode") == NO


def test_callbacks_are_signed_over_parameters_and_raw_body(world):
    world.store.add(stored())

    world.run_to(minutes(6))

    [(params, body, _)] = callbacks(world)
    own = {name: value for name, value in params.items() if name != "shop"}
    assert own["sign"] == sign(own, body, keys().qimen.secret)
    assert (own["app_key"], own["customerId"]) == (keys().qimen.app_key, keys().qimen.customer_id)


def test_a_callback_is_repeated_with_a_new_time_until_the_flag_is_success(world):
    world.store.add(stored(printed=None))
    world.receiver.answers = [
        (200, b"<response><flag>failure</flag></response>"),
        (500, b"<flag>success</flag>"),
    ]

    world.run_to(minutes(12))

    attempts = world.outbox.ledger
    assert [entry.accepted for entry in attempts] == [False, False, True]
    assert len({body for _, body, _ in callbacks(world)}) == 1
    times = [params["timestamp"] for params, _, _ in callbacks(world)]
    assert times == ["2025-11-11 12:05:10", "2025-11-11 12:06:10", "2025-11-11 12:11:10"]


def test_a_held_order_reports_nothing_and_its_steps_later(world):
    world.store.add(stored())
    pend(world)

    world.run_to(minutes(100), timedelta(minutes=1))
    pend(world, "restore")
    world.run_to(minutes(106), timedelta(minutes=1))

    told = [r.findtext("process/processStatus") for _, _, r in callbacks(world)]
    assert told == ["ACCEPT", "PRINT"]
    assert callbacks(world)[1][2].findtext("process/operateTime") == "2025-11-11 13:45:00"


def test_a_part_delivery_confirms_what_left(world):
    lines = [LifeLine("A", "甲"), LifeLine("B", "乙")]
    world.store.add(
        stored(
            lines=lines,
            out=None,
            shipped=None,
            part_shipped=minutes(39),
            shipments=(LifeShipment(minutes(39), "SF", "SF1", (0,)),),
        )
    )

    world.run_to(minutes(60), timedelta(minutes=1))

    confirm = callbacks(world)[-1][2]
    assert confirm.findtext("deliveryOrder/status") == "PARTDELIVERED"
    assert [line.findtext("actualQty") for line in confirm.iter("orderLine")] == ["1", "0"]


def test_a_delivery_in_two_packages_tells_each_package_and_what_is_in_it(world):
    lines = [LifeLine("A", "甲", 2), LifeLine("B", "乙")]
    parcels = (
        LifeShipment(minutes(39), "SF", "SF1", (0,)),
        LifeShipment(minutes(45), "YTO", "YT2", (1,)),
    )
    world.store.add(
        stored(lines=lines, part_shipped=minutes(39), out=minutes(44), shipped=minutes(45),
               shipments=parcels)
    )  # fmt: skip

    world.run_to(minutes(60), timedelta(minutes=1))

    part, whole = (r for p, _, r in callbacks(world) if p["method"] == "deliveryorder.confirm")
    assert packages_of(part) == [("SF", "SF1", [("A", "2")])]
    assert packages_of(whole) == [("SF", "SF1", [("A", "2")]), ("YTO", "YT2", [("B", "1")])]
    assert [r.findtext("deliveryOrder/confirmType") for r in (part, whole)] == ["1", "0"]
    assert [quantities_of(r) for r in (part, whole)] == [["2", "0"], ["2", "1"]]
    numbers = {r.findtext("deliveryOrder/outBizCode") for r in (part, whole)}
    assert len(numbers) == 2


def split(world):
    """One order of the platform as two delivery orders, in two warehouses."""
    for code, warehouse, item, line in (("SO1-1", "WH01", "A", "L1"), ("SO1-2", "WH03", "B", "L2")):
        order = {
            "deliveryOrderCode": code, "orderType": "JYCK", "warehouseCode": warehouse,
            "orderFlag": "SPLIT", "createTime": "2025-11-11 12:00:00", "shopNick": "河道",
            "placeOrderTime": "2025-11-11 11:59:00", "operateTime": "2025-11-11 12:00:00",
        }  # fmt: skip
        content = {
            "ownerCode": "O", "itemCode": item, "planQty": "1", "actualPrice": "9.00",
            "sourceOrderCode": "SO1", "subSourceOrderCode": line,
        }  # fmt: skip
        answer = ask(
            world, "deliveryorder.create",
            {"deliveryOrder": order, "orderLines": {"orderLine": content}},
        )  # fmt: skip
        assert verdict(answer) == ("success", "0")


def test_the_parts_of_a_split_order_go_their_own_ways_and_name_the_order_they_came_from(world):
    split(world)
    assert verdict(pend(world, order_no="SO1-2", warehouse="WH03")) == ("success", "0")

    world.run_to(minutes(300), timedelta(minutes=5))

    assert steps_of(world, "SO1-1")[-1] == "DELIVERED"
    assert steps_of(world, "SO1-2") == ["ACCEPT"]
    [confirm] = (r for p, _, r in callbacks(world) if p["method"] == "deliveryorder.confirm")
    assert confirm.findtext("deliveryOrder/deliveryOrderCode") == "SO1-1"
    assert [
        (line.findtext("orderSourceCode"), line.findtext("subSourceCode"))
        for line in confirm.iter("orderLine")
    ] == [("SO1", "L1")]


# -- what a naive client makes of it -----------------------------------------------------------


def test_a_naive_client_that_retries_a_silent_create_under_a_new_code_doubles_the_delivery(world):
    world.faults.switch("qimen", "deliveryorder.create", "timeout_after_accept", times=2)

    def is_created(code):
        try:
            return verdict(create(world, code)) == ("success", "0")
        except OSError:
            return False

    naive = next(code for code in ("NAIVE-1", "NAIVE-2") if is_created(code) or code == "NAIVE-2")
    assert naive == "NAIVE-2"
    assert len(world.store.of("erp")) == 2  # one order of a buyer, two parcels

    world.faults.clear()
    world.faults.switch("qimen", "deliveryorder.create", "timeout_after_accept", times=1)
    assert not is_created("SAFE")
    assert is_created("SAFE")
    assert [life.order_no for life in world.store.of("erp")] == ["NAIVE-1", "NAIVE-2", "SAFE"]


def test_a_naive_client_that_believes_http_200_lets_a_held_order_go(world):
    world.store.add(stored())
    world.clock.set(minutes(25))

    body = request({"actionType": "pending", "warehouseCode": "WH01", "orderCode": NO})
    params = params_of(world, "order.pending", body)
    reply = world.call("POST", "/qimen/router/qimen/service?" + urlencode(params), body)

    assert reply.status == 200  # "held", thinks the naive client
    assert b"<flag>failure</flag>" in reply.body
    world.clock.set(minutes(60))
    assert steps_of(world)[-1] == "DELIVERED"


def test_a_naive_client_that_takes_a_silent_hold_for_failed_forgets_to_restore_it(world):
    world.store.add(stored())
    world.faults.switch("qimen", "order.pending", "timeout_after_accept", times=1)

    with pytest.raises(OSError, match=".*"):
        pend(world)

    world.clock.set(minutes(24 * 60))
    assert steps_of(world) == ["ACCEPT"]  # it stands in the warehouse for ever


def test_a_naive_receiver_without_a_replay_table_counts_a_delivery_twice(world):
    world.faults.switch("qimen", "deliveryorder.confirm", "duplicate_callback", times=1)
    world.store.add(stored())

    world.run_to(minutes(60), timedelta(minutes=1))

    confirms = [r for p, _, r in callbacks(world) if p["method"] == "deliveryorder.confirm"]
    assert len(confirms) == 2
    assert len({r.findtext("deliveryOrder/outBizCode") for r in confirms}) == 1


def test_a_naive_receiver_of_callbacks_only_never_hears_of_a_dropped_one(world):
    world.faults.switch("qimen", "*", "drop_callback")
    world.store.add(stored())

    world.run_to(minutes(60), timedelta(minutes=1))

    assert world.receiver.got == []
    assert steps_of(world)[-1] == "DELIVERED"


def test_a_naive_client_that_takes_the_first_package_for_the_whole_loses_the_rest(world):
    lines = [LifeLine("A", "甲"), LifeLine("B", "乙")]
    world.store.add(
        stored(lines=lines, out=None, shipped=None, part_shipped=minutes(39),
               shipments=(LifeShipment(minutes(39), "SF", "SF1", (0,)),))
    )  # fmt: skip

    world.run_to(minutes(60), timedelta(minutes=1))

    [confirm] = (r for p, _, r in callbacks(world) if p["method"] == "deliveryorder.confirm")
    assert packages_of(confirm)  # "sent", says the naive one
    assert quantities_of(confirm) == ["1", "0"]
    assert confirm.findtext("deliveryOrder/status") == "PARTDELIVERED"


def test_a_naive_client_that_adds_up_the_confirmations_doubles_a_package(world):
    parcels = (LifeShipment(minutes(39), "SF", "SF1", (0,)), LifeShipment(minutes(45), "SF", "SF2"))
    lines = [LifeLine("A", "甲"), LifeLine("B", "乙")]
    world.store.add(
        stored(lines=lines, part_shipped=minutes(39), out=minutes(44), shipments=parcels)
    )

    world.run_to(minutes(60), timedelta(minutes=1))

    told = [
        package.findtext("expressCode")
        for params, _, report in callbacks(world)
        if params["method"] == "deliveryorder.confirm"
        for package in report.iter("package")
    ]
    assert told == ["SF1", "SF1", "SF2"]
    assert len(set(told)) == 2


def test_a_naive_client_that_knows_orders_by_their_number_only_loses_a_split_one(world):
    split(world)

    assert verdict(ask(world, "orderprocess.query", {"orderCode": "SO1"})) == ("failure", "S002")
    assert steps_of(world, "SO1-1") == steps_of(world, "SO1-2") == ["ACCEPT"]
