"""How each connection fares, in words a person on duty understands."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from django.db.models import Count, F
from django.utils import timezone

from config.errors import Phrase, gettext_noop
from connectors.orders.models import Order
from connectors.orders.statuses import Stage
from connectors.shops.models import Connection, SourceKind
from connectors.sync.models import (
    CallLog,
    Cursor,
    InboundMessage,
    MappingNotice,
    Quarantine,
    SyncRun,
)
from connectors.sync.reading import MAIN_STREAM
from connectors.sync.registry import get_connector

SCAN_WINDOW = timedelta(hours=24)
SCAN_GOAL = timedelta(minutes=5)
RECENT_RUNS = 20
_MOST_VIOLATORS = 20


class Level(StrEnum):
    """How a connection fares, worst first."""

    TROUBLE = "trouble"
    LATE = "late"
    WAITING = "waiting"  # the vendor told us to wait
    NEW = "new"
    PAUSED = "paused"
    OK = "ok"


@dataclass(frozen=True)
class Scan:
    """How soon an order of the last day was here after it was placed, in seconds."""

    count: int
    p50: float | None
    p95: float | None
    violators: int  # later than SCAN_GOAL
    latest: tuple[tuple[str, str, float], ...]  # public id, order number, seconds: the slowest


_NO_SCAN = Scan(0, None, None, 0, ())  # of a channel without a new order


@dataclass(frozen=True)
class Health:
    """One connection, as its page tells it."""

    connection: Connection
    label: str
    level: Level
    words: tuple[Phrase, ...]
    complete_until: datetime | None
    lag_seconds: float | None
    last_run: SyncRun | None
    runs: tuple[SyncRun, ...]
    scan: Scan | None  # of a channel only: no orders are placed at a gateway, an OMS or a WMS
    calls_today: int
    per_day: int
    waiting: int
    failed: int
    quarantined: int
    notices: int
    unmapped: int
    cursor: Cursor | None


def read_health(now: datetime, *, connection: Connection | None = None) -> list[Health]:
    """Every connection of the environment in force, or one of them; a fixed number of queries."""
    rows = Connection.objects.select_related("source", "shop").order_by("source__kind", "pk")
    if connection is not None:
        rows = rows.filter(pk=connection.pk)
    connections = list(rows)
    ids = [c.pk for c in connections]
    day = timezone.localtime(now).replace(hour=0, minute=0, second=0, microsecond=0)
    counted = {
        "calls": _count(CallLog.objects.filter(connection__in=ids, at__gte=day)),
        "waiting": _count(_messages(ids, InboundMessage.State.WAITING)),
        "failed": _count(_messages(ids, InboundMessage.State.FAILED)),
        "quarantine": _count(
            Quarantine.objects.filter(connection__in=ids, state=Quarantine.State.OPEN)
        ),
        "notices": _count(MappingNotice.objects.filter(connection__in=ids)),
    }
    cursors = {
        c.connection_id: c for c in Cursor.objects.filter(connection__in=ids, stream=MAIN_STREAM)
    }
    runs = _list_runs(ids, now)
    scans = _measure_scans(connections, now)
    unmapped = dict(
        Order.objects.filter(stage=Stage.UNKNOWN, is_open=True)
        .values_list("shop_id")
        .annotate(n=Count("pk"))
    )
    return [
        _tell(c, now=now, counted=counted, cursor=cursors.get(c.pk), runs=runs[c.pk],
              scan=scans.get(c.shop_id, _NO_SCAN) if c.source.kind == SourceKind.CHANNEL else None,
              unmapped=unmapped.get(c.shop_id, 0) if c.shop_id else 0)
        for c in connections
    ]  # fmt: skip


def _messages(ids: Sequence[int], state: str) -> Any:
    return InboundMessage.objects.filter(connection__in=ids, state=state)


def _count(rows: Any) -> dict[int, int]:
    return dict(rows.order_by().values_list("connection_id").annotate(n=Count("pk")))


def _list_runs(ids: Sequence[int], now: datetime) -> dict[int, list[SyncRun]]:
    """The latest runs per connection; one query over the last two days."""
    found: dict[int, list[SyncRun]] = defaultdict(list)
    recent = SyncRun.objects.filter(
        connection__in=ids, started_at__gt=now - timedelta(days=2)
    ).order_by("-started_at", "-pk")
    for run in recent[: RECENT_RUNS * max(len(ids), 1) * 4]:
        if len(found[run.connection_id]) < RECENT_RUNS:
            found[run.connection_id].append(run)
    return found


def _measure_scans(connections: Sequence[Connection], now: datetime) -> dict[int, Scan]:
    """Per shop: from an order being placed to its first being here; history does not count."""
    shops = [c.shop_id for c in connections if c.shop_id and c.source.kind == SourceKind.CHANNEL]
    if not shops:
        return {}
    spans: dict[int, list[tuple[float, str, str]]] = defaultdict(list)
    rows = Order.objects.filter(
        shop__in=shops,
        is_history=False,
        placed_at__gt=now - SCAN_WINDOW,
        first_received_at__gte=F("placed_at"),
    ).values_list("shop_id", "placed_at", "first_received_at", "public_id", "order_no")
    for shop_id, placed, received, public_id, order_no in rows:
        spans[shop_id].append(((received - placed).total_seconds(), public_id, order_no))
    found = {}
    for shop_id, told in spans.items():
        told.sort(reverse=True)
        seconds = [row[0] for row in told]
        late = [row for row in told if row[0] > SCAN_GOAL.total_seconds()]
        found[shop_id] = Scan(
            count=len(told),
            p50=seconds[len(seconds) // 2],
            p95=seconds[len(seconds) // 20],
            violators=len(late),
            latest=tuple((pid, no, span) for span, pid, no in late[:_MOST_VIOLATORS]),
        )
    return found


def _tell(
    connection: Connection,
    *,
    now: datetime,
    counted: dict[str, dict[int, int]],
    cursor: Cursor | None,
    runs: Sequence[SyncRun],
    scan: Scan | None,
    unmapped: int,
) -> Health:
    connector = get_connector(connection.vendor)
    source, pk = connection.source, connection.pk
    until = source.complete_until
    lag = (now - until).total_seconds() if until else None
    last = next((run for run in runs if run.state != SyncRun.State.RUNNING), None)
    level = _judge(connection, now=now)
    words = _list_words(connection, level, last, cursor, now=now, has_push=connector.push is not None,
                        waiting=counted["waiting"].get(pk, 0))  # fmt: skip
    return Health(
        connection=connection,
        label=connector.label,
        level=level,
        words=tuple(words),
        complete_until=until,
        lag_seconds=lag,
        last_run=last,
        runs=tuple(runs),
        scan=scan,
        calls_today=counted["calls"].get(pk, 0),
        per_day=connector.limit.per_day,
        waiting=counted["waiting"].get(pk, 0),
        failed=counted["failed"].get(pk, 0),
        quarantined=counted["quarantine"].get(pk, 0),
        notices=counted["notices"].get(pk, 0),
        unmapped=unmapped,
        cursor=cursor,
    )


def _judge(connection: Connection, *, now: datetime) -> Level:
    if not connection.is_active:
        return Level.PAUSED
    if connection.state == Connection.State.TROUBLE:
        return Level.TROUBLE
    if connection.paused_until and connection.paused_until > now:
        return Level.WAITING
    until = connection.source.complete_until
    if until is None:
        return Level.NEW
    allowed = timedelta(minutes=connection.source.lateness_minutes)
    return Level.LATE if now - until > allowed else Level.OK


def _list_words(
    connection: Connection,
    level: Level,
    last: SyncRun | None,
    cursor: Cursor | None,
    *,
    now: datetime,
    has_push: bool,
    waiting: int,
) -> list[Phrase]:
    """The sentences of a connection: what is wrong first, then how it works."""
    words: list[Phrase] = []
    if level is Level.PAUSED:
        words.append(Phrase(gettext_noop("已暂停：不读取，也不接收推送")))
    if connection.trouble is not None and level is not Level.PAUSED:
        words.append(connection.trouble)
    if level is Level.WAITING and connection.paused_until:
        words.append(
            Phrase(
                gettext_noop("平台要求等到 %(time)s 再读"),
                {"time": _clock(connection.paused_until)},
            )
        )
    if level is Level.LATE and connection.source.complete_until:
        words.append(
            Phrase(
                gettext_noop("数据只到 %(time)s，依赖它的检查暂记为数据不足"),
                {"time": _clock(connection.source.complete_until)},
            )
        )
    if level is Level.NEW and connection.trouble is None:
        words.append(Phrase(gettext_noop("刚接入，还没有读到数据")))
    if cursor is not None and cursor.lost_until and cursor.lost_from:
        words.append(
            Phrase(
                gettext_noop("%(start)s 到 %(end)s 平台已不再提供列表，请用补录或文件补齐"),
                {"start": _clock(cursor.lost_from), "end": _clock(cursor.lost_until)},
            )
        )
    if last is not None and last.finished_at is not None and level is not Level.PAUSED:
        words.append(
            Phrase(
                gettext_noop("每 %(minutes)d 分钟读取一次；最近 %(time)s 读到 %(count)d 单"),
                {
                    "minutes": connection.every_minutes,
                    "time": _clock(last.finished_at),
                    "count": last.fetched,
                },
            )
        )
    if has_push:
        words.append(_tell_pushes(connection, now))
    if waiting:
        words.append(Phrase(gettext_noop("%(n)d 条消息排队处理中"), {"n": waiting}))
    return words


def _tell_pushes(connection: Connection, now: datetime) -> Phrase:
    at = connection.last_push_at
    if at is None:
        return Phrase(gettext_noop("还没有收到过推送"))
    minutes = int((now - at).total_seconds() // 60)
    if minutes < 1:
        return Phrase(gettext_noop("最近一分钟内收到过推送"))
    if minutes < 120:
        return Phrase(gettext_noop("最近一次推送在 %(n)d 分钟前"), {"n": minutes})
    return Phrase(gettext_noop("最近一次推送在 %(time)s"), {"time": _clock(at)})


def _clock(moment: datetime) -> str:
    return timezone.localtime(moment).strftime("%m-%d %H:%M")
