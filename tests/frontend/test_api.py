"""The API's door: tokens, errors in one shape, read-only, limits, description."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO
from unittest.mock import patch

import pytest
import yaml
from django.core.cache import cache
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from config.audit.models import AuditEntry
from config.errors import BadInput, NotAllowed, NotFound, WrongState
from config.tenancy.models import ScopeKey
from config.tenancy.scope import ScopeMissing, current_scope
from config.tenancy.services import create_scope_key, disable_scope_key
from frontend.api.throttling import KeyThrottle
from frontend.api.views import ScopedView, decode_cursor, encode_cursor
from tests.factories import NOW, World, for_environment, for_tenant, make_order

pytestmark = pytest.mark.django_db
LISTS = ["/api/v1/orders/", "/api/v1/scores/", "/api/v1/rule-sets/"]
DETAILS = [
    "/api/v1/orders/nothing/",
    "/api/v1/scores/nothing/",
    "/api/v1/rule-sets/nothing/",
    "/api/v1/rule-sets/nothing/versions/1/",
    "/api/v1/no-such-thing/",
]


@pytest.mark.parametrize("address", LISTS + DETAILS)
def test_without_a_token_nothing_is_told(address: str) -> None:
    answer = Client().get(address)

    assert answer.status_code == 401
    assert answer.json()["code"] == "not_authenticated"
    assert "Authorization: Bearer" in answer.json()["message"]
    assert answer["WWW-Authenticate"] == 'Bearer realm="hedao"'


@pytest.mark.parametrize(
    "header", ["Bearer wrong", "Bearer", "Bearer a b", "Token x", "Basic eDp5", "Bearer \x00"]
)
def test_a_bad_token_is_refused(header: str, world: World) -> None:
    answer = Client(headers={"Authorization": header}).get("/api/v1/orders/")

    assert answer.status_code == 401
    assert answer.json()["code"] == "bad_token"


def test_a_disabled_token_is_refused(world: World) -> None:
    key, token = create_scope_key(world.production, name="数据仓库")
    client = Client(headers={"Authorization": f"Bearer {token}"})
    assert client.get("/api/v1/orders/").status_code == 200

    disable_scope_key(key)

    assert client.get("/api/v1/orders/").status_code == 401


def test_a_token_of_a_closed_environment_is_refused(world: World, api: Client) -> None:
    world.production.is_active = False
    world.production.save()

    assert api.get("/api/v1/orders/").status_code == 401


def test_only_the_hash_of_a_token_is_stored(world: World) -> None:
    key, token = create_scope_key(world.production, name="数据仓库")

    key.refresh_from_db()
    assert len(token) > 40
    assert all(token not in str(getattr(key, f.attname)) for f in key._meta.concrete_fields)
    assert key.token_hash == ScopeKey.hash_token(token)
    assert key.last_four == token[-4:]


@pytest.mark.parametrize("name", ["", "   ", "名" * 101])
def test_a_token_says_what_it_is_for(world: World, name: str) -> None:
    with pytest.raises(BadInput):
        create_scope_key(world.production, name=name)

    assert not ScopeKey.objects.exists()


def test_use_of_a_token_is_noted_once_in_five_minutes(world: World, api: Client) -> None:
    api.get("/api/v1/orders/")
    first = ScopeKey.objects.get().last_used_at
    api.get("/api/v1/orders/")

    assert first is not None
    assert ScopeKey.objects.get().last_used_at == first

    ScopeKey.objects.update(last_used_at=first - timedelta(minutes=6))
    api.get("/api/v1/orders/")
    assert ScopeKey.objects.get().last_used_at >= first


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
@pytest.mark.parametrize("address", LISTS + DETAILS)
def test_nothing_can_be_written(address: str, method: str, api: Client) -> None:
    answer = getattr(api, method)(address)

    assert answer.status_code == 405
    assert answer.json()["code"] == "read_only"
    assert answer.json()["params"] == {"method": method.upper()}


@pytest.mark.parametrize("address", DETAILS)
def test_what_is_not_there_is_not_found(address: str, api: Client) -> None:
    answer = api.get(address)

    assert answer.status_code == 404
    assert answer.json()["code"] == "not_found"


@pytest.mark.parametrize("address", LISTS)
def test_a_misspelt_parameter_is_named(address: str, api: Client) -> None:
    answer = api.get(address, {"ordre_no": "1"})

    assert answer.status_code == 400
    assert answer.json()["code"] == "unknown_parameter"
    assert answer.json()["params"]["name"] == "ordre_no"
    assert "ordre_no" in answer.json()["message"]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (BadInput("坏：%(what)s", what="X"), 400),
        (NotAllowed("不许 100%"), 403),
        (NotFound("没有"), 404),
        (WrongState("不行", code="special"), 409),
    ],
)
def test_every_refusal_of_ours_has_its_status(error: BadInput, status: int, api: Client) -> None:
    with (
        patch.object(ScopedView, "parameters", frozenset()),
        patch("frontend.api.orders.read_page", side_effect=error),
    ):
        answer = api.get("/api/v1/orders/")

    assert answer.status_code == status
    assert answer.json() == {"code": error.code, "message": error.text, "params": error.params}


def test_a_bug_is_not_dressed_up_as_a_refusal(api: Client) -> None:
    with (
        patch("frontend.api.orders.read_page", side_effect=ScopeMissing("没有选定环境")),
        pytest.raises(ScopeMissing),
    ):
        api.get("/api/v1/orders/")

    assert current_scope() is None


def test_the_scope_ends_with_the_request(api: Client) -> None:
    api.get("/api/v1/orders/")

    assert current_scope() is None


def test_too_many_requests_are_told_when_to_come_back(api: Client, world: World) -> None:
    cache.clear()
    _key, token = create_scope_key(world.production, name="另一个")
    other = Client(headers={"Authorization": f"Bearer {token}"})
    with patch.object(KeyThrottle, "rate", "2/min", create=True):
        answers = [api.get("/api/v1/orders/") for _ in range(3)]
        of_another = other.get("/api/v1/orders/")
    cache.clear()

    assert [a.status_code for a in answers] == [200, 200, 429]
    assert answers[2].json()["code"] == "throttled"
    assert 1 <= int(answers[2]["Retry-After"]) <= 60
    assert of_another.status_code == 200


def test_a_cursor_opens_only_the_list_that_made_it() -> None:
    assert decode_cursor(encode_cursor(NOW, 7), has_moment=True) == (NOW, 7)
    assert decode_cursor(encode_cursor(None, 7), has_moment=False) == (None, 7)
    for cursor, has_moment in [
        (encode_cursor(NOW, 7), False),
        (encode_cursor(None, 7), True),
        (encode_cursor(NOW.replace(tzinfo=None), 7), True),
        (encode_cursor(NOW, -1), True),
        (encode_cursor(NOW, 2**63), True),
        ("!!!!", True),
        ("游标", True),
        ("WzEsMl0", True),
        ("bnVsbA", True),
        ("W1tbW1tb" * 5000, True),
    ]:
        with pytest.raises(BadInput) as caught:
            decode_cursor(cursor, has_moment=has_moment)
        assert caught.value.code == "bad_cursor"


def test_the_description_covers_every_endpoint() -> None:
    answer = Client().get("/api/v1/schema/")
    schema = yaml.safe_load(answer.content)

    assert answer.status_code == 200
    assert set(schema["paths"]) == {
        "/api/v1/orders/",
        "/api/v1/orders/{public_id}/",
        "/api/v1/scores/",
        "/api/v1/scores/{public_id}/",
        "/api/v1/rule-sets/",
        "/api/v1/rule-sets/{public_id}/",
        "/api/v1/rule-sets/{public_id}/versions/{number}/",
    }
    assert {method for path in schema["paths"].values() for method in path} == {"get"}
    assert schema["components"]["securitySchemes"]["scopeKey"]["scheme"] == "bearer"


def test_the_description_has_no_warnings() -> None:
    call_command("spectacular", "--validate", "--fail-on-warn", stdout=StringIO())


def test_a_token_is_made_on_the_command_line_and_shown_once(world: World) -> None:
    out = StringIO()

    call_command(
        "create_scope_key", environment=world.production.public_id, name="数据仓库", stdout=out
    )

    token = out.getvalue().strip().splitlines()[-1]
    client = Client(headers={"Authorization": f"Bearer {token}"})
    assert client.get("/api/v1/orders/").status_code == 200
    with for_tenant(world.tenant, write=False):
        entry = AuditEntry.objects.get(action="api.create_key")
    assert entry.environment_id == world.production.pk
    assert token not in str(entry.details) + entry.subject


def test_the_command_names_the_environments_it_knows(world: World) -> None:
    with pytest.raises(CommandError, match=world.production.public_id):
        call_command("create_scope_key", environment="nothing", name="x")


def test_a_signed_in_person_does_not_open_the_api(world: World) -> None:
    client = Client()
    client.force_login(world.users["supervisor"])

    assert client.get("/api/v1/orders/").status_code == 401


def test_the_tokens_environment_wins_over_the_session(world: World, api: Client) -> None:
    with for_environment(world.production):
        order = make_order(timezone.now())
    api.force_login(world.users["outsider"])  # works in another division

    assert [o["id"] for o in api.get("/api/v1/orders/").json()["results"]] == [order.public_id]
