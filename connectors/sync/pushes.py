"""Pushed messages: verified on their raw bytes, stored, answered; worked off afterwards.

What is stored is worked off whatever happens: the queue makes it fast, the tick finds the rest.
"""

from __future__ import annotations

import json
import logging
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from config.errors import AppError, BadInput, gettext_noop
from config.secrets import SecretUnreadable, encrypt
from config.tenancy.models import Environment
from config.tenancy.scope import for_environment
from connectors.adapters import Connector, PushAnswer, PushItem, PushRequest
from connectors.http import ConnectorError
from connectors.shops.connections import reveal_secrets
from connectors.shops.models import Connection
from connectors.sync.leases import hold_stream
from connectors.sync.limits import Limiter
from connectors.sync.models import MESSAGE_PURPOSE, InboundMessage
from connectors.sync.reading import read_orders
from connectors.sync.registry import get_connector
from connectors.sync.sweeps import ASKED_KINDS, ask_orders
from connectors.sync.taking import (
    Reading,
    Taken,
    list_stages,
    put_aside,
    record_notices,
    take_mapped,
    unexpected,
)
from connectors.sync.transport import Clock, Sleep
from connectors.wire import Notice, PayloadError, SignatureRefused

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 2 * 1024 * 1024
BATCH = 200
MAX_ATTEMPTS = 8
INBOX = "inbox"  # the lease under which messages of a connection are worked off


@dataclass(frozen=True)
class Accepted:
    """What became of a push: the answer for the vendor, and how many messages are new.

    `is_first`: none older are waiting, so nobody is on the way to work them off.
    """

    answer: PushAnswer
    stored: int
    connection_id: int
    is_first: bool = True


class PushRefused(AppError):
    """A push that is not taken. `status` is the HTTP status, `answer` the vendor's own form."""

    code = "push_refused"

    def __init__(self, message: str, *, status: int, answer: PushAnswer | None, **params: Any):
        super().__init__(message, **params)
        self.status, self.answer = status, answer


def accept_push(
    environment: Environment, public_id: str, request: PushRequest, *, now: datetime
) -> Accepted:
    """Verify, store and answer one push. Call it outside any scope.

    Raises PushRefused: 404 for a connection that is not there (or takes no pushes), 401 for a
    signature that does not hold, 400 for a body that cannot be read, 413 for one too large. Then
    nothing was stored.
    """
    with for_environment(environment, write=False):
        connection = (
            Connection.objects.select_related("source", "shop")
            .filter(public_id=public_id, is_active=True)
            .first()
        )
        secrets = reveal_secrets(connection) if connection else {}
    connector = get_connector(connection.vendor) if connection else None
    if connection is None or connector is None or connector.push is None:
        raise PushRefused(gettext_noop("没有这个推送地址"), status=404, answer=None)
    door = connector.push
    if len(request.body) > MAX_BODY_BYTES:
        raise PushRefused(
            gettext_noop("报文超过 2 MB"), status=413, answer=door.answer("unreadable")
        )
    try:
        verified = door.verify(request, config=connection.config, secrets=secrets, now=now)
    except SignatureRefused as error:
        log.warning("push to connection %d refused: %s", connection.pk, error.code)
        raise PushRefused(
            error.message, status=401, answer=door.answer("refused"), **error.params
        ) from error
    except BadInput as error:  # our own key is none: nothing can be believed
        log.warning("connection %d has no key to verify pushes with: %s", connection.pk, error.code)
        raise PushRefused(
            gettext_noop("这个连接的密钥不能验签，请在它的页面上改正"),
            status=401,
            answer=door.answer("refused"),
        ) from error
    try:
        refuse_repeated_keys(request.body)
        items = door.read(request, verified, secrets=secrets)
    except PayloadError as error:
        raise PushRefused(
            error.message, status=400, answer=door.answer("unreadable"), **error.params
        ) from error
    with for_environment(environment):
        stored = store_messages(connection, items, signed_at=verified.signed_at, now=now)
        Connection.objects.filter(pk=connection.pk).update(last_push_at=now)
    telling = [item for item in items if item.kind != "probe"]
    outcome = "stored" if stored or not telling else "repeated"
    is_first = stored > 0 and _is_oldest(environment, connection.pk, items, now)
    return Accepted(door.answer(outcome), stored, connection.pk, is_first)


def _is_oldest(
    environment: Environment, connection_id: int, items: Sequence[PushItem], now: datetime
) -> bool:
    """Whether no message older than these is waiting.

    Asked after they were stored: whoever works at an older one that still waits now looks again
    when it is settled, and finds these. Asked before, that look might have been the last one.
    """
    with for_environment(environment, write=False):
        waiting = list_waiting(connection_id, now=now).order_by("pk")
        oldest = waiting.values_list("replay_key", flat=True).first()
    return oldest in {item.replay_key[:200] for item in items}


def refuse_repeated_keys(body: bytes) -> None:
    """Two values under one name: which one was signed for? Refused, where the body is JSON."""
    if body.lstrip()[:1] not in {b"{", b"["}:
        return

    def check(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        if len(set(names)) != len(names):
            twice = Counter(names).most_common(1)[0][0]
            raise PayloadError(
                gettext_noop("报文里的字段 %(field)s 出现了两次"),
                code="payload_repeated",
                field=twice[:60],
            )
        return dict(pairs)

    try:
        json.loads(body, object_pairs_hook=check)
    except (ValueError, RecursionError):
        return  # not JSON after all: the vendor's reader says so, in its own words


def store_messages(
    connection: Connection,
    items: Sequence[PushItem],
    *,
    signed_at: datetime | None,
    now: datetime,
) -> int:
    """Store the messages that are not here yet, in the scope in force; returns how many.

    A probe asks for an answer only. The replay key is unique for good.
    """
    telling = {item.replay_key[:200]: item for item in items if item.kind != "probe"}
    known = set(
        InboundMessage.objects.filter(
            connection=connection, replay_key__in=list(telling)
        ).values_list("replay_key", flat=True)
    )
    fresh = [(key, item) for key, item in telling.items() if key not in known]
    InboundMessage.objects.bulk_create(
        [
            InboundMessage(
                connection=connection,
                replay_key=key,
                kind=item.kind,
                topic=item.topic[:100],
                order_no=item.order_no[:64],
                payload_sealed=_seal(item.payload),
                signed_at=signed_at,
                received_at=now,
            )
            for key, item in fresh
        ],
        ignore_conflicts=True,  # the same push in two requests at once
    )
    return len(fresh)


def _seal(payload: Mapping[str, Any]) -> str:
    text = json.dumps(dict(payload), ensure_ascii=False, cls=DjangoJSONEncoder)
    clean = text.encode("utf-8", "replace").decode().replace("\\u0000", "")
    return encrypt(clean, purpose=MESSAGE_PURPOSE)


def list_waiting(connection_id: int, *, now: datetime) -> QuerySet[InboundMessage]:
    """The messages of a connection that are to be worked off now, in the scope in force."""
    found: QuerySet[InboundMessage] = InboundMessage.objects.filter(
        connection_id=connection_id, state=InboundMessage.State.WAITING
    ).filter(Q(due_at__isnull=True) | Q(due_at__lte=now))
    return found


# -- working them off ------------------------------------------------------------------------------


def work_messages(
    environment: Environment,
    connection_id: int,
    *,
    clock: Clock = timezone.now,
    sleep: Sleep = time.sleep,
    limiter: Limiter | None = None,
    limit: int = BATCH,
) -> tuple[Taken, int]:
    """Work off waiting messages of one connection, oldest first. Call it outside any scope.

    Returns what was taken in and how many messages were settled; zero when somebody else is at it.
    A message is settled in the transaction that stores what it told.
    """
    with hold_stream(environment, connection_id, INBOX, clock=clock) as is_ours:
        if not is_ours:
            return Taken(), 0
        connection, waiting = _find_work(environment, connection_id, now=clock(), limit=limit)
        if waiting:
            return _work(
                environment, connection, waiting, clock=clock, sleep=sleep, limiter=limiter
            )
    # Nothing was there. Whoever came for what was pushed while we looked was turned away by us.
    if not _find_work(environment, connection_id, now=clock(), limit=1)[1]:
        return Taken(), 0
    return work_messages(
        environment, connection_id, clock=clock, sleep=sleep, limiter=limiter, limit=limit
    )


def _find_work(
    environment: Environment, connection_id: int, *, now: datetime, limit: int
) -> tuple[Connection, list[InboundMessage]]:
    """The connection, and the oldest messages that can be worked off now."""
    with for_environment(environment, write=False):
        connection = Connection.objects.select_related("source", "shop").get(pk=connection_id)
        rows = list_waiting(connection_id, now=now)
        if connection.paused_until is not None and connection.paused_until > now:
            rows = rows.exclude(kind="hint")  # following one takes a call
        return connection, list(rows.order_by("pk")[:limit])


def _work(
    environment: Environment,
    connection: Connection,
    waiting: Sequence[InboundMessage],
    *,
    clock: Clock,
    sleep: Sleep,
    limiter: Limiter | None,
) -> tuple[Taken, int]:
    connector = get_connector(connection.vendor)
    has_door = connector.push is not None
    hints = [m for m in waiting if m.kind == "hint" and m.order_no]
    records = [m for m in waiting if m.kind == "record" and has_door]
    others = [m for m in waiting if m not in hints and m not in records]
    taken = _take_records(environment, connection, connector, records, clock())
    settled = len(records)
    if others:
        _settle_others(environment, connection, others, clock())
        settled += len(others)
    if hints:
        more, done = _follow_hints(
            environment, connection, hints, clock=clock, sleep=sleep, limiter=limiter
        )
        taken, settled = taken + more, settled + done
    return taken, settled


def _take_records(
    environment: Environment,
    connection: Connection,
    connector: Connector,
    messages: Sequence[InboundMessage],
    now: datetime,
) -> Taken:
    """Messages that carry their record whole. One that cannot be read never stops the others."""
    if not messages or connector.push is None:
        return Taken()
    shop = connection.shop.name if connection.shop else str(connection.source)
    with for_environment(environment):
        stages = list_stages(connector, now)
        mapped, rejected, opened = [], 0, []
        for message in messages:
            try:
                payload = message.reveal_payload()
            except SecretUnreadable as error:  # it waits for its key to be back
                log.error("message %d cannot be opened: %s", message.pk, error.code)
                _fail([message], error, now=now)
                continue
            opened.append(message)
            item = PushItem(
                message.kind, message.replay_key, message.topic, message.order_no, payload
            )
            reading = Reading(payload, message.order_no)
            try:
                mapped.append((reading, connector.push.map(item, shop=shop, stages=stages).mapped))
            except BadInput as error:
                put_aside(connection, reading, error, now=now)
                rejected += 1
            except Exception as error:  # noqa: BLE001 - one message of a batch: a gap of ours
                log.exception("mapping message %d failed", message.pk)
                put_aside(connection, reading, unexpected(error), now=now)
                rejected += 1
        taken = take_mapped(mapped, connection=connection, now=now)
        _settle(opened, now)
        return taken + Taken(quarantined=rejected)


def _settle_others(
    environment: Environment,
    connection: Connection,
    messages: Sequence[InboundMessage],
    now: datetime,
) -> None:
    """Kinds nobody works at: kept, counted as notices, settled."""
    with for_environment(environment):
        record_notices(
            connection,
            [
                ((Notice("unmapped_topic", "topic", m.topic or m.kind),), m.order_no)
                for m in messages
            ],
            now=now,
        )
        InboundMessage.objects.filter(pk__in=[m.pk for m in messages]).update(
            state=InboundMessage.State.IGNORED, processed_at=now
        )


def _follow_hints(
    environment: Environment,
    connection: Connection,
    messages: Sequence[InboundMessage],
    *,
    clock: Clock,
    sleep: Sleep,
    limiter: Limiter | None,
) -> tuple[Taken, int]:
    """Messages that only name an order: it is read anew, once however often it was named.

    Those whose order was not told this time wait longer and longer, then they are for a person.
    """
    numbers = list(dict.fromkeys(m.order_no for m in messages))
    tools: dict[str, Any] = {"clock": clock, "sleep": sleep, "limiter": limiter}
    try:
        if connection.source.kind in ASKED_KINDS:  # a refund, told by its number alone
            taken, stopped = ask_orders(environment, connection.pk, numbers, **tools)
        else:
            taken, stopped = read_orders(environment, connection.pk, numbers, **tools)
    except ConnectorError as error:
        taken, stopped = Taken(unread=frozenset(numbers)), error
    read = [m for m in messages if m.order_no not in taken.unread]
    with for_environment(environment):
        _settle(read, clock())
        if stopped is not None:
            unread = [m for m in messages if m.order_no in taken.unread]
            _fail(unread, stopped, now=clock())
    return taken, len(read)


def _fail(messages: Sequence[InboundMessage], error: AppError, *, now: datetime) -> None:
    """Nothing came of them this time, nor will it without a person after so many times."""
    for message in messages:
        message.attempts += 1
        message.error_code = error.code[:60]
        message.due_at = now + timedelta(seconds=min(15 * 2**message.attempts, 900))
        if message.attempts >= MAX_ATTEMPTS:
            message.state = InboundMessage.State.FAILED
    InboundMessage.objects.bulk_update(messages, ["attempts", "error_code", "due_at", "state"])


def _settle(messages: Sequence[InboundMessage], now: datetime) -> None:
    InboundMessage.objects.filter(pk__in=[m.pk for m in messages]).update(
        state=InboundMessage.State.DONE, processed_at=now, attempts=F("attempts") + 1, error_code=""
    )
