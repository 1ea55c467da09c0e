"""Puts every signed-in request into the scope of the environment the person has chosen."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from django.core.exceptions import ObjectDoesNotExist
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext as _

from config.errors import AppError, BadInput, NotAllowed, NotFound, WrongState
from config.tenancy.roles import list_environments, list_memberships, rights_in
from config.tenancy.scope import for_environment, for_tenant
from config.wording import say_error

SESSION_KEY = "environment"
View = Callable[..., HttpResponse]


def outside_scope(view: View) -> View:
    """Mark a view that calls the outside world: it opens its own scopes around the call.

    Otherwise its transaction would stay open, and on SQLite keep every writer waiting, for as long
    as the other side takes to answer.
    """
    view.is_outside_scope = True  # type: ignore[attr-defined] # a mark on the function
    return view


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
        zone = request.environment.zone if request.environment else timezone.get_default_timezone()
        with timezone.override(zone):
            return self.get_response(request)

    def process_view(self, request: Any, view: Any, args: Any, kwargs: Any) -> HttpResponse | None:
        if not request.user.is_authenticated or request.user.tenant_id is None:
            return None
        write = request.method not in {"GET", "HEAD", "OPTIONS"}
        scope: AbstractContextManager[Any]
        if getattr(view, "is_outside_scope", False):
            scope = nullcontext()
        elif request.environment is not None:
            scope = for_environment(request.environment, write=write)
        else:
            scope = for_tenant(request.user.tenant, write=write)
        try:
            with scope:
                response = view(request, *args, **kwargs)
                if hasattr(response, "render") and callable(response.render):
                    response.render()
        except (ObjectDoesNotExist, NotFound) as error:
            raise Http404 from error  # absent and foreign look the same
        except tuple(_REFUSALS) as error:
            return refuse(request, error)
        return response


_REFUSALS: dict[type[AppError], int] = {NotAllowed: 403, WrongState: 409, BadInput: 400}


def refuse(request: HttpRequest, error: AppError) -> HttpResponse:
    """The page that says why something was not done; the transaction has been rolled back."""
    heading = _("没有这项权限") if isinstance(error, NotAllowed) else _("没有做成")
    message = say_error(error)
    status = next(code for kind, code in _REFUSALS.items() if isinstance(error, kind))
    if request.headers.get("HX-Request"):  # a fragment says it in one line
        return HttpResponse(message, status=status, content_type="text/plain; charset=utf-8")
    return render(request, "refusal.html", {"heading": heading, "message": message}, status=status)
