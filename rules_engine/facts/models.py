"""The facts of an order, frozen at a revision."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from config.tenancy.models import EnvironmentModel
from connectors.orders.models import Order


class FactSnapshot(EnvironmentModel):
    """Facts of one order at one revision; what the clock pass reads.

    `facts` is a JSON object fact id -> value without the blank ones; personal ones stand in
    `personal_sealed` instead. `form` names the catalogue and time zone the values were made with:
    a snapshot of another form is taken again. Freshness and clock facts are added at reading.
    """

    order = models.OneToOneField(Order, on_delete=models.CASCADE, related_name="fact_snapshot")
    revision = models.PositiveIntegerField()
    form = models.CharField(max_length=64)
    facts = models.TextField(_("事实"))
    personal_sealed = models.TextField(blank=True, editable=False)
    digest = models.CharField(max_length=32, editable=False)
    taken_at = models.DateTimeField(_("取数时间"))

    class Meta(EnvironmentModel.Meta):
        verbose_name = _("事实快照")
        verbose_name_plural = _("事实快照")

    def __str__(self) -> str:
        return f"#{self.order_id} r{self.revision}"
