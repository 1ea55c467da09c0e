"""What was asked of the outside and what it sent: cursors, runs, calls, messages, quarantine."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from config.errors import Phrase, recall_phrase
from config.secrets import decrypt
from config.tenancy.models import EnvironmentModel, new_public_id
from connectors.shops.models import Connection

MESSAGE_PURPOSE = "inbound.payload"
CALL_PURPOSE = "call.body"
QUARANTINE_PURPOSE = "quarantine.payload"


class Cursor(EnvironmentModel):
    """How far one list of one connection has been read: the end of its closed windows.

    It moves only in the transaction that stores the rows it covers. `holder` reads right now, until
    `lease_until`; `slot` is the last slot of the schedule that was worked off.
    """

    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="cursors")
    stream = models.CharField(max_length=20)
    done_until = models.DateTimeField(null=True)
    slot = models.DateTimeField(null=True)
    holder = models.CharField(max_length=32, blank=True, editable=False)
    lease_until = models.DateTimeField(null=True, editable=False)
    lost_from = models.DateTimeField(null=True)  # what the list no longer gave, once told
    lost_until = models.DateTimeField(null=True)

    class Meta(EnvironmentModel.Meta):
        verbose_name = _("读取进度")
        verbose_name_plural = _("读取进度")
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["connection", "stream"], name="cursor_once")
        ]

    def __str__(self) -> str:
        return f"{self.connection} {self.stream}"


class SyncRun(EnvironmentModel):
    """One time of reading: what was asked, what came, what became of it.

    Messages have rows of their own, and so have back-fills.
    """

    class Kind(models.TextChoices):
        PULL = "pull", _("定时读取")
        SWEEP = "sweep", _("逐单核对")
        REREAD = "reread", _("重读未完结")

    class State(models.TextChoices):
        RUNNING = "running", _("进行中")
        DONE = "done", _("完成")
        PARTIAL = "partial", _("没有读完")
        FAILED = "failed", _("失败")

    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="runs")
    kind = models.CharField(max_length=10, choices=Kind)
    stream = models.CharField(max_length=20, blank=True)
    state = models.CharField(max_length=10, choices=State, default=State.RUNNING)
    slot = models.DateTimeField(null=True)
    missed_slots = models.PositiveIntegerField(default=0)
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)
    window_start = models.DateTimeField(null=True)
    window_end = models.DateTimeField(null=True)
    windows = models.PositiveIntegerField(default=0)
    pages = models.PositiveIntegerField(default=0)
    calls = models.PositiveIntegerField(default=0)
    fetched = models.PositiveIntegerField(default=0)
    new = models.PositiveIntegerField(default=0)
    updated = models.PositiveIntegerField(default=0)
    unchanged = models.PositiveIntegerField(default=0)
    stale = models.PositiveIntegerField(default=0)
    quarantined = models.PositiveIntegerField(default=0)
    error_code = models.CharField(max_length=60, blank=True)
    error_message = models.TextField(blank=True)
    error_params = models.JSONField(default=dict)

    class Meta(EnvironmentModel.Meta):
        verbose_name = _("读取记录")
        verbose_name_plural = _("读取记录")
        indexes: ClassVar = [
            models.Index(fields=["connection", "-started_at"], name="sync_run_by_time")
        ]

    def __str__(self) -> str:
        return f"{self.connection} {self.started_at:%m-%d %H:%M}"

    @property
    def error(self) -> Phrase | None:
        """Why it failed, in words."""
        return recall_phrase(self.error_message, self.error_params) if self.error_message else None


class InboundMessage(EnvironmentModel):
    """One message of a verified push, or one fetched from a queue; stored before it is answered.

    `replay_key` is unique per connection for good: the body goes after a while, the key stays.
    """

    class State(models.TextChoices):
        WAITING = "waiting", _("待处理")
        DONE = "done", _("已处理")
        FAILED = "failed", _("处理失败")
        IGNORED = "ignored", _("无须处理")

    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="messages")
    replay_key = models.CharField(max_length=200)
    kind = models.CharField(max_length=10)  # of connectors.adapters.PushItem
    topic = models.CharField(max_length=100, blank=True)
    order_no = models.CharField(_("订单号"), max_length=64, blank=True)
    payload_sealed = models.TextField(blank=True, editable=False)
    signed_at = models.DateTimeField(null=True)
    received_at = models.DateTimeField(_("收到时间"))
    state = models.CharField(max_length=10, choices=State, default=State.WAITING)
    attempts = models.PositiveSmallIntegerField(default=0)
    due_at = models.DateTimeField(null=True)  # not before, after a failed try
    processed_at = models.DateTimeField(null=True)
    error_code = models.CharField(max_length=60, blank=True)

    class Meta(EnvironmentModel.Meta):
        verbose_name = _("收到的消息")
        verbose_name_plural = _("收到的消息")
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["connection", "replay_key"], name="message_once")
        ]
        indexes: ClassVar = [
            models.Index(
                fields=["connection", "id"],
                name="message_waiting",
                condition=models.Q(state="waiting"),
            ),
            models.Index(fields=["environment", "order_no", "received_at"], name="message_by_no"),
            models.Index(fields=["environment", "received_at"], name="message_by_time"),
        ]

    def __str__(self) -> str:
        return f"{self.connection} {self.topic} {self.order_no}"

    def reveal_payload(self) -> dict[str, Any]:
        """The payload in clear, for processing and for people who may see it masked."""
        if not self.payload_sealed:
            return {}
        found: dict[str, Any] = json.loads(decrypt(self.payload_sealed, purpose=MESSAGE_PURPOSE))
        return found


class CallLog(EnvironmentModel):
    """One call we made. Bodies are sealed, cut short, and shown masked; no header is kept."""

    class Outcome(models.TextChoices):
        OK = "ok", _("成功")
        REFUSED = "refused", _("对方拒绝")
        FAILED = "failed", _("没有接通")
        AMBIGUOUS = "ambiguous", _("结果不明")

    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="calls")
    operation = models.CharField(_("接口"), max_length=100)
    at = models.DateTimeField(_("时间"))
    duration_ms = models.PositiveIntegerField(_("耗时（毫秒）"), default=0)
    http_status = models.PositiveSmallIntegerField(null=True)
    outcome = models.CharField(max_length=10, choices=Outcome)
    vendor_code = models.CharField(max_length=60, blank=True)
    is_effect = models.BooleanField(default=False)
    key = models.CharField(max_length=80, blank=True)  # under which a repetition is the same
    attempt = models.PositiveSmallIntegerField(default=1)
    request_sealed = models.TextField(blank=True, editable=False)
    answer_sealed = models.TextField(blank=True, editable=False)
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+"
    )

    class Meta(EnvironmentModel.Meta):
        verbose_name = _("调用记录")
        verbose_name_plural = _("调用记录")
        indexes: ClassVar = [
            models.Index(fields=["connection", "-at"], name="call_by_time"),
            models.Index(fields=["environment", "at"], name="call_by_age"),
        ]

    def __str__(self) -> str:
        return f"{self.operation} {self.at:%m-%d %H:%M:%S}"

    def reveal(self, which: str) -> str:
        """The `request` or `answer` in clear, as far as it was kept."""
        return decrypt(getattr(self, f"{which}_sealed"), purpose=CALL_PURPOSE)


class CallOrder(EnvironmentModel):
    """An order that a call was about."""

    call = models.ForeignKey(CallLog, on_delete=models.CASCADE, related_name="orders")
    order_no = models.CharField(max_length=64)

    class Meta(EnvironmentModel.Meta):
        verbose_name = _("调用涉及的订单")
        verbose_name_plural = _("调用涉及的订单")
        indexes: ClassVar = [models.Index(fields=["environment", "order_no"], name="call_order_no")]

    def __str__(self) -> str:
        return self.order_no


class Quarantine(EnvironmentModel):
    """A payload that could not be read: kept whole, with its reason, for a person to decide.

    The same payload comes once, however often it is sent: `digest` is of connection and content.
    """

    class State(models.TextChoices):
        OPEN = "open", _("待处理")
        MENDED = "mended", _("已重新读入")
        IGNORED = "ignored", _("已忽略")

    public_id = models.CharField(max_length=24, unique=True, default=new_public_id, editable=False)
    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="quarantine")
    order_no = models.CharField(_("订单号"), max_length=64, blank=True)
    digest = models.CharField(max_length=64, editable=False)
    payload_sealed = models.TextField(editable=False)
    code = models.CharField(max_length=60)
    message = models.TextField()
    params = models.JSONField(default=dict)
    state = models.CharField(max_length=10, choices=State, default=State.OPEN)
    times = models.PositiveIntegerField(default=1)
    attempts = models.PositiveSmallIntegerField(default=0)
    first_at = models.DateTimeField(_("首次收到"))
    last_at = models.DateTimeField(_("最近收到"))
    settled_at = models.DateTimeField(null=True)
    settled_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+"
    )
    note = models.CharField(_("说明"), max_length=200, blank=True)

    class Meta(EnvironmentModel.Meta):
        verbose_name = _("隔离的报文")
        verbose_name_plural = _("隔离的报文")
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["connection", "digest"], name="quarantine_once")
        ]
        indexes: ClassVar = [
            models.Index(fields=["environment", "state", "-last_at"], name="quarantine_by_state"),
            models.Index(fields=["environment", "order_no"], name="quarantine_by_no"),
        ]

    def __str__(self) -> str:
        return f"{self.connection} {self.order_no or self.public_id}"

    @property
    def reason(self) -> Phrase:
        """Why it could not be read, in words."""
        return recall_phrase(self.message, self.params)

    def reveal_payload(self) -> dict[str, Any]:
        """The payload in clear: the caller has checked the right."""
        found: dict[str, Any] = json.loads(decrypt(self.payload_sealed, purpose=QUARANTINE_PURPOSE))
        return found


class MappingNotice(EnvironmentModel):
    """A value of a vendor that no mapping knows, however often it came."""

    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="notices")
    code = models.CharField(max_length=40)  # unmapped_status or unmapped_value
    field = models.CharField(max_length=200)
    value = models.CharField(max_length=200)
    times = models.PositiveIntegerField(default=1)
    order_no = models.CharField(_("例如订单"), max_length=64, blank=True)
    first_at = models.DateTimeField(_("首次出现"))
    last_at = models.DateTimeField(_("最近出现"))

    class Meta(EnvironmentModel.Meta):
        verbose_name = _("不认识的取值")
        verbose_name_plural = _("不认识的取值")
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["connection", "code", "field", "value"], name="notice_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.field}={self.value}"


class BackfillRun(EnvironmentModel):
    """A past range read again, as history: it never alerts and never holds.

    `mark` is the end of what was read; it moves with the rows it covers. `holder` as in Cursor.
    `history_until`, from its start on: what was placed before and nobody had told of is history,
    whichever way it comes (decision 0015).
    """

    class State(models.TextChoices):
        ESTIMATING = "estimating", _("估算中")
        READY = "ready", _("待开始")
        RUNNING = "running", _("进行中")
        PAUSED = "paused", _("已暂停")
        DONE = "done", _("已完成")
        FAILED = "failed", _("失败")
        CANCELLED = "cancelled", _("已取消")

    public_id = models.CharField(max_length=24, unique=True, default=new_public_id, editable=False)
    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="backfills")
    stream = models.CharField(max_length=20)
    start = models.DateTimeField(_("从"))
    end = models.DateTimeField(_("到"))
    mark = models.DateTimeField(null=True)
    history_until = models.DateTimeField(null=True, editable=False)
    state = models.CharField(max_length=12, choices=State, default=State.ESTIMATING)
    estimate = models.PositiveIntegerField(null=True)  # rows
    estimate_seconds = models.PositiveIntegerField(null=True)
    fetched = models.PositiveIntegerField(default=0)
    new = models.PositiveIntegerField(default=0)
    updated = models.PositiveIntegerField(default=0)
    unchanged = models.PositiveIntegerField(default=0)
    quarantined = models.PositiveIntegerField(default=0)
    error_message = models.TextField(blank=True)
    error_params = models.JSONField(default=dict)
    holder = models.CharField(max_length=32, blank=True, editable=False)
    lease_until = models.DateTimeField(null=True, editable=False)
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+"
    )
    requested_at = models.DateTimeField(_("申请时间"))
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    class Meta(EnvironmentModel.Meta):
        verbose_name = _("补录")
        verbose_name_plural = _("补录")
        indexes: ClassVar = [
            models.Index(fields=["environment", "-requested_at"], name="backfill_by_time")
        ]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=models.Q(start__lt=models.F("end")), name="backfill_range"
            )
        ]

    def __str__(self) -> str:
        return f"{self.connection} {self.start:%m-%d %H:%M}–{self.end:%m-%d %H:%M}"

    @property
    def is_over(self) -> bool:
        return self.state in {self.State.DONE, self.State.FAILED, self.State.CANCELLED}

    @property
    def error(self) -> Phrase | None:
        """Why it stopped, in words."""
        return recall_phrase(self.error_message, self.error_params) if self.error_message else None


class Asked(EnvironmentModel):
    """When a system was last asked about an order, and when to ask again."""

    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="asked")
    order_no = models.CharField(max_length=64)
    asked_at = models.DateTimeField()
    next_at = models.DateTimeField()

    class Meta(EnvironmentModel.Meta):
        verbose_name = _("问询记录")
        verbose_name_plural = _("问询记录")
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["connection", "order_no"], name="asked_once")
        ]
        indexes: ClassVar = [models.Index(fields=["connection", "next_at"], name="asked_next")]

    def __str__(self) -> str:
        return f"{self.connection} {self.order_no}"
