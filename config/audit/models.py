"""The audit log: append-only, one hash chain per tenant."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from config.tenancy.models import TenantModel


class AuditEntry(TenantModel):
    """Who did what to which thing, when, and the hash that chains it to the entry before."""

    environment = models.ForeignKey(
        "tenancy.Environment", null=True, on_delete=models.PROTECT, related_name="+"
    )
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+"
    )
    at = models.DateTimeField(_("时间"))
    action = models.CharField(_("动作"), max_length=60)
    subject = models.CharField(_("对象"), max_length=200)
    details = models.JSONField(_("内容"), default=dict)
    position = models.PositiveBigIntegerField(editable=False)
    previous_hash = models.CharField(max_length=64, editable=False)
    entry_hash = models.CharField(max_length=64, editable=False)

    class Meta(TenantModel.Meta):
        verbose_name = _("审计记录")
        verbose_name_plural = _("审计记录")
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["tenant", "position"], name="audit_position_once")
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.subject}"
