"""Rule sets over the API: documents, versions, the content in force; and only one's own."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from config.releases.models import Document, State, Version
from config.releases.services import checksum_of
from config.tenancy.models import Environment
from tests.factories import NOW, World, for_environment

pytestmark = pytest.mark.django_db


def _install(environment: Environment, *, name: str = "五维模型", key: str = "default") -> str:
    """A rule set with a retired, a published and a draft version; returns its public id."""
    with for_environment(environment):
        document = Document.objects.create(kind="rule_set", key=key, name=name)
        for number, state in ((1, State.RETIRED), (2, State.PUBLISHED), (3, State.DRAFT)):
            content = {"name": name, "dimensions": [{"key": f"d{number}"}]}
            Version.objects.create(
                document=document,
                number=number,
                state=state,
                content=content,
                checksum=checksum_of(content),
                published_at=NOW if number < 3 else None,
            )
        public_id: str = document.public_id
    return public_id


def _get(api: Client, address: str) -> Any:
    answer = api.get(address)
    assert answer.status_code == 200, answer.content
    return answer.json()


def test_a_list_names_the_version_in_force(api: Client, world: World) -> None:
    public_id = _install(world.production)
    _install(world.other, name="别家的")
    _install(world.staging, name="预发的")
    with for_environment(world.production):
        Document.objects.create(kind="canvas", key="default", name="画布")

    body = _get(api, "/api/v1/rule-sets/")

    assert [(r["id"], r["name"], r["published"]["number"]) for r in body["results"]] == [
        (public_id, "五维模型", 2)
    ]


def test_the_content_in_force_and_all_versions_are_told(api: Client, world: World) -> None:
    public_id = _install(world.production)

    body = _get(api, f"/api/v1/rule-sets/{public_id}/")

    assert body["published"]["content"] == {"name": "五维模型", "dimensions": [{"key": "d2"}]}
    assert body["published"]["checksum"] == checksum_of(body["published"]["content"])
    assert [(v["number"], v["state"]) for v in body["versions"]] == [
        (3, "draft"),
        (2, "published"),
        (1, "retired"),
    ]
    assert "content" not in body["versions"][0]


def test_a_rule_set_without_a_published_version_says_so(api: Client, world: World) -> None:
    with for_environment(world.production):
        document = Document.objects.create(kind="rule_set", key="new", name="新的")

    assert _get(api, "/api/v1/rule-sets/")["results"][0]["published"] is None
    assert _get(api, f"/api/v1/rule-sets/{document.public_id}/")["published"] is None


def test_the_content_a_score_was_made_with_stays_readable_but_drafts_do_not(
    api: Client, world: World
) -> None:
    address = f"/api/v1/rule-sets/{_install(world.production)}/versions/"

    assert _get(api, f"{address}1/")["content"]["dimensions"] == [{"key": "d1"}]
    assert _get(api, f"{address}2/")["content"]["dimensions"] == [{"key": "d2"}]
    assert api.get(f"{address}3/").status_code == 404
    assert api.get(f"{address}9/").status_code == 404
    assert api.get(f"{address}{10**30}/").status_code == 404


def test_a_rule_set_of_another_environment_is_not_found(api: Client, world: World) -> None:
    for environment in (world.other, world.staging):
        public_id = _install(environment)

        assert api.get(f"/api/v1/rule-sets/{public_id}/").status_code == 404
        assert api.get(f"/api/v1/rule-sets/{public_id}/versions/2/").status_code == 404


def test_other_documents_are_no_rule_sets(api: Client, world: World) -> None:
    with for_environment(world.production):
        document = Document.objects.create(kind="canvas", key="default", name="画布")

    assert api.get(f"/api/v1/rule-sets/{document.public_id}/").status_code == 404


def test_rule_sets_cost_a_fixed_number_of_queries(
    api: Client, world: World, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    public_id = _install(world.production)
    api.get("/api/v1/rule-sets/")  # notes the use of the token
    scope = 4 if connection.vendor == "postgresql" else 0  # savepoint, tenant, tenant, release

    for more in range(2):
        if more:
            for number in range(5):
                _install(world.production, key=f"k{number}", name=f"{number}")
        for address in ("/api/v1/rule-sets/", f"/api/v1/rule-sets/{public_id}/"):
            with django_assert_num_queries(1 + 2 + scope):
                assert api.get(address).status_code == 200
        with django_assert_num_queries(1 + 1 + scope):
            assert api.get(f"/api/v1/rule-sets/{public_id}/versions/2/").status_code == 200
