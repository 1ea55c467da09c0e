"""A merchant's consent becomes tokens: asked of the platform, judged, stored.

Asking happens outside any scope; nothing is stored unless everything held.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from config.errors import AppError, BadInput, Phrase, gettext_noop
from config.tenancy.models import Environment, User
from connectors.adapters import Connector, Grant, OwnAuthoriser, VendorRefusal
from connectors.adapters.consent import check_shop
from connectors.shops.connections import authorise_connection
from connectors.shops.models import Connection
from connectors.sync.trying import explain_failure, open_unsaved
from connectors.wire import PayloadError


class NotAuthorised(AppError):
    """The platform gave no access; nothing was stored."""

    code = "not_authorised"


def ask_for_grant(
    environment: Environment,
    connector: Connector,
    *,
    base_url: str,
    config: Mapping[str, Any],
    secrets: Mapping[str, str],
    code: str | None,
    expected_name: str,
    now: datetime,
) -> Grant:
    """Change a code for tokens, or ask for the tokens of a shop's own application (`code` None).

    One call through the outbound door, never repeated: a code is good once. Raises NotAuthorised
    with reason and remedy, BadInput when another shop agreed than the one that was asked for.
    """
    if connector.consent is None:
        raise BadInput(gettext_noop("这个平台没有授权页，请粘贴令牌"), code="no_consent_page")
    try:
        client = open_unsaved(
            environment, vendor=connector.code, base_url=base_url, config=config, secrets=secrets,
            shop="", now=now, heard=[],
        )  # fmt: skip
        grant = _ask(client, code)
    except VendorRefusal as refusal:
        raise _explain(
            gettext_noop(
                "平台没有给出令牌：%(reason)s。授权码只能用一次，几分钟就过期；没有保存任何内容，"
                "请重新点「去授权」"
            ),
            refusal,
            code="code_refused",
        ) from refusal
    except PayloadError as error:
        raise _explain(
            gettext_noop("平台的应答读不懂：%(reason)s。没有保存任何内容，请重新点「去授权」"),
            error,
            code="bad_answer",
        ) from error
    except AppError as error:
        raise _explain(
            gettext_noop(
                "没能连上平台换取令牌：%(reason)s。没有保存任何内容，请稍后重新点「去授权」"
            ),
            error,
            code=error.code,
        ) from error
    check_shop(connector.consent, config, grant, expected_name=expected_name)
    return grant


def _ask(client: Any, code: str | None) -> Grant:
    found: Grant
    if code is not None:
        found = client.create_tokens(code)
        return found
    if not isinstance(client, OwnAuthoriser):
        raise BadInput(gettext_noop("这个平台没有自用型应用"), code="no_own_application")
    found = client.create_own_tokens()
    return found


def _explain(message: str, error: AppError, *, code: str) -> NotAuthorised:
    words: Phrase = explain_failure(error)
    return NotAuthorised(message, code=code, reason=words)


def store_grant(
    connection: Connection, grant: Grant, *, actor: User | None, now: datetime
) -> Connection:
    """Seal what was given with the connection, in the scope in force."""
    return authorise_connection(
        connection,
        access_token=grant.tokens.access_token,
        refresh_token=grant.tokens.refresh_token,
        expires_at=grant.tokens.expires_at,
        refresh_expires_at=grant.tokens.refresh_expires_at,
        shop_id=grant.shop_id,
        shop_name=grant.shop_name,
        actor=actor,
        now=now,
    )
