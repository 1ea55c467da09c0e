"""What every page of the shell needs."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest


def shell(request: HttpRequest) -> dict[str, Any]:
    """Environment, rights and navigation for the templates."""
    return {
        "environment": getattr(request, "environment", None),
        "environments": getattr(request, "environments", []),
        "rights": getattr(request, "rights", frozenset()),
    }
