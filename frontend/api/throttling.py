"""How often one token may ask."""

from __future__ import annotations

from typing import Any

from rest_framework.request import Request
from rest_framework.throttling import SimpleRateThrottle


class KeyThrottle(SimpleRateThrottle):
    """Requests per token and minute (setting API_RATE), counted in the default cache."""

    scope = "key"

    def get_cache_key(self, request: Request, view: Any) -> str | None:
        """One counter per token; a request without one was refused before."""
        key = getattr(request, "auth", None)
        return None if key is None else f"api-rate:{key.pk}"
