"""What was said to and by the outside about one order, and saying it once more."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count
from django.utils import timezone

from config.audit.services import record
from config.errors import NotFound, WrongState, gettext_noop
from config.tenancy.models import Environment, User
from config.tenancy.scope import for_environment
from connectors.adapters import Asker
from connectors.http import ConnectorError
from connectors.sync.limits import Limiter
from connectors.sync.masking import mask_body, mask_value
from connectors.sync.models import CallLog, CallOrder, InboundMessage
from connectors.sync.pushes import work_messages
from connectors.sync.reading import read_orders
from connectors.sync.sweeps import ask
from connectors.sync.transport import Clock, Sleep, open_session

LIMIT = 100


@dataclass(frozen=True)
class Exchange:
    """One call of ours or message of theirs. `key` names it for `resend()`."""

    key: str
    is_inbound: bool
    at: datetime
    source: str
    operation: str
    outcome: str
    outcome_label: str
    vendor_code: str
    http_status: int | None
    duration_ms: int | None
    attempt: int
    is_effect: bool
    can_resend: bool  # of the order whose log this is, or the only one it is about
    request: str  # masked
    answer: str  # masked


def list_calls_of_order(order_no: str, *, limit: int = LIMIT) -> list[Exchange]:
    """Calls and messages about an order, newest first, masked, in the scope in force."""
    calls = (
        CallLog.objects.filter(pk__in=CallOrder.objects.filter(order_no=order_no).values("call_id"))
        .select_related("connection__source")
        .order_by("-at", "-pk")[:limit]
    )
    messages = (
        InboundMessage.objects.filter(order_no=order_no)
        .select_related("connection__source")
        .order_by("-received_at", "-pk")[:limit]
    )
    found = [_of_call(call, can_resend=True) for call in calls]
    found += [_of_message(m) for m in messages]
    return sorted(found, key=lambda e: e.at, reverse=True)[:limit]


def list_calls_of_connection(connection_id: int, *, limit: int = LIMIT) -> list[Exchange]:
    """The latest calls and messages of one connection, newest first, masked."""
    calls = CallLog.objects.filter(connection_id=connection_id).select_related("connection__source")
    messages = InboundMessage.objects.filter(connection_id=connection_id).select_related(
        "connection__source"
    )
    made = list(calls.order_by("-at", "-pk")[:limit])
    about = dict(
        CallOrder.objects.filter(call__in=[call.pk for call in made])
        .values_list("call_id")
        .annotate(n=Count("order_no", distinct=True))
    )
    found = [_of_call(call, can_resend=about.get(call.pk) == 1) for call in made]
    found += [_of_message(m) for m in messages.order_by("-received_at", "-pk")[:limit]]
    return sorted(found, key=lambda e: e.at, reverse=True)[:limit]


def _of_call(call: CallLog, *, can_resend: bool) -> Exchange:
    return Exchange(
        key=f"call-{call.pk}",
        is_inbound=False,
        at=call.at,
        source=str(call.connection),
        operation=call.operation,
        outcome=call.outcome,
        outcome_label=call.get_outcome_display(),
        vendor_code=call.vendor_code,
        http_status=call.http_status,
        duration_ms=call.duration_ms,
        attempt=call.attempt,
        is_effect=call.is_effect,
        can_resend=can_resend and not call.is_effect,
        request=mask_body(call.reveal("request")),
        answer=mask_body(call.reveal("answer")),
    )


def _of_message(message: InboundMessage) -> Exchange:
    payload = mask_value(message.reveal_payload())
    return Exchange(
        key=f"message-{message.pk}",
        is_inbound=True,
        at=message.received_at,
        source=str(message.connection),
        operation=message.topic or message.kind,
        outcome=message.state,
        outcome_label=message.get_state_display(),
        vendor_code=message.error_code,
        http_status=None,
        duration_ms=None,
        attempt=message.attempts,
        is_effect=False,
        can_resend=not _is_forgotten(message),
        request=json.dumps(payload, ensure_ascii=False) if payload else "",
        answer="",
    )


def _is_forgotten(message: InboundMessage) -> bool:
    """Whether what it had to tell is not kept any more; a hint tells its order's number only."""
    return message.kind == "record" and not message.payload_sealed


def resend(
    environment: Environment,
    key: str,
    *,
    actor: User | None,
    now: datetime,
    order_no: str = "",
    clock: Clock = timezone.now,
    sleep: Sleep = time.sleep,
    limiter: Limiter | None = None,
) -> str:
    """Say it once more; returns the order number it was about. Call it outside any scope.

    A message is worked off again. A reading call reads the order anew; of a list, which tells of
    many, the one named as `order_no`. An effect is not repeated
    from here: holding, releasing and cancelling have buttons of their own, which know the order's
    state now. Raises NotFound, WrongState, ConnectorError.
    """
    kind, _, number = key.partition("-")
    if not number.isdigit() or kind not in {"call", "message"}:
        raise NotFound(gettext_noop("没有这条调用记录"))
    if kind == "message":
        return _again(environment, int(number), actor=actor, clock=clock, sleep=sleep,
                      limiter=limiter, now=now)  # fmt: skip
    with for_environment(environment):
        call = CallLog.objects.filter(pk=int(number)).first()
        if call is None:
            raise NotFound(gettext_noop("没有这条调用记录"))
        about = call.orders.filter(order_no=order_no) if order_no else call.orders
        numbers = list(about.values_list("order_no", flat=True).distinct()[:2])
        if call.is_effect:
            raise WrongState(
                gettext_noop("这是一次会改变对方状态的调用，请在订单页用挂起、解除或修复重新执行"),
                code="effect",
            )
        if len(numbers) != 1:
            raise WrongState(
                gettext_noop("这次调用涉及许多订单，请用「立即读取」整体重读"), code="many_orders"
            )
        record(action="call.resend", subject=numbers[0], actor=actor, now=now)
    session = open_session(
        environment, call.connection_id, clock=clock, sleep=sleep, limiter=limiter, actor=actor
    )
    if isinstance(session.client, Asker):
        _, error = ask(session, numbers)
    else:
        _, error = read_orders(
            environment, call.connection_id, numbers, clock=clock, sleep=sleep, limiter=limiter
        )
    if error is not None:
        raise error
    return str(numbers[0])


def _again(
    environment: Environment,
    pk: int,
    *,
    actor: User | None,
    now: datetime,
    clock: Clock,
    sleep: Sleep,
    limiter: Limiter | None,
) -> str:
    with for_environment(environment):
        message = InboundMessage.objects.filter(pk=pk).first()
        if message is None:
            raise NotFound(gettext_noop("没有这条调用记录"))
        if _is_forgotten(message):
            raise WrongState(
                gettext_noop("这条消息的内容已过保留期，不能再处理；请重新读取它的订单"),
                code="forgotten",
            )
        record(
            action="message.again", subject=message.order_no or message.topic, actor=actor, now=now
        )
        InboundMessage.objects.filter(pk=pk).update(
            state=InboundMessage.State.WAITING, due_at=None, attempts=0
        )
    work_messages(environment, message.connection_id, clock=clock, sleep=sleep, limiter=limiter)
    with for_environment(environment, write=False):
        message.refresh_from_db()
    if message.state == InboundMessage.State.WAITING:
        raise ConnectorError(
            gettext_noop("平台暂时读不到，已排队，稍后自动再试"),
            code=message.error_code or "waiting",
        )
    return str(message.order_no)
