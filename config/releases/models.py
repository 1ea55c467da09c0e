"""One machine for everything that is drafted, reviewed, published and rolled back."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from config.tenancy.models import EnvironmentModel, new_public_id


class State(models.TextChoices):
    """The life of a version."""

    DRAFT = "draft", _("草稿")
    SUBMITTED = "submitted", _("待审核")
    CHANGES_REQUESTED = "changes_requested", _("要求修改")
    APPROVED = "approved", _("已通过")
    PUBLISHED = "published", _("已发布")
    RETIRED = "retired", _("已退役")


class Document(EnvironmentModel):
    """A named thing with versions: a rule set, a canvas, a node table, a column mapping."""

    public_id = models.CharField(max_length=24, unique=True, default=new_public_id, editable=False)
    kind = models.CharField(max_length=30)
    key = models.CharField(max_length=60)
    name = models.CharField(_("名称"), max_length=100)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta(EnvironmentModel.Meta):
        verbose_name = _("发布文档")
        verbose_name_plural = _("发布文档")
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["environment", "kind", "key"], name="document_key_once")
        ]

    def __str__(self) -> str:
        return self.name


class Version(EnvironmentModel):
    """A numbered state of a document. Its content never changes once submitted."""

    public_id = models.CharField(max_length=24, unique=True, default=new_public_id, editable=False)
    document = models.ForeignKey(Document, on_delete=models.PROTECT, related_name="versions")
    number = models.PositiveIntegerField(_("版本"))
    state = models.CharField(_("状态"), max_length=20, choices=State, default=State.DRAFT)
    content = models.JSONField(default=dict)
    checksum = models.CharField(max_length=64, editable=False)
    note = models.TextField(_("说明"), blank=True)
    author = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+"
    )
    based_on = models.ForeignKey("self", null=True, on_delete=models.PROTECT, related_name="+")
    origin = models.CharField(
        _("来源"), max_length=200, blank=True, help_text=_("预置模板或晋级来源")
    )
    created_at = models.DateTimeField(auto_now_add=True)
    changed_at = models.DateTimeField(auto_now=True)
    submitted_at = models.DateTimeField(null=True, editable=False)
    published_at = models.DateTimeField(null=True, editable=False)
    published_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+"
    )

    class Meta(EnvironmentModel.Meta):
        verbose_name = _("版本")
        verbose_name_plural = _("版本")
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["document", "number"], name="version_number_once"),
            models.UniqueConstraint(
                fields=["document"],
                condition=models.Q(state="published"),
                name="one_published_version",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.document} v{self.number}"


class Review(EnvironmentModel):
    """One reviewer's word on a submitted version."""

    class Verdict(models.TextChoices):
        APPROVE = "approve", _("通过")
        REQUEST_CHANGES = "request_changes", _("要求修改")
        COMMENT = "comment", _("评论")

    version = models.ForeignKey(Version, on_delete=models.CASCADE, related_name="reviews")
    reviewer = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    verdict = models.CharField(max_length=20, choices=Verdict)
    comment = models.TextField(_("意见"), blank=True)
    # An approval counts for the content it saw: a later edit makes it void.
    checksum = models.CharField(max_length=64, editable=False)
    at = models.DateTimeField()

    class Meta(EnvironmentModel.Meta):
        verbose_name = _("审核意见")
        verbose_name_plural = _("审核意见")

    def __str__(self) -> str:
        return f"{self.reviewer} {self.get_verdict_display()}"
