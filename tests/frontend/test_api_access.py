"""The page of the API: tokens are shown once, ended at once, and belong to one environment."""

from __future__ import annotations

import re

import pytest
from django.test import Client
from django.urls import reverse

from config.audit.models import AuditEntry
from config.tenancy.models import ScopeKey
from config.tenancy.services import create_scope_key
from frontend.pages.api_access import list_endpoints
from tests.factories import World, for_tenant

pytestmark = pytest.mark.django_db


def _client(world: World, role: str) -> Client:
    client = Client()
    client.force_login(world.users[role])
    return client


def test_a_token_is_shown_once_and_opens_the_api(world: World) -> None:
    client = _client(world, "tech_support")

    answer = client.post("/api/tokens/", {"name": "数据仓库"})

    found = re.search(r'data-testid="token">(hdk_[^<]+)<', answer.content.decode())
    assert found is not None
    token = found.group(1)
    program = Client(headers={"Authorization": f"Bearer {token}"})
    assert program.get("/api/v1/orders/").status_code == 200
    page = client.get("/api/").content.decode()
    assert token not in page
    assert token[-4:] in page
    assert "no-store" in answer["Cache-Control"]
    with for_tenant(world.tenant, write=False):
        entry = AuditEntry.objects.get(action="api.create_key")
    assert entry.actor == world.users["tech_support"]
    assert token not in f"{entry.subject}{entry.details}"


def test_an_ended_token_opens_nothing(world: World) -> None:
    key, token = create_scope_key(world.production, name="旧的")
    client = _client(world, "division_admin")

    client.post(reverse("api_disable_token", args=[key.pk]))

    program = Client(headers={"Authorization": f"Bearer {token}"})
    assert program.get("/api/v1/orders/").status_code == 401
    assert client.post(reverse("api_disable_token", args=[key.pk])).status_code == 404
    with for_tenant(world.tenant, write=False):
        assert AuditEntry.objects.filter(action="api.disable_key").count() == 1


@pytest.mark.parametrize("role", ["agent", "supervisor", "reviewer", "director"])
def test_only_those_who_manage_connectors_make_and_end_tokens(world: World, role: str) -> None:
    key, _token = create_scope_key(world.production, name="秘密用途")
    client = _client(world, role)

    assert client.post("/api/tokens/", {"name": "x"}).status_code == 403
    assert client.post(reverse("api_disable_token", args=[key.pk])).status_code == 403
    page = client.get("/api/")
    assert page.status_code == 200
    assert "秘密用途" not in page.content.decode()
    assert [k.is_active for k in ScopeKey.objects.all()] == [True]


def test_tokens_of_another_environment_are_neither_seen_nor_ended(world: World) -> None:
    keys = [create_scope_key(e, name="别处的")[0] for e in (world.staging, world.other)]
    client = _client(world, "tech_support")

    assert "别处的" not in client.get("/api/").content.decode()
    for key in keys:
        assert client.post(reverse("api_disable_token", args=[key.pk])).status_code == 404
    assert not ScopeKey.objects.filter(is_active=False).exists()


def test_a_token_without_a_purpose_is_refused(world: World) -> None:
    answer = _client(world, "tech_support").post("/api/tokens/", {"name": " \x00 "})

    assert answer.status_code == 400
    assert "请写明令牌的用途" in answer.content.decode()
    assert not ScopeKey.objects.exists()


def test_a_visitor_is_sent_to_the_login(db: None) -> None:
    assert Client().get("/api/").status_code == 302
    assert Client().post("/api/tokens/").status_code == 302


def test_every_endpoint_is_described_for_people() -> None:
    endpoints = {e.name: e for e in list_endpoints()}

    assert set(endpoints) == {
        "list_orders",
        "get_order",
        "list_scores",
        "get_score",
        "list_rule_sets",
        "get_rule_set",
        "get_rule_set_version",
    }
    assert all(e.summary and e.fields for e in endpoints.values())
    names = {f.name for f in endpoints["get_order"].fields}
    assert {"receiver.phone", "lines[].sku", "passages[].label", "score.band"} <= names
    assert {p.name for p in endpoints["list_orders"].parameters} == {
        "order_no",
        "channel",
        "stage",
        "band",
        "cause",
        "updated_since",
        "limit",
        "after",
    }


def test_the_description_for_people_is_chinese() -> None:
    for e in list_endpoints():
        for text in (e.summary, e.description, *(p.help for p in e.parameters)):
            assert any("一" <= c <= "鿿" for c in text), (e.name, text)
