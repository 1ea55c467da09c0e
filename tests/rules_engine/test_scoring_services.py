"""Scoring in bulk: written once, newest wins, intervals, errors of one order, the clock."""

from __future__ import annotations

import logging
import threading
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from config.releases.models import Version
from config.releases.services import (
    approve_version,
    create_draft,
    publish_version,
    submit_version,
)
from config.tenancy.scope import ScopeMissing, for_environment
from connectors.orders.canonical import CanonicalReceipt
from connectors.orders.models import Order
from connectors.orders.services import receive
from connectors.orders.statuses import Stage
from connectors.shops.services import record_freshness
from rules_engine import presets
from rules_engine.facts.models import FactSnapshot
from rules_engine.rules.services import get_active_version
from rules_engine.scoring import services
from rules_engine.scoring.models import Score, ScoreChange
from rules_engine.scoring.services import list_due_order_ids, score_orders
from tests.factories import NOW, World, make_order, make_sources, make_world
from workflows.causes import classify


@pytest.fixture
def world(db: None) -> World:
    return make_world()


def minutes(count: float) -> timedelta:
    return timedelta(minutes=count)


def score(ids: list[int], now: datetime = NOW, why: str = "received", **more: Any) -> Any:
    return score_orders(ids, now=now, why=why, classify=classify, **more)


def keep_fresh(sources: dict[str, Any], now: datetime) -> None:
    for source in sources.values():
        record_freshness(source, complete_until=now, now=now)


def publish(content: dict[str, Any], world: World, now: datetime) -> Version:
    """A next version of the rules, through a supervisor and a reviewer."""
    active = get_active_version()
    assert active is not None
    draft = create_draft(active.document, content=content, author=world.users["supervisor"])
    draft = submit_version(draft, actor=world.users["supervisor"], note="", now=now)
    draft = approve_version(draft, reviewer=world.users["reviewer"], comment="", now=now)
    return publish_version(draft, actor=world.users["reviewer"], now=now)


def simple(formula: str, points: float = 100, cap: int | None = None) -> dict[str, Any]:
    """Rules of one dimension that matters."""
    return {
        "name": "一项",
        "lines": {"yellow": 70, "orange": 60, "red": 50},
        "dimensions": [
            {
                "key": "d",
                "name": "一项",
                "formula": formula,
                "points": points,
                "cap": cap,
                "cause": "价格",
            }
        ],
    }


def test_the_moment_of_the_first_score_stays_whatever_comes_after(world: World) -> None:
    with for_environment(world.production):
        sources = make_sources()
        presets.install("promo", NOW)
        order, other = make_order(source=sources["channel"]), make_order(order_no="LATER")

        score([order.pk])
        make_order(  # told again, and differently
            NOW + minutes(2), order_no=order.order_no, shop=order.shop.name, paid_fen=1,
            source_updated_at=NOW + minutes(2), source=sources["channel"],
        )  # fmt: skip
        score([order.pk, other.pk], NOW + minutes(3))

        order.refresh_from_db()
        other.refresh_from_db()
    assert (order.first_scored_at, other.first_scored_at) == (NOW, NOW + minutes(3))


def test_first_score_has_dimensions_sum_cause_and_an_open_interval(world: World) -> None:
    with for_environment(world.production):
        presets.install("promo", NOW)
        keep_fresh(make_sources(), NOW)
        order = make_order(placed_at=NOW - minutes(60))  # paid 58 minutes ago, no OMS
        (scored,) = score([order.pk])
        stored, change = Score.objects.get(), ScoreChange.objects.get()

    assert (scored.before_band, scored.after_band, scored.is_first) == (None, "red", True)
    assert (scored.cause, scored.needs_intervention, scored.is_uncertain) == (
        "OMS未接收",
        True,
        False,
    )
    assert (stored.score_hundredths, stored.uncapped_hundredths, stored.cap_hundredths) == (
        4900,
        8500,
        4900,
    )
    assert stored.sum_text == "20 + 15 + 10 + 10 + 5 + 5 + 0 + 10 + 5 + 5 = 85 → 封顶 49"
    assert (stored.failing, stored.revision, stored.scored_at) == ("oms", order.revision, NOW)
    row = next(d for d in stored.dimensions if d["key"] == "oms")
    assert row == {
        "key": "oms", "name": "OMS 接收", "result": "fail", "points_hundredths": 0, "max": 1500,
        "cap": 4900, "cause": "OMS未接收", "is_capping": True, "is_late": False, "needs_person": False,
        "unknown_facts": [], "reason": "11-11 13:34 付款，截至 11-11 14:32 OMS 还没有这张订单",
    }  # fmt: skip
    assert (change.at, change.until, change.band, change.why) == (NOW, None, "red", "received")
    assert (change.failing, change.changed_dimensions) == (["oms"], ["oms"])
    assert stored.fact_digest


def test_scoring_again_writes_nothing(world: World) -> None:
    with for_environment(world.production):
        presets.install("promo", NOW)
        keep_fresh(make_sources(), NOW)
        ids = [make_order(placed_at=NOW - minutes(5)).pk for _ in range(3)]
        score(ids)
        with CaptureQueriesContext(connection) as queries:
            again = score(ids)

        writes = [q["sql"] for q in queries if q["sql"].startswith(("INSERT", "UPDATE", "COPY"))]
        assert writes == []
        assert [s.changed for s in again] == [False] * 3
        assert ScoreChange.objects.count() == 3


def test_clock_alone_turns_an_order_red_within_its_minute(world: World) -> None:
    with for_environment(world.production):
        presets.install("promo", NOW)
        sources = make_sources()
        order = make_order(placed_at=NOW - minutes(2))  # paid now
        bands = []
        for minute in range(13, 18):
            now = NOW + minutes(minute)
            keep_fresh(sources, now)
            assert list_due_order_ids() == [order.pk]
            (scored,) = score([order.pk], now, "clock")
            bands.append(scored.after_band)
        changes = list(
            ScoreChange.objects.order_by("at").values_list("at", "until", "band", "is_silent")
        )

    assert bands == ["healthy", "healthy", "red", "red", "red"]
    assert changes == [
        (NOW + minutes(13), NOW + minutes(15), "healthy", False),
        (NOW + minutes(15), NOW + minutes(16), "red", False),
        (NOW + minutes(16), None, "red", True),  # beyond the dwell of its node
    ]


def test_recovery_closes_the_interval_and_says_what_changed(world: World) -> None:
    with for_environment(world.production):
        presets.install("promo", NOW)
        sources = make_sources()
        keep_fresh(sources, NOW)
        order = make_order(placed_at=NOW - minutes(60))
        score([order.pk])
        receipt = CanonicalReceipt(order.order_no, received_at=NOW)
        receive([receipt], source=sources["oms"], now=NOW)
        (scored,) = score([order.pk], NOW + minutes(1))
        first, second = ScoreChange.objects.order_by("at")

    assert (scored.before_band, scored.after_band, scored.cause) == ("red", "healthy", "")
    assert (first.until, second.at, second.until) == (NOW + minutes(1), NOW + minutes(1), None)
    assert (second.changed_dimensions, second.failing) == (["oms"], [])


def test_intervals_answer_any_moment_exactly_once(world: World) -> None:
    with for_environment(world.production):
        presets.install("promo", NOW)
        sources = make_sources()
        order = make_order(placed_at=NOW - minutes(2))
        for minute in range(40):
            keep_fresh(sources, NOW + minutes(minute))
            score([order.pk], NOW + minutes(minute), "clock")

        for minute in range(40):
            at = NOW + minutes(minute)
            current = [
                c for c in ScoreChange.objects.filter(at__lte=at) if c.until is None or c.until > at
            ]
            assert len(current) == 1


def test_older_revision_never_overwrites_a_newer_score(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with for_environment(world.production):
        presets.install("promo", NOW)
        keep_fresh(make_sources(), NOW)
        order = make_order(placed_at=NOW - minutes(60))
        score([order.pk], NOW + minutes(5))
        Score.objects.update(revision=order.revision + 1)  # somebody scored a later revision
        before = Score.objects.values().get()

        assert score([order.pk], NOW + minutes(9)) == []
        assert Score.objects.values().get() == before


def test_earlier_pass_never_overwrites_a_later_one(world: World) -> None:
    with for_environment(world.production):
        presets.install("promo", NOW)
        sources = make_sources()
        keep_fresh(sources, NOW + minutes(30))
        order = make_order(placed_at=NOW - minutes(2))
        score([order.pk], NOW + minutes(30))

        assert score([order.pk], NOW) == []
        assert (Score.objects.get().band, ScoreChange.objects.count()) == ("red", 1)


def test_result_of_older_rules_never_overwrites_that_of_newer_ones(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with for_environment(world.production):
        presets.install("promo", NOW)
        old_rules = services.get_active_rule_set()
        keep_fresh(make_sources(), NOW)
        order = make_order(placed_at=NOW - minutes(5))
        publish(simple("实付金额<1"), world, NOW + minutes(1))
        score([order.pk], NOW + minutes(2))
        monkeypatch.setattr(services, "get_active_rule_set", lambda: old_rules)

        assert score([order.pk], NOW + minutes(3)) == []
        assert Score.objects.get().band == "red"


def test_rules_published_later_but_drafted_earlier_are_the_newer_ones(world: World) -> None:
    with for_environment(world.production):
        first = presets.install("promo", NOW)
        keep_fresh(make_sources(), NOW)
        order = make_order(placed_at=NOW - minutes(5))
        early = create_draft(
            first.document, content=simple("实付金额<1"), author=world.users["supervisor"]
        )
        publish(simple("实付金额>1"), world, NOW + minutes(1))
        score([order.pk], NOW + minutes(2))
        early = submit_version(early, actor=world.users["supervisor"], note="", now=NOW)
        early = approve_version(early, reviewer=world.users["reviewer"], comment="", now=NOW)
        publish_version(early, actor=world.users["reviewer"], now=NOW + minutes(3))
        (scored,) = score([order.pk], NOW + minutes(4), "rule")

    assert (scored.before_band, scored.after_band) == ("healthy", "red")


def test_published_rules_make_open_orders_due_and_leave_finished_ones_alone(world: World) -> None:
    with for_environment(world.production):
        presets.install("promo", NOW)
        keep_fresh(make_sources(), NOW)
        open_one = make_order(placed_at=NOW - minutes(5))
        over = make_order(stage=Stage.COMPLETED)
        assert list_due_order_ids() == [open_one.pk, over.pk]
        score([open_one.pk, over.pk])
        assert list_due_order_ids(only_changed=True) == []
        assert list_due_order_ids() == [open_one.pk]
        publish(simple("实付金额<1"), world, NOW)

        assert list_due_order_ids(only_changed=True) == [open_one.pk]
        (scored,) = score([open_one.pk], NOW + minutes(1), "rule")
        assert (scored.after_band, scored.cause) == ("red", "价格")
        assert ScoreChange.objects.get(order=open_one, until=None).why == "rule"


def test_due_orders_come_in_steps_by_id(world: World) -> None:
    with for_environment(world.production):
        presets.install("promo", NOW)
        ids = [make_order().pk for _ in range(5)]

        assert list_due_order_ids(limit=2) == ids[:2]
        assert list_due_order_ids(limit=2, after_id=ids[1]) == ids[2:4]


def test_without_published_rules_nothing_is_scored(world: World) -> None:
    with for_environment(world.production):
        order = make_order()

        assert score([order.pk]) == []
        assert Score.objects.count() == 0


def test_error_of_one_order_stays_with_that_order(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with for_environment(world.production):
        presets.install("promo", NOW)
        keep_fresh(make_sources(), NOW)
        orders = [make_order(placed_at=NOW - minutes(60)) for _ in range(3)]
        score([o.pk for o in orders])
        Order.objects.update(revision=99)
        judge = services.Judge.judge_compiled

        def fall_over(self: Any, values: Any, source_id: Any) -> Any:
            if values["order.order_no"] == orders[1].order_no:
                raise ZeroDivisionError("boom")
            return judge(self, values, source_id)

        monkeypatch.setattr(services.Judge, "judge_compiled", fall_over)
        with caplog.at_level(logging.ERROR):
            scored = score([o.pk for o in orders], NOW + minutes(1))

        assert [s.order_id for s in scored] == [orders[0].pk, orders[2].pk]
        assert scored.failed_ids == [orders[1].pk]
        assert (
            dict(Score.objects.values_list("order_id", "revision"))[orders[1].pk]
            == orders[1].revision
        )
    assert f"scoring failed for order {orders[1].pk}" in caplog.text
    assert orders[1].order_no not in caplog.text


@pytest.mark.parametrize(
    ("stage", "age", "is_silent"),
    [(Stage.AWAIT_PAY, 61, True), (Stage.AWAIT_PAY, 59, False), (Stage.CLOSED_UNPAID, 999, False)],
)
def test_order_that_stands_longer_than_its_node_expects_is_silent(
    world: World, stage: str, age: float, is_silent: bool
) -> None:
    with for_environment(world.production):
        presets.install("promo", NOW)
        keep_fresh(make_sources(), NOW)
        order = make_order(stage=stage, placed_at=NOW - minutes(age), paid_at=None, paid_fen=None,
                           closed_at=NOW if stage == Stage.CLOSED_UNPAID else None)  # fmt: skip
        (scored,) = score([order.pk])
        stored = Score.objects.get()

    assert (stored.is_silent, stored.needs_intervention) == (is_silent, is_silent)
    assert scored.after_band == "healthy"


def test_missing_facts_of_fresh_sources_need_a_person(world: World) -> None:
    with for_environment(world.production):
        presets.install("promo", NOW)
        keep_fresh(make_sources(), NOW)
        order = make_order(placed_at=NOW - minutes(5), payable_fen=None)
        (scored,) = score([order.pk])
        stored = Score.objects.get()

    row = next(d for d in stored.dimensions if d["key"] == "price")
    assert (row["result"], row["needs_person"], row["reason"]) == ("insufficient", True, "数据不足")
    assert (scored.needs_intervention, scored.cause) == (True, "数据不足")


def test_failed_dimension_with_a_cap_needs_a_person_even_at_a_healthy_score(world: World) -> None:
    rules = simple("实付金额<1", points=5, cap=98)
    rules["dimensions"].append({"key": "e", "name": "二项", "formula": "实付金额>1", "points": 95})
    with for_environment(world.production):
        presets.install("promo", NOW)
        publish(rules, world, NOW)
        keep_fresh(make_sources(), NOW)
        order = make_order(placed_at=NOW - minutes(5))
        (scored,) = score([order.pk])

    assert (scored.score_hundredths, scored.after_band) == (9500, "healthy")
    assert (scored.needs_intervention, scored.cause) == (True, "价格")


def test_order_that_cannot_be_scored_leaves_no_empty_score(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fall_over(*_: Any) -> None:
        raise ZeroDivisionError("boom")

    with for_environment(world.production):
        presets.install("promo", NOW)
        keep_fresh(make_sources(), NOW)
        order = make_order(placed_at=NOW - minutes(5))
        monkeypatch.setattr(services.Judge, "judge_compiled", fall_over)
        scored = score([order.pk])

        assert (list(scored), scored.failed_ids) == ([], [order.pk])
        assert Score.objects.count() == 0
        assert list_due_order_ids() == [order.pk]


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_two_workers_on_the_same_orders_write_one_history() -> None:
    world = make_world()
    with for_environment(world.production):
        presets.install("promo", NOW)
        keep_fresh(make_sources(), NOW)
        ids = [make_order(placed_at=NOW - minutes(60)).pk for _ in range(30)]
    start, errors, changed = threading.Barrier(2), [], []

    def work(some: list[int]) -> None:
        try:
            start.wait(10)
            with for_environment(world.production):
                changed.extend(s.order_id for s in score(some) if s.changed)
        except Exception as error:  # noqa: BLE001 - asserted below
            errors.append(error)
        finally:
            connection.close()

    workers = [threading.Thread(target=work, args=(some,)) for some in (ids, ids[::-1])]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)

    assert errors == []
    assert sorted(changed) == ids
    with for_environment(world.production):
        assert Score.objects.filter(band="red").count() == 30
        assert ScoreChange.objects.count() == 30


def test_late_feed_makes_a_better_band_uncertain(world: World) -> None:
    with for_environment(world.production):
        presets.install("promo", NOW)
        sources = make_sources()
        keep_fresh(sources, NOW)
        order = make_order(placed_at=NOW - minutes(60))
        score([order.pk])
        later = NOW + minutes(45)
        record_freshness(sources["channel"], complete_until=later, now=later)
        (scored,) = score([order.pk], later, "clock")

    assert (scored.before_band, scored.after_band, scored.is_uncertain) == ("red", "healthy", True)


def test_snapshot_is_taken_once_per_revision(world: World) -> None:
    with for_environment(world.production):
        presets.install("promo", NOW)
        sources = make_sources()
        keep_fresh(sources, NOW)
        order = make_order(placed_at=NOW - minutes(5))
        score([order.pk])
        first = FactSnapshot.objects.values_list("taken_at", "digest").get()
        score([order.pk], NOW + minutes(1), "clock")
        unchanged = FactSnapshot.objects.values_list("taken_at", "digest").get()
        receive([CanonicalReceipt(order.order_no, received_at=NOW)], source=sources["oms"], now=NOW)
        score([order.pk], NOW + minutes(2))
        second = FactSnapshot.objects.values_list("taken_at", "digest").get()

    assert first == unchanged
    assert second[0] == NOW + minutes(2)
    assert second[1] != first[1]


def test_clock_pass_costs_the_same_queries_for_two_orders_and_for_sixty(world: World) -> None:
    with for_environment(world.production):
        presets.install("promo", NOW)
        sources = make_sources()
        ids = [make_order(placed_at=NOW - minutes(5)).pk for _ in range(60)]
        score(ids)
        counts = []
        for number, some in enumerate((ids[:2], ids), 1):
            keep_fresh(sources, NOW + minutes(number))
            with CaptureQueriesContext(connection) as queries:
                score(some, NOW + minutes(number), "clock")
            counts.append(len(queries))
        keep_fresh(sources, NOW + minutes(40))
        with CaptureQueriesContext(connection) as queries:
            turned = score(ids, NOW + minutes(40), "clock")

    assert counts[0] == counts[1]
    assert all(s.changed for s in turned)
    # One executemany per table: writing costs the same number of statements on PostgreSQL.
    assert len(queries) <= counts[1] + (60 * 2 + 2 if connection.vendor == "sqlite" else 12)


def test_scores_of_one_environment_are_not_seen_or_touched_from_another(world: World) -> None:
    with for_environment(world.production):
        presets.install("promo", NOW)
        keep_fresh(make_sources(), NOW)
        mine = make_order(placed_at=NOW - minutes(60))
        score([mine.pk])
    with for_environment(world.other):
        presets.install("promo", NOW)
        keep_fresh(make_sources(), NOW)
        assert score([mine.pk], NOW + minutes(9)) == []
        assert (
            Score.objects.count(),
            ScoreChange.objects.count(),
            FactSnapshot.objects.count(),
        ) == (0, 0, 0)
        assert list_due_order_ids() == []
    with pytest.raises(ScopeMissing):
        list_due_order_ids()


def test_as_of_run_scores_the_past_and_leaves_no_snapshot(world: World) -> None:
    with for_environment(world.production):
        presets.install("promo", NOW - timedelta(days=2))
        sources = make_sources()
        keep_fresh(sources, NOW)
        order = make_order(placed_at=NOW - minutes(100), is_history=True)
        receipt = CanonicalReceipt(order.order_no, received_at=NOW - minutes(70))
        receive([receipt], source=sources["oms"], now=NOW)
        then = NOW - minutes(80)  # 18 minutes after payment, before the OMS had it
        (scored,) = score([order.pk], NOW, "as_of", as_of=then)
        change = ScoreChange.objects.get()

        assert (scored.after_band, scored.cause) == ("red", "OMS未接收")
        assert (change.at, change.why) == (then, "as_of")
        assert FactSnapshot.objects.count() == 0
        (today,) = score([order.pk], NOW)
        assert today.after_band == "healthy"


def test_formula_with_personal_fact_reads_it_from_the_sealed_part(world: World) -> None:
    with for_environment(world.production):
        presets.install("promo", NOW)
        publish(simple('非(包含(备注, "退"))'), world, NOW)
        keep_fresh(make_sources(), NOW)
        order = make_order(placed_at=NOW - minutes(5), remark="不想要了，退")
        first = score([order.pk])
        second = score([order.pk], NOW + minutes(1), "clock")
        stored = Score.objects.get()

    assert [first[0].after_band, second[0].after_band] == ["red", "red"]
    assert "不想要" not in str(stored.dimensions)
