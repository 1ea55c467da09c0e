"""Shops and sources: found or made by name, and how fresh each feed is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from connectors.shops.models import Channel, Shop, Source, SourceKind

# Platform names as people and exports write them.
_CHANNEL_WORDS: dict[str, str] = {
    "天猫": Channel.TMALL,
    "淘宝": Channel.TMALL,
    "抖音": Channel.DOUYIN,
    "抖店": Channel.DOUYIN,
    "京东": Channel.JD,
    "拼多多": Channel.PINDUODUO,
    "快手": Channel.KUAISHOU,
    "快手小店": Channel.KUAISHOU,
    "微信小店": Channel.WECHAT_SHOP,
    "视频号": Channel.WECHAT_SHOP,
    "视频号小店": Channel.WECHAT_SHOP,
    "私域小程序": Channel.PRIVATE_MALL,
    "小程序": Channel.PRIVATE_MALL,
    "小程序商城": Channel.PRIVATE_MALL,
    "自有商城": Channel.PRIVATE_MALL,
}


def get_channel_code(word: str) -> str:
    """The code of a channel written as a code or in Chinese; `other` when unknown."""
    word = word.strip()
    if word in Channel.values:
        return word
    return _CHANNEL_WORDS.get(word, Channel.OTHER)


def get_or_create_shop(channel: str, name: str) -> Shop:
    """The shop of this name on this channel, in the environment in force."""
    shop, _ = Shop.objects.get_or_create(channel=channel, name=name[:100])
    return shop


def get_or_create_source(
    *, kind: str, name: str, shop: Shop | None = None, lateness_minutes: int = 30
) -> Source:
    """The feed of this kind and name, in the environment in force."""
    source, _ = Source.objects.get_or_create(
        kind=kind, name=name[:100], defaults={"shop": shop, "lateness_minutes": lateness_minutes}
    )
    return source


def record_freshness(source: Source, *, complete_until: datetime, now: datetime) -> None:
    """Move a feed's `complete_until` forward (never back) and note that it spoke."""
    if source.complete_until is None or complete_until > source.complete_until:
        source.complete_until = complete_until
    source.last_received_at = now
    source.save(update_fields=["complete_until", "last_received_at"])


@dataclass(frozen=True)
class Freshness:
    """How far one kind of source is known: the oldest moment over its feeds.

    `complete_until` is None when no such source is connected (未接入).
    """

    kind: str
    complete_until: datetime | None
    is_late: bool

    @property
    def is_connected(self) -> bool:
        return self.complete_until is not None


def summarise_freshness(sources: Iterable[Source], now: datetime) -> dict[str, Freshness]:
    """Freshness per kind: a kind is as fresh as its latest-lagging feed."""
    oldest: dict[str, datetime] = {}
    late: set[str] = set()
    for source in sources:
        if source.complete_until is None:
            continue
        until = min(source.complete_until, now)
        oldest[source.kind] = min(oldest.get(source.kind, until), until)
        if now - until > timedelta(minutes=source.lateness_minutes):
            late.add(source.kind)
    return {
        kind: Freshness(kind=kind, complete_until=oldest.get(kind), is_late=kind in late)
        for kind in SourceKind.values
    }
