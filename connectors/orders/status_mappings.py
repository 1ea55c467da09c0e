"""What a platform's status means to us, as a document per channel: rows over the shipped table.

A platform invents a status, or a business reads one in its own way: a row says which stage it is,
from which day on (in the environment's time zone) and, if it ends, until which day. The document's
key is the channel's code. What no row and no shipped table knows is 未映射.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Any

from django.db import transaction
from django.db.models import Count, Max, Min
from django.utils import translation

from config.errors import BadInput, Phrase, WrongState, gettext_noop, join_phrases
from config.releases.models import State, Version
from config.releases.services import create_draft, get_or_create_document, submit_version
from config.tenancy.models import User
from connectors.orders.models import Order
from connectors.orders.statuses import STAGE_LABELS, Stage
from connectors.shops.models import Channel

STATUS_MAPPING_KIND = "status_mapping"
KIND_LABEL = gettext_noop("状态映射")
MAX_ROWS = 500
MAX_STATUS, _MAX_NOTE = 100, 200
_STAGES_BY_LABEL = {label: str(stage) for stage, label in STAGE_LABELS.items()}
_FIRST_DAY = date(2000, 1, 1)


@dataclass(frozen=True, slots=True)
class StatusRow:
    """One status and its stage; `until` is the last day it holds, None: it goes on."""

    raw_status: str
    stage: str
    effective_from: date
    effective_until: date | None = None
    note: str = ""

    def holds_on(self, day: date) -> bool:
        """Whether the row is in force on a day."""
        return self.effective_from <= day and (
            self.effective_until is None or day <= self.effective_until
        )

    def write(self) -> dict[str, Any]:
        """The row as the document's content holds it."""
        until = self.effective_until
        return {
            "raw_status": self.raw_status,
            "stage": self.stage,
            "effective_from": self.effective_from.isoformat(),
            "effective_until": until.isoformat() if until else None,
            "note": self.note,
        }


# -- the document --------------------------------------------------------------------------------


def check_mapping(content: dict[str, Any]) -> dict[str, Any]:
    """The clean content of a status mapping; raises BadInput naming the row and the remedy.

    A stage may be written by its code or by its Chinese name. Rows of one status may follow each
    other, never overlap.
    """
    rows = content.get("rows")
    if not isinstance(rows, list):
        raise BadInput(
            gettext_noop("状态映射缺少 rows，应为行的列表；没有行时写 []"), code="bad_mapping"
        )
    if len(rows) > MAX_ROWS:
        raise BadInput(
            gettext_noop("状态映射最多 %(most)s 行，请删去不再使用的行"),
            code="bad_mapping",
            most=MAX_ROWS,
        )
    clean = [_read_row(row, number) for number, row in enumerate(rows, 1)]
    _refuse_overlaps(clean)
    return {"rows": [row.write() for row in clean]}


def _refuse_row(number: int, message: str, **params: Any) -> BadInput:
    return BadInput(message, code="bad_mapping", row=number, **params)


def _read_row(row: Any, number: int) -> StatusRow:
    if not isinstance(row, dict):
        raise _refuse_row(number, gettext_noop("第 %(row)s 行不是一行映射，请写明平台状态和阶段"))
    raw = row.get("raw_status")
    raw = str(raw).strip() if isinstance(raw, str | int) and not isinstance(raw, bool) else ""
    if not raw or len(raw) > MAX_STATUS:
        raise _refuse_row(
            number,
            gettext_noop("第 %(row)s 行的平台状态应为 1 到 %(most)s 个字符，照平台的原样填写"),
            most=MAX_STATUS,
        )
    note = row.get("note") or ""
    if not isinstance(note, str) or len(note) > _MAX_NOTE:
        raise _refuse_row(
            number, gettext_noop("第 %(row)s 行的说明最多 %(most)s 个字，请写短些"), most=_MAX_NOTE
        )
    start = _read_day(row, number, "effective_from")
    until = _read_day(row, number, "effective_until") if row.get("effective_until") else None
    if start is None:
        raise _refuse_row(
            number, gettext_noop("第 %(row)s 行缺少生效日期，请填写，例如 2025-11-11")
        )
    if until is not None and until < start:
        raise _refuse_row(
            number, gettext_noop("第 %(row)s 行的截止日期早于生效日期，请改晚，或留空表示一直有效")
        )
    return StatusRow(raw, _read_stage(row.get("stage"), number), start, until, note.strip())


def _read_stage(told: Any, number: int) -> str:
    text = told.strip() if isinstance(told, str) else ""
    stage = _STAGES_BY_LABEL.get(text, text)
    if stage not in set(Stage) or stage == Stage.UNKNOWN:
        raise _refuse_row(
            number,
            gettext_noop("第 %(row)s 行的阶段不认识，请从这些里选一个：%(stages)s"),
            stages=join_phrases(
                Phrase(label) for s, label in STAGE_LABELS.items() if s != Stage.UNKNOWN
            ),
        )
    return str(stage)


def _read_day(row: Mapping[str, Any], number: int, key: str) -> date | None:
    told = row.get(key)
    if told in (None, ""):
        return None
    label = (
        gettext_noop("生效日期") if key == "effective_from" else gettext_noop("截止日期")
    )  # fmt: skip
    try:
        day = told if isinstance(told, date) else date.fromisoformat(str(told))
    except ValueError as error:
        raise _refuse_row(
            number,
            gettext_noop("第 %(row)s 行的%(label)s不是日期，请写成 2025-11-11 这样"),
            label=Phrase(label),
        ) from error
    if day < _FIRST_DAY:
        raise _refuse_row(
            number, gettext_noop("第 %(row)s 行的%(label)s太早，请核对年份"), label=Phrase(label)
        )
    return day


def _refuse_overlaps(rows: Sequence[StatusRow]) -> None:
    placed: dict[str, list[tuple[int, StatusRow]]] = {}
    for number, row in enumerate(rows, 1):
        for other_number, other in placed.get(row.raw_status, ()):
            if row.holds_on(other.effective_from) or other.holds_on(row.effective_from):
                raise _refuse_row(
                    number,
                    gettext_noop(
                        "第 %(row)s 行与第 %(other)s 行都映射「%(status)s」，日期有重叠；"
                        "请给较早的一行填截止日期，或删去一行"
                    ),
                    other=other_number,
                    status=row.raw_status,
                )
        placed.setdefault(row.raw_status, []).append((number, row))


def read_rows(content: Mapping[str, Any]) -> tuple[StatusRow, ...]:
    """The rows of a checked content."""
    return tuple(_read_row(row, number) for number, row in enumerate(content["rows"], 1))


# -- in force ------------------------------------------------------------------------------------


def get_mapping(channel: str) -> Version | None:
    """The published mapping of a channel in the environment in force, or None (one query)."""
    found: Version | None = (
        Version.objects.select_related("document", "environment")
        .filter(document__kind=STATUS_MAPPING_KIND, document__key=channel, state=State.PUBLISHED)
        .first()
    )
    return found


def list_changes(channel: str, at: datetime) -> Mapping[str, str]:
    """The stages the business gave to statuses of a channel, in force at a moment.

    One query; the rows are read once per published content.
    """
    version = get_mapping(channel)
    if version is None:
        return {}
    day = at.astimezone(version.environment.zone).date()
    return dict(_stages_on(_Content(version), day))


def list_all_changes(at: datetime) -> dict[str, dict[str, str]]:
    """`list_changes` of every channel that has any, by channel (one query)."""
    published = Version.objects.select_related("document", "environment").filter(
        document__kind=STATUS_MAPPING_KIND, state=State.PUBLISHED
    )
    return {
        v.document.key: dict(_stages_on(_Content(v), at.astimezone(v.environment.zone).date()))
        for v in published
    }


class _Content:
    """A published content, known by its checksum."""

    def __init__(self, version: Version) -> None:
        self.checksum, self.content = version.checksum, version.content

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Content) and other.checksum == self.checksum

    def __hash__(self) -> int:
        return hash(self.checksum)


@lru_cache(maxsize=64)
def _stages_on(content: _Content, day: date) -> tuple[tuple[str, str], ...]:
    rows = read_rows(content.content)
    return tuple((row.raw_status, row.stage) for row in rows if row.holds_on(day))


def list_statuses_due(*, since: datetime, now: datetime) -> dict[str, list[str]]:
    """The statuses whose stage may have changed in (since, now], by channel: orders to read anew.

    A new mapping was published (then all its statuses and its predecessor's), or a row began or
    ended at a midnight in between. Two queries, whatever the number of channels.
    """
    published = list(
        Version.objects.select_related("document", "environment").filter(
            document__kind=STATUS_MAPPING_KIND, state=State.PUBLISHED
        )
    )
    fresh = [v for v in published if v.published_at is not None and since < v.published_at <= now]
    before = _list_predecessors(fresh)
    due: dict[str, list[str]] = {}
    for version in published:
        zone = version.environment.zone
        first, last = since.astimezone(zone).date(), now.astimezone(zone).date()
        rows = read_rows(version.content)
        found = {row.raw_status for row in rows if row.holds_on(first) != row.holds_on(last)}
        if version in fresh:
            found |= {row.raw_status for row in (*rows, *before.get(version.document_id, ()))}
        if found:
            due[version.document.key] = sorted(found)
    return due


def _list_predecessors(fresh: Sequence[Version]) -> dict[int, tuple[StatusRow, ...]]:
    """The rows of what was published before, by document (one query)."""
    if not fresh:
        return {}
    found: dict[int, tuple[StatusRow, ...]] = {}
    retired = Version.objects.filter(
        document__in=[version.document_id for version in fresh], state=State.RETIRED
    )
    for version in retired.order_by("published_at", "number"):
        found[version.document_id] = read_rows(version.content)
    return found


# -- what is not mapped --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Unmapped:
    """A status nobody knows: how many open orders have it, since when, and one of them.

    `proposed_stage`: what a version waiting for review or publication says; empty when none does.
    """

    channel: str
    raw_status: str
    count: int
    first_seen_at: datetime
    last_seen_at: datetime
    example_no: str
    example_id: str
    proposed_stage: str = ""

    @property
    def channel_label(self) -> str:
        """The channel's name, Chinese source text."""
        return str(dict(Channel.choices).get(self.channel, self.channel))


def list_unmapped() -> list[Unmapped]:
    """Open orders whose stage is not known, by channel and status, most orders first (two queries)."""
    found = (
        Order.objects.waiting()
        .filter(stage=Stage.UNKNOWN)
        .values("channel", "raw_status")
        .annotate(
            count=Count("pk"),
            first=Min("first_received_at"),
            last=Max("received_at"),
            example=Min("order_no"),
            public=Min("public_id"),
        )
        .order_by("-count", "channel", "raw_status")
    )
    rows = list(found)
    proposed = _list_proposed() if rows else {}
    return [
        Unmapped(
            channel=row["channel"],
            raw_status=row["raw_status"],
            count=row["count"],
            first_seen_at=row["first"],
            last_seen_at=row["last"],
            example_no=row["example"],
            example_id=row["public"],
            proposed_stage=proposed.get((row["channel"], row["raw_status"]), ""),
        )
        for row in rows
    ]


def _list_proposed() -> dict[tuple[str, str], str]:
    """What waits for review or publication: (channel, status) -> stage, the newest version's."""
    waiting = Version.objects.select_related("document").filter(
        document__kind=STATUS_MAPPING_KIND, state__in=[State.SUBMITTED, State.APPROVED]
    )
    found: dict[tuple[str, str], str] = {}
    for version in waiting.order_by("number"):
        for row in read_rows(version.content):
            found[version.document.key, row.raw_status] = row.stage
    return found


def propose_mapping(
    *,
    channel: str,
    raw_status: str,
    stage: str,
    actor: User,
    effective_from: date,
    now: datetime,
    note: str = "",
) -> Version:
    """Put one status and its stage before the reviewers, on top of what is published.

    What already waits for review is kept in the new version too, so that neither proposal undoes
    the other. A row of the same status ends the day before. Raises BadInput for a stage, status or
    day that cannot be; WrongState when the same proposal waits already.
    """
    if channel not in Channel.values:
        raise BadInput(gettext_noop("没有「%(channel)s」这个渠道"), channel=channel)
    wanted = read_rows(
        check_mapping(
            {
                "rows": [
                    {
                        "raw_status": raw_status,
                        "stage": stage,
                        "effective_from": effective_from.isoformat(),
                        "note": note,
                    }
                ]
            }
        )
    )[0]
    with transaction.atomic():
        document = get_or_create_document(
            kind=STATUS_MAPPING_KIND, key=channel, name=_name_document(channel)
        )
        # One proposal at a time per channel: the next one builds on it.
        type(document).objects.select_for_update(no_key=True).get(pk=document.pk)
        base = (
            document.versions.filter(state__in=[State.SUBMITTED, State.APPROVED])
            .order_by("-number")
            .first()
        )
        if base is not None and _says_already(read_rows(base.content), wanted):
            raise WrongState(
                gettext_noop(
                    "「%(status)s」映射为「%(stage)s」已在第 %(number)s 版里等待审核或发布"
                ),
                status=wanted.raw_status,
                stage=Phrase(STAGE_LABELS[wanted.stage]),
                number=base.number,
            )
        base = base or get_mapping(channel)
        rows = _put_row(read_rows(base.content) if base else (), wanted)
        draft = create_draft(
            document,
            content={"rows": [row.write() for row in rows]},
            author=actor,
            based_on=base,
            origin="unmapped",
        )
        return submit_version(
            draft, actor=actor, note=note or f"{wanted.raw_status} → {wanted.stage}", now=now
        )


def _name_document(channel: str) -> str:
    """The document's name: stored, so in Chinese whatever the language of who asks."""
    with translation.override("zh-hans"):
        return f"{dict(Channel.choices)[channel]}{KIND_LABEL}"[:100]


def _says_already(rows: Sequence[StatusRow], wanted: StatusRow) -> bool:
    """Whether the status has this stage on the wanted day and from then on."""
    return any(
        row.raw_status == wanted.raw_status
        and row.stage == wanted.stage
        and row.effective_until is None
        and row.holds_on(wanted.effective_from)
        for row in rows
    )


def _put_row(rows: Sequence[StatusRow], wanted: StatusRow) -> list[StatusRow]:
    """The rows with one more; those of the same status end before it or give way to it."""
    kept = []
    for row in rows:
        if row.raw_status == wanted.raw_status and (
            row.effective_until is None or row.effective_until >= wanted.effective_from
        ):
            if row.effective_from >= wanted.effective_from:
                continue
            day_before = wanted.effective_from - timedelta(days=1)
            row = StatusRow(row.raw_status, row.stage, row.effective_from, day_before, row.note)
        kept.append(row)
    return [*kept, wanted]
