"""How each connection fares, in words a person on duty understands."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from django.db.models import Count, F, Func, IntegerField
from django.utils import timezone

from config.errors import Phrase, gettext_noop
from connectors.adapters import name_application, read_limit
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
    # public id, order number, seconds: the slowest, told of a connection by itself only
    latest: tuple[tuple[str, str, float], ...]


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
    calls_of_application: int  # today, of all connections here that share the quota
    is_quota_shared: bool
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
        "waiting": _count(_messages(ids, InboundMessage.State.WAITING)),
        "failed": _count(_messages(ids, InboundMessage.State.FAILED)),
        "quarantine": _count(
            Quarantine.objects.filter(connection__in=ids, state=Quarantine.State.OPEN)
        ),
        "notices": _count(MappingNotice.objects.filter(connection__in=ids)),
    }
    budgets = _list_budgets({c.vendor for c in connections})
    shared = {pk for group in budgets.values() for pk in group}
    calls = _count(CallLog.objects.filter(connection__in=shared, at__gte=day))
    cursors = {
        c.connection_id: c for c in Cursor.objects.filter(connection__in=ids, stream=MAIN_STREAM)
    }
    runs = _list_runs(ids, now)
    scans = _measure_scans(connections, now, lists_latest=connection is not None)
    unmapped = dict(
        Order.objects.filter(stage=Stage.UNKNOWN, is_open=True)
        .values_list("shop_id")
        .annotate(n=Count("pk"))
    )
    return [
        _tell(c, now=now, counted=counted, calls=calls, sharers=budgets[_name_budget(c)], cursor=cursors.get(c.pk), runs=runs[c.pk],
              scan=scans.get(c.shop_id, _NO_SCAN) if c.source.kind == SourceKind.CHANNEL else None,
              unmapped=unmapped.get(c.shop_id, 0) if c.shop_id else 0)
        for c in connections
    ]  # fmt: skip


def _name_budget(connection: Connection) -> tuple[str, str]:
    return connection.vendor, name_application(connection.config, connection.public_id)


def _list_budgets(vendors: Collection[str]) -> dict[tuple[str, str], list[int]]:
    """The connections of the environment in force by the application whose quota they use."""
    found: dict[tuple[str, str], list[int]] = defaultdict(list)
    for row in Connection.objects.filter(vendor__in=vendors).only("vendor", "config", "public_id"):
        found[_name_budget(row)].append(row.pk)
    return found


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


class _Span(Func):
    """Whole seconds from the second moment to the first, in the database's own arithmetic.

    Django's difference of two moments calls Python for every row on SQLite, and a promo day has a
    hundred thousand of them.
    """

    arity = 2
    output_field = IntegerField()
    template = "EXTRACT(EPOCH FROM (%(expressions)s))::integer"
    arg_joiner = " - "

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        """Moments are text there; their Julian days are numbers."""
        later, earlier = (Func(e, function="julianday") for e in self.source_expressions)
        days = Func(
            later, earlier, template="CAST(ROUND((%(expressions)s) * 86400.0) AS INTEGER)",
            arg_joiner=" - ", output_field=IntegerField(),
        )  # fmt: skip
        return days.as_sql(compiler, connection, **context)


def _measure_scans(
    connections: Sequence[Connection], now: datetime, *, lists_latest: bool
) -> dict[int, Scan]:
    """Per shop: from an order being placed to its first score; history does not count.

    Counted by the second in the database, from an index alone (`first_scan`).
    """
    shops = [c.shop_id for c in connections if c.shop_id and c.source.kind == SourceKind.CHANNEL]
    if not shops:
        return {}
    rows = Order.objects.filter(
        shop__in=shops,
        is_history=False,
        placed_at__gt=now - SCAN_WINDOW,
        first_scored_at__gte=F("placed_at"),
    ).annotate(span=_Span("first_scored_at", "placed_at"))
    spans: dict[int, list[tuple[int, int]]] = defaultdict(list)
    counted = rows.order_by().values_list("shop_id", "span").annotate(n=Count("pk"))
    for shop_id, span, number in counted:
        spans[shop_id].append((span, number))
    latest = _list_latest(rows) if lists_latest else ()
    return {shop_id: _summarise(told, latest) for shop_id, told in spans.items()}


def _summarise(told: list[tuple[int, int]], latest: tuple[tuple[str, str, float], ...]) -> Scan:
    """The figures of one shop from (seconds, how many orders); slowest first, as they are ranked."""
    told.sort(reverse=True)
    count = sum(number for _span, number in told)

    def rank(place: int) -> float:
        for span, number in told:
            if place < number:
                return span
            place -= number
        raise IndexError(place)

    late = sum(number for span, number in told if span > SCAN_GOAL.total_seconds())
    return Scan(count, rank(count // 2), rank(count // 20), late, latest)


def _list_latest(rows: Any) -> tuple[tuple[str, str, float], ...]:
    """The slowest orders over the goal: their ids from the index alone, then who they are."""
    late = rows.filter(span__gt=SCAN_GOAL.total_seconds()).order_by("-span", "-pk")
    spans = dict(late.values_list("pk", "span")[:_MOST_VIOLATORS])
    names = {
        pk: (public_id, order_no)
        for pk, public_id, order_no in Order.objects.filter(pk__in=list(spans)).values_list(
            "pk", "public_id", "order_no"
        )
    }
    return tuple((*names[pk], float(span)) for pk, span in spans.items())


def _tell(
    connection: Connection,
    *,
    now: datetime,
    counted: dict[str, dict[int, int]],
    calls: dict[int, int],
    sharers: Sequence[int],
    cursor: Cursor | None,
    runs: Sequence[SyncRun],
    scan: Scan | None,
    unmapped: int,
) -> Health:
    connector = get_connector(connection.vendor)
    source, pk = connection.source, connection.pk
    until = source.complete_until
    lag = (now - until).total_seconds() if until else None
    last = next((run for run in runs if _is_reading(run)), None)
    level = _judge(connection, now=now)
    words = _list_words(connection, level, last, cursor, now=now, has_push=connector.push is not None,
                        has_queue=connector.has_queue,
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
        calls_today=calls.get(pk, 0),
        per_day=read_limit(connection.config, connector.limit).per_day,
        calls_of_application=sum(calls.get(sharer, 0) for sharer in sharers),
        is_quota_shared=len(sharers) > 1,
        waiting=counted["waiting"].get(pk, 0),
        failed=counted["failed"].get(pk, 0),
        quarantined=counted["quarantine"].get(pk, 0),
        notices=counted["notices"].get(pk, 0),
        unmapped=unmapped,
        cursor=cursor,
    )


def _is_reading(run: SyncRun) -> bool:
    """Whether it is one of the runs that come every few minutes, and over."""
    is_usual = run.kind == SyncRun.Kind.SWEEP or run.stream == MAIN_STREAM
    return is_usual and run.state != SyncRun.State.RUNNING


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
    has_queue: bool,
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
                gettext_noop(
                    "%(start)s 到 %(end)s 已超出平台列表能给的范围，补录也读不到："
                    "请在平台后台导出这段时间的订单，用文件导入补齐"
                ),
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
    if has_queue and level is not Level.PAUSED:
        words.append(_tell_queue(connection))
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


def _tell_queue(connection: Connection) -> Phrase:
    """A vendor that keeps messages for us: when the last one was fetched."""
    if connection.last_push_at is None:
        return Phrase(gettext_noop("每 20 秒取一次平台消息，还没有取到过"))
    return Phrase(
        gettext_noop("每 20 秒取一次平台消息，最近一次取到在 %(time)s"),
        {"time": _clock(connection.last_push_at)},
    )


def _clock(moment: datetime) -> str:
    return timezone.localtime(moment).strftime("%m-%d %H:%M")
