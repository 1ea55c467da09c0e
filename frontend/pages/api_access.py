"""The API for the people who connect programs: tokens of this environment, and what can be asked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import path, reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST
from drf_spectacular.generators import SchemaGenerator

from config.audit.services import record
from config.tenancy.models import ScopeKey
from config.tenancy.roles import MANAGE_CONNECTORS, VIEW_BOARD, check_right
from config.tenancy.services import create_scope_key, disable_scope_key


@dataclass(frozen=True)
class Field:
    """One value of an answer."""

    name: str
    kind: Any  # text, translated where it is shown
    help: str


@dataclass(frozen=True)
class Endpoint:
    """One address of the API as a person reads it."""

    path: str
    name: str
    summary: str
    description: str
    parameters: tuple[Field, ...]
    fields: tuple[Field, ...]


@lru_cache(maxsize=1)  # the description does not change while the process lives
def list_endpoints() -> tuple[Endpoint, ...]:
    """Every address, read from the same OpenAPI description programs get."""
    schema = SchemaGenerator().get_schema(request=None, public=True)
    return tuple(_list_endpoints(schema))


def _list_endpoints(schema: dict[str, Any]) -> Iterator[Endpoint]:
    for address, methods in schema["paths"].items():
        operation = methods["get"]
        content = operation["responses"]["200"]["content"]
        answer = content["application/json"]["schema"]
        yield Endpoint(
            path=address,
            name=operation["operationId"],
            summary=operation.get("summary", ""),
            description=operation.get("description", ""),
            parameters=tuple(
                Field(p["name"], _describe(p["schema"]), p.get("description", ""))
                for p in operation.get("parameters", [])
            ),
            fields=tuple(_list_fields(schema, answer)),
        )


def _resolve(schema: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    """Follow a reference, also one wrapped as nullable."""
    if "allOf" in part and len(part["allOf"]) == 1:
        part = part["allOf"][0]
    if "$ref" in part:
        found: dict[str, Any] = schema["components"]["schemas"][part["$ref"].rsplit("/", 1)[-1]]
        return found
    return part


def _list_fields(schema: dict[str, Any], part: dict[str, Any], under: str = "") -> Iterator[Field]:
    for name, value in _resolve(schema, part).get("properties", {}).items():
        inner = _resolve(schema, value)
        is_list = inner.get("type") == "array"
        full = f"{under}{name}{'[]' if is_list else ''}"
        deeper = _resolve(schema, inner.get("items", {})) if is_list else inner
        if deeper.get("properties"):
            yield from _list_fields(schema, deeper, f"{full}.")
        else:
            yield Field(full, _describe(inner), value.get("description", ""))


_KINDS = {
    "string": gettext_lazy("文本"),
    "integer": gettext_lazy("整数"),
    "decimal": gettext_lazy("小数"),
    "boolean": gettext_lazy("是/否"),
    "object": gettext_lazy("对象"),
    "array": gettext_lazy("列表"),
    "date-time": gettext_lazy("带时区的时间"),
}


def _describe(part: dict[str, Any]) -> Any:
    if part.get("enum"):
        return " | ".join(str(choice) for choice in part["enum"] if choice)
    return _KINDS.get(part.get("format", ""), _KINDS.get(part.get("type", ""), ""))


def _show(request: Any, *, token: str = "", status: int = 200) -> HttpResponse:
    can_manage = MANAGE_CONNECTORS in request.rights
    keys = ScopeKey.objects.filter(environment=request.environment).order_by("-pk")
    return render(
        request,
        "api_access/page.html",
        {
            "now": timezone.now(),
            "token": token,
            "can_manage": can_manage,
            "keys": keys if can_manage else [],
            "endpoints": list_endpoints(),
            "base_url": request.build_absolute_uri("/")[:-1],
            "orders_path": reverse("api_orders"),
            "schema_path": reverse("api_schema"),
        },
        status=status,
    )


@login_required
@require_GET
@never_cache
def show(request: Any) -> HttpResponse:
    """Tokens (for those who manage connectors) and the description of the API."""
    check_right(request.rights, VIEW_BOARD)
    return _show(request)


@login_required
@require_POST
@never_cache
def create_token(request: Any) -> HttpResponse:
    """Make a token and show it: in this one answer and never again."""
    check_right(request.rights, MANAGE_CONNECTORS)
    name = str(request.POST.get("name", "")).replace("\x00", "")
    key, token = create_scope_key(request.environment, name=name)
    record(action="api.create_key", subject=str(key), actor=request.user, now=timezone.now())
    return _show(request, token=token)


@login_required
@require_POST
def disable_token(request: Any, key_id: int) -> HttpResponse:
    """End a token of this environment."""
    check_right(request.rights, MANAGE_CONNECTORS)
    key = get_object_or_404(ScopeKey, pk=key_id, environment=request.environment, is_active=True)
    disable_scope_key(key)
    record(action="api.disable_key", subject=str(key), actor=request.user, now=timezone.now())
    messages.success(
        request, _("令牌「%(name)s」已停用，用它的程序从现在起会收到 401") % {"name": key}
    )
    return redirect("api")


urlpatterns = [
    path("api/", show, name="api"),
    path("api/tokens/", create_token, name="api_create_token"),
    path("api/tokens/<int:key_id>/disable/", disable_token, name="api_disable_token"),
]
