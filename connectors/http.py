"""The only client door to the network.

One request, one answer: the name is resolved once, every address is judged, the connection goes
to a judged address (host name and certificate check kept), redirects are not followed, proxies
from environment variables are not used, and time and size are bounded whatever the other side
does. Nothing but the host is logged: paths and queries of webhooks are secrets.
"""

from __future__ import annotations

import ipaddress
import json
import logging
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError
from urllib3.util import Timeout

from config.errors import AppError, gettext_noop

CONNECT_SECONDS = 5.0
TOTAL_SECONDS = 15.0
MAX_BODY_BYTES = 5 * 1024 * 1024
_CHUNK = 64 * 1024
_MOST_MEMBERS = 16  # of one gzip body; thousands would cost a copy of the rest each
_PORTS = {"http": 80, "https": 443}

log = logging.getLogger(__name__)
# The library quotes whole addresses in its warnings, and an address may be a secret.
logging.getLogger("urllib3").setLevel(logging.CRITICAL)

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Resolver = Callable[[str, int], Sequence[str]]


class Retry(StrEnum):
    """What a caller may do after a failed call."""

    NEVER = "never"  # the same request fails again: a person has to change something
    SAFE = "safe"  # it did not take effect: send it again
    LATER = "later"  # it did not take effect and the other side asks for a pause
    AMBIGUOUS = "ambiguous"  # it was sent and nobody answered: it may have taken effect


class ConnectorError(AppError):
    """The outside world failed. `retry` says what may be done, `vendor_code` what they said."""

    code = "connector_error"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        retry: Retry = Retry.NEVER,
        vendor_code: str = "",
        **params: Any,
    ) -> None:
        super().__init__(message, code=code, **params)
        self.retry, self.vendor_code = retry, vendor_code

    @property
    def is_retriable(self) -> bool:
        return self.retry in {Retry.SAFE, Retry.LATER}


class AddressRefused(ConnectorError):
    """The target is not one this environment may reach."""

    code = "address_refused"


# HTTP status -> what a caller may do. Anything else from 400 up is NEVER.
RETRY_BY_STATUS: Mapping[int, Retry] = {
    408: Retry.SAFE,
    421: Retry.SAFE,
    425: Retry.LATER,
    429: Retry.LATER,
    500: Retry.AMBIGUOUS,  # it broke somewhere on the way: before or after taking effect
    502: Retry.AMBIGUOUS,
    503: Retry.LATER,
    504: Retry.AMBIGUOUS,
}

# Special-purpose networks (IANA registries) that `ipaddress` calls global or that carry another
# address inside: a NAT64 or 6to4 address of 127.0.0.1 is 127.0.0.1 (reliability 4.1).
_EMBEDDING: tuple[Network, ...] = tuple(
    ipaddress.ip_network(n)
    for n in (
        "64:ff9b::/96",  # NAT64
        "64:ff9b:1::/48",  # NAT64, local use
        "2002::/16",  # 6to4
        "2001::/32",  # Teredo
        "::ffff:0:0/96",  # IPv4-mapped
        "::/96",  # IPv4-compatible
        "::ffff:0:0:0/96",  # IPv4-translated
        "192.88.99.0/24",  # 6to4 relay anycast
        "192.0.0.0/24",  # IETF protocol assignments
        "100.64.0.0/10",  # carrier NAT, and cloud metadata at 100.100.100.200
        "5f00::/16",  # segment routing
        "3fff::/20",  # documentation
    )
)
# Never reachable, not even through an allow-list entry: cloud metadata lives here.
_NEVER: tuple[Network, ...] = tuple(
    ipaddress.ip_network(n)
    for n in ("169.254.0.0/16", "fe80::/10", "100.100.100.200/32", "fd00:ec2::254/128")
)


@dataclass(frozen=True)
class Request:
    """One call. `allowed` is the environment's allow-list of (host, port); see `shops.services`.

    `headers` and `url` may carry secrets: neither is logged nor part of an error.
    """

    method: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes | None = field(default=None, repr=False)
    allowed: frozenset[tuple[str, int]] = frozenset()
    total_seconds: float = TOTAL_SECONDS


@dataclass(frozen=True)
class Response:
    """What came back: any status; redirects are returned, not followed."""

    status: int
    headers: Mapping[str, str] = field(repr=False)  # names in lower case
    body: bytes = field(repr=False)

    def json(self) -> Any:
        """The body as JSON; raises ConnectorError (ambiguous: the call did arrive)."""
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise ConnectorError(
                gettext_noop("对方的应答不是有效的 JSON（HTTP %(status)s）"),
                code="bad_answer",
                retry=RETRY_BY_STATUS.get(self.status, Retry.AMBIGUOUS),
                vendor_code=str(self.status),
                status=self.status,
            ) from error


@dataclass(frozen=True)
class Target:
    """A judged URL: where to connect, and under which name."""

    scheme: str
    host: str
    port: int
    path: str = field(repr=False)
    address: str

    @property
    def host_header(self) -> str:
        name = f"[{self.host}]" if ":" in self.host else self.host
        return name if self.port == _PORTS[self.scheme] else f"{name}:{self.port}"


def resolve(host: str, port: int) -> Sequence[str]:
    """All addresses of a host by the system's resolver, in its order."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(row[4][0]).partition("%")[0] for row in found]


def is_public(address: Address) -> bool:
    """Whether an address is an ordinary one of the public internet."""
    return (
        address.is_global
        and not address.is_multicast
        and not address.is_reserved
        and not any(address.version == n.version and address in n for n in _EMBEDDING)
    )


def check_target(
    url: str,
    *,
    allowed: frozenset[tuple[str, int]] = frozenset(),
    resolver: Resolver = resolve,
) -> Target:
    """Judge a URL and pin its address; raises AddressRefused.

    Every address of the name must be allowed: one private answer among public ones refuses all.
    """
    if any(ord(c) <= 32 or ord(c) == 127 for c in url) or "\\" in url:
        raise AddressRefused(gettext_noop("目标地址不允许：网址里有空白或控制字符"))
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise AddressRefused(gettext_noop("目标地址不允许：不是有效的网址")) from error
    if parts.scheme not in _PORTS:
        raise AddressRefused(gettext_noop("目标地址不允许：只支持 http 和 https"))
    if parts.username is not None or parts.password is not None:
        raise AddressRefused(gettext_noop("目标地址不允许：网址里不能带用户名或密码"))
    host = check_host(parts.hostname or "")
    port = _PORTS[parts.scheme] if port is None else port
    is_listed = (host, port) in allowed
    if port not in _PORTS.values() and not is_listed:
        raise AddressRefused(
            gettext_noop(
                "目标地址不允许：端口只能是 80 或 443，其他端口须由 IT 登记到本环境的放行名单"
            )
        )
    for address in (found := _resolve(host, port, resolver)):
        if is_forbidden(address) or not (is_listed or is_public(address)):
            raise AddressRefused(
                gettext_noop(
                    "目标地址不允许：指向内网、本机或特殊网段，内网地址须由 IT 登记到本环境的放行名单"
                )
            )
    path = parts.path or "/"
    return Target(
        scheme=parts.scheme,
        host=host,
        port=port,
        path=f"{path}?{parts.query}" if parts.query else path,
        address=str(found[0]),
    )


def check_literal(url: str, *, allowed: frozenset[tuple[str, int]] = frozenset()) -> None:
    """Judge what a URL says by itself, asking for no name: for an address that is being stored.

    Raises AddressRefused. Where a name leads, the door judges at every call.
    """
    check_target(url, allowed=allowed, resolver=_read_literal)


def _read_literal(host: str, port: int) -> Sequence[str]:
    """The address a host is written as, in whichever notation; any public one for a name."""
    if host == "localhost" or host.endswith(".localhost"):
        return ["127.0.0.1"]
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        return ["1.1.1.1"]
    return [str(row[4][0]).partition("%")[0] for row in found]


def _resolve(host: str, port: int, resolver: Resolver) -> list[Address]:
    """All addresses of a host; a name that does not resolve is refused, never skipped."""
    try:
        found = [ipaddress.ip_address(text) for text in resolver(host, port)]
    except (OSError, ValueError) as error:
        raise AddressRefused(
            gettext_noop("目标地址不允许：域名无法解析"), code="name_not_resolved"
        ) from error
    if not found:
        raise AddressRefused(gettext_noop("目标地址不允许：域名无法解析"), code="name_not_resolved")
    return found


def is_forbidden(address: Address) -> bool:
    """Whether an address may not be reached even through the allow-list."""
    return (
        address.is_multicast
        or address.is_unspecified
        or any(address.version == n.version and address in n for n in _NEVER)
        or (
            address.version == 6
            and not address.is_loopback
            and any(n.version == 6 and address in n for n in _EMBEDDING)
        )
    )


def check_host(host: str) -> str:
    """A host name in lower-case ASCII without a closing dot; raises AddressRefused."""
    try:
        clean = host.rstrip(".").encode("idna").decode().lower() if ":" not in host else host
    except UnicodeError:
        clean = ""
    if not clean:
        raise AddressRefused(gettext_noop("目标地址不允许：缺少主机名或主机名无效"))
    return clean


def send(request: Request, *, resolver: Resolver = resolve) -> Response:
    """Send one request and read its answer, within the limits of this module.

    Raises AddressRefused before any socket is opened, ConnectorError otherwise: SAFE when the
    request cannot have been taken, AMBIGUOUS when it was sent and no whole answer came back.
    """
    target = check_target(request.url, allowed=request.allowed, resolver=resolver)
    started = time.monotonic()
    outcome = "failed"
    try:
        response = _exchange(request, target, deadline=started + request.total_seconds)
        outcome = str(response.status)
        return response
    finally:
        log.info(
            "http %s %s:%s -> %s in %d ms",
            request.method,
            target.host,
            target.port,
            outcome,
            (time.monotonic() - started) * 1000,
        )


def _open(target: Target) -> HTTPConnection:
    timeout = Timeout(connect=CONNECT_SECONDS, read=TOTAL_SECONDS)
    if target.scheme == "http":
        return HTTPConnection(target.address, target.port, timeout=timeout.connect_timeout)
    return HTTPSConnection(
        target.address,
        target.port,
        timeout=timeout.connect_timeout,
        server_hostname=target.host,
        cert_reqs="CERT_REQUIRED",
    )


def _exchange(request: Request, target: Target, *, deadline: float) -> Response:
    connection = _open(target)
    # A timeout per read does not stop a server that drips a byte a second: the watch does.
    watch = threading.Timer(max(deadline - time.monotonic(), 0), _cut, [connection])
    watch.daemon = True
    watch.start()
    is_sent = False
    try:
        connection.connect()
        connection.timeout = max(deadline - time.monotonic(), 0.001)  # for getresponse()
        if connection.sock is not None:
            connection.sock.settimeout(connection.timeout)
        is_sent = True
        _write(connection, request, target)
        answer = connection.getresponse()
        body = _read(answer, deadline)
    except ssl.SSLCertVerificationError:
        raise ConnectorError(
            gettext_noop("%(host)s 的证书不可信或与域名不符"),
            code="bad_certificate",
            host=target.host,
        ) from None
    except (OSError, HTTPError, HTTPException) as error:
        raise ConnectorError(
            gettext_noop("调用 %(host)s 没有得到完整的应答（%(kind)s）"),
            code="no_answer" if is_sent else "not_connected",
            retry=Retry.AMBIGUOUS if is_sent else Retry.SAFE,
            host=target.host,
            kind=type(error).__name__,
        ) from None  # the chained error may quote the address with its secret
    finally:
        watch.cancel()
        connection.close()
    headers = {name.lower(): value for name, value in answer.headers.items()}
    return Response(
        status=answer.status, headers=headers, body=_inflate(body, headers, target.host)
    )


def _write(connection: HTTPConnection, request: Request, target: Target) -> None:
    """Send it; a request that cannot be written down raises before anything has left."""
    try:
        connection.request(
            request.method,
            target.path,
            body=request.body,
            headers={
                "User-Agent": "hedao/1",
                "Accept-Encoding": "gzip",
                **request.headers,
                "Host": target.host_header,
            },
            preload_content=False,
            decode_content=False,
        )
    except ValueError:  # HTTP has no such characters; the error would quote them
        raise ConnectorError(
            gettext_noop("接口地址、令牌或认证头里有不能发送的字符（例如中文或换行），请改正"),
            code="not_sendable",
        ) from None


def _cut(connection: HTTPConnection) -> None:
    """End a call that has used up its time, from another thread."""
    sock = connection.sock
    if sock is not None:
        try:
            sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            log.debug("socket was closed already")


def _read(answer: Any, deadline: float) -> bytes:
    parts, size = [], 0
    while chunk := answer.read1(_CHUNK, decode_content=False):
        size += len(chunk)
        if size > MAX_BODY_BYTES:
            raise _too_large()
        parts.append(chunk)
        if time.monotonic() > deadline:
            raise TimeoutError("the answer took too long")
    if time.monotonic() > deadline:
        raise TimeoutError("the answer was cut at its deadline")
    return b"".join(parts)


def _too_large() -> ConnectorError:
    return ConnectorError(
        gettext_noop("对方的应答超过 5 MB，已中断"), code="too_large", retry=Retry.AMBIGUOUS
    )


def _inflate(body: bytes, headers: Mapping[str, str], host: str) -> bytes:
    """Undo gzip, never beyond MAX_BODY_BYTES."""
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding in {"identity", ""} or not body:
        return body
    if encoding not in {"gzip", "x-gzip"}:
        raise ConnectorError(
            gettext_noop("%(host)s 用了不支持的压缩方式"), code="bad_answer",
            retry=Retry.AMBIGUOUS, host=host,
        )  # fmt: skip
    clear, rest = b"", body
    try:
        for _ in range(_MOST_MEMBERS):  # one after another, as the format allows
            inflater = zlib.decompressobj(wbits=31)
            clear += inflater.decompress(rest, MAX_BODY_BYTES + 1 - len(clear))
            if len(clear) > MAX_BODY_BYTES:
                raise _too_large()
            if not inflater.eof:
                raise zlib.error("cut before its end")
            rest = inflater.unused_data.lstrip(b"\0")
            if not rest:
                return clear
        raise zlib.error("too many members")
    except zlib.error:
        raise ConnectorError(
            gettext_noop("%(host)s 的压缩内容已损坏"), code="bad_answer",
            retry=Retry.AMBIGUOUS, host=host,
        ) from None  # fmt: skip
