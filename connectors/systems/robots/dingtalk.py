"""DingTalk's custom group robot (自定义机器人; channels.md 11.1).

The platform answers HTTP 200 whatever happened: only `errcode` in the body counts.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import datetime
from urllib.parse import quote

from config.errors import gettext_noop
from connectors.http import RETRY_BY_STATUS, ConnectorError, Request, Response, Retry
from connectors.systems.robots.base import RobotAddress, RobotMessage, RobotReceipt
from connectors.systems.robots.text import write_plain

MAX_BODY_BYTES = 20_000
_CUT = "\n\n……（内容过长，其余请在页面查看）"

# errcode -> what may be done, what a person reads. An unknown code is NEVER.
ERRCODES: Mapping[int, tuple[Retry, str]] = {
    -1: (Retry.LATER, gettext_noop("钉钉系统繁忙")),
    130101: (Retry.LATER, gettext_noop("发送太快，被钉钉限流")),
    410100: (Retry.LATER, gettext_noop("发送太快，被钉钉限流")),
    90030: (Retry.LATER, gettext_noop("超出钉钉的调用上限")),
    310000: (Retry.NEVER, gettext_noop("机器人安全设置不符：核对加签密钥、关键词和 IP 白名单")),
    300001: (Retry.NEVER, gettext_noop("机器人令牌不存在：核对 Webhook 地址")),
    300005: (Retry.NEVER, gettext_noop("机器人令牌不存在：核对 Webhook 地址")),
    400101: (Retry.NEVER, gettext_noop("机器人令牌不存在：核对 Webhook 地址")),
    400106: (Retry.NEVER, gettext_noop("机器人不存在：它可能已被移出群")),
    400013: (Retry.NEVER, gettext_noop("群已解散：换一个群的机器人")),
    400102: (Retry.NEVER, gettext_noop("机器人已被停用：在群设置里启用")),
    400105: (Retry.NEVER, gettext_noop("不支持的消息类型")),
    40035: (Retry.NEVER, gettext_noop("缺少参数或参数不对")),
    43002: (Retry.NEVER, gettext_noop("请求方式不对")),
    43004: (Retry.NEVER, gettext_noop("内容类型不对")),
}


def sign(secret: str, timestamp_ms: int) -> str:
    """The signature in base64, not yet URL-encoded: HMAC-SHA256 of "{ms}\\n{secret}"."""
    message = f"{timestamp_ms}\n{secret}".encode()
    return base64.b64encode(hmac.new(secret.encode(), message, hashlib.sha256).digest()).decode()


def build_request(
    address: RobotAddress,
    message: RobotMessage,
    *,
    now: datetime,
    allowed: frozenset[tuple[str, int]] = frozenset(),
) -> Request:
    """The signed call. The signature is URL-encoded exactly once."""
    url = address.webhook
    if address.secret:
        timestamp = int(now.timestamp() * 1000)
        mark = "&" if "?" in url else "?"
        url += f"{mark}timestamp={timestamp}&sign={quote(sign(address.secret, timestamp), safe='')}"
    return Request(
        "POST",
        url,
        headers={"Content-Type": "application/json; charset=utf-8"},
        body=write_body(address, message),
        allowed=allowed,
    )


def write_body(address: RobotAddress, message: RobotMessage) -> bytes:
    """The JSON body, at most MAX_BODY_BYTES; a text that is too long is cut at a line.

    A mobile number is a mention only when the text shows it too; a keyword robot drops every
    message without its keyword.
    """
    tail = "".join(f" @{mobile}" for mobile in message.at_mobiles)
    if address.keyword and address.keyword not in message.text:
        tail += f"\n\n{address.keyword}"
    lines, is_cut = message.text.split("\n"), False
    while True:
        text = "\n".join(lines) + (_CUT if is_cut else "") + (f"\n\n{tail.strip()}" if tail else "")
        body = json.dumps(
            {
                "msgtype": "markdown",
                "markdown": {"title": message.title, "text": text},
                "at": {"isAtAll": message.at_all, "atMobiles": list(message.at_mobiles)},
            },
            ensure_ascii=False,
        ).encode()
        if len(body) <= MAX_BODY_BYTES or not lines:
            return body
        lines, is_cut = lines[:-1], True


def read_answer(response: Response) -> RobotReceipt:
    """The receipt, or a ConnectorError with the class of retry the platform's answer allows."""
    if response.status != 200:
        raise ConnectorError(
            gettext_noop("钉钉返回 HTTP %(status)s"),
            code="robot_http",
            retry=RETRY_BY_STATUS.get(response.status, Retry.NEVER),
            vendor_code=str(response.status),
            status=response.status,
        )
    answer = response.json()
    if not isinstance(answer, dict) or "errcode" not in answer:
        is_throttled = isinstance(answer, dict) and answer.get("punish") == "deny"
        raise ConnectorError(
            gettext_noop("钉钉的网关限流") if is_throttled else gettext_noop("钉钉的应答看不懂"),
            code="robot_refused",
            retry=Retry.LATER if is_throttled else Retry.AMBIGUOUS,
            vendor_code=str(answer.get("status", "")) if is_throttled else "",
        )
    code, words = answer["errcode"], write_plain(str(answer.get("errmsg", "")), limit=200)
    if code == 0:
        return RobotReceipt(vendor_code="0", words=words)
    retry, meaning = ERRCODES.get(code, (Retry.NEVER, gettext_noop("钉钉拒收")))
    raise ConnectorError(
        gettext_noop("%(meaning)s（errcode %(errcode)s：%(errmsg)s）"),
        code="robot_refused",
        retry=retry,
        vendor_code=str(code),
        meaning=meaning,
        errcode=code,
        errmsg=words,
    )
