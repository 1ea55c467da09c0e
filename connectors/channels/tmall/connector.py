"""The adapter of Taobao and Tmall: what its form asks for, its lists, its limits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from config.errors import gettext_noop
from connectors.adapters import PACE_FIELDS, Connector, ConsentPage, CredentialField, RateLimit
from connectors.adapters.consent import make_address_field
from connectors.channels.tmall.client import TmallClient
from connectors.channels.tmall.lists import CREATED, MODIFIED
from connectors.channels.tmall.mapping import CHANNEL, STAGES, map_order
from connectors.orders.canonical import CanonicalRecord
from connectors.wire import Mapped


def map_trade(
    payload: object, *, shop: str, stages: Mapping[str, str] | None = None
) -> Mapped[CanonicalRecord]:
    """The order of a trade; `stages` None: the shipped table."""
    return map_order(payload, shop=shop, stages=STAGES if stages is None else stages)


def write_consent(config: Mapping[str, Any], callback: str, state: str) -> dict[str, str]:
    """The parameters of TOP's authorisation page (its manual's page "用户授权介绍").

    `redirect_uri` has to be on the domain that the application registered. A seller who refuses
    comes back with error=access_denied.
    """
    return {
        "response_type": "code",
        "client_id": str(config.get("app_key") or ""),
        "redirect_uri": callback,
        "state": state,
        "view": "web",
    }


CONSENT: Final = ConsentPage(
    address="https://oauth.taobao.com/authorize",
    needs=("app_key", "app_secret"),
    write_query=write_consent,
    account_field="seller_nick",
    names_shop=gettext_noop("店铺主账号"),
)

CONNECTOR: Final = Connector(
    code=CHANNEL,
    label=gettext_noop("天猫 / 淘宝"),
    kind="channel",
    base_url="https://eco.taobao.com",
    has_queue=True,
    fields=(
        CredentialField(
            "app_key",
            gettext_noop("App Key"),
            help=gettext_noop("淘宝开放平台控制台 → 应用管理 → 应用概览"),
            placeholder="12345678",
        ),
        CredentialField(
            "app_secret",
            gettext_noop("App Secret"),
            is_secret=True,
            help=gettext_noop("和 App Key 在同一页，点“查看”后复制"),
        ),
        CredentialField(
            "access_token",
            gettext_noop("访问令牌（session）"),
            is_secret=True,
            help=gettext_noop("点「去授权」会自动取得；也可以粘贴授权回调里的 access_token"),
        ),
        CredentialField(
            "refresh_token",
            gettext_noop("刷新令牌"),
            is_secret=True,
            is_required=False,
            help=gettext_noop("授权回调里的 refresh_token；没有就不填，到期前会提醒重新授权"),
        ),
        CredentialField(
            "seller_nick",
            gettext_noop("店铺主账号"),
            is_required=False,
            help=gettext_noop("多个店铺共用一个应用时填写：只取这个账号的消息"),
        ),
        CredentialField(
            "group_name",
            gettext_noop("消息分组"),
            is_required=False,
            is_rare=True,
            help=gettext_noop("开放平台控制台 → 消息服务 → 用户分组；没有分组就不填"),
        ),
        make_address_field(CONSENT.address),
        *PACE_FIELDS,
    ),
    open=TmallClient,
    map_order=map_trade,
    stages=STAGES,
    streams={"modified": MODIFIED, "created": CREATED},
    # channels.md tells no figure for TOP: this is far below what code 7 was seen for. The quota of
    # a day differs by application and is shown by its own console.
    limit=RateLimit(per_second=10.0, burst=20),
    help=gettext_noop(
        "需要订单管理类权限的应用。除了定时读取，还会每 20 秒消费一次平台消息；"
        "请先在控制台开通消息服务。"
    ),
    consent=CONSENT,
)
