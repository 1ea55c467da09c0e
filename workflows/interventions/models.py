"""What we say (alerts, deliveries), what we stop (holds, brake), what we mend, who is on duty.

Every decision is a row with a unique key, written in the transaction of its cause: that is what
makes two workers, a repeated task or a crash give one alert, one hold and no lost word.
"""

from __future__ import annotations

import secrets
from typing import ClassVar

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from config.errors import Phrase
from config.secrets import blind_index, decrypt, encrypt
from config.tenancy.models import EnvironmentModel, new_public_id
from connectors.orders.models import Order
from connectors.shops.models import Connection, Source

WEBHOOK_PURPOSE = "robot.webhook"
SECRET_PURPOSE = "robot.secret"  # noqa: S105 - the name of a purpose
MOBILE_PURPOSE = "contact.mobile"
MENTIONS_PURPOSE = "delivery.mentions"
_LETTERS = "23456789ABCDEFGHJKMNPQRSTVWXYZ"


def new_short_id() -> str:
    """Six letters that are easy to read aloud; people tell repeated messages by it."""
    return "".join(secrets.choice(_LETTERS) for _ in range(6))


class Level(models.TextChoices):
    """How bad an alert is: the bands below 健康."""

    YELLOW = "yellow", _("黄色")
    ORANGE = "orange", _("橙色")
    RED = "red", _("红色")


class Topic(models.TextChoices):
    """What a group of words is about: orders of one level, or the patrol's own two matters."""

    YELLOW = "yellow", _("黄色")
    ORANGE = "orange", _("橙色")
    RED = "red", _("红色")
    SOURCE = "source", _("来源滞后")
    BRAKE = "brake", _("挂起刹车")


class Alert(EnvironmentModel):
    """One episode of an order below 健康, from falling until recovery."""

    class HoldState(models.TextChoices):
        """What was decided about holding in the present stretch of red."""

        NONE = "none", _("未挂起")
        HELD = "held", _("已挂起")
        WAITING = "waiting", _("等人确认挂起")
        DECLINED = "declined", _("人工决定不挂起")
        RELEASED = "released", _("人工已解除")
        FAILED = "failed", _("挂起失败")

    class CloseReason(models.TextChoices):
        RECOVERED = "recovered", _("已恢复健康")
        OVER = "over", _("订单已结束")

    public_id = models.CharField(max_length=24, unique=True, default=new_public_id, editable=False)
    order = models.ForeignKey(Order, on_delete=models.CASCADE, related_name="alerts")
    episode = models.PositiveIntegerField(_("第几次"))
    level = models.CharField(_("级别"), max_length=10, choices=Level)
    worst_level = models.CharField(_("最差级别"), max_length=10, choices=Level)
    cause = models.CharField(_("原因"), max_length=40, blank=True)
    score_hundredths = models.IntegerField(_("健康分（百分之一分）"))
    opened_at = models.DateTimeField(_("开始"))
    level_since = models.DateTimeField(_("进入本级别"))
    closed_at = models.DateTimeField(_("结束"), null=True)
    close_reason = models.CharField(max_length=10, choices=CloseReason, blank=True)
    hold_state = models.CharField(
        _("挂起"), max_length=10, choices=HoldState, default=HoldState.NONE
    )

    class Meta(EnvironmentModel.Meta):
        verbose_name = _("告警")
        verbose_name_plural = _("告警")
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["order", "episode"], name="alert_episode_once"),
            models.UniqueConstraint(
                fields=["order"],
                condition=models.Q(closed_at__isnull=True),
                name="one_open_alert_per_order",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["environment", "closed_at", "level"], name="alert_by_level"),
        ]

    def __str__(self) -> str:
        return f"{self.get_level_display()} {self.cause}"


class Hold(EnvironmentModel):
    """An order that must not go on downstream, from `placed_at` until `released_at`."""

    class Reach(models.TextChoices):
        """How far a hold reaches."""

        LOCAL = "local", _("仅在本系统")
        PUSH = "push", _("本系统不再下发")
        SYSTEM = "system", _("在 OMS 或 WMS 里停下")

    class ReleaseKind(models.TextChoices):
        PERSON = "person", _("人工解除")
        RECOVERED = "recovered", _("已恢复，自动解除")
        OVER = "over", _("订单已结束，自动解除")

    public_id = models.CharField(max_length=24, unique=True, default=new_public_id, editable=False)
    order = models.ForeignKey(Order, on_delete=models.CASCADE, related_name="holds")
    alert = models.ForeignKey(Alert, on_delete=models.CASCADE, related_name="holds")
    placed_at = models.DateTimeField(_("挂起时间"))
    placed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        on_delete=models.PROTECT,
        related_name="+",
        help_text=_("空：巡检自动挂起"),
    )
    cause = models.CharField(_("原因"), max_length=40, blank=True)
    reach = models.CharField(_("范围"), max_length=10, choices=Reach)
    released_at = models.DateTimeField(_("解除时间"), null=True)
    released_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+"
    )
    release_kind = models.CharField(max_length=10, choices=ReleaseKind, blank=True)
    release_reason = models.CharField(_("解除原因"), max_length=200, blank=True)

    class Meta(EnvironmentModel.Meta):
        verbose_name = _("挂起")
        verbose_name_plural = _("挂起")
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["order"],
                condition=models.Q(released_at__isnull=True),
                name="one_open_hold_per_order",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["environment", "released_at", "-placed_at"], name="hold_by_state"),
            models.Index(fields=["environment", "placed_at"], name="hold_by_time"),
        ]

    def __str__(self) -> str:
        return f"{self.cause} {self.placed_at:%m-%d %H:%M}"


class HoldEffect(EnvironmentModel):
    """What a hold comes to in one system outside: to be stopped there, stopped, let go again.

    One row per hold and system; every call for it carries `key_of()` and may be repeated. It is
    worked at while `due_at` is set (effects.py).
    """

    class State(models.TextChoices):
        HOLDING = "holding", _("正在挂起")
        HELD = "held", _("已在对方停下")
        TOO_LATE = "too_late", _("太晚，停不下")
        OVER = "over", _("不用停")
        PASSED_ON = "passed_on", _("已转到下一系统")
        UNABLE = "unable", _("对方不能挂起")
        REFUSED = "refused", _("对方拒绝")
        RELEASING = "releasing", _("正在放行")
        RELEASED = "released", _("已放行")
        STUCK = "stuck", _("放行被拒")

    hold = models.ForeignKey(Hold, on_delete=models.CASCADE, related_name="effects")
    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="+")
    state = models.CharField(_("状态"), max_length=10, choices=State)
    attempts = models.PositiveIntegerField(_("尝试次数"), default=0)
    due_at = models.DateTimeField(null=True)
    was_asked = models.BooleanField(default=False)  # a hold may have taken effect there
    changed_at = models.DateTimeField(_("变化时间"))
    vendor_code = models.CharField(_("对方代码"), max_length=60, blank=True)
    words_message = models.TextField(blank=True)  # a template; see `words`
    words_params = models.JSONField(default=dict, blank=True)

    class Meta(EnvironmentModel.Meta):
        verbose_name = _("挂起的落实")
        verbose_name_plural = _("挂起的落实")
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["hold", "connection"], name="hold_effect_once"),
        ]
        indexes: ClassVar = [
            models.Index(
                fields=["environment", "due_at"],
                name="hold_effect_due",
                condition=models.Q(due_at__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return str(self.get_state_display())

    @property
    def words(self) -> Phrase:
        """What came of it, as people read it."""
        return Phrase(self.words_message, self.words_params)

    @property
    def is_troubling(self) -> bool:
        """Whether a person has to do something outside."""
        return self.state in {
            self.State.TOO_LATE, self.State.UNABLE, self.State.REFUSED, self.State.STUCK,
        }  # fmt: skip

    def key_of(self, action: str) -> str:
        """The key under which a repeated call is the same effect: "hold" or "release"."""
        return f"{action}:{self.hold.public_id}:{self.connection_id}"


class BrakeRequest(EnvironmentModel):
    """A question to a person: more holds came at once than the environment allows."""

    class Decision(models.TextChoices):
        APPROVED = "approved", _("同意挂起")
        REJECTED = "rejected", _("不挂起")
        MOOT = "moot", _("已无待确认的订单")

    public_id = models.CharField(max_length=24, unique=True, default=new_public_id, editable=False)
    opened_at = models.DateTimeField(_("提出时间"))
    recent_holds = models.PositiveIntegerField(_("此前十分钟自动挂起"))
    hold_limit = models.PositiveIntegerField(_("当时的上限"))
    decided_at = models.DateTimeField(_("决定时间"), null=True)
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+"
    )
    decision = models.CharField(_("决定"), max_length=10, choices=Decision, blank=True)
    reason = models.CharField(_("理由"), max_length=200, blank=True)

    class Meta(EnvironmentModel.Meta):
        verbose_name = _("挂起确认")
        verbose_name_plural = _("挂起确认")
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["environment"],
                condition=models.Q(decided_at__isnull=True),
                name="one_open_brake_request",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.opened_at:%m-%d %H:%M}"


class BrakeItem(EnvironmentModel):
    """One red episode that waits for the answer."""

    brake = models.ForeignKey(BrakeRequest, on_delete=models.CASCADE, related_name="items")
    alert = models.ForeignKey(Alert, on_delete=models.CASCADE, related_name="brake_items")

    class Meta(EnvironmentModel.Meta):
        verbose_name = _("待确认挂起")
        verbose_name_plural = _("待确认挂起")
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["brake", "alert"], name="brake_item_once")
        ]

    def __str__(self) -> str:
        return str(self.alert)


class SourceAlert(EnvironmentModel):
    """One episode of a source being late: said once, whatever the number of orders."""

    source = models.ForeignKey(Source, on_delete=models.CASCADE, related_name="alerts")
    episode = models.PositiveIntegerField()
    complete_until = models.DateTimeField(_("数据截至"))
    opened_at = models.DateTimeField(_("开始"))
    closed_at = models.DateTimeField(_("恢复"), null=True)

    class Meta(EnvironmentModel.Meta):
        verbose_name = _("来源滞后")
        verbose_name_plural = _("来源滞后")
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["source", "episode"], name="source_episode_once"),
            models.UniqueConstraint(
                fields=["source"],
                condition=models.Q(closed_at__isnull=True),
                name="one_open_alert_per_source",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.source} {self.opened_at:%m-%d %H:%M}"


class SourceWatch(EnvironmentModel):
    """When the patrol last saw a source fresh: one that never was cannot fall behind."""

    source = models.OneToOneField(Source, on_delete=models.CASCADE, related_name="watch")
    fresh_at = models.DateTimeField()

    class Meta(EnvironmentModel.Meta):
        verbose_name = _("来源观察")
        verbose_name_plural = _("来源观察")

    def __str__(self) -> str:
        return f"{self.source}"


class AlertGroup(EnvironmentModel):
    """Words of one topic and cause that are gathered for half a minute and then said together."""

    public_id = models.CharField(max_length=24, unique=True, default=new_public_id, editable=False)
    short_id = models.CharField(_("编号"), max_length=8, default=new_short_id, editable=False)
    topic = models.CharField(_("级别"), max_length=10, choices=Topic)
    cause = models.CharField(_("原因"), max_length=40, blank=True)
    opened_at = models.DateTimeField(_("开始"))
    closes_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True)
    count = models.PositiveIntegerField(_("单数"), default=0)

    class Meta(EnvironmentModel.Meta):
        verbose_name = _("告警分组")
        verbose_name_plural = _("告警分组")
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["environment", "topic", "cause"],
                condition=models.Q(closed_at__isnull=True),
                name="one_open_group_per_cause",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["environment", "closed_at", "closes_at"], name="group_by_state"),
        ]

    def __str__(self) -> str:
        return f"#A-{self.short_id}"


class Notice(EnvironmentModel):
    """The decision that words go out about one alert at one level, one source, or one brake."""

    group = models.ForeignKey(AlertGroup, on_delete=models.CASCADE, related_name="notices")
    alert = models.ForeignKey(Alert, null=True, on_delete=models.CASCADE, related_name="notices")
    source_alert = models.ForeignKey(
        SourceAlert, null=True, on_delete=models.CASCADE, related_name="notices"
    )
    brake = models.ForeignKey(
        BrakeRequest, null=True, on_delete=models.CASCADE, related_name="notices"
    )
    sequence = models.PositiveIntegerField()
    level = models.CharField(max_length=10, choices=Topic)
    created_at = models.DateTimeField()

    class Meta(EnvironmentModel.Meta):
        verbose_name = _("通知决定")
        verbose_name_plural = _("通知决定")
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["alert", "sequence"], name="notice_once_per_alert"),
            models.UniqueConstraint(fields=["source_alert"], name="notice_once_per_source_alert"),
            models.UniqueConstraint(fields=["brake"], name="notice_once_per_brake"),
            models.CheckConstraint(
                condition=models.Q(alert__isnull=False)
                | models.Q(source_alert__isnull=False)
                | models.Q(brake__isnull=False),
                name="notice_has_subject",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.level} {self.sequence}"


class Robot(EnvironmentModel):
    """A chat group's robot. Address and secret are sealed; only the last four are ever shown."""

    class Kind(models.TextChoices):
        DINGTALK = "dingtalk", _("钉钉自定义机器人")

    public_id = models.CharField(max_length=24, unique=True, default=new_public_id, editable=False)
    name = models.CharField(_("群名称"), max_length=60)
    kind = models.CharField(_("类型"), max_length=10, choices=Kind, default=Kind.DINGTALK)
    webhook_sealed = models.TextField(editable=False)
    webhook_index = models.CharField(max_length=32, editable=False)
    webhook_tail = models.CharField(_("Webhook 尾号"), max_length=4, editable=False)
    secret_sealed = models.TextField(blank=True, editable=False)
    keyword = models.CharField(_("关键词"), max_length=20, blank=True)
    takes_yellow = models.BooleanField(_("接收黄色"), default=False)
    takes_orange = models.BooleanField(_("接收橙色"), default=False)
    takes_red = models.BooleanField(_("接收红色"), default=False)
    takes_technical = models.BooleanField(_("接收来源滞后"), default=False)
    may_at_all = models.BooleanField(_("红色时可 @所有人"), default=True)
    is_active = models.BooleanField(_("启用"), default=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta(EnvironmentModel.Meta):
        verbose_name = _("群机器人")
        verbose_name_plural = _("群机器人")
        constraints: ClassVar = [
            # One robot, one budget: two rows for one address would send twice what it bears.
            models.UniqueConstraint(fields=["tenant", "webhook_index"], name="robot_once"),
        ]

    def __str__(self) -> str:
        return self.name

    def seal(self, *, webhook: str, secret: str) -> None:
        """Take over an address and a signing secret."""
        self.webhook_sealed = encrypt(webhook, purpose=WEBHOOK_PURPOSE)
        self.webhook_index = blind_index(webhook, purpose=WEBHOOK_PURPOSE)
        self.webhook_tail = webhook[-4:]
        self.secret_sealed = encrypt(secret, purpose=SECRET_PURPOSE)

    def reveal(self) -> tuple[str, str]:
        """Address and secret in clear, for the sender only."""
        return (
            decrypt(self.webhook_sealed, purpose=WEBHOOK_PURPOSE),
            decrypt(self.secret_sealed, purpose=SECRET_PURPOSE),
        )


class RobotBudget(EnvironmentModel):
    """What a robot has sent in the last minute, shared by all workers, and its circuit breaker."""

    robot = models.OneToOneField(Robot, on_delete=models.CASCADE, related_name="budget")
    sent = models.JSONField(default=list)  # [[seconds since 1970, delivery id], ...]
    failures = models.PositiveIntegerField(_("连续失败"), default=0)
    paused_until = models.DateTimeField(_("暂停到"), null=True)
    last_error = models.CharField(_("最近的错误"), max_length=300, blank=True)
    last_error_at = models.DateTimeField(null=True)

    class Meta(EnvironmentModel.Meta):
        verbose_name = _("机器人额度")
        verbose_name_plural = _("机器人额度")

    def __str__(self) -> str:
        return str(self.robot)


class Delivery(EnvironmentModel):
    """One message to one robot or one person: at least once, with a visible doubtful state."""

    class State(models.TextChoices):
        PENDING = "pending", _("待发送")
        SENDING = "sending", _("发送中")
        SENT = "sent", _("已送达")
        FAILED = "failed", _("失败")
        AMBIGUOUS = "ambiguous", _("存疑")
        MERGED = "merged", _("并入汇总")

    public_id = models.CharField(max_length=24, unique=True, default=new_public_id, editable=False)
    group = models.ForeignKey(
        AlertGroup, null=True, on_delete=models.CASCADE, related_name="deliveries"
    )
    robot = models.ForeignKey(Robot, null=True, on_delete=models.PROTECT, related_name="deliveries")
    recipient = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.CASCADE, related_name="+"
    )
    sequence = models.PositiveIntegerField(default=1)
    topic = models.CharField(_("级别"), max_length=10, choices=Topic)
    title = models.CharField(_("标题"), max_length=200)
    text = models.TextField(_("正文"))
    at_all = models.BooleanField(_("@所有人"), default=False)
    mentions_sealed = models.TextField(blank=True, editable=False)
    state = models.CharField(_("状态"), max_length=10, choices=State, default=State.PENDING)
    attempts = models.PositiveIntegerField(_("尝试次数"), default=0)
    created_at = models.DateTimeField(_("生成时间"))
    not_before = models.DateTimeField()
    lease_until = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(_("完成时间"), null=True)
    vendor_code = models.CharField("errcode", max_length=20, blank=True)
    note = models.CharField(_("说明"), max_length=300, blank=True)
    resend_of = models.ForeignKey(
        "self", null=True, on_delete=models.PROTECT, related_name="resends"
    )
    merged_into = models.ForeignKey(
        "self", null=True, on_delete=models.PROTECT, related_name="merged"
    )

    class Meta(EnvironmentModel.Meta):
        verbose_name = _("发送记录")
        verbose_name_plural = _("发送记录")
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["group", "robot", "sequence"], name="delivery_once_per_robot"
            ),
            models.UniqueConstraint(
                fields=["group", "recipient", "sequence"], name="delivery_once_per_person"
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["environment", "state", "not_before"], name="delivery_by_state"),
            models.Index(fields=["environment", "-created_at", "-id"], name="delivery_by_time"),
        ]

    def __str__(self) -> str:
        return self.title

    @property
    def target(self) -> str:
        """To whom, as people read it."""
        return str(self.robot or self.recipient or "")


class Contact(EnvironmentModel):
    """How a person is mentioned in chat groups of this environment."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    mobile_sealed = models.TextField(editable=False)

    class Meta(EnvironmentModel.Meta):
        verbose_name = _("联系方式")
        verbose_name_plural = _("联系方式")
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["environment", "user"], name="contact_once")
        ]

    def __str__(self) -> str:
        return str(self.user)

    @property
    def mobile(self) -> str:
        return decrypt(self.mobile_sealed, purpose=MOBILE_PURPOSE)


class OnCall(EnvironmentModel):
    """One person's shift (值班)."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        related_name="+",
        verbose_name=_("值班人"),
    )
    starts_at = models.DateTimeField(_("开始"))
    ends_at = models.DateTimeField(_("结束"))

    class Meta(EnvironmentModel.Meta):
        verbose_name = _("值班")
        verbose_name_plural = _("值班")
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["environment", "user", "starts_at"], name="shift_once_per_person"
            ),
            models.CheckConstraint(
                condition=models.Q(ends_at__gt=models.F("starts_at")), name="shift_has_length"
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["environment", "starts_at", "ends_at"], name="shift_by_time")
        ]

    def __str__(self) -> str:
        return f"{self.user} {self.starts_at:%m-%d %H:%M}–{self.ends_at:%H:%M}"


class Repair(EnvironmentModel):
    """One attempt to mend an order, and what re-reading it proved."""

    public_id = models.CharField(max_length=24, unique=True, default=new_public_id, editable=False)
    order = models.ForeignKey(Order, on_delete=models.CASCADE, related_name="repairs")
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+"
    )
    at = models.DateTimeField(_("时间"))
    before_band = models.CharField(max_length=10)
    before_hundredths = models.IntegerField(null=True)
    after_band = models.CharField(max_length=10)
    after_hundredths = models.IntegerField()
    has_changed = models.BooleanField(_("数据有变化"))
    is_mended = models.BooleanField(_("已修复"))
    was_released = models.BooleanField(_("已解除挂起"))

    class Meta(EnvironmentModel.Meta):
        verbose_name = _("修复")
        verbose_name_plural = _("修复")
        indexes: ClassVar = [models.Index(fields=["order", "-at"], name="repair_by_order")]

    def __str__(self) -> str:
        return f"{self.before_band} → {self.after_band}"


class PatrolRun(EnvironmentModel):
    """One minute of patrol in one environment: at most one row per slot, whoever rings."""

    class State(models.TextChoices):
        RUNNING = "running", _("进行中")
        DONE = "done", _("完成")
        BUSY = "busy", _("上一轮未结束，已跳过")
        MISSED = "missed", _("错过，已由后一轮补上")
        FAILED = "failed", _("出错")

    slot = models.DateTimeField(_("时刻"))
    state = models.CharField(max_length=10, choices=State, default=State.RUNNING)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    lag_seconds = models.FloatField(_("滞后（秒）"), default=0)
    scored = models.PositiveIntegerField(_("评分单数"), default=0)
    changed = models.PositiveIntegerField(_("变化单数"), default=0)
    failed = models.PositiveIntegerField(_("未能评分单数"), default=0)
    opened = models.PositiveIntegerField(_("新告警"), default=0)
    closed = models.PositiveIntegerField(_("结束告警"), default=0)
    held = models.PositiveIntegerField(_("新挂起"), default=0)
    released = models.PositiveIntegerField(_("自动解除"), default=0)
    note = models.CharField(max_length=200, blank=True)

    class Meta(EnvironmentModel.Meta):
        verbose_name = _("巡检记录")
        verbose_name_plural = _("巡检记录")
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["environment", "slot"], name="patrol_slot_once")
        ]

    def __str__(self) -> str:
        return f"{self.slot:%m-%d %H:%M} {self.get_state_display()}"


class PatrolLease(EnvironmentModel):
    """Who patrols the environment right now; runs out by itself when its holder dies.

    `node_version_id`: the node table all open orders have been walked with (0: the shipped one);
    `deadline_version_id`: likewise the table their deadlines follow. `connected_kinds`: the kinds
    of source that were connected when they were walked last; `mapped_at`: up to when changes of
    status mappings have been followed.
    """

    holder = models.CharField(max_length=40, blank=True)
    expires_at = models.DateTimeField()
    node_version_id = models.PositiveBigIntegerField(default=0)
    deadline_version_id = models.PositiveBigIntegerField(default=0)
    connected_kinds = models.CharField(max_length=60, blank=True)
    mapped_at = models.DateTimeField(null=True)

    class Meta(EnvironmentModel.Meta):
        verbose_name = _("巡检占用")
        verbose_name_plural = _("巡检占用")
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["environment"], name="one_patrol_lease")
        ]

    def __str__(self) -> str:
        return self.holder
