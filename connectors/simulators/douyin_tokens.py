"""Douyin's tokens: 7 and 14 days, and the refresh that gives the same ones until the last hour."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from connectors.simulators.keys import ShopToken

ACCESS_LIVES, REFRESH_LIVES = timedelta(days=7), timedelta(days=14)
LAST_HOUR = timedelta(hours=1)
CODE_LIVES = timedelta(minutes=10)


class TokenRefusal(Exception):
    """Why no token is given: the end of the platform's sub_code."""


@dataclass
class Grant:
    """What a shop holds right now."""

    shop: ShopToken
    access: str
    refresh: str
    ends: datetime
    refresh_ends: datetime


class Tokens:
    """The tokens of one app."""

    def __init__(self, shops: Sequence[ShopToken], now: datetime) -> None:
        self._lock = threading.Lock()
        self.shops = {token.shop: token for token in shops}
        self._grants = {
            token.shop: Grant(
                token,
                token.access_token,
                token.refresh_token,
                now + ACCESS_LIVES,
                now + REFRESH_LIVES,
            )
            for token in shops
        }
        # Outlived tokens that are still good for a while, and all that ever were.
        self._old: dict[str, tuple[str, datetime]] = {}
        self._codes: dict[str, tuple[str, datetime]] = {}
        self._dead: set[str] = set()
        self.closed: set[str] = set()  # shops that took their authorisation back
        self.on_granted: Callable[[], None] = lambda: None

    def authorise(self, shop: str, now: datetime) -> str:
        """What a shop's consent gives: a code, good once and for ten minutes."""
        code = secrets.token_hex(16)
        self._codes[code] = (shop, now + CODE_LIVES)
        return code

    def find(self, access: str, now: datetime) -> tuple[ShopToken | None, bool]:
        """The shop of an access token, and whether the token was ever known."""
        with self._lock:
            for grant in self._grants.values():
                if grant.access == access:
                    return (grant.shop if now < grant.ends else None), True
            shop, ends = self._old.get(access, ("", now))
            if now < ends:
                return self.shops[shop], True
            return None, access in self._dead or access in self._old

    def create(self, code: str, now: datetime) -> Grant:
        """Tokens for a code."""
        shop, ends = self._codes.pop(code, ("", now))
        if not shop:
            raise TokenRefusal("code-invalid")
        if now >= ends:
            raise TokenRefusal("code-expired")
        return self._renew(shop, now)

    def create_self(self, shop_id: str, now: datetime) -> Grant:
        """Tokens for a self-use app: the same ones while they live."""
        for shop in self.shops.values():
            if shop.shop_id == shop_id:
                grant = self._grants[shop.shop]
                return grant if now < grant.ends - LAST_HOUR else self._renew(shop.shop, now)
        raise TokenRefusal("no-authorization")

    def refresh(self, token: str, now: datetime) -> Grant:
        """Earlier than an hour before the end the same tokens come back; in the last hour new ones,
        while the old live an hour more; after the end new ones, the old are dead."""
        with self._lock:
            grant = next((g for g in self._grants.values() if g.refresh == token), None)
            if grant is None and token in self._old and now < self._old[token][1]:
                return self._grants[self._old[token][0]]
        if grant is None:
            raise TokenRefusal("token-invalid")
        if now >= grant.refresh_ends:
            raise TokenRefusal("token-expired")
        if now < grant.ends - LAST_HOUR:
            return grant
        return self._renew(grant.shop.shop, now)

    def _renew(self, shop: str, now: datetime) -> Grant:
        with self._lock:
            old = self._grants[shop]
            for token in (old.access, old.refresh):
                if now < old.ends:
                    self._old[token] = (shop, now + LAST_HOUR)
                else:
                    self._dead.add(token)
            made = Grant(
                old.shop,
                f"act.{secrets.token_hex(16)}",
                f"rft.{secrets.token_hex(16)}",
                now + ACCESS_LIVES,
                now + REFRESH_LIVES,
            )
            self._grants[shop] = made
        self.on_granted()
        return made

    def export(self) -> dict[str, list[str]]:
        """What every shop holds now, to be kept over a restart."""
        with self._lock:
            return {
                name: [g.access, g.refresh, g.ends.isoformat(), g.refresh_ends.isoformat()]
                for name, g in self._grants.items()
            }

    def restore(self, kept: Mapping[str, Sequence[str]]) -> None:
        """Go on with what shops held before; one nobody knows any more is left out."""
        for name, (access, refresh, ends, refresh_ends) in kept.items():
            if name in self.shops:
                self._grants[name] = Grant(
                    self.shops[name],
                    access,
                    refresh,
                    datetime.fromisoformat(ends),
                    datetime.fromisoformat(refresh_ends),
                )
