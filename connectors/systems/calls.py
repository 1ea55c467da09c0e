"""What the clients of all systems share: settings that must be there, statuses, unreadable answers.

Pure: no Django, no I/O. The first are those of every adapter (`connectors.adapters.calls`).
"""

from __future__ import annotations

from config.errors import AppError, BadInput
from connectors.adapters.calls import check_status, get_secret, get_setting
from connectors.http import ConnectorError, Retry

__all__ = ["check_status", "get_secret", "get_setting", "refuse_answer"]


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
