"""The score of each order, and its health history as intervals."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from config.errors import gettext_noop
from config.releases.models import Version
from config.tenancy.models import EnvironmentModel, new_public_id
from connectors.orders.models import Order
from rules_engine.scoring.bands import BAND_LABELS, SEVERITY, format_score

_BANDS = [(str(band), label) for band, label in BAND_LABELS.items()]


class Score(EnvironmentModel):
    """The newest score of an order, written by compare-and-set on (revision, rule version).

    `dimensions` is a list, in the order of the rule set, of {key, name, result, points_hundredths,
    max, reason, cause, is_capping, needs_person, unknown_facts}. `failing` joins the keys of
    failing dimensions; `fact_digest` names the facts the score was made from.
    """

    order = models.OneToOneField(Order, on_delete=models.CASCADE, related_name="score")
    score_hundredths = models.IntegerField(_("健康分（百分之一分）"), default=0)
    uncapped_hundredths = models.IntegerField(default=0)
    cap_hundredths = models.IntegerField(_("封顶"), null=True)
    band = models.CharField(_("级别"), max_length=10, choices=_BANDS, blank=True)
    sum_text = models.CharField(_("算式"), max_length=1000, blank=True)
    dimensions = models.JSONField(_("检查项结果"), default=list)
    failing = models.TextField(blank=True, editable=False)
    cause = models.CharField(_("原因"), max_length=40, blank=True)
    needs_intervention = models.BooleanField(_("待干预"), default=False)
    is_silent = models.BooleanField(_("沉默"), default=False)
    revision = models.PositiveIntegerField(default=0)
    version = models.ForeignKey(Version, null=True, on_delete=models.PROTECT, related_name="+")
    fact_digest = models.CharField(max_length=32, blank=True, editable=False)
    state_digest = models.CharField(max_length=32, blank=True, editable=False)
    scored_at = models.DateTimeField(_("评分时间"), null=True)

    class Meta(EnvironmentModel.Meta):
        verbose_name = _("健康分")
        verbose_name_plural = _("健康分")
        indexes: ClassVar = [
            models.Index(fields=["environment", "band"], name="score_by_band"),
        ]

    def __str__(self) -> str:
        return f"{format_score(self.score_hundredths)} {self.band}"

    @property
    def score_text(self) -> str:
        """The score for people: 69.99 stays 69.99."""
        return format_score(self.score_hundredths)


class ScoreChange(EnvironmentModel):
    """One interval of an order's health: from `at` until `until` (empty: now)."""

    class Why(models.TextChoices):
        RECEIVED = "received", _("收到更新")
        CLOCK = "clock", _("到时间")
        RULE = "rule", _("规则变更")
        AS_OF = "as_of", _("历史时点")

    order = models.ForeignKey(Order, on_delete=models.CASCADE, related_name="score_changes")
    at = models.DateTimeField()
    until = models.DateTimeField(null=True)
    score_hundredths = models.IntegerField()
    band = models.CharField(max_length=10, choices=_BANDS)
    cause = models.CharField(max_length=40, blank=True)
    needs_intervention = models.BooleanField(default=False)
    is_silent = models.BooleanField(default=False)
    why = models.CharField(max_length=10, choices=Why)
    version = models.ForeignKey(Version, null=True, on_delete=models.PROTECT, related_name="+")
    revision = models.PositiveIntegerField()
    failing = models.JSONField(default=list)
    changed_dimensions = models.JSONField(default=list)

    class Meta(EnvironmentModel.Meta):
        verbose_name = _("健康分变化")
        verbose_name_plural = _("健康分变化")
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["order"],
                condition=models.Q(until__isnull=True),
                name="one_current_score_change",
            )
        ]
        indexes: ClassVar = [
            models.Index(fields=["environment", "until", "band"], name="change_by_band"),
            models.Index(fields=["order", "at"], name="change_by_order"),
            models.Index(
                fields=["environment", "band", "order"],
                condition=models.Q(until__isnull=True, needs_intervention=True),
                name="change_in_trouble_now",
            ),
        ]

    def __str__(self) -> str:
        return f"{format_score(self.score_hundredths)} {self.band} @ {self.at:%m-%d %H:%M}"

    @property
    def severity(self) -> int:
        """0 for 健康 to 3 for 红."""
        return SEVERITY[self.band]


class FormulaSuspension(EnvironmentModel):
    """How often a formula of a published version ran into a limit, and since when it is out.

    One row per formula and version counts until it is lifted; then the next trip begins a new one.
    """

    class Limit(models.TextChoices):
        STEPS = "steps", _("计算步数超过上限")
        TIME = "time", _("计算时间超过上限")
        MEMORY = "memory", _("占用内存超过上限")

    public_id = models.CharField(max_length=24, unique=True, default=new_public_id, editable=False)
    version = models.ForeignKey(Version, on_delete=models.PROTECT, related_name="+")
    dimension_key = models.CharField(max_length=40)
    dimension_name = models.CharField(_("检查项"), max_length=40)
    trips = models.PositiveIntegerField(_("次数"), default=0)
    limit = models.CharField(_("上限"), max_length=10, choices=Limit)
    last_order_no = models.CharField(_("最近的订单"), max_length=64, blank=True)
    first_tripped_at = models.DateTimeField()
    last_tripped_at = models.DateTimeField()
    suspended_at = models.DateTimeField(_("暂停时间"), null=True)
    lifted_at = models.DateTimeField(_("恢复时间"), null=True)
    lifted_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+"
    )
    lift_reason = models.CharField(_("恢复理由"), max_length=300, blank=True)

    class Meta(EnvironmentModel.Meta):
        verbose_name = _("公式暂停")
        verbose_name_plural = _("公式暂停")
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["environment", "version", "dimension_key"],
                condition=models.Q(lifted_at__isnull=True),
                name="one_open_suspension_per_formula",
            )
        ]

    def __str__(self) -> str:
        return f"{self.dimension_name} × {self.trips}"

    @property
    def reason(self) -> str:
        """What an order says of the dimension while it is out."""
        return write_reason(self.limit, self.trips)


# Source text: a reason is stored with the score.
_LIMIT_WORDS: dict[str, str] = {
    "steps": gettext_noop("计算步数超过上限"),
    "time": gettext_noop("计算时间超过上限"),
    "memory": gettext_noop("占用内存超过上限"),
}


def write_reason(limit: str, trips: int) -> str:
    """Why a suspended formula says nothing: "公式已暂停（计算步数超过上限，3 次）…"."""
    return gettext_noop("公式已暂停（%(limit)s，%(trips)d 次），等待 IT 处理，请人工查看") % {
        "limit": _LIMIT_WORDS[limit],
        "trips": trips,
    }
