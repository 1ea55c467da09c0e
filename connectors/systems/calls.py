"""What the clients of all systems share: settings that must be there, statuses, unreadable answers.

Pure: no Django, no I/O.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from config.errors import AppError, BadInput, Phrase, gettext_noop
from connectors.adapters import Access
from connectors.http import RETRY_BY_STATUS, ConnectorError, Response, Retry


def get_setting(config: Mapping[str, Any], name: str, label: str) -> str:
    """A setting of the connection as text; raises ConnectorError naming it when it is empty."""
    value = str(config.get(name) or "").strip()
    if not value:
        raise ConnectorError(
            gettext_noop("连接还没有填写「%(name)s」，请在它的页面上补上"),
            code="not_configured",
            name=Phrase(label),
        )
    return value


def get_secret(access: Access, name: str, label: str) -> str:
    """A secret of the connection; raises ConnectorError naming it when it is empty."""
    return get_setting(access.secrets, name, label)


def check_status(response: Response) -> None:
    """Raise ConnectorError unless the status is 2xx; what may be done follows from the status."""
    if 200 <= response.status < 300:
        return
    raise ConnectorError(
        gettext_noop("对方返回 HTTP %(status)s"),
        code="http_status",
        retry=RETRY_BY_STATUS.get(response.status, Retry.NEVER),
        vendor_code=str(response.status),
        status=response.status,
    )


def refuse_answer(error: AppError, *, vendor_code: str = "") -> ConnectorError:
    """The error for an answer that cannot be read or is not from who it should be.

    A body that cannot be read may be a gateway's error page: the call may be made again where
    that is harmless. A signature that does not hold is for a person.
    """
    is_unreadable = isinstance(error, BadInput)
    return ConnectorError(
        error.message,
        code="bad_answer" if is_unreadable else "bad_signature",
        retry=Retry.AMBIGUOUS if is_unreadable else Retry.NEVER,
        vendor_code=vendor_code,
        **error.params,
    )
