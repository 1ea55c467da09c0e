"""Signatures that held and signatures that did not."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from config.errors import AppError, gettext_noop


@dataclass(frozen=True, slots=True)
class Verified:
    """A message whose signature held.

    `replay_keys` name it, one per message it carries: the replay table stores them, and a key it
    holds already makes the message a repetition. `signed_at` is None where the vendor signs no
    time: then the replay table is the only guard.
    """

    replay_keys: tuple[str, ...]
    signed_at: datetime | None = None


class SignatureRefused(AppError):
    """The message is not from who it says, or not from now; nothing of it is stored.

    Codes: `signature_missing`, `signature_stale`, `signature_mismatch`.
    """

    code = "signature_mismatch"


def is_same(expected: str | bytes, given: str | bytes) -> bool:
    """Compare two signatures in constant time, whatever characters the given one has."""
    left = expected.encode() if isinstance(expected, str) else expected
    right = given.encode("utf-8", "replace") if isinstance(given, str) else given
    return hmac.compare_digest(left, right)


def check_window(seconds: str, *, now: datetime, tolerance: timedelta) -> datetime:
    """Read a signed time in Unix seconds; refuse it outside `now` ± `tolerance`."""
    if not (seconds.isascii() and seconds.isdigit() and len(seconds) <= 12):
        raise SignatureRefused(
            gettext_noop("签名的时间不是 Unix 秒"), code="signature_missing", header="timestamp"
        )
    signed_at = datetime.fromtimestamp(int(seconds), UTC) if int(seconds) < 2**32 else None
    if signed_at is None or abs(signed_at - now) > tolerance:
        raise SignatureRefused(
            gettext_noop("签名的时间与本机相差超过 %(minutes)s 分钟，请核对双方时钟"),
            code="signature_stale",
            minutes=int(tolerance.total_seconds() // 60),
        )
    return signed_at
