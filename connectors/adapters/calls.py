"""What every client does with a connection's settings and with an answer. Pure.

Platforms refuse with HTTP 200 as well as with another status (channels.md 0.8): a client reads the
body first (`read_answer`), looks for a refusal in it, and only then asks for the status
(`check_status`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from config.errors import Phrase, gettext_noop
from connectors.adapters.base import Access
from connectors.http import RETRY_BY_STATUS, ConnectorError, Response, Retry
from connectors.wire import PayloadError, Reader, read_json


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
    """Raise ConnectorError unless the status is 2xx; what may be done follows from the status.

    A redirect is never followed: it could lead inside, and it would take the credentials along.
    """
    if 200 <= response.status < 300:
        return
    if 300 <= response.status < 400:
        raise ConnectorError(
            gettext_noop(
                "对方要求跳转到别的地址（HTTP %(status)s），没有跟随：请填写最终的接口地址"
            ),
            code="redirect",
            vendor_code=str(response.status),
            status=response.status,
        )
    raise ConnectorError(
        gettext_noop("对方返回 HTTP %(status)s"),
        code="http_status",
        retry=RETRY_BY_STATUS.get(response.status, Retry.NEVER),
        vendor_code=str(response.status),
        status=response.status,
    )


def read_answer(response: Response) -> Reader:
    """The JSON object of an answer, whatever its status.

    Raises ConnectorError: by the status where that tells more than the body, else ambiguous, for
    the call did arrive.
    """
    try:
        return Reader(read_json(response.body))
    except PayloadError as error:
        check_status(response)
        raise ConnectorError(
            error.message,
            code="bad_answer",
            retry=Retry.AMBIGUOUS,
            vendor_code=error.code,
            **error.params,
        ) from error
