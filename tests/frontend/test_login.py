"""Signing in and out, lock-out, the environment and the language."""

from __future__ import annotations

import pytest
from django.test import Client, override_settings

from config.tenancy.middleware import SESSION_KEY
from tests.factories import PASSWORD, World

pytestmark = pytest.mark.django_db


def test_the_right_password_opens_the_board(world: World) -> None:
    client = Client()

    answer = client.post("/login/", {"username": "supervisor", "password": PASSWORD})

    assert (answer.status_code, answer.url) == (302, "/")
    assert client.get("/").status_code == 200


def test_a_wrong_password_is_said_in_words(world: World) -> None:
    answer = Client().post("/login/", {"username": "supervisor", "password": "wrong"})

    assert answer.status_code == 200
    assert 'role="alert"' in answer.content.decode()


@pytest.mark.parametrize("target", ["//evil.example", "https://evil.example/", "/\\evil.example"])
def test_next_never_leads_to_another_host(world: World, target: str) -> None:
    credentials = {"username": "supervisor", "password": PASSWORD, "next": target}

    assert Client().post("/login/", credentials).url == "/"


def test_next_leads_back_to_the_page_one_wanted(world: World) -> None:
    client = Client()
    wanted = client.get("/orders/?band=red")
    assert wanted.url == "/login/?next=/orders/%3Fband%3Dred"

    credentials = {"username": "supervisor", "password": PASSWORD, "next": "/orders/?band=red"}

    assert client.post("/login/", credentials).url == "/orders/?band=red"


@override_settings(AXES_ENABLED=True)
def test_five_wrong_passwords_lock_the_account_and_say_so(world: World) -> None:
    client = Client()
    for _n in range(4):
        answer = client.post("/login/", {"username": "agent", "password": "wrong"})
        assert answer.status_code == 200

    locked = client.post("/login/", {"username": "agent", "password": "wrong"})
    right = client.post("/login/", {"username": "agent", "password": PASSWORD})

    for answer in (locked, right):
        assert answer.status_code == 429
        assert "暂时锁定" in answer.content.decode()
    other = client.post("/login/", {"username": "reviewer", "password": PASSWORD})
    assert other.status_code == 302


def test_logging_out_needs_a_post_and_ends_the_session(world: World) -> None:
    client = Client()
    client.force_login(world.users["agent"])

    assert client.get("/logout/").status_code == 405
    assert client.post("/logout/").url == "/login/"
    assert client.get("/").url == "/login/?next=/"


def test_one_switches_between_one_s_own_environments_only(world: World) -> None:
    client = Client()
    client.force_login(world.users["supervisor"])

    client.post("/environment/", {"environment": world.staging.public_id})
    assert client.session[SESSION_KEY] == world.staging.public_id
    assert "女装 · 预发" in client.get("/").content.decode()

    foreign = client.post("/environment/", {"environment": world.other.public_id})
    assert foreign.status_code == 404
    assert client.session[SESSION_KEY] == world.staging.public_id
    assert client.get("/environment/").status_code == 405


def test_a_role_ends_where_it_was_given(world: World) -> None:
    client = Client()
    client.force_login(world.users["outsider"])

    page = client.get("/").content.decode()

    assert "童装 · 生产" in page
    assert "女装" not in page


def test_somebody_without_a_role_is_told_whom_to_ask(world: World) -> None:
    from tests.factories import make_user

    client = Client()
    client.force_login(make_user("nobody", tenant=world.tenant))

    answer = client.get("/")

    assert answer.status_code == 403
    assert "请联系事业部管理员" in answer.content.decode()


def test_the_language_is_remembered(world: World) -> None:
    client = Client()
    client.force_login(world.users["supervisor"])

    client.post("/language/", {"language": "en", "next": "/"})

    page = client.get("/").content.decode()
    assert '<html lang="en"' in page
    assert "River" in page


def test_the_root_and_every_page_ask_for_login() -> None:
    for address in ("/", "/orders/", "/orders/x/", "/nodes/", "/rollup/", "/admin/"):
        answer = Client().get(address, follow=True)
        assert answer.redirect_chain[-1][0] == f"/login/?next={address}", address
