"""The one client door: what it refuses, what it bounds, what it never logs."""

from __future__ import annotations

import datetime as dt
import gzip
import logging
import socket
import ssl
import threading
import time
from contextlib import contextmanager

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from connectors import http
from connectors.http import AddressRefused, ConnectorError, Request, Retry, check_target, send


@contextmanager
def server(answer, *, context=None):
    """A loopback server that hands each connection to `answer(socket)`; yields port and counts."""
    listener = socket.create_server(("127.0.0.1", 0))
    seen = []

    def serve():
        while True:
            try:
                raw, _ = listener.accept()
            except OSError:
                return
            try:
                client = context.wrap_socket(raw, server_side=True) if context else raw
                head = b""
                while b"\r\n\r\n" not in head:
                    if not (part := client.recv(65536)):
                        raise OSError("nothing came")
                    head += part
                seen.append(head)
                answer(client)
                client.close()
            except OSError:
                raw.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1], seen
    finally:
        listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
        listener.close()


def reply(body=b"ok", status="200 OK", headers=()):
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    raw = "\r\n".join(lines).encode() + body
    return lambda client: client.sendall(raw)


def get(port, path="/", **options):
    return send(
        Request(
            "GET",
            f"http://127.0.0.1:{port}{path}",
            allowed=frozenset({("127.0.0.1", port)}),
            **options,
        )
    )


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://0177.0.0.1/",
        "http://127.1/",
        "http://0/",
        "http://10.0.0.1/",
        "http://172.16.0.1/",
        "http://192.168.1.1/",
        "http://100.64.0.1/",
        "http://100.100.100.200/latest/meta-data",
        "http://169.254.169.254/",
        "http://192.0.0.8/",
        "http://224.0.0.1/",
        "http://240.0.0.1/",
        "http://255.255.255.255/",
        "http://198.18.0.1/",
        "http://[::1]/",
        "http://[::]/",
        "http://[fd00::1]/",
        "http://[fe80::1]/",
        "http://[ff02::1]/",
        "http://[::ffff:10.0.0.1]/",
        "http://[::ffff:8.8.8.8]/",
        "http://[64:ff9b::7f00:1]/",
        "http://[2002:7f00:1::]/",
        "http://[2001:0:7f00:1::]/",
        "http://[::7f00:1]/",
        "https://127.0.0.1/",
    ],
)
def test_a_special_address_is_refused(url):
    with pytest.raises(AddressRefused, match="目标地址不允许"):
        check_target(url)


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "gopher://example.com/",
        "ftp://example.com/",
        "http://user:password@example.com/",
        "http://example.com:22/",
        "http://example.com:6379/",
        "http://example.com:0/",
        "http://example.com:99999/",
        "http:///path",
        "http://exa mple.com/",
        "http://example.com/\r\nHost: evil",
        "http://example.com\\@127.0.0.1/",
        "http://" + "a" * 70 + ".com/",
        "example.com",
        "",
    ],
)
def test_an_odd_address_is_refused_before_the_name_is_asked_for(url):
    def resolver(host, port):
        raise AssertionError("must not resolve")

    with pytest.raises(AddressRefused):
        check_target(url, resolver=resolver)


def test_a_name_that_does_not_resolve_is_refused():
    def resolver(host, port):
        raise socket.gaierror("no such name")

    with pytest.raises(AddressRefused) as caught:
        check_target("https://nowhere.example/", resolver=resolver)
    assert caught.value.code == "name_not_resolved"
    with pytest.raises(AddressRefused):
        check_target("https://nowhere.example/", resolver=lambda host, port: [])


def test_one_private_answer_among_public_ones_refuses_the_name():
    with pytest.raises(AddressRefused):
        check_target("https://mixed.example/", resolver=lambda h, p: ["93.184.216.34", "10.0.0.1"])


def test_a_public_name_is_pinned_to_its_first_address():
    target = check_target(
        "https://Api.Example/robot/send?access_token=s",
        resolver=lambda h, p: ["93.184.216.34", "93.184.216.35"],
    )

    assert (target.host, target.port, target.address) == ("api.example", 443, "93.184.216.34")
    assert target.path == "/robot/send?access_token=s"
    assert "access_token" not in repr(target)


def test_the_name_is_resolved_once_so_a_second_answer_cannot_lead_inside(monkeypatch):
    asked, opened = [], []

    def resolver(host, port):
        asked.append(host)
        return ["93.184.216.34"] if len(asked) == 1 else ["127.0.0.1"]

    def connect(address, *args, **kwargs):
        opened.append(address[0])
        raise OSError("no network in tests")

    monkeypatch.setattr("urllib3.util.connection.create_connection", connect)
    with pytest.raises(ConnectorError) as caught:
        send(Request("GET", "http://rebind.example/"), resolver=resolver)

    assert (asked, opened) == (["rebind.example"], ["93.184.216.34"])
    assert (caught.value.code, caught.value.retry) == ("not_connected", Retry.SAFE)


def test_a_listed_address_opens_loopback_for_that_port_only():
    allowed = frozenset({("127.0.0.1", 8601)})

    assert check_target("http://127.0.0.1:8601/x", allowed=allowed).port == 8601
    for url in ("http://127.0.0.1:8602/", "http://127.0.0.1/", "http://localhost:8601/"):
        with pytest.raises(AddressRefused):
            check_target(url, allowed=allowed)


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "100.100.100.200",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "0.0.0.0",  # noqa: S104 - a target here, not a binding
    ],
)
def test_metadata_addresses_stay_shut_even_when_listed(host):
    name = f"[{host}]" if ":" in host else host
    with pytest.raises(AddressRefused):
        check_target(f"http://{name}:80/", allowed=frozenset({(host, 80)}))


def test_a_refused_address_opens_no_socket(monkeypatch):
    def connect(*args, **kwargs):
        raise AssertionError("must not connect")

    monkeypatch.setattr("urllib3.util.connection.create_connection", connect)
    with pytest.raises(AddressRefused):
        send(Request("GET", "http://127.0.0.1:6379/"))


def test_an_answer_comes_back_with_status_headers_and_body():
    with server(reply(b'{"errcode": 0}', headers=["X-Request-Id: 7"])) as (port, seen):
        response = get(port, "/a?b=1", headers={"X-Own": "1"})

    assert (response.status, response.json()) == (200, {"errcode": 0})
    assert response.headers["x-request-id"] == "7"
    head = seen[0].decode()
    assert head.startswith("GET /a?b=1 HTTP/1.1\r\n")
    assert f"Host: 127.0.0.1:{port}" in head
    assert "X-Own: 1" in head


def test_a_redirect_is_returned_and_not_followed():
    with server(reply(b"inner")) as (inner, inner_seen):
        moved = reply(b"", status="302 Found", headers=[f"Location: http://127.0.0.1:{inner}/"])
        with server(moved) as (port, _):
            response = get(port)

    assert response.status == 302
    assert inner_seen == []


def test_proxies_of_the_environment_are_not_used(monkeypatch):
    with server(reply(b"direct")) as (port, _):
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "https_proxy"):
            monkeypatch.setenv(name, "http://127.0.0.1:1")
        assert get(port).body == b"direct"


def test_a_gzip_answer_is_opened():
    packed = gzip.compress("淤塞".encode())
    with server(reply(packed, headers=["Content-Encoding: gzip"])) as (port, _):
        assert get(port).body.decode() == "淤塞"
    with server(reply(packed + packed, headers=["Content-Encoding: gzip"])) as (port, _):
        assert get(port).body.decode() == "淤塞淤塞"  # a gzip body may have several members


def test_a_gzip_bomb_is_cut_at_five_megabytes():
    packed = gzip.compress(b"\0" * 200_000_000)
    with (
        server(reply(packed, headers=["Content-Encoding: gzip"])) as (port, _),
        pytest.raises(ConnectorError) as caught,
    ):
        get(port)
    assert caught.value.code == "too_large"


WHOLE = gzip.compress(b'{"rows": []}' * 99)


@pytest.mark.parametrize(
    "body",
    [b"not gzip", WHOLE[:-1], WHOLE[: len(WHOLE) // 2], WHOLE + b"x", WHOLE * 99],
    ids=["none", "cut", "half", "and more", "many"],
)
def test_a_damaged_gzip_answer_is_an_error(body):
    with (
        server(reply(body, headers=["Content-Encoding: gzip"])) as (port, _),
        pytest.raises(ConnectorError) as caught,
    ):
        get(port)
    assert caught.value.code == "bad_answer"


def test_an_endless_body_is_cut_at_five_megabytes():
    def endless(client):
        client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            client.sendall(b"x" * 65536)

    with server(endless) as (port, _), pytest.raises(ConnectorError) as caught:
        get(port)
    assert caught.value.code == "too_large"


@pytest.mark.parametrize("part", ["headers", "body"])
def test_a_dripping_answer_is_cut_at_its_total_time(part):
    def drip(client):
        client.sendall(b"HTTP/1.1 200 OK\r\n" + (b"\r\n" if part == "body" else b"X-Slow: "))
        for _ in range(60):
            client.sendall(b"x")
            time.sleep(0.1)

    started = time.monotonic()
    with server(drip) as (port, _), pytest.raises(ConnectorError) as caught:
        get(port, total_seconds=0.5)

    assert time.monotonic() - started < 2
    assert (caught.value.code, caught.value.retry) == ("no_answer", Retry.AMBIGUOUS)


def test_silence_after_the_request_is_ambiguous_and_a_closed_port_is_safe():
    with (
        server(lambda client: time.sleep(1)) as (port, _),
        pytest.raises(ConnectorError) as silent,
    ):
        get(port, total_seconds=0.3)
    with pytest.raises(ConnectorError) as shut:
        get(port)

    assert silent.value.retry == Retry.AMBIGUOUS
    assert not silent.value.is_retriable
    assert shut.value.retry == Retry.SAFE
    assert shut.value.is_retriable


def test_an_answer_cut_before_its_length_is_ambiguous():
    def short(client):
        client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")

    with server(short) as (port, _), pytest.raises(ConnectorError) as caught:
        get(port)
    assert caught.value.retry == Retry.AMBIGUOUS


def test_an_answer_that_is_no_json_says_so():
    with server(reply(b"<html>")) as (port, _):
        response = get(port)
    with pytest.raises(ConnectorError, match="JSON"):
        response.json()


def test_secrets_of_an_address_appear_in_no_log_and_no_error(caplog):
    caplog.set_level(logging.DEBUG)
    canary = "CANARY-7f3a"
    with server(lambda client: client.sendall(b"HTTP/1.1 200 OK\r\nbroken header\r\n\r\n")) as (
        port,
        _,
    ):
        request = Request(
            "POST",
            f"http://127.0.0.1:{port}/hook/{canary}?access_token={canary}",
            headers={"Authorization": canary},
            body=canary.encode(),
            allowed=frozenset({("127.0.0.1", port)}),
        )
        send(request)
    with pytest.raises(ConnectorError) as caught:
        send(request)  # the port is shut now

    assert canary not in caplog.text
    assert f"127.0.0.1:{port}" in caplog.text
    assert canary not in repr(request)
    error = caught.value
    assert canary not in f"{error!r} {error} {error.params} {error.__cause__!r}"


def _certificate(name, tmp_path):
    """A certificate of its own authority for one DNS name, and the authority's file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    today = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - dt.timedelta(days=1))
        .not_valid_after(today + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    public, private = tmp_path / f"{name}.pem", tmp_path / f"{name}.key"
    public.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(public, private)
    return context, public


def test_tls_keeps_the_host_name_although_the_address_is_pinned(tmp_path, monkeypatch):
    context, authority = _certificate("robot.example", tmp_path)
    names = []
    context.sni_callback = lambda sock, name, ctx: names.append(name)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))

    with server(reply(b"sealed"), context=context) as (port, seen):
        for host in ("robot.example", "other.example"):
            request = Request("GET", f"https://{host}:{port}/", allowed=frozenset({(host, port)}))
            if host == "robot.example":
                response = send(request, resolver=lambda h, p: ["127.0.0.1"])
                assert response.body == b"sealed"
            else:
                with pytest.raises(ConnectorError) as caught:
                    send(request, resolver=lambda h, p: ["127.0.0.1"])
                assert caught.value.code == "bad_certificate"

    assert names == ["robot.example", "other.example"]
    assert len(seen) == 1
    assert b"Host: robot.example:" in seen[0]


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/", {"Authorization": "Bearer 密钥"}),
        ("/", {"X-Key": "a\r\nX-Other: b"}),
        ("/", {"X 键": "a"}),
        ("/订单", {}),
    ],
)
def test_what_http_cannot_write_is_refused_in_words_and_never_sent(path, headers):
    with server(reply()) as (port, seen):
        with pytest.raises(ConnectorError) as caught:
            get(port, path, headers=headers)
        assert seen == []
    assert (caught.value.code, caught.value.retry) == ("not_sendable", Retry.NEVER)
    assert "密钥" not in str(caught.value) + repr(caught.value.__cause__)


def test_statuses_have_retry_classes():
    assert http.RETRY_BY_STATUS[429] == Retry.LATER
    assert http.RETRY_BY_STATUS[504] == Retry.AMBIGUOUS
    assert http.RETRY_BY_STATUS.get(401, Retry.NEVER) == Retry.NEVER
