"""Two divisions of one tenant and a second tenant, with an author and a reviewer."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from config.tenancy.models import Division, Environment, Membership, Tenant, User
from config.tenancy.scope import for_tenant


@pytest.fixture
def world(db):
    tenant = Tenant.objects.create(name="示例女装")
    other = Tenant.objects.create(name="别家")
    women = Division.objects.create(tenant=tenant, name="女装")
    kids = Division.objects.create(tenant=tenant, name="童装")
    foreign = Division.objects.create(tenant=other, name="女装")
    make = Environment.objects.create
    result = SimpleNamespace(
        tenant=tenant,
        other=other,
        women=make(tenant=tenant, division=women, kind="production"),
        women_staging=make(tenant=tenant, division=women, kind="staging"),
        kids=make(tenant=tenant, division=kids, kind="production"),
        foreign=make(tenant=other, division=foreign, kind="production"),
        author=User.objects.create_user("author", password="pass-word-1", tenant=tenant),
        reviewer=User.objects.create_user("reviewer", password="pass-word-1", tenant=tenant),
    )
    with for_tenant(tenant):
        Membership.objects.create(user=result.author, division=women, role="supervisor")
        Membership.objects.create(user=result.reviewer, division=women, role="reviewer")
    return result
