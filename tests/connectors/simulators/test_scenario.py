"""The invented promo day: its numbers, its truth, and that it tells no platform anything impossible."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from connectors.simulators.births import CHANNELS, DOUYIN, MALL, TMALL
from connectors.simulators.ledger import Ledger, describe, is_stuck, list_stuck
from connectors.simulators.life import Life, has_come
from connectors.simulators.look_alikes import GROUP_FAILED, GROUP_OPEN, KINDS, LIVE_KINDS
from connectors.simulators.scenario import (
    MISSING,
    OVERDUE_BALANCES,
    PAID_AT_WMS,
    SEED,
    Day,
    make_day,
)
from connectors.simulators.sticking import CALLBACK_LOST, CHANNELS_OF, GIFT, GRACE, GROUP

START = datetime(2025, 11, 11, 6, 32, tzinfo=UTC)


@pytest.fixture(scope="module")
def whole():
    return Day(seed=SEED, started_at=START)


@pytest.fixture(scope="module")
def live():
    """A small day with its first two hours of live orders."""
    day = Day(seed=SEED, started_at=START, scale=0.02, opened_at=START)
    day.grow(START + timedelta(hours=2))
    return day


def _is_paid(life: Life, now: datetime) -> bool:
    return has_come(life.paid, now) or has_come(life.gateway_paid, now)


def test_the_day_has_18000_paid_16700_at_the_warehouse_and_1300_missing_by_cause(whole):
    paid = [life for life in whole.lives if _is_paid(life, START)]
    missing = [life for life in paid if not has_come(life.wms, START)]

    assert len(paid) == 18_000
    assert len(paid) - len(missing) == PAID_AT_WMS == 16_700
    assert Counter(life.cause for life in missing) == MISSING
    assert sum(MISSING.values()) == 1300


def test_the_truth_at_the_start_is_the_missing_and_the_overdue_balances(whole):
    stuck = list_stuck(whole.lives, START)

    assert Counter(stuck.values()) == {**MISSING, "预售尾款逾期": OVERDUE_BALANCES}
    assert all(life.placed + life.lag <= START for life in whole.lives)


def test_half_comes_from_tmall_a_third_from_douyin_a_sixth_from_the_own_mall(whole):
    paid = Counter(life.channel for life in whole.lives if _is_paid(life, START))

    assert 0.47 < paid[TMALL] / 18_000 < 0.53
    assert 0.30 < paid[DOUYIN] / 18_000 < 0.36
    assert 0.15 < paid[MALL] / 18_000 < 0.20


def test_a_cause_occurs_only_where_the_platform_can_tell_it(whole):
    for cause, channels in CHANNELS_OF.items():
        found = {life.channel for life in whole.lives if life.cause == cause}
        assert found == set(channels), cause


@pytest.mark.parametrize("scale", [1.0, 0.02])
def test_every_look_alike_is_there_and_none_is_stuck(scale):
    day = Day(seed=3, started_at=START, scale=scale)
    counts = Counter(life.look_alike for life in day.lives if life.look_alike)

    assert counts == {kind.name: max(1, round(kind.count * scale)) for kind in KINDS}
    assert not [life for life in day.lives if life.look_alike and life.cause]


# What each look-alike has to show at the start, or it would be there in name only.
_SHOWN = {
    "一分钱差额": lambda life: abs(life.paid_fen_at(START) - life.payable_fen) == 1,
    "零元样品": lambda life: life.payable_fen == 0 and has_come(life.paid, START),
    "县级市无区县": lambda life: life.city and not life.district,
    "收货信息打码": lambda life: "*" in life.receiver and "*" in life.phone and "*" in life.detail,
    "部分发货": lambda life: (
        has_come(life.part_shipped, START)
        and not has_come(life.shipped, START)
        and len(life.lines) > 1
    ),
    "发货前退款而仓库在拣货": lambda life: (
        has_come(life.picked, START)
        and has_come(life.refund_requested, START)
        and not has_come(life.refunded, START)
        and life.out is None
    ),
    "付后退款关闭": lambda life: has_come(life.closed, START) and has_come(life.refunded, START),
    "改地址待处理": lambda life: (
        has_come(life.address_change_from, START) and not has_come(life.address_change_until, START)
    ),
    "超卖已补货": lambda life: (
        life.lines[0].is_oversold
        and life.lines[0].stock_available == 0
        and has_come(life.locked, START)
    ),
    "已成团": lambda life: life.group and has_come(life.group_done, START),
    "风控已放行": lambda life: (
        has_come(life.risk_until, START) and life.risk_until - life.paid < GRACE["地址触发风控"]
    ),
    "赠品已配": lambda life: (
        life.gifts_due == life.gifts_packed == 1 and any(line.is_gift for line in life.lines)
    ),
    "买家催发货": lambda life: has_come(life.urged, START),
    "备注改过": lambda life: life.touched and life.touched[-1] <= START,
    "未知状态": lambda life: life.unknown_status and has_come(life.unknown_from, START),
    "回调稍慢": lambda life: (
        timedelta(seconds=99) < life.paid - life.gateway_paid < GRACE[CALLBACK_LOST]
    ),
    "OMS稍慢": lambda life: timedelta(minutes=8) < life.oms - life.paid < GRACE["OMS未接收"],
    "尾款已付": lambda life: has_come(life.balance_paid, START) and life.paid == life.balance_paid,
    "货到付款": lambda life: life.cod and life.paid is None and has_come(life.wms, START),
    "预售窗口内": lambda life: (
        has_come(life.deposit_paid, START)
        and has_come(life.balance_opens, START)
        and life.balance_due > START
        and not has_come(life.balance_paid, START)
    ),
    "定金罚没": lambda life: has_come(life.forfeited, START) and has_come(life.closed, START),
    "待付款": lambda life: not _is_paid(life, START) and not has_come(life.closed, START),
    "未付关闭": lambda life: life.paid is None and has_come(life.closed, START),
}


def test_a_look_alike_shows_what_its_name_says_at_the_start(whole):
    assert set(_SHOWN) == {kind.name for kind in KINDS}
    for life in whole.lives:
        if life.look_alike:
            assert _SHOWN[life.look_alike](life), (life.look_alike, life)


def test_open_groups_younger_than_a_day_come_alive(live):
    young = [life for life in live.lives if life.look_alike == GROUP_OPEN.name]

    assert young
    for life in young:
        assert life.placed >= START
        assert timedelta(hours=9) < life.group_done - life.placed < timedelta(hours=24)


def test_groups_that_fail_come_alive_and_go_to_no_warehouse(live):
    failed = [life for life in live.lives if life.look_alike == GROUP_FAILED.name]

    assert failed
    for life in failed:
        assert START <= life.placed < life.paid < life.group_failed == life.refunded == life.closed
        assert life.group_failed - life.placed < GRACE[GROUP]
        assert (life.group_done, life.oms, life.wms, life.shipments) == (None, None, None, ())


def test_the_same_seed_and_start_make_the_same_day_and_another_seed_another():
    def make(seed):
        day = Day(seed=seed, started_at=START, scale=0.02, opened_at=START)
        day.grow(START + timedelta(minutes=9))
        return [describe(life) for life in day.lives]

    assert make(5) == make(5)
    assert make(5) != make(6)


def test_growing_in_steps_is_growing_at_once():
    def make(steps):
        day = Day(seed=5, started_at=START, scale=0.02, opened_at=START)
        for minutes in steps:
            day.grow(START + timedelta(minutes=minutes))
        return [describe(life) for life in day.lives]

    assert make((0.5, 1, 7, 7, 30)) == make((30,))


def test_nothing_is_born_before_the_day_is_opened_and_it_opens_once():
    day = Day(seed=5, started_at=START, scale=0.02)
    assert day.grow(START + timedelta(hours=1)) == []

    day.open(START + timedelta(minutes=4))
    day.open(START + timedelta(minutes=50))
    born = day.grow(START + timedelta(minutes=4))
    assert born
    assert max(life.placed for life in born) < START + timedelta(minutes=5)


def test_a_lost_callback_shows_right_after_the_opening_and_is_due_within_two_minutes(live):
    first = min(
        (life for life in live.lives if life.lag > timedelta(minutes=5)), key=lambda x: x.placed
    )

    assert first.cause == CALLBACK_LOST
    assert first.placed + first.lag == START + timedelta(seconds=1)
    assert not is_stuck(first, START)
    assert is_stuck(first, START + timedelta(minutes=1))


def test_about_every_other_minute_a_live_order_gets_stuck_and_half_of_them_are_mended(live):
    born = [life for life in live.lives if life.placed >= START or life.lag > timedelta(minutes=5)]
    stuck = [life for life in born if life.cause]

    assert len(stuck) == 61  # minutes 0, 2, ... 120
    assert 15 <= sum(life.mended is not None for life in stuck) <= 45
    for life in stuck:
        if life.mended is not None:
            assert life.mended > life.stuck_since + GRACE[life.cause]
            assert life.wms >= life.mended


def test_payable_is_goods_freight_and_discounts_and_promotions_explain_every_discount(whole):
    for life in whole.lives:
        discounts = life.shop_discount_fen + life.platform_discount_fen + life.coupon_fen
        assert life.payable_fen == life.goods_fen + life.freight_fen - discounts >= 0
        assert sum(p.discount_fen for p in life.promotions) == discounts
        assert life.paid_fen_at(START) >= 0
        assert not life.presale or life.payable_fen > life.deposit_fen
        assert all(line.discount_fen == 0 for line in life.lines if line.is_gift)


def test_a_forgotten_gift_was_promised_and_is_on_no_line(whole):
    for life in whole.lives:
        promised = sum(promotion.gift_quantity for promotion in life.promotions)
        added = sum(line.quantity for line in life.lines if line.is_gift)
        assert promised == life.gifts_due
        assert added == life.gifts_packed
        assert (added < promised) == (life.cause == GIFT)


def test_moments_are_whole_seconds_aware_and_in_the_order_of_life(whole, live):
    steps = ("oms", "reviewed", "wms", "printed", "picked", "packed", "out", "shipped", "delivered")
    for life in (*whole.lives, *live.lives):
        for moment in life.channel_moments():
            assert moment.microsecond == 0
            assert moment.utcoffset() == timedelta(hours=8)
            assert moment >= life.placed
        found = [m for m in (getattr(life, step) for step in steps) if m is not None]
        assert found == sorted(found), life
        assert all(parcel.at <= life.shipped for parcel in life.shipments)


def test_order_numbers_are_unique_and_look_like_their_platforms(whole, live):
    numbers = [life.order_no for life in whole.lives]
    assert len(set(numbers)) == len(numbers)
    assert len({life.order_no for life in live.lives}) == len(live.lives)
    for life in whole.lives:
        if life.channel == MALL:
            assert life.order_no.startswith("MP")
        else:
            assert len(life.order_no) == 19
            assert life.order_no.isdigit()


def test_a_healthy_order_meets_every_grace(whole, live):
    for life in (*whole.lives, *live.lives):
        if life.cause or life.wms is None:
            continue
        ready = max(m for m in (life.paid or life.placed, life.risk_until, life.group_done) if m)
        assert life.oms - ready < GRACE["OMS未接收"]
        assert life.wms - life.reviewed < GRACE["WMS未接收"]
        assert life.group_done is None or life.group_done - life.placed < GRACE[GROUP]


def test_a_whole_day_has_so_many_orders_every_cause_and_five_to_eight_percent_stuck():
    lives = make_day(seed=9, started_at=START, orders=3000)

    assert len(lives) == len({life.order_no for life in lives}) == 3000
    stuck = [life for life in lives if life.cause]
    assert 0.05 <= len(stuck) / 3000 <= 0.08
    assert {life.cause for life in stuck} == set(CHANNELS_OF)
    assert {life.look_alike for life in lives} == {"", *(kind.name for kind in LIVE_KINDS)}
    assert {life.channel for life in lives} == set(CHANNELS)
    first, last = lives[0].placed, lives[-1].placed
    assert START <= first < START + timedelta(hours=1)
    assert START + timedelta(hours=22) < last < START + timedelta(hours=24)
    end = START + timedelta(hours=25)
    for life in stuck:
        assert life.mended is not None or is_stuck(life, end), life


def test_shops_are_named_by_the_caller():
    shops = {TMALL: "甲", DOUYIN: "乙", MALL: "丙"}
    lives = make_day(seed=9, started_at=START, orders=100, shops=shops)

    assert {(life.channel, life.shop) for life in lives} == set(shops.items())


def test_the_ledger_is_a_line_per_order_and_is_appended_to(tmp_path):
    day = Day(seed=5, started_at=START, scale=0.01, opened_at=START)
    ledger = Ledger(tmp_path / "truth")
    ledger.begin(day.lives)
    history = len(day.lives)
    ledger.append(day.grow(START + timedelta(minutes=3)))

    read = ledger.read()
    assert len(read) == len(day.lives) > history
    by_number = {entry["order_no"]: entry for entry in read}
    for life in day.lives:
        entry = by_number[life.order_no]
        assert (entry["cause"], entry["look_alike"]) == (life.cause, life.look_alike)
        assert bool(entry["stuck_since"]) == bool(life.cause)
    assert (tmp_path / "truth").stat().st_mode & 0o077 == 0

    ledger.begin(day.lives[:2])
    assert len(ledger.read()) == 2
