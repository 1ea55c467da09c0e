"""Webhooks: verify on the raw bytes, store, answer. The patrol does the rest.

The address names environment and connection by their public ids; what it is allowed to do is
proved by the signature alone. Every refusal is answered in the vendor's own form and stores
nothing; which of address and signature was wrong is not told.
"""

from __future__ import annotations

import logging

from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from config.tenancy.models import Environment
from config.wording import say_error
from connectors.adapters import PushAnswer, PushRequest
from connectors.sync.pushes import MAX_BODY_BYTES, PushRefused, accept_push
from workflows.patrol.queue import enqueue

log = logging.getLogger(__name__)

# What a body may call itself; a file or a picture is no message.
_CONTENT_TYPES = {
    "application/json",
    "application/x-www-form-urlencoded",
    "text/xml",
    "application/xml",
    "text/plain",
    "",
}


@csrf_exempt
@require_POST
def receive_push(request: HttpRequest, environment_id: str, connection_id: str) -> HttpResponse:
    """One push to `/in/<environment>/<connection>/`: 200 stored, 401, 400, 404, 409, 413, 415."""
    if (request.content_type or "").lower() not in _CONTENT_TYPES:
        return _refuse(415, "content_type")
    length = request.META.get("CONTENT_LENGTH") or "0"
    if length.isdigit() and int(length) > MAX_BODY_BYTES:
        return _refuse(413, "too_large")
    try:
        body = request.body
    except RequestDataTooBig:
        return _refuse(413, "too_large")
    environment = (
        Environment.objects.filter(public_id=environment_id, is_active=True)
        .select_related("tenant", "division")
        .first()
    )
    if environment is None:
        return _refuse(404, "not_found")
    push = PushRequest(
        method=request.method or "POST",
        headers={name.lower(): value for name, value in request.headers.items()},
        query=tuple((name, value) for name, values in request.GET.lists() for value in values),
        body=body,
    )
    try:
        accepted = accept_push(environment, connection_id, push, now=timezone.now())
    except PushRefused as error:
        if error.answer is None:
            return _refuse(error.status, "not_found")
        response = _answer(error.answer)
        if response.status_code < 400:
            response.status_code = error.status
        response["X-Reason"] = error.code
        field = str(error.params.get("field", ""))
        if field.isascii() and field.isprintable():  # a sender's own name may be anything
            response["X-Field"] = field[:100]
        log.warning("push refused with %d: %s", error.status, say_error(error)[:200])
        return response
    if accepted.stored and accepted.is_first:  # else whoever works off the others takes it along
        enqueue("patrol.work_messages", environment.pk, accepted.connection_id, queue="sync")
    return _answer(accepted.answer)


def _answer(answer: PushAnswer) -> HttpResponse:
    return HttpResponse(answer.body, status=answer.status, content_type=answer.content_type)


def _refuse(status: int, code: str) -> JsonResponse:
    return JsonResponse({"error": {"code": code}}, status=status)
