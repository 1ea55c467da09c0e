"""Who a request is: `Authorization: Bearer <token>` names one environment, and nothing more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.utils import timezone
from django.utils.translation import gettext as _
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from config.tenancy.models import Environment, ScopeKey
from config.tenancy.services import get_scope_key, record_use


@dataclass(frozen=True)
class Program:
    """The caller of the API: a program with a token of one environment. No person, no roles."""

    key: ScopeKey

    is_authenticated = True

    @property
    def environment(self) -> Environment:
        """The one environment the token opens."""
        return self.key.environment


class ScopeKeyAuthentication(BaseAuthentication):
    """Reads the bearer token; an unknown, disabled or malformed one is 401."""

    keyword = "Bearer"

    def authenticate(self, request: Request) -> tuple[Program, ScopeKey] | None:
        """The program behind the token, or None when no Authorization header was sent."""
        header = request.META.get("HTTP_AUTHORIZATION", "")
        if not header:
            return None
        keyword, _blank, token = header.partition(" ")
        token = token.strip()
        if keyword.lower() != self.keyword.lower() or not token or " " in token:
            raise AuthenticationFailed(
                _("请求头应为 Authorization: Bearer <令牌>"), code="bad_token"
            )
        key = get_scope_key(token)
        if key is None:
            raise AuthenticationFailed(
                _("令牌无效或已停用，请在「接口」页重新创建"), code="bad_token"
            )
        record_use(key, now=timezone.now())
        return Program(key), key

    def authenticate_header(self, request: Request) -> str:
        """The challenge of a 401 answer."""
        return f'{self.keyword} realm="hedao"'


class ScopeKeyScheme(OpenApiAuthenticationExtension):
    """Describes the token to OpenAPI."""

    target_class = ScopeKeyAuthentication
    name = "scopeKey"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        """An HTTP bearer token."""
        return {
            "type": "http",
            "scheme": "bearer",
            "description": "一个环境一个令牌，只读",
        }
