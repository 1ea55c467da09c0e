"""The allow-list of private addresses: asked for by one person, allowed by another (IT)."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from config.audit.services import record
from config.errors import BadInput, NotAllowed, WrongState, gettext_noop
from config.tenancy.models import User
from connectors.http import check_host
from connectors.shops.models import AllowedAddress


def list_allowed_addresses() -> frozenset[tuple[str, int]]:
    """The approved (host, port) pairs of the environment in force (one query)."""
    return frozenset(
        AllowedAddress.objects.filter(approved_at__isnull=False).values_list("host", "port")
    )


def request_address(
    *, host: str, port: int, purpose: str, actor: User, now: datetime
) -> AllowedAddress:
    """Ask for a private address; it opens only once somebody else has approved it."""
    if not 1 <= port <= 65535:
        raise BadInput(gettext_noop("端口应在 1–65535 之间"), code="bad_port")
    if not purpose.strip():
        raise BadInput(gettext_noop("请写明为什么需要访问这个内网地址"), code="purpose_missing")
    with transaction.atomic():
        row, is_new = AllowedAddress.objects.get_or_create(
            host=check_host(host.strip().strip("[]")),
            port=port,
            defaults={
                "purpose": purpose.strip()[:200],
                "requested_by": actor,
                "requested_at": now,
            },
        )
        if not is_new:
            raise WrongState(gettext_noop("%(address)s 已在名单中，不用重复申请"), address=str(row))
        record(action="address.request", subject=str(row), actor=actor, now=now)
    entry: AllowedAddress = row
    return entry


def approve_address(entry: AllowedAddress, *, actor: User, now: datetime) -> AllowedAddress:
    """Open an address somebody else asked for; refuses one's own request and a second approval."""
    with transaction.atomic():
        row: AllowedAddress = AllowedAddress.objects.select_for_update(no_key=True).get(pk=entry.pk)
        if row.requested_by_id == actor.pk:
            raise NotAllowed(
                gettext_noop("不能批准自己的申请，请另一位 IT 同事处理"), code="own_change"
            )
        if row.approved_at is not None:
            raise WrongState(gettext_noop("%(address)s 已经批准过了"), address=str(row))
        row.approved_by, row.approved_at = actor, now
        row.save(update_fields=["approved_by", "approved_at"])
        record(action="address.approve", subject=str(row), actor=actor, now=now)
    return row


def withdraw_address(entry: AllowedAddress, *, actor: User, now: datetime) -> None:
    """Take an address off the list at once."""
    with transaction.atomic():
        record(action="address.withdraw", subject=str(entry), actor=actor, now=now)
        AllowedAddress.objects.filter(pk=entry.pk).delete()
