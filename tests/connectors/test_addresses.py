"""The allow-list of private addresses: two people, one environment."""

from __future__ import annotations

import pytest
from django.db import IntegrityError, transaction

from config.audit.models import AuditEntry
from config.errors import BadInput, NotAllowed, WrongState
from connectors.http import AddressRefused
from connectors.shops.addresses import (
    approve_address,
    list_allowed_addresses,
    request_address,
    withdraw_address,
)
from connectors.shops.models import AllowedAddress
from tests.factories import NOW, for_environment, make_world

pytestmark = pytest.mark.django_db


def ask(world, **changes):
    values = {"host": "127.0.0.1", "port": 8601, "purpose": "机器人模拟器"} | changes
    return request_address(**values, actor=world.users["tech_support"], now=NOW)


def test_an_address_opens_only_after_somebody_else_approved_it():
    world = make_world()
    with for_environment(world.production):
        entry = ask(world)
        assert list_allowed_addresses() == frozenset()
        with pytest.raises(NotAllowed):
            approve_address(entry, actor=world.users["tech_support"], now=NOW)
        assert list_allowed_addresses() == frozenset()

        approve_address(entry, actor=world.users["reviewer"], now=NOW)

        assert list_allowed_addresses() == {("127.0.0.1", 8601)}
        with pytest.raises(WrongState):
            approve_address(entry, actor=world.users["division_admin"], now=NOW)
        assert list(AuditEntry.objects.order_by("position").values_list("action", flat=True)) == [
            "address.request",
            "address.approve",
        ]


def test_an_entry_counts_in_its_own_environment_only():
    world = make_world()
    with for_environment(world.production):
        approve_address(ask(world), actor=world.users["reviewer"], now=NOW)
    for environment in (world.staging, world.other):
        with for_environment(environment):
            assert list_allowed_addresses() == frozenset()


def test_a_withdrawn_entry_is_shut_at_once():
    world = make_world()
    with for_environment(world.production):
        entry = approve_address(ask(world), actor=world.users["reviewer"], now=NOW)
        withdraw_address(entry, actor=world.users["reviewer"], now=NOW)
        assert list_allowed_addresses() == frozenset()


def test_a_bad_request_changes_nothing():
    world = make_world()
    with for_environment(world.production):
        for changes in ({"port": 0}, {"port": 65536}, {"purpose": "  "}):
            with pytest.raises(BadInput):
                ask(world, **changes)
        with pytest.raises(AddressRefused):
            ask(world, host="")
        assert AllowedAddress.objects.count() == 0
        ask(world, host="WMS.Intern.")
        with pytest.raises(WrongState):
            ask(world, host="wms.intern")
        assert AllowedAddress.objects.get().host == "wms.intern"


def test_the_database_itself_refuses_an_approval_of_ones_own():
    world = make_world()
    with for_environment(world.production):
        entry = ask(world)
        with pytest.raises(IntegrityError), transaction.atomic():
            AllowedAddress.objects.filter(pk=entry.pk).update(
                approved_by=world.users["tech_support"], approved_at=NOW
            )
