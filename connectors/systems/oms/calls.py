"""How a call to an OMS is written and its answer judged, by the form. Pure."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit, urlunsplit

from config.errors import BadInput, gettext_noop
from connectors.adapters import VendorRefusal
from connectors.http import RETRY_BY_STATUS, ConnectorError, Response, Retry
from connectors.systems.calls import check_status, refuse_answer
from connectors.systems.oms.paths import MISSING, check_depth, find, parse_path
from connectors.systems.oms.spec import OmsSpec
from connectors.wire import SHANGHAI, Fault, PayloadError, read_json

MAX_URL = 4000
LOGIN = Fault(Retry.NEVER, gettext_noop("认证没有通过：请核对认证方式、密钥和对方的 IP 白名单"))
NO_PLACE = Fault(Retry.NEVER, gettext_noop("对方没有这个路径，或没有这张订单"))
_BUSY = Fault(Retry.LATER, gettext_noop("调用太快，被对方限流"))
CONFLICT = Fault(Retry.NEVER, gettext_noop("对方拒绝了操作：订单的状态不允许"))
_ASKED_WRONG = Fault(Retry.NEVER, gettext_noop("对方说请求不对：请核对路径、参数名和时间格式"))
_BY_STATUS: Mapping[int, Fault] = {
    401: LOGIN, 403: LOGIN, 404: NO_PLACE, 409: CONFLICT, 422: CONFLICT, 423: CONFLICT,
    429: _BUSY,
}  # fmt: skip
_NOT_OK = Fault(Retry.NEVER, gettext_noop("对方的应答说没有成功"))


def write_moment(moment: datetime, time_format: str) -> str:
    """A moment as the list's parameters want it, to the second."""
    if time_format == "unix":
        return str(int(moment.timestamp()))
    if time_format == "unix_ms":
        return str(int(moment.timestamp()) * 1000)
    local = moment.astimezone(SHANGHAI)
    if time_format == "rfc3339":
        return local.isoformat(timespec="seconds")
    return local.strftime("%Y-%m-%d %H:%M:%S")


def list_window(spec: OmsSpec, start: datetime, end: datetime) -> dict[str, str]:
    """The parameters of a window; a second more than asked, for ends may be left out there."""
    if not spec.start_name:
        return {}
    return {
        spec.start_name: write_moment(start, spec.time_format),
        spec.end_name: write_moment(end + timedelta(seconds=1), spec.time_format),
    }


def resolve_link(base_url: str, current: str, link: object) -> str:
    """The address of a next page; it has to stay with the OMS, for our credentials go along.

    Raises ConnectorError for one that leads elsewhere.
    """
    if not isinstance(link, str) or len(link) > MAX_URL or any(c.isspace() for c in link):
        raise _refuse_link()
    try:
        target, home = urlsplit(urljoin(current, link)), urlsplit(base_url)
        is_home = (target.scheme, target.hostname, target.port) == (
            home.scheme,
            home.hostname,
            home.port,
        )
    except ValueError:
        raise _refuse_link() from None
    if not is_home or target.username is not None or target.fragment:
        raise _refuse_link()
    return urlunsplit(target)


def _refuse_link() -> ConnectorError:
    return ConnectorError(
        gettext_noop("应答里的下一页链接不在连接填写的地址下，没有跟过去：请核对接口地址"),
        code="foreign_link",
    )


def authorise(
    spec: OmsSpec, *, secret: str, method: str, url: str, body: bytes, now: datetime, nonce: str
) -> tuple[str, dict[str, str]]:
    """The address and headers of a call with what authenticates it."""
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in secret):
        raise ConnectorError(gettext_noop("密钥里有换行或控制字符，请重新填写"), code="bad_secret")
    if spec.auth_kind == "bearer":
        return url, {"Authorization": f"Bearer {secret}"}
    if spec.auth_kind == "header":
        return url, {spec.auth_header: secret}
    if spec.auth_kind == "basic":
        pair = base64.b64encode(f"{spec.auth_user}:{secret}".encode()).decode()
        return url, {"Authorization": f"Basic {pair}"}
    if spec.auth_kind == "signature":
        return _sign(spec, secret, method, url, body, now, nonce), {}
    return url, {}


def _sign(
    spec: OmsSpec, secret: str, method: str, url: str, body: bytes, now: datetime, nonce: str
) -> str:
    """The address with application, time, nonce and the lower-case hex HMAC-SHA256 of it all."""
    parts = urlsplit(url)
    params = dict(parse_qsl(parts.query, keep_blank_values=True))
    params |= {spec.sign_key_name: spec.sign_key, spec.sign_time_name: str(int(now.timestamp()))}
    if spec.sign_nonce_name:
        params[spec.sign_nonce_name] = nonce
    params.pop(spec.sign_name, None)
    names = sorted(params)
    if spec.sign_joint == "lines":
        pairs = "&".join(f"{name}={params[name]}" for name in names)
        text = f"{method}\n{parts.path}\n{pairs}\n"
    elif spec.sign_joint == "pairs":
        text = "&".join(f"{name}={params[name]}" for name in names)
    else:
        text = "".join(f"{name}{params[name]}" for name in names)
    params[spec.sign_name] = hmac.new(
        secret.encode(), text.encode() + body, hashlib.sha256
    ).hexdigest()
    return urlunsplit(parts._replace(query=urlencode(params)))


def read_answer(response: Response, spec: OmsSpec) -> object:
    """The value of a good answer.

    Raises VendorRefusal for a refusal, ConnectorError for what is no answer or cannot be read.
    """
    try:
        value = read_json(response.body)
        check_depth(value)
    except BadInput as error:
        _judge_status(response, "")
        raise refuse_answer(error) from error
    _judge_status(response, _find_code(value, spec))
    if spec.ok_path:
        told = _write_scalar(find(value, parse_path(spec.ok_path)))
        if told != spec.ok_value.lower():
            raise VendorRefusal(_NOT_OK, vendor_code=_find_code(value, spec) or told[:60])
    return value


def _judge_status(response: Response, code: str) -> None:
    status = response.status
    if 200 <= status < 300:
        return
    vendor_code = code or str(status)
    if status in _BY_STATUS:
        pause = response.headers.get("retry-after", "")
        raise VendorRefusal(
            _BY_STATUS[status],
            vendor_code=vendor_code,
            pause_seconds=int(pause)
            if pause.isascii() and pause.isdigit() and len(pause) < 6
            else None,
        )
    if 300 <= status < 400:
        check_status(response)
    if 400 <= status < 500 and status not in RETRY_BY_STATUS:
        raise VendorRefusal(_ASKED_WRONG, vendor_code=vendor_code)
    raise ConnectorError(
        gettext_noop("对方返回 HTTP %(status)s"),
        code="http_status",
        retry=RETRY_BY_STATUS.get(status, Retry.NEVER),
        vendor_code=vendor_code,
        status=status,
    )


def _find_code(value: object, spec: OmsSpec) -> str:
    if not spec.code_path:
        return ""
    return _write_scalar(find(value, parse_path(spec.code_path)))[:60]


def _write_scalar(value: object) -> str:
    """A flag of an answer as the form compares it: in lower case, true and false as words."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value).lower() if isinstance(value, str | int) else ""


def find_rows(value: object, spec: OmsSpec, *, limit: int) -> list[Mapping[str, object]]:
    """The rows of a list's answer; an empty list may be left out or null.

    Raises PayloadError naming the picked path.
    """
    path = spec.rows_path or "$"
    rows = find(value, parse_path(spec.rows_path))
    if rows is None:
        return []
    if rows is MISSING:
        # Nothing at all of the way: the path is wrong. Only its last step missing: no rows.
        steps = parse_path(spec.rows_path)
        if not isinstance(find(value, steps[:-1]), Mapping):
            raise PayloadError(
                gettext_noop("应答里没有 %(field)s：请在样例里重新选订单列表的位置"), field=path
            )
        return []
    if not isinstance(rows, list):
        raise PayloadError(
            gettext_noop("应答里的 %(field)s 不是列表：请在样例里重新选订单列表的位置"), field=path
        )
    if len(rows) > limit:
        raise PayloadError(
            gettext_noop("应答一页有 %(count)d 条，超过 %(limit)d 条：请把每页条数调小"),
            field=path,
            count=len(rows),
            limit=limit,
        )
    for index, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise PayloadError(
                gettext_noop("应答里的 %(field)s 不是对象：请在样例里重新选订单列表的位置"),
                field=f"{path}[{index}]",
            )
    return rows


def find_total(value: object, spec: OmsSpec) -> int | None:
    """How many rows the window has, where the form says where that stands."""
    if not spec.total_path:
        return None
    told = find(value, parse_path(spec.total_path))
    if isinstance(told, str) and told.isascii() and told.isdigit() and len(told) < 12:
        told = int(told)
    if isinstance(told, bool) or not isinstance(told, int) or not 0 <= told < 10**12:
        raise PayloadError(
            gettext_noop("应答里的 %(field)s 不是总数：请在样例里重新选，或清空总数的位置"),
            field=spec.total_path,
        )
    return told


def write_body(content: Mapping[str, object]) -> bytes:
    """A JSON body."""
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
