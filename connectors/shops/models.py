"""Where orders come from: shops on channels, and the systems behind them."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from config.errors import Phrase, recall_phrase
from config.tenancy.models import EnvironmentModel, new_public_id


class Channel(models.TextChoices):
    TMALL = "tmall", _("天猫")
    DOUYIN = "douyin", _("抖音")
    JD = "jd", _("京东")
    PINDUODUO = "pinduoduo", _("拼多多")
    KUAISHOU = "kuaishou", _("快手")
    WECHAT_SHOP = "wechat_shop", _("微信小店")
    PRIVATE_MALL = "private_mall", _("私域小程序")
    OTHER = "other", _("其他")


class Shop(EnvironmentModel):
    """One authorised store on a sales platform."""

    public_id = models.CharField(max_length=24, unique=True, default=new_public_id, editable=False)
    channel = models.CharField(_("渠道"), max_length=20, choices=Channel)
    name = models.CharField(_("店铺"), max_length=100)
    is_active = models.BooleanField(_("启用"), default=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta(EnvironmentModel.Meta):
        verbose_name = _("店铺")
        verbose_name_plural = _("店铺")
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["environment", "channel", "name"], name="shop_once_per_channel"
            )
        ]

    def __str__(self) -> str:
        return f"{self.get_channel_display()} · {self.name}"


class SourceKind(models.TextChoices):
    """What a source tells about. Facts name the kind they depend on."""

    CHANNEL = "channel", _("渠道订单")
    GATEWAY = "gateway", _("支付网关")
    OMS = "oms", "OMS"
    WMS = "wms", "WMS"


class Source(EnvironmentModel):
    """A feed: a shop's orders, the gateway's payments, the OMS, the WMS; and its freshness.

    `complete_until`: the moment up to which everything the source has is known to be here.
    `lateness_minutes`: how old that moment may be before the feed counts as late.
    """

    public_id = models.CharField(max_length=24, unique=True, default=new_public_id, editable=False)
    kind = models.CharField(_("类型"), max_length=10, choices=SourceKind)
    name = models.CharField(_("名称"), max_length=100)
    shop = models.ForeignKey(Shop, null=True, blank=True, on_delete=models.PROTECT)
    complete_until = models.DateTimeField(_("数据截至"), null=True, blank=True)
    last_received_at = models.DateTimeField(_("最近收到"), null=True, blank=True)
    lateness_minutes = models.PositiveIntegerField(_("允许滞后（分钟）"), default=30)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta(EnvironmentModel.Meta):
        verbose_name = _("数据来源")
        verbose_name_plural = _("数据来源")
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["environment", "kind", "name"], name="source_once")
        ]

    def __str__(self) -> str:
        return self.name


class AllowedAddress(EnvironmentModel):
    """A private host:port this environment may reach, asked for by one person, allowed by another.

    Without an approved entry the client door refuses every private address; the simulators are
    entries too, never an exception for loopback.
    """

    public_id = models.CharField(max_length=24, unique=True, default=new_public_id, editable=False)
    host = models.CharField(_("主机名或 IP"), max_length=253)
    port = models.PositiveIntegerField(_("端口"))
    purpose = models.CharField(_("用途"), max_length=200)
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+"
    )
    requested_at = models.DateTimeField(_("申请时间"))
    approved_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+"
    )
    approved_at = models.DateTimeField(_("批准时间"), null=True)

    class Meta(EnvironmentModel.Meta):
        verbose_name = _("放行地址")
        verbose_name_plural = _("放行地址")
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["environment", "host", "port"], name="allowed_address_once"
            ),
            models.CheckConstraint(
                condition=models.Q(port__gte=1, port__lte=65535), name="allowed_address_port"
            ),
            models.CheckConstraint(
                condition=models.Q(approved_by__isnull=True)
                | models.Q(requested_by__isnull=True)
                | ~models.Q(approved_by=models.F("requested_by")),
                name="allowed_address_by_two",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class Connection(EnvironmentModel):
    """How one source is reached: vendor, address, sealed credentials, schedule, how it fares.

    `config` is what may be seen (app key, merchant number, warehouse); `secrets_sealed` is one
    sealed JSON object, never shown again. `token_version` rises with every change of the tokens;
    `token_holder` is who refreshes them right now, until `token_lease_until`.
    """

    class State(models.TextChoices):
        NEW = "new", _("未授权")
        OK = "ok", _("正常")
        TROUBLE = "trouble", _("需要处理")

    public_id = models.CharField(max_length=24, unique=True, default=new_public_id, editable=False)
    source = models.OneToOneField(Source, on_delete=models.PROTECT, related_name="connection")
    vendor = models.CharField(_("平台或系统"), max_length=20)
    shop = models.ForeignKey(Shop, null=True, blank=True, on_delete=models.PROTECT)
    base_url = models.CharField(_("接口地址"), max_length=300)
    config = models.JSONField(default=dict, blank=True)
    secrets_sealed = models.TextField(blank=True, editable=False)
    secret_hints = models.JSONField(default=dict, blank=True, editable=False)  # name -> last four
    token_version = models.PositiveIntegerField(default=0, editable=False)
    access_expires_at = models.DateTimeField(_("授权到期"), null=True, editable=False)
    refresh_expires_at = models.DateTimeField(null=True, editable=False)
    token_holder = models.CharField(max_length=32, blank=True, editable=False)
    token_lease_until = models.DateTimeField(null=True, editable=False)
    every_minutes = models.PositiveSmallIntegerField(_("每隔几分钟读取"), default=15)
    is_active = models.BooleanField(_("启用"), default=True)
    state = models.CharField(_("状况"), max_length=10, choices=State, default=State.NEW)
    trouble_code = models.CharField(max_length=60, blank=True, editable=False)
    trouble_message = models.TextField(blank=True, editable=False)  # a template; see `trouble`
    trouble_params = models.JSONField(default=dict, blank=True, editable=False)
    trouble_since = models.DateTimeField(null=True, editable=False)
    paused_until = models.DateTimeField(_("平台要求等到"), null=True, editable=False)
    last_ok_at = models.DateTimeField(_("最近成功"), null=True, editable=False)
    last_push_at = models.DateTimeField(_("最近推送"), null=True, editable=False)
    authorised_at = models.DateTimeField(_("授权时间"), null=True, editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+"
    )
    created_at = models.DateTimeField(_("接入时间"))

    class Meta(EnvironmentModel.Meta):
        verbose_name = _("连接")
        verbose_name_plural = _("连接")
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=models.Q(every_minutes__gte=1, every_minutes__lte=60),
                name="connection_every_minutes",
            ),
        ]

    def __str__(self) -> str:
        return str(self.source)

    def may_be_called(self, now: datetime) -> bool:
        """Whether it is switched on and the vendor has not told us to wait."""
        return self.is_active and (self.paused_until is None or self.paused_until <= now)

    @property
    def trouble(self) -> Phrase | None:
        """What a person has to see to, in words; None when nothing is wrong."""
        if not self.trouble_message:
            return None
        return recall_phrase(self.trouble_message, self.trouble_params)
