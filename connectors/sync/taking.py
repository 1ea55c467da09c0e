"""Payloads in, canonical orders out: mapped, received in batches, the unreadable put aside.

One bad payload never stops its neighbours, and never is lost: it goes to quarantine whole.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db import DatabaseError, InterfaceError, OperationalError, transaction
from django.db.models import F, Max

from config.errors import AppError, BadInput, Phrase, gettext_noop, keep_params
from config.secrets import encrypt
from connectors.adapters import Connector
from connectors.channels.registry import CHANNELS
from connectors.channels.status_mappings import stages_for
from connectors.orders.canonical import CanonicalOrder, CanonicalReceipt, CanonicalRecord
from connectors.orders.services import MAX_BATCH, Received, receive
from connectors.shops.models import Connection, Shop
from connectors.sync.models import QUARANTINE_PURPOSE, BackfillRun, MappingNotice, Quarantine
from connectors.sync.registry import get_connector
from connectors.wire import Mapped, Notice

log = logging.getLogger(__name__)

_LONGEST = 200  # characters of a value in what is kept of an error


@dataclass(frozen=True)
class Reading:
    """A payload to be mapped, with what else is known of it (hints of the connector's map)."""

    payload: Mapping[str, Any]
    order_no: str = ""
    hints: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Taken:
    """What became of a batch of payloads.

    `unread`: orders the vendor has not told, though it was to be asked: they are still to be read.
    """

    received: Received = Received()
    quarantined: int = 0
    unread: frozenset[str] = frozenset()

    def __add__(self, other: Taken) -> Taken:
        return Taken(
            self.received + other.received,
            self.quarantined + other.quarantined,
            self.unread | other.unread,
        )


def take_readings(
    readings: Sequence[Reading],
    *,
    connection: Connection,
    connector: Connector,
    now: datetime,
    is_history: bool = False,
) -> Taken:
    """Map payloads and take them in, in the scope and transaction in force."""
    mapped: list[tuple[Reading, Mapped[CanonicalRecord]]] = []
    rejected = 0
    stages = list_stages(connector, now)
    shop = connection.shop.name if connection.shop else str(connection.source)
    for reading in readings:
        try:
            mapped.append((reading, _map(connector, reading, shop=shop, stages=stages)))
        except BadInput as error:
            put_aside(connection, reading, error, now=now)
            rejected += 1
        except Exception as error:  # noqa: BLE001 - one order of a batch: a gap of ours, kept whole
            log.exception("mapping failed for connection %d", connection.pk)
            put_aside(connection, reading, unexpected(error), now=now)
            rejected += 1
    taken = take_mapped(mapped, connection=connection, now=now, is_history=is_history)
    return taken + Taken(quarantined=rejected)


def take_mapped(
    mapped: Sequence[tuple[Reading, Mapped[CanonicalRecord]]],
    *,
    connection: Connection,
    now: datetime,
    is_history: bool = False,
) -> Taken:
    """Receive mapped records; one that the database refuses is put aside, the others pass."""
    record_notices(connection, ((m.notices, r.order_no) for r, m in mapped), now=now)
    shops = {(s.channel, s.name): s for s in Shop.objects.all()}
    line = None if is_history else find_history_line(connection)

    def take(batch: Sequence[tuple[Reading, Mapped[CanonicalRecord]]]) -> Received:
        with transaction.atomic():
            return receive(
                [m.record for _, m in batch],
                source=connection.source,
                now=now,
                is_history=is_history,
                shops=shops,
                history_before=line,
            )

    total, refused = Taken(), set()
    for start in range(0, len(mapped), MAX_BATCH):
        batch = mapped[start : start + MAX_BATCH]
        try:
            total += Taken(take(batch))
        except (DatabaseError, ValueError) as error:
            if _is_about_all(error):
                raise
            log.warning("a batch was refused, taking its orders one by one: %s", type(error))
            for one in batch:
                try:
                    total += Taken(take([one]))
                except (DatabaseError, ValueError) as reason:
                    if _is_about_all(reason):
                        raise
                    log.warning("an order was refused by the database: %s", type(reason).__name__)
                    put_aside(connection, one[0], unexpected(reason), now=now)
                    total += Taken(quarantined=1)
                    refused.add(one[0].order_no)
    _remove_mended(connection, [one for one in mapped if one[0].order_no not in refused], now=now)
    return total


def find_history_line(connection: Connection) -> datetime | None:
    """Orders of this connection placed before then, and never heard of, are history.

    Whoever tells of them first: a back-fill does not read what changes while it runs (decision
    0015). None where nothing was ever back-filled.
    """
    line: datetime | None = BackfillRun.objects.filter(connection=connection).aggregate(
        line=Max("history_until")
    )["line"]
    return line


def _is_about_all(error: Exception) -> bool:
    """Whether a failure is of the connection or a lock, not of one row: the run tries again."""
    return isinstance(error, OperationalError | InterfaceError)


def _map(
    connector: Connector, reading: Reading, *, shop: str, stages: Mapping[str, str] | None
) -> Mapped[CanonicalRecord]:
    if connector.map_order is None:
        raise BadInput(gettext_noop("这个来源不提供订单"), code="no_orders")
    return connector.map_order(reading.payload, shop=shop, stages=stages, **reading.hints)


def list_stages(connector: Connector, now: datetime) -> Mapping[str, str] | None:
    """The status table in force for a channel; None for what is none."""
    return stages_for(connector.code, now) if connector.code in CHANNELS else None


# -- what could not be read ------------------------------------------------------------------------


def put_aside(connection: Connection, reading: Reading, error: AppError, *, now: datetime) -> None:
    """Keep a payload that could not be read, once, with its reason; it opens again when it returns.

    What a person has ignored stays ignored.
    """
    clean = _write(reading.payload)
    digest = hashlib.sha256(clean.encode()).hexdigest()
    row, is_new = Quarantine.objects.get_or_create(
        connection=connection,
        digest=digest,
        defaults={
            "order_no": reading.order_no[:64],
            "payload_sealed": encrypt(clean, purpose=QUARANTINE_PURPOSE),
            "code": error.code[:60],
            "message": error.message,
            "params": describe(error).params,
            "first_at": now,
            "last_at": now,
        },
    )
    if not is_new:
        is_ignored = row.state == Quarantine.State.IGNORED
        Quarantine.objects.filter(pk=row.pk).update(
            times=F("times") + 1, last_at=now, code=error.code[:60], message=error.message,
            params=describe(error).params,
            **({} if is_ignored else {"state": Quarantine.State.OPEN, "settled_at": None}),
        )  # fmt: skip


def _write(payload: Mapping[str, Any]) -> str:
    text = json.dumps(dict(payload), ensure_ascii=False, cls=DjangoJSONEncoder)
    return text.encode("utf-8", "replace").decode().replace("\0", "")


def settle_questions(connection: Connection, numbers: Sequence[str], *, now: datetime) -> None:
    """The system has answered about these orders, be it that it has none of them.

    What was put aside because it would not answer is settled.
    """
    if numbers:
        told = [_write({"order_no": number}) for number in numbers]
        Quarantine.objects.filter(
            connection=connection,
            state=Quarantine.State.OPEN,
            digest__in=[hashlib.sha256(text.encode()).hexdigest() for text in told],
        ).update(state=Quarantine.State.MENDED, settled_at=now)


def _remove_mended(
    connection: Connection,
    mapped: Sequence[tuple[Reading, Mapped[CanonicalRecord]]],
    *,
    now: datetime,
) -> None:
    """What was put aside before of an order that could be read now is settled.

    An order, or a row of a system's list, is whole: what went before is in it. A payment or a report
    of a warehouse is one of several: it settles what it was itself, and the question it answers.
    """
    numbers = {r.order_no for r, _ in mapped if r.order_no}
    if not numbers:
        return
    rows = Quarantine.objects.filter(
        connection=connection, state=Quarantine.State.OPEN, order_no__in=numbers
    ).values_list("pk", "order_no", "digest")
    aside = list(rows)
    if not aside:
        return
    has_whole_rows = get_connector(connection.vendor).map_order is not None
    whole, told = set(), {_write({"order_no": number}) for number in numbers}
    for reading, found in mapped:
        is_receipt = isinstance(found.record, CanonicalReceipt)
        if isinstance(found.record, CanonicalOrder) or (is_receipt and has_whole_rows):
            whole.add(reading.order_no)
        told.add(_write(reading.payload))
    digests = {hashlib.sha256(text.encode()).hexdigest() for text in told}
    settled = [pk for pk, number, digest in aside if number in whole or digest in digests]
    Quarantine.objects.filter(pk__in=settled).update(state=Quarantine.State.MENDED, settled_at=now)


def unexpected(error: Exception) -> AppError:
    """A gap of ours as an error that can be kept: the payload is whole, support can be called."""
    return AppError(
        gettext_noop("报文触发了系统内部错误（%(kind)s），已原样保存，请联系技术支持后重试"),
        code="mapping_failed",
        kind=type(error).__name__,
    )


def record_notices(
    connection: Connection, found: Iterable[tuple[Sequence[Notice], str]], *, now: datetime
) -> None:
    """Count values no mapping knows, one row per value."""
    counted: dict[tuple[str, str, str], tuple[int, str]] = {}
    for notices, order_no in found:
        for notice in notices:
            key = (notice.code, notice.field[:200], notice.value[:200])
            times, first = counted.get(key, (0, order_no))
            counted[key] = (times + 1, first)
    for (code, name, value), (times, order_no) in counted.items():
        row, is_new = MappingNotice.objects.get_or_create(
            connection=connection,
            code=code,
            field=name,
            value=value,
            defaults={"times": times, "order_no": order_no[:64], "first_at": now, "last_at": now},
        )
        if not is_new:
            MappingNotice.objects.filter(pk=row.pk).update(times=F("times") + times, last_at=now)


def describe(error: AppError) -> Phrase:
    """An error as words that can be stored; `recall_phrase` says them in any language later."""
    kept = keep_params(error.params)
    return Phrase(
        error.message, {k: v[:_LONGEST] if isinstance(v, str) else v for k, v in kept.items()}
    )
