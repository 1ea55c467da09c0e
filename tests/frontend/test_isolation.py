"""Every address tried with another division's and another tenant's ids: nothing is there.

Walks the URL table itself, so that a page added tomorrow is tried as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from config.releases.services import create_draft, get_or_create_document
from config.tenancy.models import Role
from config.tenancy.scope import for_environment
from connectors.orders.nodes import nodes_to_content
from connectors.orders.status_mappings import propose_mapping
from connectors.tabular.models import FileSet, ImportRun
from rules_engine.presets import install
from tests.factories import (
    NOW,
    join,
    make_order,
    make_sources,
    make_user,
    make_world,
    publish_table,
)
from tests.frontend.sources import ask_backfill, connect, log_call, put_in_quarantine


def _patterns(resolver: Any, prefix: str = "") -> Iterator[tuple[str, URLPattern]]:
    for entry in resolver.url_patterns:
        path = prefix + str(entry.pattern)
        if isinstance(entry, URLResolver):
            yield from _patterns(entry, path)
        else:
            yield path, entry


@pytest.fixture
def foreign(db):
    """Ids of rows in one environment, and people who must not find them."""
    world, stranger = make_world(), make_world("别家集团", prefix="b_")
    with for_environment(world.production):
        make_sources()
        order = make_order(order_no="FOREIGN1")
        version = install("promo", NOW)
        document = get_or_create_document(kind="node_table", key="default", name="节点表")
        draft = create_draft(document, content=nodes_to_content(), author=None)
        table = publish_table(world, key="foreign_table", name="FOREIGN1")
        own = create_draft(table.document, content=table.content, author=world.users["supervisor"])
        files = FileSet.objects.create(name="别人的", created_at=NOW)
        run = ImportRun.objects.create(name="别人的", created_at=NOW, file_set=files)
        source = connect(NOW, name="FOREIGN1 的店")
        aside = put_in_quarantine(source, NOW, order_no="FOREIGN1")
        backfill = ask_backfill(source, NOW)
        call = log_call(source, NOW, order_no="FOREIGN1")
        mapping = propose_mapping(
            channel="tmall",
            raw_status="FOREIGN1",
            stage="shipped",
            actor=world.users["supervisor"],
            effective_from=NOW.date(),
            now=NOW,
        )
    intruders = []
    for tenant, division in (
        (world.tenant, world.divisions[1]),
        (stranger.tenant, stranger.divisions[0]),
    ):
        user = make_user(f"intruder-{division.pk}", tenant=tenant)
        for role in set(Role) - {Role.HEADQUARTERS, Role.PLATFORM_ADMIN}:
            join(user, role, division=division)  # whatever a role may open, they may
        intruders.append(user)
    rows = [order, version, draft, files, run]
    # Where a number goes, one that is foreign in every table: later ones are the intruders' own.
    words = [table.public_id, own.public_id, "foreign_table", f"call-{call.pk}"]
    words += [row.public_id for row in (source, aside, backfill, mapping)]
    ids = [(row.public_id, row.pk) for row in rows] + [(word, version.pk) for word in words]
    return ids, intruders


def _fill(path: str, pattern: URLPattern, public_id: str, number: int) -> str | None:
    """The path with our foreign id in every place an id goes; None when it has no place."""
    converters = pattern.pattern.converters
    if not converters:
        return None
    for name, converter in converters.items():
        kind = type(converter).__name__
        is_number = kind == "IntConverter" or path.startswith("admin/")
        value = str(number) if is_number else public_id
        for spelled in (
            f"<str:{name}>",
            f"<int:{name}>",
            f"<slug:{name}>",
            f"<path:{name}>",
            f"<{name}>",
        ):
            path = path.replace(spelled, value)
    return "/" + path


@pytest.mark.slow(30)
@pytest.mark.any_database  # the code must hide it alone: PostgreSQL's row policies would help
def test_no_address_answers_with_anything_of_another_division_or_tenant(foreign):
    ids, intruders = foreign
    tried = 0
    for user in intruders:
        client = Client()
        client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
        for path, pattern in _patterns(get_resolver()):
            if path.startswith(("api/v1/", "in/", "static/")):
                continue  # these take tokens and signatures, not sessions: test_api_*, inbound
            # Where a number goes, many ids give one and the same address.
            filled = {_fill(path, pattern, public_id, number) for public_id, number in ids}
            for address in sorted(a for a in filled if a is not None):
                for method in ("get", "post"):
                    answer = getattr(client, method)(address, follow=True)
                    end = answer.redirect_chain[-1][0] if answer.redirect_chain else address
                    is_turned_away = answer.status_code in {403, 404, 405}
                    assert is_turned_away or end.startswith("/admin/login/"), (
                        str(user),
                        method,
                        address,
                        answer.status_code,
                    )
                    assert "FOREIGN1" not in answer.content.decode()
                    tried += 1
    assert tried > 200
