"""By when an order must be shipped: rules per channel and promotion, and what binds before what."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from config.errors import BadInput
from config.tenancy.scope import for_environment
from connectors.orders.deadlines import (
    DEADLINE_TABLE,
    SHIPPED_RULES,
    Basis,
    Deadline,
    find_deadline,
    list_faults,
    list_ship_rules,
    read_rules,
)
from connectors.orders.models import Order
from connectors.orders.redating import redate_orders
from connectors.orders.services import reread_order
from rules_engine.facts.tables import require_table
from tests.factories import NOW, World, make_order, make_sources, make_world, publish_document
from workflows.patrol.services import patrol_environment

ZONE = ZoneInfo("Asia/Shanghai")
HOUR = timedelta(hours=1)
ORDINARY = ["全部", "平时", None, None, 48, None]
SALE = ["天猫", "双 11", "2026-11-11 00:00", "2026-11-12 00:00", 72, None]


def table(*rows: list[Any]) -> dict[str, Any]:
    return DEADLINE_TABLE | {"rows": [list(row) for row in rows]}


def rules(*rows: list[Any]) -> Any:
    return read_rules(table(*rows), ZONE)


def order(**changes: Any) -> Order:
    values: dict[str, Any] = {"channel": "tmall", "paid_at": NOW, "stage": "await_ship"}
    return Order(**(values | changes))


@pytest.fixture
def world(db: None) -> World:
    return make_world()


def test_without_a_table_an_order_is_due_forty_eight_hours_after_payment() -> None:
    assert find_deadline(order()).at == NOW + 48 * HOUR
    assert find_deadline(order()).basis == Basis.DEFAULT
    assert find_deadline(order(paid_at=None, gateway_paid_at=NOW - HOUR)).at == NOW + 47 * HOUR
    assert find_deadline(order(paid_at=None)).at is None
    assert read_rules(DEADLINE_TABLE, ZONE) == SHIPPED_RULES


def test_a_deposit_waits_for_the_end_of_its_balance() -> None:
    found = find_deadline(order(presale_phase="deposit_paid", balance_due_at=NOW), rules(SALE))

    assert (found.at, found.basis) == (NOW, Basis.BALANCE)


def test_a_channel_s_own_hours_go_before_everybody_s() -> None:
    both = rules(ORDINARY, ["抖音", "平时", None, None, 24, None])

    assert find_deadline(order(channel="douyin"), both).at == NOW + 24 * HOUR
    assert find_deadline(order(channel="douyin"), both).basis == Basis.CHANNEL
    assert find_deadline(order(channel="jd"), both).at == NOW + 48 * HOUR


def test_a_promise_of_the_platform_goes_before_ordinary_hours() -> None:
    promised = order(promised_ship_at=NOW + 5 * HOUR)

    found = find_deadline(promised, rules(["天猫", "平时", None, None, 24, None]))

    assert (found.at, found.basis) == (NOW + 5 * HOUR, Basis.PROMISE)


def test_what_nobody_paid_is_not_due_whatever_is_promised() -> None:
    unpaid = {"paid_at": None, "promised_ship_at": NOW + HOUR, "stage": "await_pay"}

    assert find_deadline(order(**unpaid)) == Deadline(None)
    assert find_deadline(order(**unpaid, is_cod=True)).basis == Basis.PROMISE
    assert find_deadline(order(**unpaid, gateway_paid_at=NOW)).basis == Basis.PROMISE
    # Credit pay: the platform says ship, though no money came.
    assert find_deadline(order(**unpaid | {"stage": "await_ship"})).basis == Basis.PROMISE


def test_a_promotion_overrides_the_promise_inside_its_window_only() -> None:
    sale = rules(ORDINARY, SALE)
    start = datetime(2026, 11, 11, tzinfo=ZONE)

    found = find_deadline(order(paid_at=start, promised_ship_at=start + HOUR), sale)
    before = order(paid_at=start - timedelta(seconds=1), promised_ship_at=start + HOUR)
    after = order(paid_at=start + 24 * HOUR)

    assert (found.at, found.basis, found.occasion) == (start + 72 * HOUR, Basis.PROMOTION, "双 11")
    assert find_deadline(before, sale).basis == Basis.PROMISE
    assert find_deadline(after, sale).basis == Basis.DEFAULT
    assert find_deadline(order(channel="jd", paid_at=start), sale).basis == Basis.DEFAULT


def test_of_hours_and_a_last_moment_the_earlier_counts() -> None:
    end = datetime(2026, 11, 13, tzinfo=ZONE)
    both = rules([*SALE[:5], "2026-11-13 00:00"])
    last = rules([*SALE[:4], None, "2026-11-20 00:00"])

    assert find_deadline(order(paid_at=end - 30 * HOUR), both).at == end
    assert find_deadline(order(), last).at == datetime(2026, 11, 20, tzinfo=ZONE)


def test_of_two_promotions_the_narrower_counts_and_a_channel_s_own_before_that() -> None:
    wide = ["全部", "大促季", "2026-11-01 00:00", "2026-12-01 00:00", 96, None]
    narrow = ["全部", "双 11", "2026-11-11 00:00", "2026-11-12 00:00", 60, None]

    assert find_deadline(order(), rules(wide, narrow)).at == NOW + 60 * HOUR
    assert find_deadline(order(), rules(wide, narrow, SALE)).at == NOW + 72 * HOUR
    assert find_deadline(order(channel="jd"), rules(wide, narrow, SALE)).at == NOW + 60 * HOUR


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (["火星商城", "平时", None, None, 48, None], "不认识这个渠道"),
        (["全部", "平时", None, None, None, None], "平时的期限要填「付款后小时」"),
        (["全部", "平时", None, None, 0, None], "「付款后小时」应大于 0"),
        (["天猫", "双 11", None, None, 48, None], "活动要填「付款从」和「付款到」"),
        (["天猫", "双 11", "2026-11-12 00:00", "2026-11-11 00:00", 48, None], "后者晚于前者"),
        ([*SALE[:4], None, None], "至少填一个"),
        ([*SALE[:5], "2026-11-11 12:00"], "「最晚发货」不能早于「付款到」"),
    ],
)
def test_a_row_that_says_no_deadline_is_refused_in_words(row: list[Any], words: str) -> None:
    assert any(words in str(said) for _number, said in list_faults(table(row)))
    with pytest.raises(BadInput, match=words):
        require_table(table(row))


def test_a_refusal_calls_a_column_as_the_table_s_own_header_calls_it() -> None:
    content = table([*SALE[:4], None, None])
    renamed = [
        c | {"label": "多少小时内"} if c["key"] == "hours" else c for c in content["columns"]
    ]
    own = {"key": "row", "label": "行", "type": "text", "is_key": False, "default": None}

    with pytest.raises(BadInput, match="「多少小时内」和「最晚发货」至少填一个"):
        require_table(content | {"columns": renamed})
    wider = [[*row, None] for row in content["rows"]]
    with pytest.raises(
        BadInput, match="至少填一个"
    ):  # a column of the person's own disturbs nothing
        require_table(content | {"columns": [*content["columns"], own], "rows": wider})


def test_the_table_keeps_the_columns_the_system_reads() -> None:
    without = DEADLINE_TABLE | {"columns": DEADLINE_TABLE["columns"][:-1], "rows": []}

    with pytest.raises(BadInput, match="系统按它算发货期限"):
        require_table(without)


@pytest.mark.django_db
def test_orders_come_in_with_the_deadline_of_the_published_table(world: World) -> None:
    with for_environment(world.production):
        publish_document(table(ORDINARY, SALE), world, kind="lookup_table", key="deadlines")
        found = make_order(promised_ship_at=NOW + HOUR)
        assert found.paid_at is not None
        assert found.deadline_at == found.paid_at + 72 * HOUR
        reread_order(found.pk, now=NOW)
        found.refresh_from_db()
        assert found.deadline_at == found.paid_at + 72 * HOUR
    with for_environment(world.other):  # another division has not published it
        assert list_ship_rules() == SHIPPED_RULES
        assert make_order(promised_ship_at=NOW + HOUR).deadline_at == NOW + HOUR


@pytest.mark.django_db
def test_a_new_table_reaches_the_open_orders_with_the_next_patrol_and_raises_revisions(
    world: World,
) -> None:
    with for_environment(world.production):
        make_sources()
        orders = [make_order(promised_ship_at=NOW + HOUR) for _n in range(3)]
        over = make_order(stage="closed_refunded", closed_at=NOW, promised_ship_at=NOW + HOUR)
    patrol_environment(world.production, now=NOW)
    with for_environment(world.production):
        publish_document(table(ORDINARY, SALE), world, kind="lookup_table", key="deadlines")

    patrol_environment(world.production, now=NOW + timedelta(minutes=1))

    with for_environment(world.production):
        for before in orders:
            after = Order.objects.get(pk=before.pk)
            assert after.deadline_at == before.paid_at + 72 * HOUR
            assert after.revision > before.revision
        assert Order.objects.get(pk=over.pk).deadline_at == NOW + HOUR
        revisions = list(Order.objects.order_by("pk").values_list("revision", flat=True))
    patrol_environment(world.production, now=NOW + timedelta(minutes=2))
    with for_environment(world.production):
        assert list(Order.objects.order_by("pk").values_list("revision", flat=True)) == revisions


@pytest.mark.django_db
def test_redating_goes_in_steps_of_a_fixed_number_of_queries(world: World) -> None:
    def count(size: int) -> int:
        with for_environment(world.production):
            for _n in range(size):
                make_order(promised_ship_at=NOW + HOUR)
            Order.objects.all().update(deadline_at=None)
            with CaptureQueriesContext(connection) as queries:
                assert redate_orders(now=NOW) is not None
            assert not Order.objects.filter(deadline_at=None).exists()
        return len([q for q in queries if "SAVEPOINT" not in q["sql"]])

    assert count(2) == count(20)
    with for_environment(world.production):
        first = redate_orders(now=NOW, limit=5)
        assert first is not None
        assert redate_orders(now=NOW, after_id=first) is not None
        assert redate_orders(now=NOW, after_id=10**9) is None
