"""TOP's sessions: what a seller's consent gives, how it is refreshed, and the OAuth door."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from connectors.simulators.consent import LOOPBACK, answer_consent, is_web_address, refuse_page
from connectors.simulators.keys import PlatformKeys, ShopToken
from connectors.simulators.tmall_wire import Refusal
from connectors.simulators.wire import Answer, Call, json_answer

CODE_LIVES = timedelta(minutes=10)  # not stated in channels.md


@dataclass
class _Session:
    shop: ShopToken
    ends: datetime


class Sessions:
    """The sessions of one app. A refresh gives new tokens and ends the old ones at once."""

    def __init__(self, keys: PlatformKeys, now: datetime, lives: timedelta) -> None:
        self._keys, self._lives = keys, lives
        self._lock = threading.Lock()
        self._sessions = {token.access_token: _Session(token, now + lives) for token in keys.shops}
        self._refreshes = {token.refresh_token: token for token in keys.shops}
        self._codes: dict[str, tuple[ShopToken, datetime]] = {}
        # The domains an application registered for the way back.
        self.callback_hosts: frozenset[str] = LOOPBACK
        self.on_granted: Callable[[], None] = lambda: None

    def find(self, session: str, at: datetime) -> ShopToken:
        """The shop of a session; refuses one that is missing, unknown or over."""
        if not session:
            raise Refusal(26, "Missing Session", "isv.missing-session")
        found = self._sessions.get(session)
        if found is None or found.ends <= at:
            raise Refusal(27, "Invalid Session", "invalid-sessionkey", "SessionKey非法")
        return found.shop

    def authorise(self, shop: str, now: datetime) -> str:
        """What the seller's consent gives: a code, good for one token and for ten minutes."""
        code = secrets.token_hex(8)
        self._codes[code] = (self._keys.token_of(shop), now + CODE_LIVES)
        return code

    def answer_authorise(self, call: Call) -> Answer:
        """The page on which a seller agrees. An address that is not registered is not gone to.

        Parameters and the answer of a seller who refuses as the platform's page "用户授权介绍"
        tells them (read in a public copy): response_type, client_id, redirect_uri, state, view.
        """
        query = dict(call.query)
        callback = query.get("redirect_uri", "")
        if query.get("response_type") != "code":
            return refuse_page("response_type 应为 code")
        if query.get("client_id") != self._keys.app_key:
            return refuse_page("client_id 对应的应用不存在")
        if not is_web_address(callback) or urlsplit(callback).hostname not in self.callback_hosts:
            return refuse_page("redirect_uri 与应用登记的回调地址不符")
        return answer_consent(
            call,
            platform="淘宝开放平台 · 授权",
            application=self._keys.app_key,
            shops=[token.shop for token in self._keys.shops],
            give_code=self.authorise,
            callback=callback,
            refusal={"error": "access_denied", "error_description": "authorize reject"},
        )

    def export(self) -> dict[str, list[str]]:
        """What every shop holds now, to be kept over a restart."""
        with self._lock:
            refreshes = {shop.shop: token for token, shop in self._refreshes.items()}
            return {
                held.shop.shop: [access, refreshes.get(held.shop.shop, ""), held.ends.isoformat()]
                for access, held in self._sessions.items()
            }

    def restore(self, kept: Mapping[str, Sequence[str]]) -> None:
        """Go on with what shops held before; one nobody knows any more is left out."""
        known = {token.shop: token for token in self._keys.shops}
        for name, (access, refresh, ends) in kept.items():
            if (shop := known.get(name)) is None:
                continue
            self._sessions = _without(self._sessions, shop, lambda session: session.shop)
            self._refreshes = _without(self._refreshes, shop, lambda token: token)
            self._sessions[access] = _Session(shop, datetime.fromisoformat(ends))
            if refresh:
                self._refreshes[refresh] = shop

    def expire(self, shop: str, now: datetime) -> None:
        """End the sessions of a shop."""
        for session in self._sessions.values():
            if session.shop.shop == shop:
                session.ends = now

    def create(self, code: str, now: datetime) -> dict[str, Any]:
        """The tokens for a code, which is used up."""
        with self._lock:
            shop, ends = self._codes.pop(code, (None, now))
        return self._grant(shop if now < ends else None, now)

    def refresh(self, token: str, now: datetime) -> dict[str, Any]:
        """New tokens for a refresh token, which is used up."""
        with self._lock:
            shop = self._refreshes.pop(token, None)
        return self._grant(shop, now)

    def _grant(self, shop: ShopToken | None, now: datetime) -> dict[str, Any]:
        if shop is None:
            raise Refusal(15, "Remote service error", "isv.invalid-grant", "code或token无效")
        access, refresh = f"6{secrets.token_hex(16)}", f"6{secrets.token_hex(16)}"
        with self._lock:
            self._sessions = _without(self._sessions, shop, lambda session: session.shop)
            self._refreshes = _without(self._refreshes, shop, lambda token: token)
            self._sessions[access] = _Session(shop, now + self._lives)
            self._refreshes[refresh] = shop
        self.on_granted()
        lives = int(self._lives.total_seconds())
        levels = dict.fromkeys(("r1", "r2", "w1", "w2"), lives)
        return {
            "access_token": access,
            "token_type": "Bearer",
            "expires_in": lives,
            "refresh_token": refresh,
            "re_expires_in": lives,
            **{f"{level}_expires_in": span for level, span in levels.items()},
            "taobao_user_id": shop.shop_id,
            "taobao_user_nick": shop.shop,
        }

    def answer_oauth(self, call: Call) -> Answer:
        """The token door: form in, JSON out, refusals with HTTP 400."""
        params = dict(call.form)
        kind = params.get("grant_type", "")
        if call.method != "POST" or kind not in {"authorization_code", "refresh_token"}:
            return _refuse("unsupported_grant_type", "grant_type")
        right = (self._keys.app_key, self._keys.secret)
        if (params.get("client_id"), params.get("client_secret")) != right:
            return _refuse("invalid_client", "client_secret error")
        try:
            if kind == "refresh_token":
                return json_answer(self.refresh(params.get("refresh_token", ""), call.at))
            return json_answer(self.create(params.get("code", ""), call.at))
        except Refusal as refusal:
            return _refuse("invalid_grant", str(refusal.content["sub_msg"]))


def _without(
    held: Mapping[str, Any], shop: ShopToken, shop_of: Callable[[Any], ShopToken]
) -> dict[str, Any]:
    return {key: one for key, one in held.items() if shop_of(one).shop != shop.shop}


def _refuse(error: str, words: str) -> Answer:
    return json_answer({"error": error, "error_description": words}, 400)
