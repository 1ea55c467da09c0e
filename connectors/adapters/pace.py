"""How often an application may call its vendor: what a form asks where the vendor's word is not ours."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from config.errors import gettext_noop
from connectors.adapters.base import CredentialField, RateLimit

PACE_FIELDS: Final = (
    CredentialField(
        "calls_per_second",
        gettext_noop("每秒最多调用几次"),
        is_required=False,
        is_rare=True,
        most=1000,
        help=gettext_noop("一般不用填：平台给这个应用的频率和默认的不同才填"),
    ),
    CredentialField(
        "calls_per_day",
        gettext_noop("每天最多调用几次"),
        is_required=False,
        is_rare=True,
        most=1_000_000_000,
        help=gettext_noop("平台控制台里写的每日额度；填了就在连接页显示已用多少"),
    ),
)


def read_limit(config: Mapping[str, Any], shipped: RateLimit) -> RateLimit:
    """The vendor's limit, with what this application was granted in its place."""
    rate, per_day = (_read(config, name) for name in ("calls_per_second", "calls_per_day"))
    limit = replace(shipped, per_day=int(per_day)) if per_day else shipped
    if not rate:
        return limit
    # As many at once for so many a second as of the shipped limit.
    burst = max(1, math.ceil(shipped.burst * rate / shipped.per_second))
    return replace(limit, per_second=rate, burst=burst)


def name_application(config: Mapping[str, Any], connection: str) -> str:
    """Whose budget a connection's calls are: its application's, else (`connection`) its own."""
    return str(config.get("app_key") or connection)


def _read(config: Mapping[str, Any], name: str) -> float:
    """A number above zero; 0 for anything else."""
    try:
        found = float(config.get(name) or 0)
    except (TypeError, ValueError):
        return 0.0
    return found if found > 0 and math.isfinite(found) else 0.0
