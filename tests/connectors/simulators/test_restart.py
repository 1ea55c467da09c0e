"""A restart of the simulators forgets nothing that a caller did: warehouse, OMS, memos, payments."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

import pytest

from connectors.simulators.douyin import Douyin
from connectors.simulators.journal import Journal
from connectors.simulators.keys import Keys
from connectors.simulators.outside import Outside, PlaceSpec, Tools, keys_folder
from connectors.simulators.sticking import CALLBACK_LOST, WMS_MISSING
from connectors.simulators.tmall import Tmall
from tests.connectors.simulators.douyin_caller import KEYS as DOUYIN_KEYS
from tests.connectors.simulators.douyin_caller import Doudian, make, seconds
from tests.connectors.simulators.lives import make_life, minutes
from tests.connectors.simulators.test_wire_qimen import request, shanghai, sign
from tests.connectors.simulators.tmall_caller import KEYS as TOP_KEYS
from tests.connectors.simulators.tmall_caller import Top, text
from tests.connectors.simulators.wire_world import WireWorld

START = datetime(2025, 11, 11, 6, 32, tzinfo=UTC)
PLACE = PlaceSpec("women", 1, 0.01, 6)


@pytest.fixture(scope="module")
def folder_with_keys(tmp_path_factory):
    folder = tmp_path_factory.mktemp("outside")
    Keys.load_or_create(keys_folder(folder, PLACE.key))
    return folder


@pytest.fixture
def folder(folder_with_keys):
    (folder_with_keys / "state.json").unlink(missing_ok=True)
    Journal(folder_with_keys / "deeds" / PLACE.key).path.unlink(missing_ok=True)
    return folder_with_keys


class Demo(WireWorld):
    """One start of a demo's simulators, called over HTTP with the place's own keys."""

    def __init__(self, folder, at=START):
        super().__init__(at=at)
        self.outside = Outside(folder, (PLACE,), tools=Tools(clock=self.clock))
        self.place = self.outside.places["women"]
        self.qimen, self.mall = self.place.apps["qimen"], self.place.apps["mall"]

    def serve(self):
        return self.outside.host.running()

    def find(self, fits):
        """The first orders of the day that fit."""
        return [life for life in self.place.day.lives if fits(life)]

    def warehouse(self, operation, order_no, **content):
        own, body = self.place.keys.qimen, request({"orderCode": order_no} | content)
        params = {
            "method": f"taobao.qimen.{operation}", "timestamp": shanghai(self.clock.now()),
            "format": "xml", "app_key": own.app_key, "v": "2.0", "sign_method": "md5",
            "customerId": own.customer_id,
        }  # fmt: skip
        target = urlencode(params | {"sign": sign(params, body, own.secret)})
        return self.call("POST", f"/women/qimen/router/qimen/service?{target}", body).body.decode()

    def pend(self, life, action="pending"):
        words = {"actionType": action, "warehouseCode": life.lines[0].warehouse}
        return self.warehouse("order.pending", life.order_no, **words)

    def cancel(self, life):
        words = {"warehouseCode": life.lines[0].warehouse}
        return self.warehouse("order.cancel", life.order_no, **words)

    def create(self, order_no):
        order = {
            "deliveryOrderCode": order_no, "orderType": "JYCK", "warehouseCode": "WH01",
            "createTime": "2025-11-11 12:00:00", "placeOrderTime": "2025-11-11 11:59:00",
            "operateTime": "2025-11-11 12:00:00", "shopNick": "河道",
        }  # fmt: skip
        line = {"ownerCode": "O", "itemCode": "A", "planQty": "1", "actualPrice": "9.00"}
        content = {"deliveryOrder": order, "orderLines": {"orderLine": line}}
        return self.warehouse("deliveryorder.create", order_no, **content)

    def oms_call(self, order_no, action):
        headers = {"Authorization": f"Bearer {self.place.keys.oms.token}"}
        body = json.dumps({"reason": "健康分低于 50"}).encode()
        path = f"/women/oms/api/orders/{order_no}"
        reply = (
            self.call("GET", path, headers=headers)
            if action == "look"
            else self.call("POST", f"{path}/{action}", body, headers)
        )
        assert reply.status == 200, reply.body
        return json.loads(reply.body)["data"]


def _to_be_picked(life):
    return life.wms is not None and life.wms <= START and life.picked and life.picked > START


def _let_live(demo):
    """Let live orders come for a while; gives those the OMS has and the warehouse has not."""
    demo.outside.open("women")
    demo.clock.advance(timedelta(minutes=15))
    now = demo.clock.now()
    demo.outside.grow(now)
    return demo.find(lambda life: life.oms and life.oms <= now and life.wms and life.wms > now)


def test_what_a_warehouse_took_in_held_and_cancelled_outlives_a_restart(folder):
    first = Demo(folder)
    lost = first.find(lambda life: life.cause == WMS_MISSING)[0]
    held, restored, cancelled = first.find(_to_be_picked)[:3]
    planned = held.picked
    with first.serve() as first.address:
        answers = [first.pend(held), first.pend(restored), first.cancel(cancelled),
                   first.create(lost.order_no), first.create("ERP1")]  # fmt: skip
        first.clock.advance(timedelta(minutes=30))
        answers.append(first.pend(restored, "restore"))
        numbers = (lost.order_no, "ERP1", cancelled.order_no, restored.order_no)
        told = [first.warehouse("orderprocess.query", number) for number in numbers]
    assert all("<flag>success</flag>" in answer for answer in (*answers, *told))

    second = Demo(folder, at=first.clock.now())

    for life in (lost, held, restored, cancelled):
        assert second.place.store.get(life.order_no) == life
    with second.serve() as second.address:
        assert [second.warehouse("orderprocess.query", number) for number in numbers] == told
        assert "单据已经取消" in second.cancel(cancelled)
        assert "单据没有挂起" in second.pend(restored, "restore")
        assert "单据已经挂起" in second.pend(held)
        second.pend(held, "restore")
    later = second.place.store.get(held.order_no).picked
    assert later == planned + timedelta(minutes=30)  # as long as it was held, on both sides
    truth = {row["order_no"]: row["mended"] for row in second.place.ledger.read()}
    assert datetime.fromisoformat(truth[lost.order_no]) == START


def test_an_order_that_was_held_at_the_oms_still_is_after_a_restart(folder):
    first = Demo(folder)
    held, released = _let_live(first)[:2]
    with first.serve() as first.address:
        first.oms_call(held.order_no, "hold")
        first.oms_call(released.order_no, "hold")
        first.clock.advance(timedelta(minutes=5))
        first.oms_call(released.order_no, "release")
        told = [first.oms_call(life.order_no, "look") for life in (held, released)]

    second = Demo(folder, at=first.clock.now())

    assert [second.place.store.get(life.order_no) for life in (held, released)] == [held, released]
    assert (held.wms, released.wms is None) == (None, False)
    with second.serve() as second.address:
        assert [second.oms_call(life.order_no, "look") for life in (held, released)] == told
        assert told[0]["detail"]["hold"]["reason"] == "健康分低于 50"
        second.oms_call(held.order_no, "release")
    assert second.place.store.get(held.order_no).wms is not None


def test_payments_found_are_found_again_in_their_turn(folder):
    """A payment that was found, then a hold of what came of it: the sequence is kept."""
    first = Demo(folder)
    lost = first.find(lambda life: life.cause == CALLBACK_LOST)[0]
    first.mall._sync_payment(lost.order_no, START)
    first.clock.set(lost.wms)
    with first.serve() as first.address:
        assert "<flag>success</flag>" in first.pend(lost)

    second = Demo(folder, at=first.clock.now())

    assert second.place.store.get(lost.order_no) == lost
    assert (lost.paid, lost.mended, lost.picked) == (START, START, None)
    assert second.qimen.wms.is_held(lost.order_no)


def test_a_clock_that_was_put_forward_is_so_after_a_restart(folder):
    """Or orders that were told would not be born yet, and what was done to them be lost."""
    first = Outside(folder, (PLACE,))
    first.open("women")
    born = len(first.places["women"].store)
    first.tools.clock.advance(timedelta(hours=2))
    first.grow(first.tools.clock.now())

    second = Outside(folder, (PLACE,))

    assert len(second.places["women"].store) >= len(first.places["women"].store) > born
    ahead = second.tools.clock.now() - datetime.now(UTC)
    assert timedelta(minutes=119) < ahead < timedelta(minutes=121)


def test_a_restart_calls_back_what_it_may_have_missed_and_not_the_whole_day(folder):
    """An hour of live orders, a stop of a quarter of an hour, and every callback at least once."""
    told = []

    def start(at):
        demo = Demo(folder, at)
        demo.outbox = demo.outside.tools.outbox
        demo.outbox.transport = lambda url, headers, body: told.append(body) or (200, b"success")
        demo.outside.point("women", {"mall": "http://us/in", "alipay": "http://us/in"})
        return demo

    first = start(START)
    first.outside.open("women")
    for _ in range(60):
        first.clock.advance(timedelta(minutes=1))
        first.outside.host.pump()
    before = set(told)
    told.clear()

    second = start(first.clock.now() + timedelta(minutes=15))
    second.outside.host.pump()

    again = [body for body in told if body in before]
    whole = Demo(folder, second.clock.now()).place
    feed = whole.apps["mall"]._feed
    feed._since = START
    due = {life.order_no for moment, _, life in feed.due(second.clock.now()) if moment > START}
    heard = {
        life.order_no
        for life in whole.store.of("private_mall")
        if any(life.order_no.encode() in body for body in before | set(told))
    }
    assert heard == due
    assert 0 < len(again) < len(before) * 0.6
    assert len(told) > len(again)


def test_a_message_keeps_its_number_over_a_restart_and_a_new_one_has_never_been_told(folder):
    """A receiver's table of messages must neither take a new one for known nor count one twice."""

    def told(demo):
        top = demo.place.apps["tmall"].messages.consume(10_000, demo.clock.now())
        return {
            **{one["id"]: one["content"] for one in top},
            **{one["msg_id"]: one["data"] for body in pushed for one in json.loads(body)},
        }

    def start(at):
        pushed.clear()
        demo = Demo(folder, at)
        demo.outside.tools.outbox.transport = lambda url, headers, body: (
            pushed.append(body) or (200, b'{"code":0,"msg":"success"}')
        )
        demo.outside.point("women", {"douyin": "http://us/in"})
        return demo

    pushed: list[bytes] = []
    first = start(START)
    first.outside.open("women")
    first.clock.advance(timedelta(minutes=20))
    first.outside.grow(first.clock.now())
    first.outside.host.pump()
    before = told(first)

    second = start(first.clock.now())
    second.outside.host.pump()
    assert told(second) == before  # nothing has happened since
    second.clock.advance(timedelta(minutes=20))
    second.outside.grow(second.clock.now())
    second.outside.host.pump()
    after = told(second)

    assert len(before) > 100
    assert all(after[number] == content for number, content in before.items() if number in after)
    assert len(set(after) - set(before)) > 100


def test_a_state_that_an_older_demo_kept_is_read(folder):
    lost = Demo(folder).find(lambda life: life.cause == CALLBACK_LOST)[0]
    kept = json.loads((folder / "state.json").read_text("utf-8"))
    kept["synced"] = {"women": {lost.order_no: START.isoformat()}}
    (folder / "state.json").write_text(json.dumps(kept), "utf-8")

    assert Demo(folder).place.store.get(lost.order_no).paid == START


def test_deeds_that_fit_no_order_any_more_and_half_a_line_do_not_stop_a_start(folder):
    demo = Demo(folder)
    held, journal = _let_live(demo)[0], demo.place.journal
    gone = {"order_no": "GONE", "reason": "", "memo": "", "flag": 1, "words": "", "star": 1}
    for app, what in (("oms", "hold"), ("mall", "sync_payment"), ("tmall", "memo"),
                      ("douyin", "remark"), ("qimen", "order.cancel")):  # fmt: skip
        journal.write(app, what, gone | {"orderCode": "GONE", "warehouseCode": "WH01"}, START)
    with journal.path.open("ab") as file:
        file.write(b'{"app": "oms", "wh')
    now = demo.clock.now()
    journal.write("oms", "hold", {"order_no": held.order_no, "reason": ""}, now)

    again = Demo(folder, at=now)

    assert len(list(journal.read())) == 6
    assert again.place.store.get("GONE") is None
    assert again.place.store.get(held.order_no).wms is None


def _kept(app, journal):
    app.on_done = lambda what, content, at: journal.write(app.name, what, content, at)
    return app


def _do_again(app, journal):
    for deed in journal.read():
        app.redo(deed.what, deed.content, deed.at)
    return app


def test_a_memo_and_a_remark_are_put_again_with_their_moment(tmp_path):
    journal, told = Journal(tmp_path), []
    for start in (_kept, _do_again):
        top = Top(make_life(), at=minutes(5))
        app = start(Tmall(top.store, top.clock, top.faults, TOP_KEYS), journal)
        with top.serving(tmall=app):
            if start is _kept:
                number = make_life().order_no
                top.ask("taobao.trade.memo.update", tid=number, memo="河道：待核实", flag=3)
            top.clock.advance(timedelta(minutes=5))
            told.append(top.detail(make_life(), "modified,seller_memo,seller_flag"))
    assert told[0] == told[1]
    assert (told[1]["modified"], told[1]["seller_memo"]) == (text(minutes(5)), "河道：待核实")

    journal, told = Journal(tmp_path / "douyin"), []
    for start in (_kept, _do_again):
        shop = Doudian(make(), at=minutes(5))
        app = Douyin(shop.store, shop.clock, shop.faults, shop.outbox, DOUYIN_KEYS)
        with shop.serving(douyin=start(app, journal)):
            if start is _kept:
                remark = {"order_id": make().order_no, "remark": "待核实", "star": 5}
                shop.ask("order.addOrderRemark", remark)
            shop.clock.advance(timedelta(minutes=5))
            told.append(shop.detail(make()))
    assert told[0] == told[1]
    assert (told[1]["seller_words"], told[1]["update_time"]) == ("待核实", seconds(minutes(5)))
