"""One minute of the river: slots, leases, due work, repair."""

from __future__ import annotations

from datetime import timedelta

import pytest

from config.audit.models import AuditEntry
from config.errors import WrongState
from config.releases.services import (
    approve_version,
    create_draft,
    get_or_create_document,
    publish_version,
    submit_version,
)
from connectors.orders.canonical import CanonicalReceipt
from connectors.orders.models import Order
from connectors.orders.nodes import nodes_to_content
from connectors.orders.services import NODE_TABLE_KEY, NODE_TABLE_KIND, receive
from connectors.shops.models import Source
from connectors.systems import downstream
from rules_engine.presets import install
from rules_engine.scoring.models import Score, ScoreChange
from tests.factories import NOW, for_environment, make_order, make_sources, make_world
from tests.workflows.conftest import FakeClock, Stream, side_by_side
from workflows.interventions.models import Alert, Hold, PatrolLease, PatrolRun, Repair
from workflows.interventions.services import release_hold
from workflows.patrol import runs, services
from workflows.patrol.services import (
    list_environments,
    patrol_environment,
    repair_order,
    score_due,
    tick,
    wake_scoring,
)
from workflows.rollup.models import BoardSnapshot

pytestmark = pytest.mark.django_db


def repaired(stream, order):
    with for_environment(stream.environment):
        return repair_order(
            order,
            environment=stream.environment,
            actor=stream.world.users["agent"],
            now=stream.clock.pass_by(5),
        )


# --- slots and leases -----------------------------------------------------------------------------


def test_a_minute_is_patrolled_once_whoever_rings(stream):
    stream.put(40)
    first = stream.patrol()
    again = patrol_environment(stream.environment, now=stream.clock.pass_by(1), clock=stream.clock)

    assert first.state == "done"
    assert again is None
    assert len(stream.rows(PatrolRun)) == 1
    assert len(stream.rows(Alert)) == 1


def test_a_late_ring_for_a_past_minute_does_nothing(stream):
    stream.patrol()
    past = stream.clock.now - timedelta(minutes=5)
    assert patrol_environment(stream.environment, now=past, clock=stream.clock) is None


def test_missed_minutes_are_written_down_up_to_four(stream):
    stream.patrol()
    stream.patrol(seconds=600)
    states = [r.state for r in sorted(stream.rows(PatrolRun), key=lambda r: r.slot)]
    assert states == ["done", "missed", "missed", "missed", "missed", "done"]


def test_two_passes_of_an_environment_never_run_at_once(stream):
    stream.put(40)
    with runs.hold_lease(stream.environment, now=stream.clock.now) as lease:
        assert lease is not None
        run = stream.patrol()
        assert (run.state, run.scored) == ("busy", 0)
        assert score_due(stream.environment, now=stream.clock.now, clock=stream.clock) == 0
    assert stream.patrol().scored == 1


def test_the_lease_of_a_dead_worker_runs_out_and_the_next_pass_does_its_work(stream):
    order = stream.put(40)
    with for_environment(stream.environment):
        PatrolLease.objects.create(
            holder="dead", expires_at=stream.clock.now + timedelta(seconds=120)
        )
    assert stream.patrol().state == "busy"
    assert stream.patrol(seconds=61).state == "done"
    assert stream.held(order)


def test_a_worker_whose_lease_was_taken_stops_at_its_next_chunk(stream, monkeypatch):
    for n in range(3):
        stream.put(40 + n)
    monkeypatch.setattr(services, "CHUNK", 1)
    score = services.score_orders

    def taken_over(ids, **options):
        found = score(ids, **options)
        PatrolLease.objects.update(holder="somebody else")
        return found

    monkeypatch.setattr(services, "score_orders", taken_over)
    run = stream.patrol()

    assert (run.state, run.note, run.scored) == ("failed", "lease_lost", 1)
    assert len(stream.rows(Score)) == 1


def test_a_failing_environment_does_not_stop_the_others(stream, monkeypatch):
    watch = services.watch_sources

    def fail_once(*, now):
        monkeypatch.setattr(services, "watch_sources", watch)
        raise RuntimeError("boom")

    monkeypatch.setattr(services, "watch_sources", fail_once)
    done = tick(stream.clock.pass_by(60), clock=stream.clock)

    assert len(done) == len(list_environments()) - 1
    assert [(r.state, r.note) for r in stream.rows(PatrolRun)] == [("failed", "RuntimeError")]
    assert all(r.expires_at < stream.clock.now for r in stream.rows(PatrolLease))


def test_an_inactive_environment_is_left_alone(stream):
    type(stream.environment).objects.filter(pk=stream.environment.pk).update(is_active=False)
    tick(stream.clock.pass_by(60), clock=stream.clock)
    assert stream.rows(PatrolRun) == []


def test_the_run_says_its_lag_and_the_board_is_counted_at_the_same_moment(stream):
    stream.put(100)
    stream.clock.now = stream.clock.now.replace(second=0) + timedelta(seconds=17)
    run = stream.patrol(seconds=60)

    assert run.lag_seconds == 17
    assert [s.at for s in stream.rows(BoardSnapshot)] == [stream.clock.now]


# --- due work -------------------------------------------------------------------------------------


def test_an_order_turns_red_within_a_minute_of_its_time_without_any_event(world, clock):
    environment = world.production
    with for_environment(environment):
        install("promo", NOW)
        make_sources(NOW)
        paid = NOW - timedelta(minutes=10)
        order = make_order(NOW, placed_at=paid - timedelta(minutes=2))
    due = paid + timedelta(minutes=15)
    red_at = None
    while red_at is None and clock.now < due + timedelta(minutes=5):
        clock.pass_by(60)
        with for_environment(environment):
            make_sources(clock.now + timedelta(minutes=1))
        patrol_environment(environment, now=clock.now, clock=clock)
        with for_environment(environment, write=False):
            if Hold.objects.filter(order=order).exists():
                red_at = clock.now
    assert red_at is not None
    assert due <= red_at <= due + timedelta(seconds=60)
    with for_environment(environment, write=False):
        assert Order.objects.get().revision == 1
        assert ScoreChange.objects.get(until=None).why == "clock"
        assert Alert.objects.get().cause == "OMS未接收"


def test_what_came_in_is_scored_without_waiting_for_the_minute(stream):
    order = stream.put(40)
    stream.put(100)
    assert score_due(stream.environment, now=stream.clock.now, clock=stream.clock) == 2
    assert stream.held(order)
    assert score_due(stream.environment, now=stream.clock.now, clock=stream.clock) == 0


@pytest.mark.parametrize("is_pass", [False, True])
def test_what_comes_in_while_somebody_scores_is_scored_by_them(stream, monkeypatch, is_pass):
    chunks, late = services._due_chunks, []

    def find_and_be_late(environment, *, only_changed, **more):
        yield from chunks(environment, only_changed=only_changed, **more)
        if not late and only_changed is not is_pass:  # the last look, the lease still held
            late.append(stream.put(40))
            assert score_due(environment, now=stream.clock.now, clock=stream.clock) == 0

    monkeypatch.setattr(services, "_due_chunks", find_and_be_late)

    if is_pass:
        stream.patrol()
    else:
        assert score_due(stream.environment, now=stream.clock.now, clock=stream.clock) == 1

    assert stream.held(late[0])


def test_a_new_node_table_is_followed_by_the_next_pass(stream):
    order = stream.put(100)
    stream.patrol()
    people = stream.world.users
    content = nodes_to_content()
    for node in content["nodes"]:
        if node["code"] == "callback":
            node["left"] = ["paid"]
    with for_environment(stream.environment):
        before = Order.objects.get(pk=order.pk).node
        document = get_or_create_document(kind=NODE_TABLE_KIND, key=NODE_TABLE_KEY, name="节点表")
        draft = create_draft(document, content=content, author=people["supervisor"])
        draft = submit_version(draft, actor=people["supervisor"], note="", now=NOW)
        draft = approve_version(draft, reviewer=people["reviewer"], comment="", now=NOW)
        publish_version(draft, actor=people["reviewer"], now=NOW)
    stream.patrol()
    with for_environment(stream.environment, write=False):
        assert before == "callback"
        assert Order.objects.get(pk=order.pk).node != "callback"
        assert PatrolLease.objects.get().node_version_id == draft.pk


def test_without_published_rules_nothing_is_scored_and_nothing_breaks(world, clock):
    with for_environment(world.staging):
        make_order(NOW)
    run = patrol_environment(world.staging, now=clock.pass_by(60), clock=clock)
    assert (run.state, run.scored) == ("done", 0)


def test_a_queue_that_is_down_costs_nothing_but_time(
    stream, group, django_capture_on_commit_callbacks
):
    stream.connect_robot(group)
    with django_capture_on_commit_callbacks(execute=True) as callbacks:
        stream.put(40)
        with for_environment(stream.environment):
            wake_scoring(stream.environment)
        stream.patrol()
    assert len(callbacks) == 3  # to score, to stop what was held, to speak
    tick(stream.clock.pass_by(60), clock=stream.clock)
    assert len(group.accepted) == 1


# --- ignorance is not recovery --------------------------------------------------------------------


def test_a_source_that_falls_late_does_not_release_what_it_cannot_judge(world, clock):
    environment = world.production
    with for_environment(environment):
        install("promo", NOW)
        make_sources(NOW)
        order = make_order(NOW - timedelta(hours=1))
    patrol_environment(environment, now=clock.pass_by(60), clock=clock)
    with for_environment(environment, write=False):
        assert Alert.objects.get().cause == "OMS未接收"
        assert Hold.objects.get().released_at is None

    for _ in range(3):
        clock.pass_by(3600)
        patrol_environment(environment, now=clock.now, clock=clock)
    with for_environment(environment, write=False):
        assert Hold.objects.get().released_at is None
        assert Alert.objects.get().closed_at is None

    with for_environment(environment):
        sources = make_sources(clock.now)
        receive(
            [CanonicalReceipt(order_no=order.order_no, received_at=NOW, reviewed_at=clock.now)],
            source=sources["oms"],
            now=clock.now,
        )
    patrol_environment(environment, now=clock.pass_by(60), clock=clock)
    with for_environment(environment, write=False):
        assert Hold.objects.get().release_kind == "recovered"


# --- holds downstream -----------------------------------------------------------------------------


def test_a_held_order_is_not_pushed_until_it_is_released(stream, monkeypatch):
    pushed = []
    monkeypatch.setattr(downstream, "_writers", {"oms": lambda order, now: pushed.append(order.pk)})
    order = stream.put(40)
    stream.patrol()
    assert stream.rows(Hold)[0].reach == "push"
    with for_environment(stream.environment):
        with pytest.raises(WrongState):
            downstream.push_order(order.pk, kind="oms", now=NOW)
        release_hold(
            Hold.objects.get(), actor=stream.world.users["supervisor"], reason="核实无误", now=NOW
        )
        downstream.push_order(order.pk, kind="oms", now=NOW)
    assert pushed == [order.pk]


# --- repair ---------------------------------------------------------------------------------------


def test_a_repair_that_finds_the_order_well_says_so_and_releases(stream):
    order = stream.put(40, order_no="FIX")
    stream.patrol()
    stream.put(100, order_no="FIX")

    result = repaired(stream, order)

    assert (result.before_band, result.after_band) == ("red", "healthy")
    assert result.is_mended
    assert result.was_released
    assert not stream.held(order)
    assert stream.alert(order) is None
    (row,) = stream.rows(Repair)
    assert (row.actor, row.is_mended) == (stream.world.users["agent"], True)
    with for_environment(stream.environment, write=False):
        assert AuditEntry.objects.filter(action="order.repair", subject="FIX").count() == 1


def test_a_repair_that_changes_nothing_never_says_mended(stream):
    order = stream.put(40)
    stream.patrol()

    result = repaired(stream, order)

    assert (result.is_mended, result.was_released, result.has_changed) == (False, False, False)
    assert stream.held(order)
    assert len(stream.rows(Alert)) == 1


def test_a_repair_reads_what_the_sources_told_although_the_order_row_forgot(stream):
    order = stream.put(40)
    with for_environment(stream.environment):
        oms = Source.objects.get(kind="oms")
        receive([CanonicalReceipt(order_no=order.order_no, received_at=NOW)], source=oms, now=NOW)
        Order.objects.filter(pk=order.pk).update(oms_received_at=None, node="callback")
    result = repaired(stream, order)
    with for_environment(stream.environment, write=False):
        row = Order.objects.get(pk=order.pk)
    assert result.has_changed
    assert row.oms_received_at == NOW
    assert row.node != "callback"
    assert stream.score(order).revision == row.revision


def test_a_repair_pressed_twice_acts_once(stream):
    order = stream.put(40, order_no="DOUBLE")
    stream.patrol()
    stream.put(100, order_no="DOUBLE")
    repaired(stream, order)
    again = repaired(stream, order)
    assert (again.is_mended, again.was_released) == (True, False)
    assert len(stream.rows(Hold)) == 1


# --- side by side, on a real database -------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_two_ticks_at_once_patrol_a_minute_once():
    stream = Stream(make_world(), FakeClock())
    orders = [stream.put(40 + n / 10) for n in range(20)]
    now = stream.clock.pass_by(60)

    def job():
        return patrol_environment(stream.environment, now=now, clock=stream.clock)

    results = side_by_side(job, job, job)

    assert [r for r in results if isinstance(r, Exception)] == []
    assert len([r for r in results if r is not None]) == 1
    assert len(stream.rows(Hold)) == len(stream.rows(Alert)) == len(orders)
    assert len(stream.rows(PatrolRun)) == 1


@pytest.mark.django_db(transaction=True)
def test_scoring_on_change_beside_a_tick_gives_one_episode_and_one_hold_each():
    stream = Stream(make_world(), FakeClock())
    orders = [stream.put(40 + n / 10) for n in range(20)]
    now = stream.clock.pass_by(60)
    results = side_by_side(
        lambda: patrol_environment(stream.environment, now=now, clock=stream.clock),
        lambda: score_due(stream.environment, now=now, clock=stream.clock),
        lambda: repaired(stream, orders[0]),
    )
    assert [r for r in results if isinstance(r, Exception)] == []
    stream.patrol()
    assert len(stream.rows(Hold)) == len(stream.rows(Alert)) == len(orders)


@pytest.mark.django_db(transaction=True)
def test_of_two_workers_releasing_one_hold_one_wins():
    stream = Stream(make_world(), FakeClock())
    stream.put(40)
    stream.patrol()
    (hold,) = stream.rows(Hold)

    def release(role):
        def job():
            with for_environment(stream.environment):
                return release_hold(
                    hold, actor=stream.world.users[role], reason=role, now=stream.clock.now
                )

        return job

    results = side_by_side(release("supervisor"), release("director"))

    assert sorted(type(r).__name__ for r in results) == ["Hold", "WrongState"]
    winner = next(r for r in results if isinstance(r, Hold))
    (row,) = stream.rows(Hold)
    assert row.release_reason == winner.release_reason
    with for_environment(stream.environment, write=False):
        assert AuditEntry.objects.filter(action="hold.release").count() == 1
