"""What the payment gateways are asked, what is believed of their answers, and their doors."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.x509.oid import NameOID

from connectors.adapters import Answered, Asker, Outgoing, PushRequest, VendorRefusal
from connectors.http import ConnectorError, Response, Retry
from connectors.systems.payments.alipay_adapter import ALIPAY, AlipayClient, AlipayDoor
from connectors.systems.payments.wechat_pay_adapter import (
    WECHAT_PAY,
    WeChatPayClient,
    WeChatPayDoor,
    read_platform_keys,
)
from connectors.wire import SHANGHAI, SignatureRefused
from tests.connectors.systems.fakes import Wire, answer, make_access

NOW = datetime(2025, 11, 11, 0, 15, tzinfo=SHANGHAI)
OURS = rsa.generate_private_key(public_exponent=65537, key_size=2048)
THEIRS = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER = rsa.generate_private_key(public_exponent=65537, key_size=2048)
ORDER = "SO202511110001"
API_KEY = "0123456789abcdef0123456789abcdef"


def _private(key: rsa.RSAPrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


def _public(key: rsa.RSAPrivateKey) -> str:
    return (
        key.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


def _sign(text: bytes, key: rsa.RSAPrivateKey = THEIRS) -> str:
    return base64.b64encode(key.sign(text, padding.PKCS1v15(), hashes.SHA256())).decode()


ALIPAY_CONFIG = {"app_id": "2021000000000001", "alipay_public_key": _public(THEIRS)}
ALIPAY_SECRETS = {"private_key": _private(OURS)}
TRADE = {
    "code": "10000",
    "msg": "Success",
    "trade_no": "2025111122001400000000000001",
    "out_trade_no": ORDER,
    "trade_status": "TRADE_SUCCESS",
    "total_amount": "199.00",
    "send_pay_date": "2025-11-11 00:12:00",
}
NO_TRADE = {
    "code": "40004",
    "msg": "Business Failed",
    "sub_code": "ACQ.TRADE_NOT_EXIST",
    "sub_msg": "交易不存在",
}


def _alipay_body(
    content: dict[str, Any], *, key: rsa.RSAPrivateKey | None = THEIRS,
    node: str = "alipay_trade_query_response",
) -> bytes:  # fmt: skip
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":")).replace("/", "\\/")
    sign = f',"sign":"{_sign(text.encode(), key)}"' if key else ""
    return f'{{"{node}":{text}{sign}}}'.encode()


def _alipay(body: bytes, status: int = 200) -> tuple[AlipayClient, Wire]:
    wire = Wire(lambda _: answer(body, status))
    access = make_access(wire, now=NOW, config=ALIPAY_CONFIG, secrets=ALIPAY_SECRETS)
    return AlipayClient(access), wire


# -- Alipay: asking ----------------------------------------------------------------------------


def test_a_trade_is_asked_with_a_signed_form_and_read_as_a_payment() -> None:
    client, wire = _alipay(_alipay_body(TRADE))

    found = client.ask(ORDER)

    assert isinstance(client, Asker)
    assert found is not None
    payment = found.mapped.record
    assert (payment.order_no, str(payment.status), payment.amount_fen) == (ORDER, "paid", 19900)
    assert found.payload["trade_no"] == TRADE["trade_no"]
    (call,) = wire.calls
    assert (call.operation, call.method, call.is_effect) == ("alipay.trade.query", "POST", False)
    assert call.order_nos == (ORDER,)
    parts = urlsplit(call.url)
    assert f"{parts.scheme}://{parts.netloc}{parts.path}" == "https://vendor.example/gateway.do"
    params = dict(parse_qsl(parts.query)) | dict(parse_qsl((call.body or b"").decode()))
    sign = base64.b64decode(params.pop("sign"))
    text = "&".join(f"{name}={params[name]}" for name in sorted(params))
    OURS.public_key().verify(sign, text.encode(), padding.PKCS1v15(), hashes.SHA256())
    # The vector of channels.md 10.2.
    assert hashlib.sha256(text.encode()).hexdigest() == (
        "0ec4ff9f71d3bc1366929ed57d17b4d028d2d4bdc0dbb9800da983a6ee057a5f"
    )


def test_a_trade_that_was_never_created_is_none_and_only_a_signed_answer_says_so() -> None:
    assert _alipay(_alipay_body(NO_TRADE))[0].ask(ORDER) is None

    with pytest.raises(ConnectorError) as caught:
        _alipay(_alipay_body(NO_TRADE, key=None))[0].ask(ORDER)
    assert (caught.value.code, caught.value.retry) == ("bad_signature", Retry.NEVER)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (_alipay_body(TRADE, key=OTHER), "bad_signature"),
        (_alipay_body(TRADE, key=None), "bad_signature"),
        (_alipay_body(TRADE).replace(b"199.00", b"1.99"), "bad_signature"),
        (_alipay_body(TRADE | {"out_trade_no": "SO-ANOTHER"}), "bad_signature"),
        (b"<html>busy</html>", "bad_answer"),
        (b"", "bad_answer"),
        (b'{"something_else":{}}', "bad_answer"),
    ],
)
def test_what_alipay_did_not_sign_for_this_order_is_not_believed(body: bytes, code: str) -> None:
    with pytest.raises(ConnectorError) as caught:
        _alipay(body)[0].ask(ORDER)

    assert not isinstance(caught.value, VendorRefusal)
    assert caught.value.code == code
    assert "一" <= caught.value.text[0] <= "鿿"


@pytest.mark.parametrize(
    ("content", "retry", "vendor_code"),
    [
        ({"code": "20000", "sub_code": "isp.unknow-error"}, Retry.SAFE, "20000/isp.unknow-error"),
        ({"code": "40004", "sub_code": "ACQ.SYSTEM_ERROR"}, Retry.SAFE, "40004/ACQ.SYSTEM_ERROR"),
        (
            {"code": "40002", "sub_code": "isv.invalid-signature"},
            Retry.NEVER,
            "40002/isv.invalid-signature",
        ),
    ],
)
def test_a_refusal_of_alipay_says_what_may_be_done(
    content: dict[str, str], retry: Retry, vendor_code: str
) -> None:
    with pytest.raises(VendorRefusal) as caught:
        _alipay(_alipay_body(content))[0].ask(ORDER)

    assert (caught.value.retry, caught.value.vendor_code) == (retry, vendor_code)


def test_a_refusal_of_the_gateway_itself_needs_no_signature() -> None:
    body = _alipay_body(
        {"code": "40002", "sub_code": "isv.invalid-app-id"}, key=None, node="error_response"
    )

    with pytest.raises(VendorRefusal):
        _alipay(body)[0].ask(ORDER)


@pytest.mark.parametrize(("status", "retry"), [(503, Retry.LATER), (500, Retry.AMBIGUOUS)])
def test_a_status_that_is_not_200_is_judged_as_a_status(status: int, retry: Retry) -> None:
    for client in (_alipay(b"busy", status)[0], _wechat(b"busy", status)[0]):
        with pytest.raises(ConnectorError) as caught:
            client.ask(ORDER)
        assert (caught.value.retry, caught.value.vendor_code) == (retry, str(status))


def test_checking_alipay_asks_for_a_trade_nobody_has() -> None:
    assert "支付宝" in _alipay(_alipay_body(NO_TRADE))[0].check()


@pytest.mark.parametrize(
    ("missing", "label"),
    [("app_id", "应用 APPID"), ("private_key", "应用私钥"), ("alipay_public_key", "支付宝公钥")],
)
def test_what_is_not_filled_in_is_named(missing: str, label: str) -> None:
    config = {k: v for k, v in ALIPAY_CONFIG.items() if k != missing}
    secrets = {k: v for k, v in ALIPAY_SECRETS.items() if k != missing}

    with pytest.raises(ConnectorError) as caught:
        AlipayClient(
            make_access(Wire(lambda _: answer(b"")), now=NOW, config=config, secrets=secrets)
        )

    assert caught.value.code == "not_configured"
    assert label in caught.value.text


def test_a_key_that_cannot_be_read_is_said_before_any_call() -> None:
    with pytest.raises(ConnectorError) as caught:
        AlipayClient(
            make_access(
                Wire(lambda _: answer(b"")),
                now=NOW,
                config=ALIPAY_CONFIG,
                secrets={"private_key": "not a key"},
            )
        )

    assert caught.value.code == "private_key"


# -- Alipay: the door --------------------------------------------------------------------------

NOTICE = {
    "notify_time": "2025-11-11 00:14:30",
    "notify_type": "trade_status_sync",
    "notify_id": "2025111100222001430000000000000001",
    "app_id": "2021000000000001",
    "charset": "utf-8",
    "version": "1.0",
    "trade_no": "2025111122001400000000000001",
    "out_trade_no": ORDER,
    "trade_status": "TRADE_SUCCESS",
    "total_amount": "199.00",
    "gmt_payment": "2025-11-11 00:12:00",
    "subject": "羊绒围巾 & 手套=一套",
}


def _notice(content: dict[str, str] = NOTICE, key: rsa.RSAPrivateKey = THEIRS) -> PushRequest:
    text = "&".join(f"{k}={content[k]}" for k in sorted(content) if content[k])
    body = urlencode(content | {"sign": _sign(text.encode(), key), "sign_type": "RSA2"})
    return PushRequest("POST", {}, (), body.encode())


def test_a_notification_is_verified_and_becomes_a_payment() -> None:
    door, request = AlipayDoor(), _notice()

    verified = door.verify(request, config=ALIPAY_CONFIG, secrets=ALIPAY_SECRETS, now=NOW)
    (item,) = door.read(request, verified, secrets=ALIPAY_SECRETS)

    assert (item.kind, item.order_no, item.topic) == ("record", ORDER, "trade_status_sync")
    assert item.replay_key == f"alipay:{NOTICE['notify_id']}"
    kept = json.loads(json.dumps(item.payload))  # as it comes back from the store
    found = door.map(type(item)("record", item.replay_key, payload=kept), shop="", stages=None)
    assert isinstance(found, Answered)
    assert found.mapped.record.amount_fen == 19900
    assert str(found.mapped.record.status) == "paid"


def test_a_notification_of_another_kind_is_kept_as_unknown() -> None:
    door, request = AlipayDoor(), _notice(NOTICE | {"notify_type": "open_app_auth_notify"})
    verified = door.verify(request, config=ALIPAY_CONFIG, secrets={}, now=NOW)

    assert [i.kind for i in door.read(request, verified, secrets={})] == ["unknown"]


@pytest.mark.parametrize(
    "request_",
    [
        _notice(key=OTHER),
        PushRequest("POST", {}, (), _notice().body.replace(b"199.00", b"1.99")),
        _notice(NOTICE | {"app_id": "2021000000000002"}),
        _notice(NOTICE | {"notify_time": "soon"}),
        _notice(NOTICE | {"notify_time": "2025-11-09 00:00:00"}),
        PushRequest("POST", {}, (), b"\xff\xfe"),
        PushRequest("POST", {}, (), b""),
    ],
)
def test_a_notification_that_is_not_alipays_is_refused(request_: PushRequest) -> None:
    with pytest.raises(SignatureRefused):
        AlipayDoor().verify(request_, config=ALIPAY_CONFIG, secrets={}, now=NOW)


def test_without_a_key_a_notification_is_refused_not_a_crash() -> None:
    for door, request in ((AlipayDoor(), _notice()), (WeChatPayDoor(), _wechat_notice())):
        with pytest.raises(SignatureRefused):
            door.verify(request, config={}, secrets={}, now=NOW)


def test_alipay_hears_the_plain_word_only_for_what_is_here() -> None:
    door = AlipayDoor()

    assert door.answer("stored").body == door.answer("repeated").body == b"success"
    assert door.answer("stored").content_type.startswith("text/plain")
    assert door.answer("refused").status == 401
    assert b"success" not in door.answer("unreadable").body


def test_while_keys_are_changed_both_are_taken() -> None:
    config = ALIPAY_CONFIG | {"alipay_public_key": _public(OTHER) + "\n" + _public(THEIRS)}

    assert AlipayDoor().verify(_notice(), config=config, secrets={}, now=NOW).replay_keys


# -- WeChat Pay: asking ------------------------------------------------------------------------

WECHAT_CONFIG = {
    "merchant_id": "1900000001",
    "merchant_serial_no": "5157F09EFDC096DE15EBE81A47057A72",
    "platform_public_key": _public(THEIRS),
    "platform_serial_no": "PUB_KEY_ID_0114232134912410000000000000",
}
WECHAT_SECRETS = {"private_key": _private(OURS), "api_v3_key": API_KEY}
TRANSACTION = {
    "appid": "wx0000000000000001",
    "mchid": "1900000001",
    "out_trade_no": ORDER,
    "transaction_id": "4200000000202511110000000001",
    "trade_state": "SUCCESS",
    "success_time": "2025-11-11T00:12:00+08:00",
    "amount": {"total": 19900, "payer_total": 19900, "currency": "CNY"},
}
MISSING = b'{"code":"ORDER_NOT_EXIST","message":"\xe8\xae\xa2\xe5\x8d\x95\xe4\xb8\x8d\xe5\xad\x98\xe5\x9c\xa8"}'


def _headers(
    body: bytes,
    *,
    at: datetime = NOW,
    key: rsa.RSAPrivateKey = THEIRS,
    serial: str = WECHAT_CONFIG["platform_serial_no"],
) -> dict[str, str]:
    stamp = str(int(at.timestamp()))
    return {
        "wechatpay-timestamp": stamp,
        "wechatpay-nonce": "n0nce",
        "wechatpay-serial": serial,
        "wechatpay-signature": _sign(f"{stamp}\nn0nce\n".encode() + body + b"\n", key),
    }


def _wechat(
    body: bytes, status: int = 200, *, sign: Callable[[bytes], dict[str, str]] = lambda _: {}
) -> tuple[WeChatPayClient, Wire]:
    def reply(_: Outgoing) -> Response:
        return answer(body, status, sign(body))

    wire = Wire(reply)
    access = make_access(
        wire,
        now=NOW,
        config=WECHAT_CONFIG,
        secrets=WECHAT_SECRETS,
        base_url="https://vendor.example/wechat_pay",
    )
    return WeChatPayClient(access), wire


def _bytes(content: Any) -> bytes:
    return json.dumps(content, ensure_ascii=False).encode()


def test_a_transaction_is_asked_with_an_authorization_over_the_path_as_it_is_sent() -> None:
    client, wire = _wechat(_bytes(TRANSACTION), sign=_headers)

    found = client.ask(ORDER)

    assert found is not None
    payment = found.mapped.record
    assert (payment.order_no, str(payment.status), payment.amount_fen) == (ORDER, "paid", 19900)
    (call,) = wire.calls
    assert (call.method, call.body, call.order_nos) == ("GET", None, (ORDER,))
    scheme, _, rest = call.headers["Authorization"].partition(" ")
    parts = dict(part.split("=", 1) for part in rest.split(","))
    given = {name: value.strip('"') for name, value in parts.items()}
    assert scheme == "WECHATPAY2-SHA256-RSA2048"
    assert (given["mchid"], given["serial_no"]) == (
        "1900000001",
        WECHAT_CONFIG["merchant_serial_no"],
    )
    target = f"/wechat_pay/v3/pay/transactions/out-trade-no/{ORDER}?mchid=1900000001"
    assert call.url == "https://vendor.example" + target
    message = f"GET\n{target}\n{given['timestamp']}\n{given['nonce_str']}\n\n"
    OURS.public_key().verify(
        base64.b64decode(given["signature"]), message.encode(), padding.PKCS1v15(), hashes.SHA256()
    )


def test_every_ask_has_a_nonce_of_its_own() -> None:
    client, wire = _wechat(MISSING, 404, sign=_headers)
    client.ask(ORDER)
    client.ask(ORDER)

    assert wire.calls[0].headers["Authorization"] != wire.calls[1].headers["Authorization"]


def test_no_such_order_is_none_and_only_a_signed_answer_says_so() -> None:
    assert _wechat(MISSING, 404, sign=_headers)[0].ask(ORDER) is None

    with pytest.raises(ConnectorError) as caught:
        _wechat(MISSING, 404)[0].ask(ORDER)
    assert caught.value.code == "bad_signature"


@pytest.mark.parametrize(
    ("content", "sign"),
    [
        (TRANSACTION, lambda b: {}),
        (TRANSACTION, lambda b: _headers(b, key=OTHER)),
        (TRANSACTION, lambda b: _headers(b + b" ")),
        (TRANSACTION, lambda b: _headers(b, at=NOW - timedelta(minutes=6))),
        (TRANSACTION, lambda b: _headers(b, serial="UNKNOWN")),
        (TRANSACTION | {"out_trade_no": "SO-ANOTHER"}, _headers),
        (TRANSACTION | {"mchid": "1900000002"}, _headers),
    ],
)
def test_what_wechat_did_not_sign_for_this_order_is_not_believed(
    content: dict[str, Any], sign: Callable[[bytes], dict[str, str]]
) -> None:
    with pytest.raises(ConnectorError) as caught:
        _wechat(_bytes(content), sign=sign)[0].ask(ORDER)

    assert caught.value.code == "bad_signature"


@pytest.mark.parametrize(
    ("status", "code", "retry"),
    [
        (401, "SIGN_ERROR", Retry.NEVER),
        (403, "NO_AUTH", Retry.NEVER),
        (429, "FREQUENCY_LIMITED", Retry.LATER),
        (500, "SYSTEM_ERROR", Retry.SAFE),
        (400, "SOMETHING_NEW", Retry.NEVER),
    ],
)
def test_a_refusal_of_wechat_says_what_may_be_done(status: int, code: str, retry: Retry) -> None:
    with pytest.raises(VendorRefusal) as caught:
        _wechat(_bytes({"code": code, "message": "x"}), status)[0].ask(ORDER)

    assert (caught.value.retry, caught.value.vendor_code) == (retry, code)


def test_a_json_error_without_a_code_is_judged_by_its_status() -> None:
    with pytest.raises(ConnectorError) as caught:
        _wechat(b"{}", 502)[0].ask(ORDER)

    assert caught.value.vendor_code == "502"


def test_checking_wechat_asks_for_a_transaction_nobody_has() -> None:
    assert "微信支付" in _wechat(MISSING, 404, sign=_headers)[0].check()


def test_a_platform_certificate_names_its_own_serial_number() -> None:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Tenpay.com Root CA")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(THEIRS.public_key())
        .serial_number(0x5157F09EFDC096DE)
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=1))
        .sign(THEIRS, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM).decode()

    assert list(read_platform_keys({"platform_public_key": pem})) == ["5157F09EFDC096DE"]


def test_a_public_key_without_its_id_is_asked_for() -> None:
    config = WECHAT_CONFIG | {"platform_serial_no": ""}

    with pytest.raises(ConnectorError) as caught:
        WeChatPayClient(
            make_access(Wire(lambda _: answer(b"")), now=NOW, config=config, secrets=WECHAT_SECRETS)
        )

    assert "公钥 ID" in caught.value.text


# -- WeChat Pay: the door ----------------------------------------------------------------------


def _wechat_notice(
    content: dict[str, Any] = TRANSACTION,
    *,
    event: str = "TRANSACTION.SUCCESS",
    key: str = API_KEY,
    signer: rsa.RSAPrivateKey = THEIRS,
) -> PushRequest:
    sealed = AESGCM(key.encode()).encrypt(b"abcdefghijkl", _bytes(content), b"transaction")
    body = _bytes(
        {
            "id": "EV-2018022511223320873",
            "event_type": event,
            "resource": {
                "algorithm": "AEAD_AES_256_GCM",
                "ciphertext": base64.b64encode(sealed).decode(),
                "nonce": "abcdefghijkl",
                "associated_data": "transaction",
            },
        }
    )
    return PushRequest("POST", _headers(body, key=signer), (), body)


def test_a_wechat_notification_is_verified_opened_and_becomes_a_payment() -> None:
    door, request = WeChatPayDoor(), _wechat_notice()

    verified = door.verify(request, config=WECHAT_CONFIG, secrets=WECHAT_SECRETS, now=NOW)
    (item,) = door.read(request, verified, secrets=WECHAT_SECRETS)

    assert (item.kind, item.order_no, item.topic) == ("record", ORDER, "TRANSACTION.SUCCESS")
    assert item.replay_key == "wechat_pay:EV-2018022511223320873"
    found = door.map(item, shop="", stages=None)
    assert found.mapped.record.amount_fen == 19900


def test_a_refund_is_a_hint_to_ask_anew_and_what_is_foreign_is_unknown() -> None:
    door = WeChatPayDoor()
    for content, event, kind in (
        ({"out_trade_no": ORDER, "refund_status": "SUCCESS"}, "REFUND.SUCCESS", "hint"),
        ({"out_trade_no": ORDER}, "SOMETHING.NEW", "unknown"),
        ({"contract_id": "1"}, "PAPAY.SIGN", "unknown"),
    ):
        request = _wechat_notice(content, event=event)
        verified = door.verify(request, config=WECHAT_CONFIG, secrets=WECHAT_SECRETS, now=NOW)
        assert [i.kind for i in door.read(request, verified, secrets=WECHAT_SECRETS)] == [kind]


def test_a_wechat_notification_that_is_not_theirs_is_refused() -> None:
    good = _wechat_notice()
    for request in (
        _wechat_notice(signer=OTHER),
        PushRequest("POST", good.headers, (), good.body + b" "),
        PushRequest("POST", {}, (), good.body),
    ):
        with pytest.raises(SignatureRefused):
            WeChatPayDoor().verify(request, config=WECHAT_CONFIG, secrets=WECHAT_SECRETS, now=NOW)


def test_wechat_hears_200_only_for_what_is_here() -> None:
    door = WeChatPayDoor()

    assert [door.answer(o).status for o in ("stored", "repeated", "refused", "unreadable")] == [
        200, 200, 401, 400,
    ]  # fmt: skip


def test_both_gateways_say_what_they_need_in_chinese() -> None:
    for connector in (ALIPAY, WECHAT_PAY):
        assert connector.kind == "gateway"
        assert connector.push is not None
        for field in connector.fields:
            assert any("一" <= letter <= "鿿" for letter in field.label)
