"""The credentials of every simulated platform, made once and kept in one file.

The simulators hold the platform's half, the product the other: both read the same `keys.json`, so
that a demo can be authorised again and again without anybody typing a key. Nothing here is worth
anything outside this machine; the file is readable by its owner only all the same.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

FILE_NAME = "keys.json"
DEMO_SHOPS = {
    "tmall": ("河道羊绒旗舰店",),
    "douyin": ("河道羊绒抖音店",),
    "private_mall": ("河道羊绒小程序",),
}


@dataclass(frozen=True, slots=True)
class KeyPair:
    """One RSA key pair as PEM texts (PKCS 8 and SubjectPublicKeyInfo)."""

    private_pem: str
    public_pem: str


@dataclass(frozen=True, slots=True)
class ShopToken:
    """What one shop's authorisation gave: TOP's session or Douyin's access token."""

    shop: str
    shop_id: str
    access_token: str
    refresh_token: str


@dataclass(frozen=True, slots=True)
class PlatformKeys:
    """An app on a platform and the shops that authorised it."""

    app_key: str
    secret: str
    shops: tuple[ShopToken, ...]

    def token_of(self, shop: str) -> ShopToken:
        """The authorisation of one shop; KeyError when it gave none."""
        for token in self.shops:
            if token.shop == shop:
                return token
        raise KeyError(shop)


@dataclass(frozen=True, slots=True)
class MallKeys:
    """The own mall: one secret (`whsec_` and base64) for its pushes and for calls to it."""

    shop: str
    secret: str


@dataclass(frozen=True, slots=True)
class AlipayKeys:
    """An Alipay app: the merchant signs with `app`, Alipay with `alipay`."""

    app_id: str
    seller_id: str
    app: KeyPair
    alipay: KeyPair


@dataclass(frozen=True, slots=True)
class WeChatPayKeys:
    """A WeChat Pay merchant: its certificate, the platform's, and the key of notifications."""

    appid: str
    mchid: str
    merchant_serial: str
    merchant: KeyPair
    platform_serial: str
    platform: KeyPair
    api_v3_key: str  # 32 ASCII characters


@dataclass(frozen=True, slots=True)
class QimenKeys:
    """An ERP at the Qimen gateway; the WMS signs its callbacks with the same secret."""

    app_key: str
    secret: str
    customer_id: str


@dataclass(frozen=True, slots=True)
class OmsKeys:
    """What the OMS accepts, one per kind of authentication."""

    token: str
    api_key: str
    user: str
    password: str
    app_key: str
    secret: str


@dataclass(frozen=True, slots=True)
class Keys:
    """All credentials of all simulators."""

    tmall: PlatformKeys
    douyin: PlatformKeys
    mall: MallKeys
    alipay: AlipayKeys
    wechat_pay: WeChatPayKeys
    qimen: QimenKeys
    oms: OmsKeys

    @classmethod
    def load_or_create(
        cls,
        folder: Path,
        *,
        tmall_shops: Sequence[str] = DEMO_SHOPS["tmall"],
        douyin_shops: Sequence[str] = DEMO_SHOPS["douyin"],
        mall_shop: str = DEMO_SHOPS["private_mall"][0],
    ) -> Keys:
        """Read `folder/keys.json`, or make every key and write it (mode 0600).

        A shop that the file does not know yet is given its authorisation and the file is written
        again; nothing in it ever changes. Raises ValueError when the file cannot be read as keys.
        """
        path = folder / FILE_NAME
        shops = {"tmall": tuple(tmall_shops), "douyin": tuple(douyin_shops)}
        if not path.exists():
            keys = _make_keys(shops, mall_shop)
            _write(path, keys)
            return keys
        content = _read(path)
        added = [_authorise(content[name], name, wanted) for name, wanted in shops.items()]
        keys = _build(content)
        if any(added):
            _write(path, keys)
        return keys


def make_key_pair() -> KeyPair:
    """A new RSA pair of 2048 bits."""
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return KeyPair(
        private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ).decode(),
        private.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode(),
    )


def make_keys(
    *,
    tmall_shops: Sequence[str] = DEMO_SHOPS["tmall"],
    douyin_shops: Sequence[str] = DEMO_SHOPS["douyin"],
    mall_shop: str = DEMO_SHOPS["private_mall"][0],
) -> Keys:
    """New keys that are kept nowhere: for a run that is over when it ends."""
    return _make_keys({"tmall": tuple(tmall_shops), "douyin": tuple(douyin_shops)}, mall_shop)


def _make_keys(shops: dict[str, tuple[str, ...]], mall_shop: str) -> Keys:
    return Keys(
        tmall=PlatformKeys(_digits(8), _hex(16), _make_tokens("tmall", shops["tmall"])),
        douyin=PlatformKeys("7" + _digits(18), _hex(16), _make_tokens("douyin", shops["douyin"])),
        mall=MallKeys(
            mall_shop, "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode("ascii")
        ),
        alipay=AlipayKeys("2021" + _digits(12), "2088" + _digits(12), *_two_pairs()),
        wechat_pay=_make_wechat_pay(),
        qimen=QimenKeys(_digits(8), _hex(16), "CUST" + _digits(4)),
        oms=OmsKeys(_hex(20), _hex(16), "hedao", _hex(12), "oms" + _digits(6), _hex(16)),
    )


def _make_wechat_pay() -> WeChatPayKeys:
    merchant, platform = _two_pairs()
    return WeChatPayKeys(
        appid="wx" + _hex(8),
        mchid="19" + _digits(8),
        merchant_serial=_hex(20).upper(),
        merchant=merchant,
        platform_serial=_hex(20).upper(),
        platform=platform,
        api_v3_key=_hex(16),
    )


def _two_pairs() -> tuple[KeyPair, KeyPair]:
    return make_key_pair(), make_key_pair()


def _make_tokens(platform: str, shops: Sequence[str]) -> tuple[ShopToken, ...]:
    return tuple(
        ShopToken(
            shop, _digits(8), f"{platform}-access-{_hex(12)}", f"{platform}-refresh-{_hex(12)}"
        )
        for shop in shops
    )


def _digits(count: int) -> str:
    return "".join(secrets.choice("123456789") for _ in range(count))


def _hex(count: int) -> str:
    return secrets.token_hex(count)


# -- the file ----------------------------------------------------------------------------------


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: delete it to have new keys made") from error
    if not isinstance(content, dict) or not {"tmall", "douyin"} <= content.keys():
        raise ValueError(f"{path} holds no keys: delete it to have new ones made")
    return content


def _authorise(content: dict[str, Any], platform: str, wanted: Sequence[str]) -> bool:
    """Add the shops the file does not know; says whether there were any."""
    known = {token["shop"] for token in content["shops"]}
    missing = [shop for shop in wanted if shop not in known]
    content["shops"].extend(asdict(token) for token in _make_tokens(platform, missing))
    return bool(missing)


def _build(content: dict[str, Any]) -> Keys:
    try:
        return Keys(
            tmall=_build_platform(content["tmall"]),
            douyin=_build_platform(content["douyin"]),
            mall=MallKeys(**content["mall"]),
            alipay=AlipayKeys(**_with_pairs(content["alipay"], "app", "alipay")),
            wechat_pay=WeChatPayKeys(**_with_pairs(content["wechat_pay"], "merchant", "platform")),
            qimen=QimenKeys(**content["qimen"]),
            oms=OmsKeys(**content["oms"]),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"the file of keys is of another version ({error}): delete it to have new ones made"
        ) from error


def _build_platform(content: dict[str, Any]) -> PlatformKeys:
    tokens = tuple(ShopToken(**token) for token in content["shops"])
    return PlatformKeys(content["app_key"], content["secret"], tokens)


def _with_pairs(content: dict[str, Any], *names: str) -> dict[str, Any]:
    return content | {name: KeyPair(**content[name]) for name in names}


def _write(path: Path, keys: Keys) -> None:
    """Written beside and moved into place: a reader sees the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{FILE_NAME}.")  # mode 0600
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(asdict(keys), file, ensure_ascii=False, indent=1)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
