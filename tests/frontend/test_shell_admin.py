"""The admin: every table scoped, foreign rows absent, each role its own."""

from __future__ import annotations

import pytest
from django.contrib import admin
from django.test import Client

from config.audit.models import AuditEntry
from config.audit.services import record
from config.tenancy.models import Membership, Role, User
from config.tenancy.scope import for_environment, for_tenant
from connectors.shops.models import Shop
from frontend.admin.base import ScopedAdmin
from tests.factories import NOW, PASSWORD, World, join, make_user, make_world

pytestmark = pytest.mark.django_db


def sign_in(world: World, role: str = "division_admin") -> Client:
    client = Client()
    client.force_login(world.users[role])
    return client


def make_shop(world: World, environment, name: str) -> Shop:
    with for_environment(environment):
        return Shop.objects.create(channel="tmall", name=name)


def test_every_registered_table_is_scoped() -> None:
    assert admin.site._registry
    for model, model_admin in admin.site._registry.items():
        assert isinstance(model_admin, ScopedAdmin), model
        assert model_admin.right, model


def test_a_foreign_row_is_absent_everywhere(world: World) -> None:
    own = make_shop(world, world.production, "自家店")
    foreign = make_shop(world, world.other, "别家店")
    client = sign_in(world)

    listed = client.get("/admin/shops/shop/").content.decode()
    assert "自家店" in listed
    assert "别家店" not in listed
    for act in ("change", "history", "delete"):
        assert client.get(f"/admin/shops/shop/{foreign.pk}/{act}/").status_code in {403, 404}, act
    assert client.get(f"/admin/shops/shop/{foreign.pk}/change/").status_code == 404
    assert client.get(f"/admin/shops/shop/{foreign.pk}/history/").status_code == 404
    assert client.get(f"/admin/shops/shop/{own.pk}/history/").status_code == 200
    answer = client.get(
        "/admin/autocomplete/",
        {"app_label": "shops", "model_name": "source", "field_name": "shop", "term": "家店"},
    )
    assert [row["text"] for row in answer.json()["results"]] == [str(own)]


def test_a_new_row_belongs_to_the_environment_in_force_and_is_recorded(world: World) -> None:
    client = sign_in(world)

    client.post("/admin/shops/shop/add/", {"channel": "jd", "name": "京东店", "is_active": "on"})

    with for_environment(world.production):
        shop = Shop.objects.get(name="京东店")
        assert shop.tenant_id == world.tenant.pk
        assert AuditEntry.objects.filter(action="admin.add", subject__contains="京东店").exists()
    with for_environment(world.staging):
        assert not Shop.objects.exists()


def test_roles_see_only_their_tables(world: World) -> None:
    tech, director = sign_in(world, "tech_support"), sign_in(world, "director")

    assert tech.get("/admin/shops/shop/").status_code == 200
    assert tech.get("/admin/tenancy/user/").status_code == 403
    assert director.get("/admin/audit/auditentry/").status_code == 200
    assert director.get("/admin/shops/shop/").status_code == 403
    assert sign_in(world, "agent").get("/admin/").status_code in {302, 403}
    assert sign_in(world, "agent").get("/admin/", follow=True).status_code == 403
    assert sign_in(world, "headquarters").get("/admin/", follow=True).status_code == 403


def test_the_audit_log_is_read_only_and_ends_at_one_s_environments(world: World) -> None:
    for environment in (world.production, world.other):
        with for_environment(environment):
            record(action="test", subject=str(environment), actor=None, now=NOW)
    client = sign_in(world)

    page = client.get("/admin/audit/auditentry/").content.decode()

    assert "女装 · 生产" in page
    assert "童装 · 生产" not in page
    assert client.get("/admin/audit/auditentry/add/").status_code == 403
    with for_environment(world.production):
        entry = AuditEntry.objects.filter(action="test").order_by("position").first()
    changed = client.post(f"/admin/audit/auditentry/{entry.pk}/change/", {"action": "x"})
    assert changed.status_code == 403


def test_an_administrator_manages_people_of_the_own_division_only(world: World) -> None:
    other = make_world("别家集团", prefix="b_")
    both = make_user("both", tenant=world.tenant, display_name="两边的人")
    for division in world.divisions:
        join(both, Role.REVIEWER, division=division)
    client = sign_in(world)

    page = client.get("/admin/tenancy/user/").content.decode()

    assert "李娜" in page
    for user in (world.users["outsider"], world.users["headquarters"], both, other.users["agent"]):
        for act in ("change", "password"):
            answer = client.get(f"/admin/tenancy/user/{user.pk}/{act}/")
            assert answer.status_code == 404, (user.username, act)


def test_a_new_person_gets_the_tenant_and_a_role_in_the_own_division(world: World) -> None:
    client = sign_in(world)
    client.post(
        "/admin/tenancy/user/add/",
        {
            "username": "fresh",
            "display_name": "新人",
            "usable_password": "true",
            "password1": PASSWORD,
            "password2": PASSWORD,
        },
    )
    fresh = User.objects.get(username="fresh")
    membership = {"user": fresh.pk, "role": "agent", "division": world.divisions[0].pk}

    foreign = client.post(
        "/admin/tenancy/membership/add/", membership | {"division": world.divisions[1].pk}
    )
    above = client.post("/admin/tenancy/membership/add/", membership | {"role": "headquarters"})
    nowhere = client.post("/admin/tenancy/membership/add/", membership | {"division": ""})
    good = client.post("/admin/tenancy/membership/add/", membership)

    assert [a.status_code for a in (foreign, above, nowhere, good)] == [200, 200, 200, 302]
    assert fresh.tenant_id == world.tenant.pk
    assert not fresh.is_staff
    with for_tenant(world.tenant):
        assert [m.role for m in Membership.objects.filter(user=fresh)] == ["agent"]


def test_nobody_reaches_into_password_hashes_through_filters(world: World) -> None:
    answer = sign_in(world).get("/admin/tenancy/user/?password__startswith=argon")

    assert answer.status_code in {302, 400}
