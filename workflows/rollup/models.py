"""What the board shows, counted at one moment and kept."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils.translation import gettext_lazy as _

from config.tenancy.models import EnvironmentModel


class BoardSnapshot(EnvironmentModel):
    """Every figure of the home page, counted at one moment T through the interval tables.

    `figures` holds what `rollup.services.take_snapshot` documents. Money in fen, spans in seconds,
    moments in ISO 8601. A list opened from a figure asks the same intervals at the same T.
    """

    at = models.DateTimeField(_("时间"))
    figures = models.JSONField(default=dict)
    taken_ms = models.PositiveIntegerField(_("统计用时（毫秒）"), default=0)

    class Meta(EnvironmentModel.Meta):
        verbose_name = _("总览快照")
        verbose_name_plural = _("总览快照")
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["environment", "at"], name="board_snapshot_once")
        ]

    def __str__(self) -> str:
        return f"{self.at:%m-%d %H:%M:%S}"


class HourlyFigure(EnvironmentModel):
    """Orders that became stuck and orders that were mended within one hour."""

    hour = models.DateTimeField(_("小时"))
    newly_stuck = models.PositiveIntegerField(_("新卡住"), default=0)
    mended = models.PositiveIntegerField(_("已修复"), default=0)

    class Meta(EnvironmentModel.Meta):
        verbose_name = _("每小时数字")
        verbose_name_plural = _("每小时数字")
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["environment", "hour"], name="hourly_figure_once")
        ]

    def __str__(self) -> str:
        return f"{self.hour:%m-%d %H:00} +{self.newly_stuck} -{self.mended}"
