"""The adapter of Douyin shop (抖店): what its form asks for, its lists, its pushes, its limits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from config.errors import gettext_noop
from connectors.adapters import PACE_FIELDS, Connector, ConsentPage, CredentialField, RateLimit
from connectors.adapters.consent import make_address_field
from connectors.channels.douyin.client import DouyinClient, is_in_review
from connectors.channels.douyin.lists import CREATED, MODIFIED, REVIEW
from connectors.channels.douyin.mapping import CHANNEL, STAGES, map_order
from connectors.channels.douyin.push import DouyinPush
from connectors.orders.canonical import CanonicalRecord
from connectors.wire import Mapped


def map_listed(
    payload: object,
    *,
    shop: str,
    stages: Mapping[str, str] | None = None,
    in_risk_review: bool = False,
) -> Mapped[CanonicalRecord]:
    """The order of a list or a detail.

    `in_risk_review`: the stream "review" names it; what its own detail says counts more.
    `stages` None: the shipped table.
    """
    is_reviewed = is_in_review(payload, is_listed=in_risk_review)
    return map_order(
        payload,
        shop=shop,
        in_risk_review=is_reviewed,
        stages=STAGES if stages is None else stages,
    )


def write_consent(config: Mapping[str, Any], callback: str, state: str) -> dict[str, str]:
    """The parameters of the service market's page; the way back is registered, not sent.

    Address and parameters read in public SDKs. Not confirmed: what comes back when a shop refuses.
    """
    return {"service_id": str(config.get("service_id") or ""), "state": state}


CONSENT: Final = ConsentPage(
    address="https://fuwu.jinritemai.com/authorize",
    needs=("app_key", "app_secret", "service_id"),
    write_query=write_consent,
    sends_callback=False,
    id_field="shop_id",
    names_shop=gettext_noop("店铺 ID"),
    own_needs=("app_key", "app_secret", "shop_id"),
)

CONNECTOR: Final = Connector(
    code=CHANNEL,
    label=gettext_noop("抖音（抖店）"),
    kind="channel",
    base_url="https://openapi-fxg.jinritemai.com",
    fields=(
        CredentialField(
            "app_key",
            gettext_noop("App Key"),
            help=gettext_noop("抖店开放平台 → 控制台 → 应用详情"),
            placeholder="7000000000000000001",
        ),
        CredentialField(
            "app_secret",
            gettext_noop("App Secret"),
            is_secret=True,
            help=gettext_noop("和 App Key 在同一页，点“查看”后复制；推送也用它验签"),
        ),
        CredentialField(
            "service_id",
            gettext_noop("服务 ID"),
            is_required=False,
            help=gettext_noop("工具型应用填：服务市场 → 我的服务里的编号，去授权时要用"),
        ),
        CredentialField(
            "shop_id",
            gettext_noop("店铺 ID"),
            is_required=False,
            help=gettext_noop("自用型应用填：抖店后台右上角的店铺 ID；不用跳转就能取得授权"),
        ),
        CredentialField(
            "access_token",
            gettext_noop("访问令牌"),
            is_secret=True,
            help=gettext_noop(
                "点「去授权」会自动取得；也可以粘贴 access_token，有效 7 天，会自动刷新"
            ),
        ),
        CredentialField(
            "refresh_token",
            gettext_noop("刷新令牌"),
            is_secret=True,
            help=gettext_noop("和访问令牌一起取得，有效 14 天；停用超过 14 天须重新授权"),
        ),
        CredentialField(
            "previous_app_secret",
            gettext_noop("更换前的 App Secret"),
            is_secret=True,
            is_required=False,
            is_rare=True,
            help=gettext_noop("只在更换密钥的当天填写：旧密钥签名的推送也会收下"),
        ),
        make_address_field(CONSENT.address),
        *PACE_FIELDS,
    ),
    open=DouyinClient,
    map_order=map_listed,
    stages=STAGES,
    streams={"modified": MODIFIED, "created": CREATED, "review": REVIEW},
    push=DouyinPush(),
    # channels.md tells no figure for code 60000: an ordinary pace, and the pause when it comes.
    limit=RateLimit(per_second=10.0, burst=20),
    help=gettext_noop(
        "需要订单权限包，并把服务器的出口 IP 加进白名单。"
        "在开放平台的消息推送里填入本页给出的地址，订阅交易类消息，几秒内就能收到变化。"
    ),
    consent=CONSENT,
)
