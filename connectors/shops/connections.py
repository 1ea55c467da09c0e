"""Connections: made, changed, paused; their sealed secrets and tokens.

Secrets go in and never come out to a person: forms and the API write them, pages show the last
four characters. Only a client about to make a call opens them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from django.db import transaction
from django.db.models import Q

from config.audit.services import record
from config.errors import BadInput, Phrase, gettext_noop, keep_params
from config.secrets import decrypt, encrypt
from config.tenancy.models import User
from connectors.http import check_literal
from connectors.shops.addresses import list_allowed_addresses
from connectors.shops.identity import SHOP_ID, SHOP_NAME
from connectors.shops.models import Connection, Shop, Source
from connectors.shops.services import get_or_create_source

SECRETS_PURPOSE = "connection.secrets"
TOKEN_LEASE = timedelta(seconds=40)  # longer than one call may take
_HINT_LENGTH = 12  # shorter secrets show nothing of themselves


def create_connection(
    *,
    vendor: str,
    kind: str,
    name: str,
    shop: Shop | None,
    base_url: str,
    config: Mapping[str, Any],
    secrets: Mapping[str, str],
    actor: User | None,
    now: datetime,
    every_minutes: int = 15,
    is_active: bool = True,
) -> Connection:
    """A new connection and the source it feeds, in the scope in force.

    Raises BadInput when a source of this kind and name is connected already, AddressRefused for
    an address that says of itself that it leads inside.
    """
    _check_address(base_url)
    with transaction.atomic():
        source = get_or_create_source(kind=kind, name=name, shop=shop)
        if Connection.objects.filter(source=source).exists():
            raise BadInput(
                gettext_noop("「%(name)s」已经接入过，请在它的页面上修改"),
                code="connected_already",
                name=name,
            )
        # A pushed and pulled feed is late when two pulls in a row brought nothing.
        source.lateness_minutes = max(source.lateness_minutes, 2 * every_minutes)
        source.save(update_fields=["lateness_minutes"])
        connection: Connection = Connection.objects.create(
            source=source,
            vendor=vendor,
            shop=shop,
            base_url=base_url.rstrip("/"),
            config=dict(config),
            secrets_sealed=_seal(secrets),
            secret_hints=hint_secrets(secrets),
            every_minutes=_check_minutes(every_minutes),
            is_active=is_active,
            created_by=actor,
            created_at=now,
        )
        record(
            action="connection.create",
            subject=str(connection),
            actor=actor,
            now=now,
            details={"vendor": vendor, "address": connection.base_url},
        )
    return connection


def change_connection(
    connection: Connection,
    *,
    actor: User | None,
    now: datetime,
    base_url: str | None = None,
    config: Mapping[str, Any] | None = None,
    secrets: Mapping[str, str] | None = None,
    every_minutes: int | None = None,
    is_active: bool | None = None,
) -> Connection:
    """Change what is given; empty secrets keep what is stored. The tokens start anew with them.

    Raises AddressRefused as `create_connection`.
    """
    with transaction.atomic():
        row: Connection = Connection.objects.select_for_update(no_key=True).get(pk=connection.pk)
        changed = []
        if base_url is not None and base_url.rstrip("/") != row.base_url:
            _check_address(base_url)
            row.base_url = base_url.rstrip("/")
            changed.append("address")
        if config is not None and dict(config) != row.config:
            row.config = dict(config)
            changed.append("config")
        given = {name: value for name, value in (secrets or {}).items() if value}
        if given:
            kept = reveal_secrets(row) | given
            row.secrets_sealed, row.secret_hints = _seal(kept), hint_secrets(kept)
            row.token_version += 1
            changed.extend(sorted(given))
        if every_minutes is not None and every_minutes != row.every_minutes:
            row.every_minutes = _check_minutes(every_minutes)
            Source.objects.filter(pk=row.source_id).update(
                lateness_minutes=max(30, 2 * every_minutes)
            )
            changed.append("every_minutes")
        if is_active is not None and is_active != row.is_active:
            row.is_active = is_active
            changed.append("active" if is_active else "paused")
        if changed:
            clear_trouble(row)
            row.save()
            record(
                action="connection.change",
                subject=str(row),
                actor=actor,
                now=now,
                details={"changed": changed},  # names only: values may be secrets
            )
    return row


def reveal_secrets(connection: Connection) -> dict[str, str]:
    """The secrets in clear, for a client about to call; raises SecretUnreadable."""
    if not connection.secrets_sealed:
        return {}
    found: dict[str, str] = json.loads(decrypt(connection.secrets_sealed, purpose=SECRETS_PURPOSE))
    return found


def claim_tokens(connection_id: int, *, version: int, now: datetime) -> str:
    """Become the one who refreshes; returns the holder's mark, "" when somebody else is at it.

    `version` is the token version that was found wanting: when the tokens have changed since then,
    nothing is claimed, for the new ones may do.
    """
    holder = f"{version}-{uuid4().hex}"[:32]
    claimed = (
        Connection.objects.filter(pk=connection_id, token_version=version)
        .filter(Q(token_lease_until__isnull=True) | Q(token_lease_until__lte=now))
        .update(token_holder=holder, token_lease_until=now + TOKEN_LEASE)
    )
    return holder if claimed else ""


def store_tokens(
    connection_id: int,
    *,
    holder: str,
    access_token: str,
    refresh_token: str,
    expires_at: datetime | None,
    refresh_expires_at: datetime | None,
    now: datetime,
) -> bool:
    """Store fresh tokens and give the lock back; False when the lock had run out meanwhile.

    They are stored all the same then if nobody stored others: the vendor has forgotten the old.
    """
    with transaction.atomic():
        row: Connection = Connection.objects.select_for_update(no_key=True).get(pk=connection_id)
        is_ours = row.token_holder == holder
        if not is_ours and row.token_version != int(holder.partition("-")[0]):
            return False  # others are there: of another refresh, or of a new authorisation
        secrets = reveal_secrets(row)
        secrets["access_token"] = access_token
        if refresh_token:
            secrets["refresh_token"] = refresh_token
        row.secrets_sealed, row.secret_hints = _seal(secrets), hint_secrets(secrets)
        row.token_version += 1
        row.access_expires_at, row.refresh_expires_at = expires_at, refresh_expires_at
        row.authorised_at = row.authorised_at or now
        if is_ours:
            row.token_holder, row.token_lease_until = "", None
        row.save()
    return is_ours


def authorise_connection(
    connection: Connection,
    *,
    access_token: str,
    refresh_token: str,
    expires_at: datetime | None,
    refresh_expires_at: datetime | None,
    shop_id: str,
    shop_name: str,
    actor: User | None,
    now: datetime,
) -> Connection:
    """Store what a merchant's consent gave; whatever was wrong is over, and so is the old access.

    `shop_id` is the platform's own number of the shop, `shop_name` its name there; both are kept.
    A refresh that is under way meanwhile stores nothing any more. Raises BadInput when another
    connection of this platform has that shop.
    """
    with transaction.atomic():
        row: Connection = Connection.objects.select_for_update(no_key=True).get(pk=connection.pk)
        same_shop = Connection.objects.filter(vendor=row.vendor, config__authorised_shop_id=shop_id)
        other = same_shop.exclude(pk=row.pk).select_related("source").first()
        if other is not None:
            raise BadInput(
                gettext_noop("这家店铺已经接入为「%(name)s」，请到它的页面上重新授权"),
                code="authorised_elsewhere",
                name=str(other),
            )
        secrets = reveal_secrets(row) | {"access_token": access_token}
        secrets.pop("refresh_token", None)  # of the authorisation before
        if refresh_token:
            secrets["refresh_token"] = refresh_token
        row.secrets_sealed, row.secret_hints = _seal(secrets), hint_secrets(secrets)
        row.config = row.config | {SHOP_ID: shop_id, SHOP_NAME: shop_name}
        row.token_version += 1
        row.token_holder, row.token_lease_until = "", None
        row.access_expires_at, row.refresh_expires_at = expires_at, refresh_expires_at
        row.authorised_at = now
        clear_trouble(row)
        row.save()
        record(
            action="connection.authorise",
            subject=str(row),
            actor=actor,
            now=now,
            details={"shop": shop_name, "shop_id": shop_id},
        )
    return row


def release_tokens(connection_id: int, *, holder: str) -> None:
    """Give the lock back without new tokens: the vendor refused."""
    Connection.objects.filter(pk=connection_id, token_holder=holder).update(
        token_holder="", token_lease_until=None
    )


def record_success(connection: Connection, *, now: datetime) -> None:
    """It answered: whatever was wrong is over."""
    Connection.objects.filter(pk=connection.pk).update(
        state=Connection.State.OK,
        last_ok_at=now,
        trouble_code="",
        trouble_message="",
        trouble_params={},
        trouble_since=None,
    )


def record_trouble(connection: Connection, *, code: str, words: Phrase, now: datetime) -> None:
    """A person has to see to it. The moment it began stays while it lasts."""
    since = connection.trouble_since if connection.trouble_code == code else now
    connection.trouble_code, connection.trouble_since = code, since or now
    Connection.objects.filter(pk=connection.pk).update(
        state=Connection.State.TROUBLE,
        trouble_code=code[:60],
        trouble_message=words.message,
        trouble_params=keep_params(words.params),
        trouble_since=connection.trouble_since,
    )


def clear_trouble(connection: Connection) -> None:
    """Forget what was wrong (unsaved): something about the connection has changed."""
    connection.trouble_code = connection.trouble_message = ""
    connection.trouble_params, connection.trouble_since = {}, None
    connection.paused_until = None
    if connection.state == Connection.State.TROUBLE:
        connection.state = Connection.State.NEW


def _check_address(base_url: str) -> None:
    if base_url:  # a source that only pushes needs none
        check_literal(base_url, allowed=list_allowed_addresses())


def _check_minutes(minutes: int) -> int:
    if not 1 <= minutes <= 60:
        raise BadInput(gettext_noop("读取间隔应在 1 到 60 分钟之间"), code="bad_interval")
    return minutes


def _seal(secrets: Mapping[str, str]) -> str:
    return encrypt(
        json.dumps(dict(secrets), ensure_ascii=False, sort_keys=True), purpose=SECRETS_PURPOSE
    )


def hint_secrets(secrets: Mapping[str, str]) -> dict[str, str]:
    """What a page may show of each secret: its last four characters, or nothing of a short one."""
    return {
        name: value.strip()[-4:] if len(value) >= _HINT_LENGTH and "\n" not in value else ""
        for name, value in secrets.items()
        if value
    }
