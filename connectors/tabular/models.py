"""File imports: sets of uploaded files, runs, saved mappings, and rows that could not be taken."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from config.secrets import decrypt
from config.tenancy.models import EnvironmentModel, new_public_id
from connectors.tabular.fields import HOLDS

CELLS_PURPOSE = "tabular.cells"
PROFILE_PURPOSE = "tabular.profile"


class SavedMapping(EnvironmentModel):
    """A mapping a person made, kept under the name of its source for the next time."""

    public_id = models.CharField(max_length=24, unique=True, default=new_public_id, editable=False)
    name = models.CharField(_("名称"), max_length=100)
    content = models.JSONField(default=dict)
    changed_at = models.DateTimeField(_("最近修改"))
    changed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+"
    )

    class Meta(EnvironmentModel.Meta):
        verbose_name = _("已存映射")
        verbose_name_plural = _("已存映射")
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["environment", "name"], name="saved_mapping_name_once")
        ]

    def __str__(self) -> str:
        return self.name


class FileSet(EnvironmentModel):
    """Files uploaded together, and the mapping being made for them (half-written is fine)."""

    public_id = models.CharField(max_length=24, unique=True, default=new_public_id, editable=False)
    name = models.CharField(_("名称"), max_length=100)
    mapping = models.JSONField(default=dict)
    created_at = models.DateTimeField(_("上传时间"))
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+"
    )

    class Meta(EnvironmentModel.Meta):
        verbose_name = _("上传的文件组")
        verbose_name_plural = _("上传的文件组")

    def __str__(self) -> str:
        return self.name


class StoredFile(EnvironmentModel):
    """One uploaded file. The name on disk is ours; the person's name is for display only."""

    file_set = models.ForeignKey(FileSet, on_delete=models.CASCADE, related_name="files")
    key = models.CharField(max_length=40)
    name = models.CharField(_("文件名"), max_length=200)
    path = models.CharField(max_length=200, editable=False)
    size = models.PositiveBigIntegerField(_("字节"))
    sha256 = models.CharField(max_length=64, editable=False)
    profile_sealed = models.TextField(editable=False, default="")

    class Meta(EnvironmentModel.Meta):
        verbose_name = _("上传的文件")
        verbose_name_plural = _("上传的文件")
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["file_set", "key"], name="stored_file_key_once")
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def profile(self) -> dict[str, Any]:
        """Headers, sample rows and words of the file (opened for each use: may be personal)."""
        found: dict[str, Any] = json.loads(decrypt(self.profile_sealed, purpose=PROFILE_PURPOSE))
        return found


class ImportRun(EnvironmentModel):
    """One import or dry run: what it was told, how far it is, what it did.

    `cursor` moves only in the transaction that applies the rows it covers, so a killed run goes on
    where it was. `claim` is the worker at it; `heartbeat_at` tells whether that worker lives.
    """

    class State(models.TextChoices):
        QUEUED = "queued", _("排队中")
        RUNNING = "running", _("进行中")
        DONE = "done", _("已完成")
        FAILED = "failed", _("未能导入")

    public_id = models.CharField(max_length=24, unique=True, default=new_public_id, editable=False)
    file_set = models.ForeignKey(FileSet, null=True, on_delete=models.PROTECT, related_name="runs")
    repairs = models.ForeignKey(
        "self", null=True, on_delete=models.PROTECT, related_name="repaired_by"
    )
    name = models.CharField(_("名称"), max_length=100)
    mapping = models.JSONField(default=dict)
    state = models.CharField(_("状态"), max_length=10, choices=State, default=State.QUEUED)
    is_dry_run = models.BooleanField(_("试运行"), default=False)
    is_history = models.BooleanField(_("历史导入"), default=False)
    complete_until = models.DateTimeField(_("数据截至"), null=True)
    phase = models.CharField(max_length=20, blank=True)
    done = models.PositiveIntegerField(default=0)
    total = models.PositiveIntegerField(default=0)
    counts = models.JSONField(default=dict)
    notices = models.JSONField(default=list)
    problems = models.JSONField(default=list)
    error = models.TextField(blank=True)
    cursor = models.JSONField(default=dict)
    claim = models.CharField(max_length=32, blank=True, editable=False)
    heartbeat_at = models.DateTimeField(null=True, editable=False)
    attempts = models.PositiveSmallIntegerField(default=0, editable=False)
    created_at = models.DateTimeField(_("开始时间"))
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(_("完成时间"), null=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+"
    )

    class Meta(EnvironmentModel.Meta):
        verbose_name = _("导入记录")
        verbose_name_plural = _("导入记录")
        indexes: ClassVar = [
            models.Index(fields=["environment", "-created_at"], name="import_by_time"),
            models.Index(fields=["state", "heartbeat_at"], name="import_by_state"),
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.created_at:%m-%d %H:%M}"

    @property
    def is_over(self) -> bool:
        return self.state in {self.State.DONE, self.State.FAILED}


class QuarantineRow(EnvironmentModel):
    """A row that was not taken in, or one that waits with a bad row of the same order.

    `group` is the order the row belongs to ("" for rows of customers and products, and for rows
    without a readable key). Cells are sealed: they may hold names, phones and addresses.
    """

    run = models.ForeignKey(ImportRun, on_delete=models.CASCADE, related_name="quarantine")
    file_key = models.CharField(max_length=40)
    file_label = models.CharField(_("文件"), max_length=200)
    holds = models.CharField(max_length=10, choices=HOLDS.items())
    line = models.PositiveIntegerField(_("行"))
    group = models.CharField(_("订单号"), max_length=64, blank=True)
    column = models.CharField(_("列"), max_length=200, blank=True)
    code = models.CharField(max_length=40)
    reason = models.TextField(_("原因"))
    remedy = models.TextField(_("怎么改"))
    is_culprit = models.BooleanField(default=True)
    cells_sealed = models.TextField(editable=False)
    cleared_at = models.DateTimeField(null=True)
    cleared_by = models.ForeignKey(
        ImportRun, null=True, on_delete=models.SET_NULL, related_name="+"
    )

    class Meta(EnvironmentModel.Meta):
        verbose_name = _("隔离的行")
        verbose_name_plural = _("隔离的行")
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["run", "file_key", "line"], name="quarantine_row_once")
        ]
        indexes: ClassVar = [
            models.Index(fields=["run", "cleared_at", "id"], name="quarantine_open"),
            models.Index(fields=["run", "group"], name="quarantine_group"),
        ]

    def __str__(self) -> str:
        return f"{self.file_label}:{self.line}"

    def reveal_cells(self) -> dict[str, str]:
        """Header -> cell in clear: the caller has checked the right to import files."""
        cells: dict[str, str] = json.loads(decrypt(self.cells_sealed, purpose=CELLS_PURPOSE))
        return cells
