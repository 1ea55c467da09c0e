"""The adapter of the own mall: what its form asks for, its list, its pushes, its limits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from config.errors import gettext_noop
from connectors.adapters import PACE_FIELDS, Access, Connector, CredentialField, RateLimit
from connectors.channels.private_mall.client import PrivateMallClient
from connectors.channels.private_mall.lists import MODIFIED
from connectors.channels.private_mall.mapping import CHANNEL, STAGES, map_order
from connectors.channels.private_mall.push import PrivateMallPush
from connectors.orders.canonical import CanonicalRecord
from connectors.wire import Mapped


def map_listed(
    payload: object, *, shop: str, stages: Mapping[str, str] | None = None
) -> Mapped[CanonicalRecord]:
    """The order of the list, of a single call or of a push; `stages` None: the shipped words."""
    return map_order(payload, shop=shop, stages=STAGES if stages is None else stages)


def open_client(access: Access) -> PrivateMallClient:
    """A client for one shop."""
    return PrivateMallClient(access)


CONNECTOR: Final = Connector(
    code=CHANNEL,
    label=gettext_noop("自有商城 / 小程序"),
    kind="channel",
    base_url="",  # every shop has its own
    fields=(
        CredentialField(
            "secret",
            gettext_noop("签名密钥"),
            is_secret=True,
            help=gettext_noop(
                "whsec_ 开头，双方各存一份，推送和读取都用它签名；由商城的技术人员生成，"
                "解码后 24 到 64 字节"
            ),
            placeholder="whsec_…",
        ),
        CredentialField(
            "previous_secret",
            gettext_noop("更换前的签名密钥"),
            is_secret=True,
            is_required=False,
            help=gettext_noop("只在更换密钥期间填写：旧密钥签名的推送也会收下"),
        ),
        *PACE_FIELDS,
    ),
    open=open_client,
    map_order=map_listed,
    stages=STAGES,
    streams={"modified": MODIFIED},
    push=PrivateMallPush(),
    # A private shop is one small server: it says itself when it is too much (rate_limited).
    limit=RateLimit(per_second=5.0, burst=10),
    help=gettext_noop(
        "请把《自有商城接入格式》交给商城的技术人员：实现推送或读取之一即可，两种都做最稳。"
    ),
)
