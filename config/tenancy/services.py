"""Making and ending API tokens. Callers record both in the audit log (it lies above tenancy)."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta

from django.db.models import Q

from config.errors import BadInput, gettext_noop
from config.tenancy.models import Environment, ScopeKey

PREFIX = "hdk_"  # lets secret scanners recognise a leaked token
# `last_used_at` is for people; writing it on every request would make readers wait for writers.
USE_RESOLUTION = timedelta(minutes=5)


def create_scope_key(environment: Environment, *, name: str) -> tuple[ScopeKey, str]:
    """Make a token for one environment; returns the row and the token, which is kept nowhere.

    Raises BadInput for a name that is empty or longer than 100 characters.
    """
    name = name.strip()
    if not 1 <= len(name) <= 100:
        raise BadInput(gettext_noop("请写明令牌的用途（1–100 个字）"), code="bad_name")
    token = PREFIX + secrets.token_urlsafe(32)
    key = ScopeKey.objects.create(
        tenant_id=environment.tenant_id,
        environment=environment,
        name=name,
        token_hash=ScopeKey.hash_token(token),
        last_four=token[-4:],
    )
    return key, token


def disable_scope_key(key: ScopeKey) -> None:
    """End a token for good; the next request with it gets 401."""
    key.is_active = False
    key.save(update_fields=["is_active"])


def get_scope_key(token: str) -> ScopeKey | None:
    """The active key of this token with its environment, or None (unknown, disabled, closed)."""
    return (
        ScopeKey.objects.select_related("environment__division", "environment__tenant")
        .filter(token_hash=ScopeKey.hash_token(token), is_active=True, environment__is_active=True)
        .first()
    )


def record_use(key: ScopeKey, *, now: datetime) -> None:
    """Note that a key was used, at most once in USE_RESOLUTION."""
    if key.last_used_at is not None and now - key.last_used_at < USE_RESOLUTION:
        return
    ScopeKey.objects.filter(
        Q(last_used_at__isnull=True) | Q(last_used_at__lt=now - USE_RESOLUTION), pk=key.pk
    ).update(last_used_at=now)
