"""Writing and checking the audit log."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from typing import Any

from django.db import transaction

from config.audit.models import AuditEntry
from config.tenancy.models import Tenant, User
from config.tenancy.scope import current_scope, require_tenant_id


def _digest(previous: str, entry: AuditEntry) -> str:
    body = json.dumps(
        [
            previous,
            entry.position,
            entry.at.timestamp(),
            entry.actor_id,
            entry.environment_id,
            entry.action,
            entry.subject,
            entry.details,
        ],
        ensure_ascii=False,
        sort_keys=True,
    )
    return hashlib.sha256(body.encode()).hexdigest()


def record(
    *,
    action: str,
    subject: str,
    actor: User | None,
    now: datetime,
    details: dict[str, Any] | None = None,
) -> AuditEntry:
    """Append one entry to the tenant's chain, in the scope and transaction in force.

    The tenant's row is locked for the append, so that two writers cannot take one position; not
    its key, or every insert that refers to the tenant would wait and could deadlock.
    """
    scope = current_scope()
    with transaction.atomic():
        tenant_id = require_tenant_id()
        Tenant.objects.select_for_update(no_key=True).get(pk=tenant_id)
        last = AuditEntry.objects.order_by("-position").first()
        previous = last.entry_hash if last else ""
        entry = AuditEntry(
            tenant_id=tenant_id,
            environment_id=scope.environment_id if scope else None,
            actor=actor,
            at=now,
            action=action,
            subject=subject,
            details=details or {},
            position=last.position + 1 if last else 1,
            previous_hash=previous,
        )
        entry.entry_hash = _digest(previous, entry)
        entry.save(force_insert=True)
    return entry


def check_chain() -> int | None:
    """Walk the tenant's chain; the position of the first broken entry, or None when whole."""
    previous, expected = "", 1
    for entry in AuditEntry.objects.order_by("position").iterator():
        if (
            entry.position != expected
            or entry.previous_hash != previous
            or entry.entry_hash != _digest(previous, entry)
        ):
            return entry.position
        previous, expected = entry.entry_hash, expected + 1
    return None
