"""Status mappings: documents over the shipped tables, what is not mapped, orders read anew."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from config.errors import BadInput, WrongState
from config.releases.models import State
from config.releases.services import approve_version, publish_version
from config.tenancy.scope import for_environment
from connectors.channels.douyin.mapping import map_order as map_douyin
from connectors.channels.private_mall.mapping import map_order as map_mall
from connectors.channels.registry import CHANNELS
from connectors.channels.status_mappings import Remapped, remap_orders, stages_for
from connectors.channels.tmall.mapping import STAGES as TMALL_STAGES
from connectors.channels.tmall.mapping import map_order as map_tmall
from connectors.orders.models import Order, StatusEvent
from connectors.orders.services import receive
from connectors.orders.status_mappings import (
    STATUS_MAPPING_KIND,
    check_mapping,
    list_all_changes,
    list_changes,
    list_statuses_due,
    list_unmapped,
    propose_mapping,
    read_rows,
)
from connectors.orders.statuses import Stage
from connectors.wire import Notice
from tests.connectors.channels.test_tmall_mapping import trade_of
from tests.connectors.goldens import load_case
from tests.factories import NOW, World, make_order, make_sources, publish_document

TODAY = date(2026, 11, 11)
ROBOT = "WAIT_ROBOT_DELIVERY"


def row(raw: str = ROBOT, stage: str = "await_ship", start: str = "2026-11-01", **more: Any) -> Any:
    return {"raw_status": raw, "stage": stage, "effective_from": start, **more}


def publish(world: World, *rows: Any, channel: str = "tmall") -> Any:
    return publish_document(
        {"rows": list(rows)}, world, kind=STATUS_MAPPING_KIND, key=channel, now=NOW
    )


def take_unknown(count: int = 1, status: str = ROBOT) -> list[int]:
    """Trades of Tmall with a status nobody knows, received with their payloads."""
    records = []
    for number in range(count):
        trade = trade_of("unknown_status") | {"status": status, "tid_str": f"T{status}{number}"}
        records.append(map_tmall(trade, shop="旗舰店").record)
    return list(receive(records, source=make_sources()["channel"], now=NOW).order_ids)


# --- the document ---------------------------------------------------------------------------------


def test_a_content_is_cleaned_and_a_stage_may_be_written_in_chinese() -> None:
    clean = check_mapping({"rows": [row(stage="待发货", note=" 机器人配送 ", effective_until="")]})

    assert clean == {
        "rows": [
            {
                "raw_status": ROBOT,
                "stage": "await_ship",
                "effective_from": "2026-11-01",
                "effective_until": None,
                "note": "机器人配送",
            }
        ]
    }
    assert check_mapping(clean) == clean


@pytest.mark.parametrize(
    ("rows", "number", "word"),
    [
        (["x"], 1, "不是一行映射"),
        ([row(raw="")], 1, "平台状态"),
        ([row(raw="x" * 101)], 1, "平台状态"),
        ([row(stage="unknown")], 1, "待发货"),
        ([row(), row(raw="B", stage="sent")], 2, "阶段不认识"),
        ([row(start="")], 1, "生效日期"),
        ([row(start="2026-13-01")], 1, "2025-11-11"),
        ([row(start="1026-11-01")], 1, "年份"),
        ([row(effective_until="2026-10-31")], 1, "截止日期"),
        ([row(note="长" * 201)], 1, "说明"),
        ([row(), row(start="2026-12-01")], 2, "重叠"),
        ([row(), row(raw="B"), row(stage="shipped")], 3, "第 1 行"),
    ],
)
def test_a_wrong_row_is_named_with_its_remedy(rows: Any, number: int, word: str) -> None:
    with pytest.raises(BadInput) as error:
        check_mapping({"rows": rows})

    assert f"第 {number} 行" in error.value.text
    assert word in error.value.text
    assert "%(" not in error.value.text


def test_rows_of_one_status_may_follow_each_other() -> None:
    rows = [row(effective_until="2026-11-30"), row(stage="shipped", start="2026-12-01")]

    assert len(check_mapping({"rows": rows})["rows"]) == 2


@pytest.mark.parametrize(
    "content", [{}, {"rows": {}}, {"rows": [row(raw=str(n)) for n in range(501)]}]
)
def test_a_content_without_a_list_of_rows_is_refused(content: Any) -> None:
    with pytest.raises(BadInput):
        check_mapping(content)


# --- in force -------------------------------------------------------------------------------------


def test_every_channel_ships_a_table(world: World) -> None:
    with for_environment(world.production):
        for channel in CHANNELS:
            stages = stages_for(channel, NOW)
            assert stages
            assert set(stages.values()) <= set(Stage) - {Stage.UNKNOWN}
        with pytest.raises(BadInput, match="连接器"):
            stages_for("jd", NOW)


def test_a_row_holds_from_its_first_to_its_last_day_in_the_environment_s_zone(world: World) -> None:
    with for_environment(world.production):
        publish(world, row(start="2026-11-11", effective_until="2026-11-12"))
        midnight = NOW.replace(day=10, hour=16, minute=0)  # 00:00 of the 11th in Shanghai

        def known(at: Any) -> bool:
            return ROBOT in stages_for("tmall", at)

        assert not known(midnight - timedelta(seconds=1))
        assert known(midnight)
        assert known(midnight + timedelta(days=2, seconds=-1))
        assert not known(midnight + timedelta(days=2))


def test_a_published_row_counts_over_the_shipped_table_in_its_environment_only(
    world: World,
) -> None:
    with for_environment(world.production):
        publish(world, row("TRADE_FINISHED", "delivered"))
        assert stages_for("tmall", NOW)["TRADE_FINISHED"] == "delivered"
        assert "TRADE_FINISHED" not in list_changes("douyin", NOW)
    with for_environment(world.staging):
        assert stages_for("tmall", NOW) == TMALL_STAGES


def test_the_table_in_force_costs_one_query(world: World) -> None:
    with for_environment(world.production):
        publish(world, *(row(str(n)) for n in range(200)))

        with CaptureQueriesContext(connection) as queries:
            stages_for("tmall", NOW)

    assert len(queries) == 1


@pytest.mark.parametrize(
    ("map_it", "payload", "raw"),
    [
        (map_tmall, trade_of("unknown_status"), ROBOT),
        (map_douyin, load_case("douyin", "unknown_status")["payload"], None),
        (map_mall, load_case("private_mall", "unknown_status")["payload"], None),
    ],
)
def test_every_mapping_takes_the_business_s_table(map_it: Any, payload: Any, raw: Any) -> None:
    unknown = map_it(payload, shop="s")
    assert unknown.record.stage == Stage.UNKNOWN
    assert [n.code for n in unknown.notices].count("unmapped_status") == 1
    assert raw in (None, unknown.record.raw_status)

    known = map_it(payload, shop="s", stages={unknown.record.raw_status: "await_ship"})

    assert known.record.stage == Stage.AWAIT_SHIP
    assert "unmapped_status" not in [n.code for n in known.notices]
    assert known.record.raw_status == unknown.record.raw_status


def test_douyin_s_two_statuses_may_be_mapped_together_or_by_the_first() -> None:
    payload = load_case("douyin", "paid")["payload"] | {"order_status": 2, "main_status": 77}

    whole = map_douyin(payload, shop="s", stages={"2/77": "shipped", "2": "await_ship"})
    first = map_douyin(payload, shop="s", stages={"2": "await_ship"})

    assert (whole.record.raw_status, whole.record.stage) == ("2/77", Stage.SHIPPED)
    assert first.record.stage == Stage.AWAIT_SHIP
    assert first.notices == (Notice("unmapped_value", "main_status", "77"),)


def test_a_publication_and_a_midnight_make_statuses_due(world: World) -> None:
    with for_environment(world.production):
        publish(world, row("GONE"))
        assert list_statuses_due(since=NOW - timedelta(minutes=1), now=NOW) == {"tmall": ["GONE"]}
        publish_document(
            {
                "rows": [
                    row("A"),
                    row("B", effective_until="2026-11-11"),
                    row("C", start="2026-11-12"),
                ]
            },
            world,
            kind=STATUS_MAPPING_KIND,
            key="tmall",
            now=NOW + timedelta(minutes=5),
        )

        later = NOW + timedelta(minutes=6)
        assert list_statuses_due(since=NOW, now=later) == {"tmall": ["A", "B", "C", "GONE"]}
        assert list_statuses_due(since=later, now=later + timedelta(minutes=1)) == {}
        midnight = NOW.replace(hour=16, minute=0, second=0)
        assert list_statuses_due(
            since=midnight - timedelta(minutes=1), now=midnight + timedelta(minutes=1)
        ) == {"tmall": ["B", "C"]}
    with for_environment(world.staging):
        assert list_statuses_due(since=NOW, now=later) == {}


# --- what is not mapped ---------------------------------------------------------------------------


def test_unmapped_statuses_are_counted_with_an_example(world: World) -> None:
    with for_environment(world.production):
        take_unknown(3)
        make_order(channel="douyin", stage=Stage.UNKNOWN, raw_status="777")
        make_order(stage=Stage.AWAIT_SHIP)

        tmall, douyin = list_unmapped()

        assert (tmall.channel, tmall.raw_status, tmall.count) == ("tmall", ROBOT, 3)
        assert (tmall.first_seen_at, tmall.example_no) == (NOW, f"T{ROBOT}0")
        assert Order.objects.get(public_id=tmall.example_id).raw_status == ROBOT
        assert (douyin.channel_label, douyin.raw_status, douyin.proposed_stage) == (
            "抖音",
            "777",
            "",
        )
    with for_environment(world.staging):
        assert list_unmapped() == []


def test_listing_what_is_unmapped_costs_two_queries(world: World) -> None:
    with for_environment(world.production):
        for number in range(30):
            make_order(stage=Stage.UNKNOWN, raw_status=f"S{number}")
        with CaptureQueriesContext(connection) as queries:
            assert len(list_unmapped()) == 30

    assert len(queries) == 2


def propose(world: World, **changes: Any) -> Any:
    values = {
        "channel": "tmall",
        "raw_status": ROBOT,
        "stage": "await_ship",
        "actor": world.users["supervisor"],
        "effective_from": TODAY,
        "now": NOW,
    }
    return propose_mapping(**(values | changes))


def test_a_proposal_waits_for_review_and_is_shown_beside_the_status(world: World) -> None:
    with for_environment(world.production):
        take_unknown()

        version = propose(world)

        assert (version.state, version.document.name) == (State.SUBMITTED, "天猫状态映射")
        assert [unmapped.proposed_stage for unmapped in list_unmapped()] == ["await_ship"]
        assert ROBOT not in stages_for("tmall", NOW)
        with pytest.raises(WrongState, match="等待审核"):
            propose(world)


def test_two_proposals_do_not_undo_each_other(world: World) -> None:
    with for_environment(world.production):
        publish(world, row("OLD"))
        propose(world)
        second = propose(world, raw_status="OTHER", stage="shipped")

        reviewer = world.users["reviewer"]
        approve_version(second, reviewer=reviewer, comment="", now=NOW)
        publish_version(second, actor=reviewer, now=NOW)

        stages = stages_for("tmall", NOW)
        assert (stages["OLD"], stages[ROBOT], stages["OTHER"]) == (
            "await_ship",
            "await_ship",
            "shipped",
        )


def test_a_status_mapped_anew_ends_its_row_the_day_before(world: World) -> None:
    with for_environment(world.production):
        publish(world, row(start="2026-11-01"), row("B"))

        version = propose(world, stage="shipped")

        rows = {(r.raw_status, r.stage): r for r in read_rows(version.content)}
        assert rows[ROBOT, "await_ship"].effective_until == TODAY - timedelta(days=1)
        assert rows[ROBOT, "shipped"].effective_from == TODAY
        assert ("B", "await_ship") in rows


@pytest.mark.parametrize("changes", [{"stage": "unknown"}, {"raw_status": " "}, {"channel": "x"}])
def test_a_proposal_that_cannot_be_is_refused_and_leaves_nothing(
    world: World, changes: Any
) -> None:
    with for_environment(world.production):
        with pytest.raises(BadInput):
            propose(world, **changes)
        assert take_unknown()
        assert [unmapped.proposed_stage for unmapped in list_unmapped()] == [""]


# --- read anew ------------------------------------------------------------------------------------


def test_orders_are_read_anew_from_their_payloads_with_the_published_table(world: World) -> None:
    with for_environment(world.production):
        take_unknown(5)
        take_unknown(1, "OTHER")
        publish(world, row(), row("OTHER", "shipped"))

        first = remap_orders(channel="tmall", statuses=[ROBOT], now=NOW, limit=3)
        second = remap_orders(
            channel="tmall", statuses=[ROBOT], now=NOW, limit=3, after_id=first.next_after_id or 0
        )

        assert (first.read, first.changed, second.changed) == (3, 3, 2)
        assert (first.next_after_id is not None, second.next_after_id) == (True, None)
        assert set(Order.objects.filter(raw_status=ROBOT).values_list("stage", flat=True)) == {
            "await_ship"
        }
        assert Order.objects.get(raw_status="OTHER").stage == Stage.UNKNOWN
        kinds = StatusEvent.objects.filter(order__raw_status=ROBOT, sequence=2)
        assert set(kinds.values_list("kind", "stage")) == {("corrected", "await_ship")}
        again = remap_orders(channel="tmall", statuses=[ROBOT], now=NOW)
        assert (again.read, again.changed) == (5, 0)


def test_an_order_no_connector_can_read_takes_the_stage_its_status_has(world: World) -> None:
    with for_environment(world.production):
        make_order(order_no="BARE", stage=Stage.UNKNOWN, raw_status=ROBOT)
        make_order(
            order_no="FILE",
            stage=Stage.UNKNOWN,
            raw_status=ROBOT,
            raw={"订单号": "from a file"},
            paid_at=NOW - timedelta(hours=2),
        )
        make_order(order_no="WORDS", stage=Stage.SHIPPED, raw_status=ROBOT)  # its file knew it
        take_unknown(1)
        before = dict(Order.objects.values_list("order_no", "revision"))
        publish(world, row(stage="delivered"))

        told = remap_orders(channel="tmall", statuses=[ROBOT], now=NOW)

        assert told == Remapped(read=4, changed=3, restaged=2)
        assert remap_orders(channel="tmall", statuses=[ROBOT], now=NOW).changed == 0
        orders = {order.order_no: order for order in Order.objects.all()}
        assert {n: o.stage for n, o in orders.items() if n in before} == {
            "WORDS": Stage.SHIPPED
        } | {number: Stage.DELIVERED for number in before if number != "WORDS"}
        assert (orders["FILE"].is_open, orders["FILE"].node) == (False, "")
        assert orders["FILE"].revision == before["FILE"] + 1
        assert orders["WORDS"].revision == before["WORDS"]
        events = StatusEvent.objects.filter(order__order_no="FILE").order_by("sequence")
        assert list(events.values_list("sequence", "kind", "stage", "raw_status")) == [
            (1, "inferred", "unknown", ROBOT),
            (2, "corrected", "delivered", ROBOT),
        ]

        # Mapped otherwise, and then no more: the orders follow, there and back.
        publish(world, row(stage="platform_hold"))
        assert remap_orders(channel="tmall", statuses=[ROBOT], now=NOW).restaged == 2
        assert Order.objects.get(order_no="FILE").hold_log["held"]
        publish(world)
        before_it = NOW - timedelta(minutes=1)
        assert list_statuses_due(since=before_it, now=NOW) == {"tmall": [ROBOT]}
        assert remap_orders(channel="tmall", statuses=[ROBOT], now=NOW).restaged == 2
        assert Order.objects.get(order_no="FILE").stage == Stage.UNKNOWN
        assert Order.objects.get(order_no="FILE").is_open


def test_a_channel_without_a_connector_is_read_anew_all_the_same(world: World) -> None:
    for environment in (world.production, world.staging):
        with for_environment(environment):
            make_order(channel="jd", stage=Stage.UNKNOWN, raw_status="等待打印")
    with for_environment(world.production):
        publish(world, row("等待打印"), channel="jd")

        told = remap_orders(channel="jd", statuses=["等待打印"], now=NOW)

        assert told == Remapped(read=1, changed=1, restaged=1)
        assert Order.objects.get().stage == Stage.AWAIT_SHIP
        assert list_all_changes(NOW) == {"jd": {"等待打印": "await_ship"}}
        assert list_all_changes(NOW - timedelta(days=30)) == {"jd": {}}  # not in force yet
    with for_environment(world.staging):
        assert remap_orders(channel="jd", statuses=["等待打印"], now=NOW).changed == 0
        assert Order.objects.get().stage == Stage.UNKNOWN
        assert list_all_changes(NOW) == {}


def test_a_later_state_that_came_meanwhile_is_not_undone(world: World) -> None:
    with for_environment(world.production):
        take_unknown()
        order = Order.objects.get()
        publish(world, row())
        later = order.source_updated_at + timedelta(minutes=1)
        Order.objects.update(stage=Stage.SHIPPED, source_updated_at=later)

        told = remap_orders(channel="tmall", statuses=[ROBOT], now=NOW)

        assert (told.changed, Order.objects.get().stage) == (0, Stage.SHIPPED)


def test_reading_anew_costs_the_same_queries_for_two_and_for_two_hundred(world: World) -> None:
    with for_environment(world.production):
        for status, count in (("A", 2), ("B", 200)):
            take_unknown(count, status)
            for _n in range(1 + count // 10):
                make_order(stage=Stage.UNKNOWN, raw_status=status)
        publish(world, row("A"), row("B"))

        def cost(status: str) -> int:
            with CaptureQueriesContext(connection) as queries:
                assert remap_orders(channel="tmall", statuses=[status], now=NOW).restaged
            return sum(query["sql"] != "DISCARD PLANS" for query in queries)

        assert cost("A") == cost("B")


def test_reading_anew_stays_in_its_environment(world: World) -> None:
    for environment in (world.production, world.staging):
        with for_environment(environment):
            take_unknown()
    with for_environment(world.production):
        publish(world, row())
        assert remap_orders(channel="tmall", statuses=[ROBOT], now=NOW).changed == 1
    with for_environment(world.staging):
        assert remap_orders(channel="tmall", statuses=[ROBOT], now=NOW).changed == 0
        assert Order.objects.get().stage == Stage.UNKNOWN
