"""Suspended formulas on screen: who sees them, who lets them back, and what that leaves behind."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from config.audit.models import AuditEntry
from config.releases.models import State, Version
from config.tenancy.scope import for_environment
from rules_engine.scoring.models import FormulaSuspension
from tests.factories import NOW, World, make_sources
from tests.rules_engine.test_suspensions import HEAVY, make_heavy_order, publish, score


@pytest.fixture
def suspension(world: World) -> FormulaSuspension:
    with for_environment(world.production):
        publish(HEAVY)
        make_sources()
        score([make_heavy_order() for _ in range(3)])
        found: FormulaSuspension = FormulaSuspension.objects.get()
    return found


def sign_in(client: Client, world: World, role: str, environment: Any = None) -> Client:
    client.force_login(world.users[role])
    if environment is not None:
        session = client.session
        session["environment"] = environment.public_id
        session.save()
    return client


@pytest.mark.parametrize("address", ["/checks/", "/reviews/"])
def test_suspended_formula_is_shown_and_only_it_may_lift_it(
    client: Client, world: World, suspension: FormulaSuspension, address: str
) -> None:
    for role, may_lift in (("supervisor", False), ("reviewer", True)):
        html = sign_in(client, world, role).get(address).content.decode()

        assert html.count('data-testid="suspension"') == 1
        assert "计算步数超过上限" in html
        assert suspension.last_order_no in html
        assert ("/lift/" in html) is may_lift


def test_lifting_leaves_reason_person_and_entry(
    client: Client, world: World, suspension: FormulaSuspension
) -> None:
    sign_in(client, world, "reviewer")

    answer = client.post(
        f"/suspensions/{suspension.public_id}/lift/",
        {"reason": "明细已核对", "back": "/reviews/"},
        follow=True,
    )

    assert answer.redirect_chain == [("/reviews/", 302)]
    assert "「第1项」的公式已恢复" in answer.content.decode()
    with for_environment(world.production):
        row = FormulaSuspension.objects.get()
        assert (row.lift_reason, row.lifted_by) == ("明细已核对", world.users["reviewer"])
        assert row.lifted_at is not None
        assert AuditEntry.objects.filter(action="formula.lift_suspension").count() == 1


@pytest.mark.parametrize(
    ("role", "data", "status"),
    [
        ("reviewer", {"reason": " "}, 302),
        ("supervisor", {"reason": "我要恢复"}, 403),
        ("agent", {"reason": "我要恢复"}, 403),
    ],
)
def test_lifting_without_right_or_reason_changes_nothing(
    client: Client, world: World, suspension: FormulaSuspension, role: str, data: Any, status: int
) -> None:
    answer = sign_in(client, world, role).post(f"/suspensions/{suspension.public_id}/lift/", data)

    assert answer.status_code == status
    with for_environment(world.production):
        assert FormulaSuspension.objects.get().lifted_at is None


def test_lifting_goes_nowhere_outside(
    client: Client, world: World, suspension: FormulaSuspension
) -> None:
    answer = sign_in(client, world, "reviewer").post(
        f"/suspensions/{suspension.public_id}/lift/",
        {"reason": "好", "back": "https://evil.example/"},
    )

    assert answer["Location"] == "/checks/"


def test_suspension_of_another_division_is_not_there(
    client: Client, world: World, suspension: FormulaSuspension
) -> None:
    with for_environment(world.other):
        publish(HEAVY)
        make_sources(NOW)
        score([make_heavy_order() for _ in range(3)])
        foreign = FormulaSuspension.objects.get()

    answer = sign_in(client, world, "reviewer").post(
        f"/suspensions/{foreign.public_id}/lift/", {"reason": "外人"}
    )

    assert answer.status_code == 404
    with for_environment(world.other):
        assert FormulaSuspension.objects.get().lifted_at is None


def test_the_page_of_a_suspended_check_says_so_and_that_of_another_does_not(
    client: Client, world: World, suspension: FormulaSuspension
) -> None:
    sign_in(client, world, "reviewer")
    key = suspension.dimension_key
    client.post(f"/checks/change/{key}/")
    with for_environment(world.production):
        draft = Version.objects.get(state=State.DRAFT)
    address = f"/checks/{draft.public_id}/check/{key}/"

    page = client.get(address).content.decode()
    assert page.count('data-testid="suspension"') == 1
    assert f'value="{address}"' in page  # lifting comes back here

    new = client.post("/checks/new/", {"template": ""})["Location"]
    assert 'data-testid="suspension"' not in client.get(new).content.decode()
