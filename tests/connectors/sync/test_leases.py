"""One worker at a time at one list of one connection, for as long as it lives.

That each job keeps to it is in the tests of the jobs.
"""

from __future__ import annotations

from datetime import timedelta

import pytest

from config.tenancy.scope import for_environment
from connectors.shops.models import Connection
from connectors.sync.leases import LEASE, hold_stream
from connectors.sync.models import Cursor
from tests.connectors.sync.scripted import Bench
from tests.factories import World

pytestmark = pytest.mark.django_db


def hold(bench: Bench, connection: Connection, stream: str = "a"):
    return hold_stream(bench.environment, connection.pk, stream, clock=bench.now)


def test_a_list_is_held_by_one_and_other_lists_are_free(bench: Bench) -> None:
    one, _ = bench.connect("tmall")
    other, _ = bench.connect("douyin")

    with hold(bench, one) as first, hold(bench, one) as second:
        with hold(bench, one, "b") as beside, hold(bench, other) as elsewhere:
            assert [bool(x) for x in (first, second, beside, elsewhere)] == [
                True,
                False,
                True,
                True,
            ]
        # Who was refused gives nothing back on leaving.
        with hold(bench, one) as again:
            assert not again
    with hold(bench, one) as after:
        assert after


def test_a_lease_is_given_back_when_the_work_fails(bench: Bench) -> None:
    connection, _ = bench.connect("tmall")

    with pytest.raises(ZeroDivisionError), hold(bench, connection):
        raise ZeroDivisionError

    with hold(bench, connection) as is_ours:
        assert is_ours


def test_the_lease_of_the_dead_runs_out_and_its_ghost_takes_nothing_back(bench: Bench) -> None:
    connection, _ = bench.connect("tmall")
    ghost = hold(bench, connection)
    assert ghost.__enter__()

    bench.at += LEASE - timedelta(seconds=1)
    with hold(bench, connection) as too_early:
        assert not too_early
    bench.pass_time(seconds=1)
    with hold(bench, connection) as successor:
        assert successor
        ghost.__exit__(None, None, None)
        with hold(bench, connection) as third:
            assert not third


def test_a_long_piece_of_work_keeps_its_lease_and_learns_that_it_lost_it(bench: Bench) -> None:
    connection, _ = bench.connect("tmall")

    with hold(bench, connection) as ours:
        for _ in range(3):
            bench.at += LEASE - timedelta(seconds=1)
            assert ours.renew()
        with hold(bench, connection) as early:
            assert not early
            assert not early.renew()
        bench.at += LEASE
        with hold(bench, connection) as successor:
            assert successor
            assert not ours.renew()
            assert successor.renew()


def test_a_connection_of_another_environment_is_not_held_and_leaves_no_row(
    bench: Bench, world: World
) -> None:
    connection, _ = bench.connect("tmall")

    with (
        pytest.raises(Connection.DoesNotExist),
        hold_stream(world.other, connection.pk, "a", clock=bench.now),
    ):
        pytest.fail("it was held")

    for environment in (world.production, world.other):
        with for_environment(environment, write=False):
            assert not Cursor.objects.exists()
