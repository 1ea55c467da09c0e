"""Every error of the API as one shape: {"code", "message", "params"}."""

from __future__ import annotations

import math
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404
from django.utils.translation import gettext as _
from rest_framework import exceptions, serializers
from rest_framework.response import Response

from config.errors import AppError, BadInput, NotAllowed, NotFound, WrongState
from config.wording import say_error, translate_params

_APP_STATUS: tuple[tuple[type[AppError], int], ...] = (
    (BadInput, 400),
    (NotAllowed, 403),
    (NotFound, 404),
    (WrongState, 409),
)


class ErrorSerializer(serializers.Serializer):
    """What every refusal looks like."""

    code = serializers.CharField(help_text="稳定的英文错误码，供程序判断")
    message = serializers.CharField(help_text="中文说明：哪里不对，怎么办")
    params = serializers.DictField(help_text="说明中用到的值")


def error_response(
    status: int,
    *,
    code: str,
    message: str,
    params: dict[str, Any] | None = None,
    headers: dict[str, str] | None = None,
) -> Response:
    """One error answer; `message` is already translated and filled in."""
    body = {"code": code, "message": message, "params": params or {}}
    return Response(body, status=status, headers=headers)


def handle_error(exc: Exception, context: dict[str, Any]) -> Response | None:
    """Answer for an exception of a view; None for a bug, which then is a logged 500."""
    if isinstance(exc, AppError):
        for kind, status in _APP_STATUS:
            if isinstance(exc, kind):
                params = translate_params(exc.params)
                return error_response(status, code=exc.code, message=say_error(exc), params=params)
        return None
    if isinstance(exc, exceptions.Throttled):
        seconds = max(1, math.ceil(exc.wait or 1))
        return error_response(
            429,
            code="throttled",
            message=_("请求太频繁，请在 %(seconds)s 秒后再试") % {"seconds": seconds},
            params={"seconds": seconds},
            headers={"Retry-After": str(seconds)},
        )
    if isinstance(exc, exceptions.NotAuthenticated):
        return error_response(
            401,
            code="not_authenticated",
            message=_("缺少令牌：请求头应为 Authorization: Bearer <令牌>"),
            headers=_challenge(exc),
        )
    if isinstance(exc, exceptions.AuthenticationFailed):
        return error_response(
            401, code="bad_token", message=str(exc.detail), headers=_challenge(exc)
        )
    if isinstance(exc, exceptions.MethodNotAllowed):
        method = str(context["request"].method)
        return error_response(
            405,
            code="read_only",
            message=_("接口只读，不接受 %(method)s") % {"method": method},
            params={"method": method},
        )
    if isinstance(exc, Http404):
        return error_response(404, code="not_found", message=_("没有这个对象，或令牌无权查看"))
    if isinstance(exc, PermissionDenied | exceptions.PermissionDenied):
        return error_response(403, code="not_allowed", message=_("令牌没有这项权限"))
    if isinstance(exc, exceptions.APIException):
        return error_response(exc.status_code, code=str(exc.default_code), message=str(exc.detail))
    return None


def _challenge(exc: exceptions.APIException) -> dict[str, str]:
    header = getattr(exc, "auth_header", None)
    return {"WWW-Authenticate": header} if header else {}
