"""Shifts and allowed addresses on screen."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from connectors.shops.addresses import list_allowed_addresses, request_address
from connectors.shops.models import AllowedAddress
from tests.factories import for_environment
from workflows.interventions.models import Contact, OnCall
from workflows.interventions.services import list_on_duty

pytestmark = pytest.mark.django_db


@pytest.fixture
def enter(client, world):
    def sign_in(role):
        client.force_login(world.users[role])
        return client

    return sign_in


def form(world, **changes):
    now = timezone.localtime()
    return {
        "person": world.users["agent"].public_id,
        "starts": f"{now - timedelta(hours=1):%Y-%m-%dT%H:%M}",
        "ends": f"{now + timedelta(hours=7):%Y-%m-%dT%H:%M}",
        "mobile": "13800000001",
    } | changes


def test_a_supervisor_puts_somebody_on_duty_from_this_minute(world, enter):
    client = enter("supervisor")
    page = client.post("/shifts/new/", form(world), follow=True).content.decode()

    assert "已排班：李娜" in page
    assert "在班" in page
    assert "会被 @" in page
    assert "13800000001" not in page
    with for_environment(world.production, write=False):
        assert list_on_duty(timezone.now()) == [world.users["agent"]]
        assert Contact.objects.get().mobile == "13800000001"
        shift = OnCall.objects.get()
    with for_environment(world.other, write=False):
        assert list_on_duty(timezone.now()) == []
    client.post(reverse("shift_cancel", args=[shift.pk]))
    with for_environment(world.production, write=False):
        assert OnCall.objects.count() == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"starts": "", "ends": ""},
        {"starts": "2026-13-45T99:00"},
        {"starts": "0001-01-01T00:00"},
        {"ends": "9999-12-31T23:59"},
        {"ends": "2020-01-01T00:00"},
        {"mobile": "123"},
    ],
)
def test_an_impossible_shift_is_refused_and_nothing_is_stored(world, enter, changes):
    assert enter("supervisor").post("/shifts/new/", form(world, **changes)).status_code == 400
    with for_environment(world.production, write=False):
        assert (OnCall.objects.count(), Contact.objects.count()) == (0, 0)


def test_one_person_has_one_shift_at_a_time(world, enter):
    client = enter("supervisor")
    client.post("/shifts/new/", form(world))
    assert client.post("/shifts/new/", form(world)).status_code == 400


def test_people_of_another_division_cannot_be_put_on_duty_here(world, enter):
    given = form(world, person=world.users["outsider"].public_id)
    assert enter("supervisor").post("/shifts/new/", given).status_code == 404


def test_who_may_not_manage_shifts_sees_the_list_only(world, enter):
    client = enter("agent")
    page = client.get("/shifts/").content.decode()
    assert 'data-testid="shift-form"' not in page
    assert "现在无人值班" in page
    assert client.post("/shifts/new/", form(world)).status_code == 403


def test_a_shift_of_another_division_does_not_exist(world, enter):
    with for_environment(world.production):
        shift = OnCall.objects.create(
            user=world.users["agent"],
            starts_at=timezone.now(),
            ends_at=timezone.now() + timedelta(hours=1),
        )
    assert enter("outsider").post(reverse("shift_cancel", args=[shift.pk])).status_code == 404
    with for_environment(world.production, write=False):
        assert OnCall.objects.count() == 1


def test_an_address_is_asked_for_by_one_and_allowed_by_another(world, client):
    client.force_login(world.users["tech_support"])
    given = {"host": "wms.intern", "port": "8080", "purpose": "仓库"}
    client.post("/addresses/request/", given)
    with for_environment(world.production, write=False):
        entry = AllowedAddress.objects.get()
        assert list_allowed_addresses() == frozenset()
    approve = reverse("address_approve", args=[entry.public_id])
    assert client.post(approve).status_code == 403

    client.force_login(world.users["reviewer"])
    assert "放行 wms.intern:8080" in client.get("/addresses/").content.decode()
    client.post(approve)

    with for_environment(world.production, write=False):
        assert list_allowed_addresses() == {("wms.intern", 8080)}
    client.post(reverse("address_withdraw", args=[entry.public_id]))
    with for_environment(world.production, write=False):
        assert list_allowed_addresses() == frozenset()


@pytest.mark.parametrize("port", ["", "0", "65536", "-1", "８０", "abc", "1" * 30])
def test_an_impossible_port_is_refused(world, enter, port):
    given = {"host": "x.intern", "port": port, "purpose": "仓库"}
    assert enter("tech_support").post("/addresses/request/", given).status_code == 400
    with for_environment(world.production, write=False):
        assert AllowedAddress.objects.count() == 0


def test_addresses_are_for_the_technical_side_and_the_own_division(world, client):
    with for_environment(world.production):
        entry = request_address(
            host="a.intern",
            port=80,
            purpose="x",
            actor=world.users["tech_support"],
            now=timezone.now(),
        )
    client.force_login(world.users["agent"])
    assert client.get("/addresses/").status_code == 403
    client.force_login(world.users["outsider"])
    assert client.post(reverse("address_approve", args=[entry.public_id])).status_code in {403, 404}
    with for_environment(world.production, write=False):
        assert list_allowed_addresses() == frozenset()
