"""From scores to episodes, holds and the brake."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

from config.audit.models import AuditEntry
from config.audit.services import check_chain
from config.errors import BadInput, WrongState
from config.tenancy.models import Environment
from config.tenancy.scope import EnvironmentQuerySet
from connectors.shops.models import Source
from connectors.shops.services import record_freshness
from rules_engine.scoring.models import Score
from tests.factories import NOW, for_environment
from workflows.interventions.models import (
    Alert,
    AlertGroup,
    BrakeItem,
    BrakeRequest,
    Hold,
    Notice,
    SourceAlert,
)
from workflows.interventions.services import (
    decide_brake,
    list_held,
    release_hold,
    release_holds,
    watch_sources,
)

pytestmark = pytest.mark.django_db


def test_a_red_order_is_held_once_and_its_episode_is_one_row(stream):
    order = stream.put(49)
    for _ in range(3):
        stream.patrol()

    assert [(a.level, a.cause, a.episode) for a in stream.rows(Alert)] == [("red", "甲原因", 1)]
    assert [(h.order_id, h.released_at, h.reach) for h in stream.rows(Hold)] == [
        (order.pk, None, "local")
    ]
    assert len(stream.rows(Notice)) == 1
    assert stream.alert(order).hold_state == "held"


@pytest.mark.parametrize(
    ("score", "level"), [(100, None), (72, None), (66, "yellow"), (58, "orange"), (49.99, "red")]
)
def test_a_first_score_opens_the_level_of_its_band(stream, score, level):
    order = stream.put(score)
    stream.patrol()

    alert = stream.alert(order)
    assert (alert.level if alert else None) == level
    assert stream.held(order) == (level == "red")


def test_a_score_within_two_points_of_a_line_waits_for_a_second_look(stream):
    order = stream.put(69)
    stream.patrol()
    assert stream.alert(order) is None

    stream.patrol()

    assert stream.alert(order).level == "yellow"


def test_flapping_across_a_line_opens_nothing(stream):
    order = stream.put(69, order_no="FLAP")
    for score in (70.5, 69, 71, 69.5, 70):
        stream.patrol()
        stream.put(score, order_no="FLAP")
    stream.patrol()
    assert stream.rows(Alert) == []
    assert stream.alert(order) is None


def test_falling_into_red_acts_at_once_however_near_the_line(stream):
    order = stream.put(51, order_no="NEAR")
    stream.patrol()
    assert stream.alert(order).level == "orange"

    stream.put(49.99, order_no="NEAR")
    stream.patrol()

    assert stream.alert(order).level == "red"
    assert stream.held(order)
    assert len(stream.rows(Alert)) == 1
    assert [n.level for n in stream.rows(Notice)] == ["orange", "red"]


def test_recovery_closes_the_episode_once_and_releases_the_hold(stream):
    order = stream.put(30, order_no="R")
    stream.patrol()
    stream.put(100, order_no="R")
    run = stream.patrol()
    stream.patrol()

    alert = stream.rows(Alert)[0]
    assert (alert.close_reason, alert.closed_at) == ("recovered", run.started_at)
    assert (run.closed, run.released) == (1, 1)
    hold = stream.rows(Hold)[0]
    assert (hold.release_kind, hold.released_at) == ("recovered", alert.closed_at)
    assert not stream.held(order)


def test_a_second_fall_is_a_second_episode(stream):
    stream.put(30, order_no="TWICE")
    stream.patrol()
    stream.put(100, order_no="TWICE")
    stream.patrol()
    stream.put(40, order_no="TWICE")
    stream.patrol()

    assert [(a.episode, a.closed_at is None) for a in stream.rows(Alert)] == [(1, False), (2, True)]
    assert [h.released_at is None for h in stream.rows(Hold)] == [False, True]


def test_leaving_red_for_orange_releases_and_falling_back_holds_again(stream):
    order = stream.put(40, order_no="BACK")
    stream.patrol()
    stream.put(55, order_no="BACK")
    stream.patrol()
    assert (stream.alert(order).level, stream.held(order)) == ("orange", False)

    stream.put(45, order_no="BACK")
    stream.patrol()

    assert (stream.alert(order).level, stream.held(order)) == ("red", True)
    assert stream.alert(order).worst_level == "red"
    assert len(stream.rows(Alert)) == 1
    assert [n.sequence for n in stream.rows(Notice)] == [1, 2]


def test_an_order_that_ends_closes_its_episode(stream):
    stream.put(40, order_no="END")
    stream.patrol()
    stream.put(40, order_no="END", stage="closed_refunded", closed_at=NOW)
    stream.patrol()

    assert stream.rows(Alert)[0].close_reason == "over"
    assert stream.rows(Hold)[0].release_kind == "over"


def test_an_imported_order_that_was_well_alerts_when_it_goes_wrong_later(stream):
    order = stream.put(90, is_history=True, order_no="LATER")
    stream.put(10, is_history=True, order_no="ALREADY")
    stream.patrol()
    assert stream.rows(Alert) == []

    stream.put(40, is_history=True, order_no="LATER")
    stream.patrol()

    assert [a.order_id for a in stream.rows(Alert)] == [order.pk]
    assert stream.held(order)


def test_history_never_alerts_and_never_holds(stream):
    stream.put(10, is_history=True)
    stream.put(65, is_history=True)
    run = stream.patrol()

    assert run.scored == 2
    for model in (Alert, Hold, Notice, AlertGroup, BrakeRequest):
        assert stream.rows(model) == []


def test_another_environment_is_untouched(stream):
    stream.put(10)
    stream.patrol()
    for other in (stream.world.staging, stream.world.other):
        with for_environment(other, write=False):
            for model in (Alert, Hold, Notice, AlertGroup):
                assert model.objects.count() == 0


def test_cause_and_score_of_a_standing_episode_stay_current_without_new_words(stream):
    order = stream.put(40, order_no="CAUSE")
    stream.patrol()
    stream.put(40, order_no="CAUSE", remark="乙")
    stream.patrol()

    assert stream.alert(order).cause == "乙原因"
    assert stream.alert(order).score_hundredths == stream.score(order).score_hundredths
    assert len(stream.rows(Notice)) == 1


# --- crash safety ---------------------------------------------------------------------------------


def test_a_crash_between_hold_and_alert_leaves_neither(stream, monkeypatch):
    order = stream.put(40)

    def crash(*args, **kwargs):
        raise RuntimeError("killed here")

    with monkeypatch.context() as patch:
        patch.setattr("workflows.interventions.episodes.record_notices", crash)
        with pytest.raises(RuntimeError):
            stream.patrol()
    for model in (Alert, Hold, Notice, Score):
        assert stream.rows(model) == [], model

    stream.patrol()

    assert stream.held(order)
    assert (len(stream.rows(Alert)), len(stream.rows(Hold)), len(stream.rows(Notice))) == (1, 1, 1)


def test_a_hold_that_cannot_be_written_is_failed_and_tried_again(stream, monkeypatch):
    bad, good = stream.put(40, order_no="BAD"), stream.put(41, order_no="GOOD")
    insert = Hold.save

    def refuse_together(*args, **kwargs):
        raise DatabaseError("disk full")

    def refuse_one(self, *args, **kwargs):
        if self.order_id == bad.pk:
            raise DatabaseError("disk full")
        insert(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(
            "config.tenancy.scope.EnvironmentQuerySet.bulk_create", _only_for(Hold, refuse_together)
        )
        patch.setattr(Hold, "save", refuse_one)
        stream.patrol()
    assert stream.alert(bad).hold_state == "failed"
    assert stream.alert(good).hold_state == "held"
    assert (stream.held(bad), stream.held(good)) == (False, True)

    stream.patrol()

    assert stream.alert(bad).hold_state == "held"
    assert stream.held(bad)


def _only_for(model, instead):
    original = EnvironmentQuerySet.bulk_create

    def bulk_create(self, *args, **kwargs):
        if self.model is model:
            return instead()
        return original(self, *args, **kwargs)

    return bulk_create


def test_the_database_refuses_two_open_holds_and_two_open_episodes_of_one_order(stream):
    order = stream.put(40)
    stream.patrol()
    alert = stream.alert(order)
    with for_environment(stream.environment):
        with pytest.raises(IntegrityError), transaction.atomic():
            Hold.objects.create(order=order, alert=alert, placed_at=NOW, reach="local")
        with pytest.raises(IntegrityError), transaction.atomic():
            Alert.objects.create(
                order=order, episode=2, level="red", worst_level="red",
                score_hundredths=0, opened_at=NOW, level_since=NOW,
            )  # fmt: skip


# --- releasing ------------------------------------------------------------------------------------


def test_a_person_releases_with_a_reason_and_the_patrol_respects_it(stream):
    order = stream.put(40)
    stream.patrol()
    actor = stream.world.users["supervisor"]
    with for_environment(stream.environment):
        hold = Hold.objects.get()
        with pytest.raises(BadInput):
            release_hold(hold, actor=actor, reason="  ", now=NOW)
        assert Hold.objects.get().released_at is None

        release_hold(hold, actor=actor, reason="顾客已补地址", now=NOW)

        row = Hold.objects.get()
        assert (row.released_by, row.release_reason) == (actor, "顾客已补地址")
        entry = AuditEntry.objects.order_by("-position").first()
        assert (entry.action, entry.subject, entry.details) == (
            "hold.release",
            order.order_no,
            {"reason": "顾客已补地址"},
        )
        assert check_chain() is None
    for _ in range(3):
        stream.patrol()
    assert not stream.held(order)
    assert stream.alert(order).hold_state == "released"


def test_the_second_release_of_one_hold_is_refused_and_changes_nothing(stream):
    stream.put(40)
    stream.patrol()
    first, second = stream.world.users["supervisor"], stream.world.users["director"]
    with for_environment(stream.environment):
        hold = Hold.objects.get()
        release_hold(hold, actor=first, reason="一", now=NOW)
        with pytest.raises(WrongState):
            release_hold(hold, actor=second, reason="二", now=NOW + timedelta(minutes=1))
        row = Hold.objects.get()
        assert (row.released_by, row.release_reason, row.released_at) == (first, "一", NOW)
        assert AuditEntry.objects.filter(action="hold.release").count() == 1


def test_several_holds_are_released_together_and_late_ones_are_counted(stream):
    for score in (40, 41, 42):
        stream.put(score)
    stream.patrol()
    actor = stream.world.users["supervisor"]
    with for_environment(stream.environment):
        holds = list(Hold.objects.all())
        release_hold(holds[1], actor=actor, reason="先放一单", now=NOW)
        assert release_holds(holds, actor=actor, reason="都放", now=NOW) == (2, 1)
        assert list_held([h.order_id for h in holds]) == set()


# --- the brake ------------------------------------------------------------------------------------


def set_limit(stream, limit):
    Environment.objects.filter(pk=stream.environment.pk).update(hold_limit=limit)


def test_more_holds_than_the_environment_allows_ask_a_person(stream):
    set_limit(stream, 3)
    orders = [stream.put(score) for score in (10, 20, 30, 40, 45)]
    stream.patrol()

    assert [stream.held(o) for o in orders] == [True, True, True, False, False]  # worst first
    brake = stream.rows(BrakeRequest)[0]
    assert (brake.hold_limit, brake.recent_holds, brake.decided_at) == (3, 3, None)
    assert len(stream.rows(BrakeItem)) == 2
    assert [stream.alert(o).hold_state for o in orders[3:]] == ["waiting", "waiting"]
    assert sorted(g.topic for g in stream.rows(AlertGroup)) == ["brake", "red"]

    late = stream.put(5)
    stream.patrol()
    assert not stream.held(late)
    assert len(stream.rows(BrakeRequest)) == 1
    assert len(stream.rows(BrakeItem)) == 3


def test_an_approved_brake_holds_what_is_still_red(stream):
    set_limit(stream, 0)
    still, better = stream.put(20, order_no="A"), stream.put(30, order_no="B")
    stream.patrol()
    stream.put(100, order_no="B")
    stream.patrol()
    actor = stream.world.users["supervisor"]
    with for_environment(stream.environment):
        brake = BrakeRequest.objects.get()
        assert decide_brake(brake, is_approved=True, actor=actor, reason="", now=NOW) == 1
        with pytest.raises(WrongState):
            decide_brake(brake, is_approved=False, actor=actor, reason="不", now=NOW)
    assert (stream.held(still), stream.held(better)) == (True, False)
    assert stream.rows(Hold)[0].placed_by == actor
    assert stream.alert(still).hold_state == "held"


def test_a_rejected_brake_holds_nothing_and_asks_no_more_for_these(stream):
    set_limit(stream, 0)
    order = stream.put(20)
    stream.patrol()
    actor = stream.world.users["supervisor"]
    with for_environment(stream.environment):
        brake = BrakeRequest.objects.get()
        with pytest.raises(BadInput):
            decide_brake(brake, is_approved=False, actor=actor, reason="", now=NOW)
        decide_brake(brake, is_approved=False, actor=actor, reason="演练", now=NOW)
    stream.patrol()

    assert not stream.held(order)
    assert stream.alert(order).hold_state == "declined"
    assert len(stream.rows(BrakeRequest)) == 1


def test_a_brake_whose_orders_recovered_is_withdrawn_and_stops_nobody(stream):
    set_limit(stream, 0)
    stream.put(20, order_no="GONE")
    stream.patrol()
    stream.put(100, order_no="GONE")
    stream.patrol()
    stream.patrol()
    assert stream.rows(BrakeRequest)[0].decision == "moot"

    set_limit(stream, 5)
    fresh = stream.put(20)
    stream.patrol()
    assert stream.held(fresh)


def test_the_window_of_the_brake_slides(stream):
    set_limit(stream, 1)
    first = stream.put(20)
    stream.patrol()
    assert stream.held(first)
    second = stream.put(21)
    stream.patrol(seconds=11 * 60)
    assert stream.held(second)


# --- late sources ---------------------------------------------------------------------------------


def test_a_late_source_gives_one_alert_however_many_orders_and_closes_when_fresh(stream):
    for _ in range(5):
        stream.put(100)
    stream.patrol()
    assert stream.rows(SourceAlert) == []

    stream.patrol(seconds=40 * 60)
    stream.patrol()
    alerts = stream.rows(SourceAlert)
    assert len(alerts) == 4  # one per source, not per order
    assert len({a.source_id for a in alerts}) == 4
    assert [g.topic for g in stream.rows(AlertGroup)] == ["source"]

    with for_environment(stream.environment):
        for source in Source.objects.all():
            record_freshness(source, complete_until=stream.clock.now, now=stream.clock.now)
    stream.patrol()
    assert all(a.closed_at is not None for a in stream.rows(SourceAlert))

    stream.patrol(seconds=40 * 60)
    assert sorted(a.episode for a in stream.rows(SourceAlert)) == [1, 1, 1, 1, 2, 2, 2, 2]


def test_a_source_that_never_was_fresh_cannot_fall_behind(stream):
    with for_environment(stream.environment):
        old = Source.objects.create(kind="wms", name="去年的文件")
        record_freshness(old, complete_until=NOW - timedelta(days=300), now=NOW)
        watch_sources(now=NOW)
        assert SourceAlert.objects.count() == 0


def test_the_number_of_queries_of_a_chunk_does_not_grow_with_its_orders(stream):
    def count(prefix, number):
        for n in range(number):
            stream.put(30 + n % 10, order_no=f"{prefix}{n}")
        with CaptureQueriesContext(connection) as caught:
            stream.patrol()
        return len([q for q in caught if "SAVEPOINT" not in q["sql"]])

    count("WARM", 3)
    few = count("FEW", 3)
    many = count("MANY", 30)

    assert many == few
    assert len(stream.rows(Hold)) == 36
