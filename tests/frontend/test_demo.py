"""The demo enters by the front door, over the wire, and the product finds its truth."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from config.errors import AppError
from config.tenancy.models import Environment, Role, User
from config.tenancy.roles import list_environments
from config.tenancy.scope import for_environment
from connectors.orders.models import Order
from connectors.shops.addresses import list_allowed_addresses
from connectors.shops.connections import change_connection
from connectors.shops.models import AllowedAddress, Connection
from connectors.simulators.keys import Keys
from connectors.simulators.ledger import list_stuck
from connectors.simulators.outside import Outside, PlaceSpec, keys_folder
from connectors.simulators.scenario import SEED, Day
from connectors.sync.models import Quarantine, SyncRun
from connectors.sync.reading import pull
from connectors.sync.sweeps import sweep
from frontend.demo import connections, first_read, outside, places, services
from frontend.demo.accounts import ACCOUNTS, create_accounts
from frontend.demo.notifications import install_notifications, robot_port
from rules_engine.presets import install
from rules_engine.scoring.models import Score
from tests.factories import make_world
from tests.lives import take_lives
from workflows.interventions.models import Alert, Hold, OnCall, Robot
from workflows.patrol.services import patrol_environment

NOW = datetime(2025, 11, 11, 6, 32, tzinfo=UTC)
WOMEN = places.Place("女装", "production", "promo", PlaceSpec("women", SEED, 0.02, 6.0))


@pytest.fixture
def environments(db, settings, tmp_path):
    settings.DATA_DIR = tmp_path
    return create_accounts("pass-word-1")


# -- people ----------------------------------------------------------------------------------------


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


# -- connections -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def keys_of_women(tmp_path_factory):
    """Keys made once: RSA pairs take a moment."""
    folder = tmp_path_factory.mktemp("keys")
    Keys.load_or_create(keys_folder(folder, "women"))
    return keys_folder(folder, "women") / "keys.json"


@pytest.fixture
def keys(environments, settings, keys_of_women):
    folder = keys_folder(settings.DATA_DIR / "simulators", "women")
    folder.mkdir(parents=True)
    (folder / "keys.json").write_bytes(keys_of_women.read_bytes())
    return Keys.load_or_create(folder)


def test_an_environment_has_a_connection_per_simulator_made_once_and_switched_off(
    environments, keys, settings
):
    environment = environments["女装", "production"]
    connections.allow_simulators(environment, people=services._people("女装"), now=NOW)
    first = connections.install_connections(WOMEN, environment, now=NOW)
    second = connections.install_connections(WOMEN, environment, now=NOW)

    assert {app: c.pk for app, c in first.items()} == {app: c.pk for app, c in second.items()}
    assert {c.source.kind for c in first.values()} == {"channel", "gateway", "oms", "wms"}
    assert not any(c.is_active for c in first.values())
    targets = connections.list_targets(environment, first)
    for app, url in targets.items():
        assert url.startswith(f"http://127.0.0.1:{settings.HEDAO_PORT}/in/{environment.public_id}/")
        assert first[app].public_id in url
    for app in ("tmall", "douyin"):  # a shop is authorised at the simulators' own pages
        assert first[app].config["authorise_url"].startswith(f"{first[app].base_url}/")
    way_back = f"http://127.0.0.1:{settings.HEDAO_PORT}/connections/authorised/"
    assert connections.name_callback() == {"douyin.callback": way_back}
    with for_environment(environments["童装", "production"], write=False):
        assert Connection.objects.count() == 0


def test_connections_follow_the_simulators_to_another_port(environments, keys, settings):
    environment, people = environments["女装", "production"], services._people("女装")
    connections.allow_simulators(environment, people=people, now=NOW)
    connections.install_connections(WOMEN, environment, now=NOW)
    settings.HEDAO_PORT += 10
    connections.allow_simulators(environment, people=people, now=NOW)
    moved = connections.install_connections(WOMEN, environment, now=NOW)
    assert moved["tmall"].config["authorise_url"].startswith(moved["tmall"].base_url)

    assert {c.base_url for c in moved.values()} == {
        f"http://127.0.0.1:{settings.HEDAO_PORT + 2}/women/{app}" for app in moved
    }
    with for_environment(environment, write=False):
        assert Connection.objects.count() == len(moved)


def test_the_simulators_address_is_asked_for_by_one_and_allowed_by_another(environments):
    environment = environments["女装", "production"]
    for _ in range(2):
        connections.allow_simulators(environment, people=services._people("女装"), now=NOW)

    with for_environment(environment, write=False):
        assert ("127.0.0.1", places.simulators_port()) in list_allowed_addresses()
        entry = AllowedAddress.objects.get()
        assert entry.requested_by != entry.approved_by
    with for_environment(environments["童装", "production"], write=False):
        assert list_allowed_addresses() == frozenset()


# -- over the wire ---------------------------------------------------------------------------------


@pytest.fixture
def running(transactional_db, settings, tmp_path, keys_of_women, monkeypatch):
    """The simulators of one small place, served where the demo looks for them."""
    settings.DATA_DIR = tmp_path
    folder = keys_folder(tmp_path / "simulators", "women")
    folder.mkdir(parents=True)
    (folder / "keys.json").write_bytes(keys_of_women.read_bytes())
    world = Outside(tmp_path / "simulators", [WOMEN.spec])
    monkeypatch.setattr(services, "PLACES", (WOMEN,))
    with world.host.running() as address:
        port = int(address.rpartition(":")[2])
        settings.HEDAO_PORT = port - 2
        yield world


def _found(environment):
    with for_environment(environment, write=False):
        rows = Score.objects.exclude(band="healthy").values_list("order__order_no", "cause")
        return dict(rows)


def _seed(environments=None):
    environments = create_accounts("pass-word-1")
    environment = environments["女装", "production"]
    memory = services.Memory.load()
    people = services._people("女装")
    connections.allow_simulators(environment, people=people, now=timezone.now())
    services.seed_place(WOMEN, environment, memory, say=lambda _: None, is_parallel=False)
    return environment


@pytest.mark.slow(10)
@pytest.mark.any_database
def test_a_seeding_finds_every_stuck_order_with_its_cause_and_nothing_else(running):
    environment = _seed()

    place = running.places["women"]
    truth = list_stuck(place.day.lives, timezone.now())
    found = _found(environment)
    assert found == truth
    assert set(truth.values()) == {life.cause for life in place.day.lives if life.cause}
    with for_environment(environment, write=False):
        assert Order.objects.filter(is_history=True).count() == Score.objects.count() > 300
        assert Quarantine.objects.count() == 0
        # History never alerts and never holds.
        patrol_environment(environment, now=timezone.now())
        assert Alert.objects.count() == Hold.objects.count() == 0
        assert Connection.objects.filter(is_active=True).count() == 7
        assert not Connection.objects.exclude(trouble_code="").exists()
    assert place.apps["mall"].push_url.startswith("http://127.0.0.1:")
    assert place.day.opened_at is not None


@pytest.mark.slow(10)
@pytest.mark.any_database
def test_a_seeded_place_is_not_read_again_and_one_cut_short_is(running, monkeypatch):
    calls = []
    real = first_read.read_everything

    def dying(*args, **kwargs):
        calls.append("read")
        if len(calls) == 1:
            raise first_read.FirstReadFailed("cut short")
        real(*args, **kwargs)

    monkeypatch.setattr(services, "read_everything", dying)
    with pytest.raises(first_read.FirstReadFailed):
        _seed()
    assert not services.Memory.load().is_seeded(WOMEN)
    assert running.places["women"].day.opened_at is None

    environment = _seed()
    assert services.Memory.load().is_seeded(WOMEN)
    assert len(calls) == 2
    with for_environment(environment):
        paused = Connection.objects.select_related("source").first()
        change_connection(paused, actor=None, now=timezone.now(), is_active=False)

    assert _seed() == environment
    assert len(calls) == 2
    with for_environment(environment, write=False):  # what a person switched off stays off
        assert Connection.objects.get(is_active=False) == paused


@pytest.mark.slow
def test_a_lost_callback_after_the_seeding_is_found_held_and_told_once(running):
    environment = _seed()
    clock = running.tools.clock
    clock.advance(timedelta(seconds=90))
    running.grow(clock.now())
    first = next(life for life in running.places["women"].day.lives if life.lag.seconds > 300)

    with for_environment(environment, write=False):
        ids = {c.source.name: c.pk for c in Connection.objects.select_related("source")}
    for name in ids:
        pull(environment, ids[name], clock=clock.now, is_forced=True)
    clock.advance(timedelta(minutes=3))
    for name in ("支付宝", "微信支付"):
        sweep(environment, ids[name], clock=clock.now)
    pull(environment, ids[first.shop], clock=clock.now, is_forced=True)
    patrol_environment(environment, now=clock.now())

    with for_environment(environment, write=False):
        alert = Alert.objects.select_related("order").get(level="red")
        assert alert.order.order_no == first.order_no
        assert alert.cause == "支付回调丢失"
        assert not alert.order.is_history
        assert Hold.objects.get().order == alert.order
        assert not SyncRun.objects.filter(state=SyncRun.State.FAILED).exists()


def test_without_simulators_the_seeding_says_so(environments, settings, monkeypatch):
    settings.HEDAO_PORT = 1  # nobody listens on 3
    monkeypatch.setattr(outside, "PATIENCE_SECONDS", 0.1)
    started = time.monotonic()
    with pytest.raises(AppError, match="没有应答"):
        outside.wait_for_outside(seconds=0.1)
    assert time.monotonic() - started < 30


# -- the day itself --------------------------------------------------------------------------------


@pytest.mark.slow(10)
@pytest.mark.any_database
@pytest.mark.parametrize("minutes", [7, 120])
def test_at_any_moment_of_the_day_the_product_finds_the_ledger_s_orders(db, minutes):
    environment = make_world().production
    day = Day(seed=SEED, started_at=NOW, scale=0.03, opened_at=NOW)
    now = NOW + timedelta(minutes=minutes)
    day.grow(now)
    with for_environment(environment):
        install("promo", NOW)

    take_lives(environment, day.lives, now=now, is_history=True)
    services.score_history(environment, now=now)

    assert _found(environment) == list_stuck(day.lives, now)
