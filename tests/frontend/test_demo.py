"""The demo enters by the front door, and the product finds its truth."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from config.tenancy.models import Environment, Role, User
from config.tenancy.roles import list_environments
from config.tenancy.scope import for_environment
from connectors.orders.models import Order
from frontend.demo import services
from frontend.demo.accounts import ACCOUNTS, create_accounts
from frontend.demo.notifications import install_notifications, robot_port
from frontend.demo.world import SEED, World
from rules_engine.presets import install
from rules_engine.scoring.models import Score
from workflows.interventions.models import Alert, Hold, OnCall, Robot
from workflows.patrol.services import patrol_environment

NOW = datetime(2025, 11, 11, 6, 32, tzinfo=UTC)
SCALE = 0.03


@pytest.fixture
def environments(db, settings, tmp_path):
    settings.DATA_DIR = tmp_path
    return create_accounts("pass-word-1")


@pytest.mark.slow
def test_the_product_finds_every_stuck_order_of_the_demo_with_its_cause(environments):
    environment = environments["女装", "production"]
    world = World(seed=SEED, started_at=NOW, scale=SCALE)
    with for_environment(environment):
        install("promo", NOW)
    since = None
    for until in (NOW - timedelta(hours=3), NOW):
        services.import_slice(environment, world, since=since, until=until, is_history=True)
        services.score_history(environment, now=until)
        since = until

    with for_environment(environment, write=False):
        found = dict(Score.objects.exclude(band="healthy").values_list("order__order_no", "cause"))
        assert found == {number: cause for number, cause, _since in world.truth()}
        assert Order.objects.count() == Score.objects.count()
        assert Alert.objects.count() == Hold.objects.count() == 0
    with for_environment(environments["童装", "production"], write=False):
        assert Order.objects.count() == 0


def test_there_is_one_login_per_role_and_nobody_sees_another_division(environments):
    assert {a.role for a in ACCOUNTS} == set(Role.values) - {Role.PLATFORM_ADMIN}
    for account in ACCOUNTS:
        user = User.objects.get(username=account.username)
        assert {e.division.name for e in list_environments(user)} == (
            {account.division} if account.division else set()
        )


def test_accounts_and_notifications_are_made_once(environments):
    people = services._people("女装")
    environment = environments["女装", "production"]
    for _ in range(2):
        install_notifications(environment, division="女装", people=people, now=NOW)
        create_accounts("another-one")

    assert User.objects.count() == len(ACCOUNTS)
    assert Environment.objects.count() == 4
    assert User.objects.get(username="zhuguan").check_password("pass-word-1")
    with for_environment(environment, write=False):
        assert Robot.objects.filter(is_active=True).count() == 1
        assert OnCall.objects.count() == 1


def test_a_new_port_gets_a_new_robot_and_ends_the_old_one(environments, settings):
    people = services._people("女装")
    environment = environments["女装", "production"]
    install_notifications(environment, division="女装", people=people, now=NOW)
    settings.HEDAO_PORT += 10
    install_notifications(environment, division="女装", people=people, now=NOW)

    with for_environment(environment, write=False):
        active = Robot.objects.get(is_active=True)
        assert str(robot_port()) in active.name
        assert Robot.objects.count() == 2


@pytest.mark.slow
def test_a_seeding_that_was_cut_short_goes_on_where_it_was(environments, monkeypatch):
    place = services.Place("女装", "production", SEED, SCALE, "promo", history=(3,))
    monkeypatch.setattr(services, "PLACES", (place,))
    real, calls = services.score_history, []

    def dying(environment, *, now):
        calls.append(now)
        if len(calls) == 2:
            raise KeyboardInterrupt
        real(environment, now=now)

    monkeypatch.setattr(services, "score_history", dying)
    with pytest.raises(KeyboardInterrupt):
        services.seed(now=NOW, say=lambda _: None)
    assert not services.Memory.load(default_start=NOW).is_seeded(place)
    services.seed(now=NOW + timedelta(minutes=10), say=lambda _: None)

    memory = services.Memory.load(default_start=NOW)
    assert memory.started_at == NOW
    assert memory.is_seeded(place)
    world = World(seed=SEED, started_at=NOW, scale=SCALE)
    with for_environment(environments["女装", "production"], write=False):
        found = set(Score.objects.exclude(band="healthy").values_list("order__order_no", flat=True))
        assert found == {number for number, _cause, _since in world.truth()}
    count = len(calls)
    services.seed(now=NOW + timedelta(minutes=20), say=lambda _: None)
    assert len(calls) == count


@pytest.mark.slow
def test_what_the_feed_brings_is_live_and_a_lost_callback_turns_red(environments):
    environment = environments["女装", "production"]
    world = World(seed=SEED, started_at=NOW, scale=0.01)
    with for_environment(environment):
        install("promo", NOW)
    services.import_slice(environment, world, since=None, until=NOW, is_history=True)
    patrol_environment(environment, now=NOW)
    later = NOW + timedelta(minutes=2)
    services.import_slice(environment, world, since=NOW, until=later, is_history=False)
    patrol_environment(environment, now=later)

    with for_environment(environment, write=False):
        alert = Alert.objects.select_related("order").get(level="red")
        assert alert.cause == "支付回调丢失"
        assert not alert.order.is_history
        assert Hold.objects.get().order == alert.order
