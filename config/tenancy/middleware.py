"""Puts every signed-in request into the scope of the environment the person has chosen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse

from config.tenancy.roles import list_environments, list_memberships, rights_in
from config.tenancy.scope import for_environment, for_tenant

SESSION_KEY = "environment"


class ScopeMiddleware:
    """Sets request.environment, .environments, .memberships, .rights and runs the view in scope.

    A writing request is one transaction; a reading one opens a transaction on PostgreSQL only.
    An exception rolls the transaction back, as with ATOMIC_REQUESTS.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: Any) -> HttpResponse:
        request.environment, request.environments = None, []
        request.memberships, request.rights = [], frozenset()
        user = request.user
        if not user.is_authenticated or user.tenant_id is None:
            return self.get_response(request)
        request.memberships = list_memberships(user)
        request.environments = list_environments(user, request.memberships)
        wanted = request.session.get(SESSION_KEY)
        request.environment = next(
            (e for e in request.environments if e.public_id == wanted),
            request.environments[0] if request.environments else None,
        )
        request.rights = rights_in(request.memberships, request.environment) | rights_in(
            request.memberships, None
        )
        return self.get_response(request)

    def process_view(self, request: Any, view: Any, args: Any, kwargs: Any) -> HttpResponse | None:
        if not request.user.is_authenticated or request.user.tenant_id is None:
            return None
        write = request.method not in {"GET", "HEAD", "OPTIONS"}
        scope = (
            for_environment(request.environment, write=write)
            if request.environment is not None
            else for_tenant(request.user.tenant, write=write)
        )
        with scope:
            response = view(request, *args, **kwargs)
            if hasattr(response, "render") and callable(response.render):
                response.render()
        return response
