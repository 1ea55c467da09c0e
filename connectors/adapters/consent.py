"""Access that a merchant gives on the platform's own page: where the browser goes, whose it is. Pure.

The browser is sent to the platform with a `state` of ours and comes back with a code, which the
client changes for tokens (`Authoriser`). Whom the tokens belong to is told by the platform, and
has to be whom we asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, runtime_checkable
from urllib.parse import urlencode, urlsplit

from config.errors import BadInput, Phrase, gettext_noop
from connectors.adapters.base import CredentialField, Tokens
from connectors.shops.identity import SHOP_ID, SHOP_NAME

PAGE_ADDRESS: Final = "authorise_url"
TOKEN_NAMES: Final = frozenset({"access_token", "refresh_token"})


@dataclass(frozen=True, slots=True)
class Grant:
    """What a merchant's consent gave, and whose it is. `shop_id`: the platform's own number."""

    tokens: Tokens
    shop_id: str
    shop_name: str = ""


@runtime_checkable
class Authoriser(Protocol):
    """A client that changes a merchant's consent for tokens."""

    def create_tokens(self, code: str) -> Grant:
        """The tokens for the code the browser brought back; it is used up by it."""


@runtime_checkable
class OwnAuthoriser(Protocol):
    """A client of an application that belongs to the shop itself: nobody has to be asked."""

    def create_own_tokens(self) -> Grant:
        """The tokens of the shop whose number the form asked for."""


@dataclass(frozen=True)
class ConsentPage:
    """How a vendor's access is asked for.

    `address` is the platform's public page; a connection may name another (`PAGE_ADDRESS`), for a
    sandbox. `needs` have to be answered before; `write_query(config, callback, state)` are the
    page's parameters. `sends_callback`: the way back is a parameter; else it is what the application
    registered at the platform. `account_field` or `id_field` is the answer that says which shop is
    meant, by its account or by its number.
    `own_needs`: with these answered and `needs` not, the application is the shop's own.
    """

    address: str
    needs: tuple[str, ...]
    write_query: Callable[[Mapping[str, Any], str, str], Mapping[str, str]] = field(repr=False)
    sends_callback: bool = True
    account_field: str = ""
    id_field: str = ""
    own_needs: tuple[str, ...] = ()
    names_shop: str = ""  # the label of the answer that says which shop is meant

    def list_missing(self, answers: Mapping[str, Any]) -> tuple[str, ...]:
        """The names of what has to be answered before the browser can be sent."""
        return tuple(name for name in self.needs if not str(answers.get(name) or "").strip())

    def is_own(self, answers: Mapping[str, Any]) -> bool:
        """Whether tokens are had without anybody being asked."""
        return (
            bool(self.own_needs)
            and bool(self.list_missing(answers))
            and all(str(answers.get(name) or "").strip() for name in self.own_needs)
        )

    def get_address(self, config: Mapping[str, Any]) -> str:
        """The page's address for this connection; raises BadInput for one that is no web page."""
        return check_page_address(str(config.get(PAGE_ADDRESS) or "").strip() or self.address)

    def write_url(self, config: Mapping[str, Any], *, callback: str, state: str) -> str:
        """Where the browser goes."""
        query = urlencode(self.write_query(config, callback, state))
        return f"{self.get_address(config)}?{query}"


def make_address_field(default: str) -> CredentialField:
    """The question after another page than the public one."""
    return CredentialField(
        PAGE_ADDRESS,
        gettext_noop("授权页地址"),
        is_required=False,
        is_rare=True,
        placeholder=default,
        help=gettext_noop("一般不用填：默认是平台的公开授权页，只有沙箱或演示环境才改"),
    )


def check_page_address(address: str) -> str:
    """An http or https address without anything hidden in it; raises BadInput."""
    try:
        parts = urlsplit(address)
        is_bad = parts.scheme not in {"http", "https"} or not parts.hostname or parts.port == 0
    except ValueError:
        is_bad = True
    else:
        is_bad = is_bad or bool(parts.username or parts.password or parts.query or parts.fragment)
    if is_bad or "\\" in address or any(ord(c) <= 32 or ord(c) == 127 for c in address):
        raise BadInput(
            gettext_noop("授权页地址应以 https:// 开头，不带用户名、密码和问号后面的部分"),
            code="bad_page_address",
        )
    return address


def check_shop(
    page: ConsentPage, config: Mapping[str, Any], grant: Grant, *, expected_name: str = ""
) -> None:
    """Raise BadInput unless the shop that agreed is the one that was asked for.

    It is known by the number of an earlier authorisation or of the form, else by the account the
    form names, else by `expected_name`; where nothing is known, whoever comes is the one.
    """
    known = str(config.get(SHOP_ID) or (page.id_field and config.get(page.id_field)) or "").strip()
    account = str((page.account_field and config.get(page.account_field)) or "").strip()
    wanted = account or expected_name
    came = grant.shop_name or grant.shop_id
    if known:
        is_other, wanted = known != grant.shop_id, str(config.get(SHOP_NAME) or "") or known
    else:
        is_other = bool(wanted) and wanted != grant.shop_name
    if is_other and not (known or account):  # it goes by a name a person chose: that may be ours
        raise BadInput(
            gettext_noop(
                "同意授权的是「%(came)s」，而这个来源叫「%(wanted)s」，没有保存。是同一家店：先点「修改」，"
                "把「%(field)s」填成 %(value)s，再点「去授权」；不是：请在平台换主账号登录后再试"
            ),
            code="other_shop",
            came=came,
            wanted=wanted,
            field=Phrase(page.names_shop),
            value=grant.shop_id if page.id_field else grant.shop_name,
        )
    if is_other:
        raise BadInput(
            gettext_noop(
                "同意授权的是「%(came)s」，要的是「%(wanted)s」，没有保存。请在平台退出当前账号，"
                "换「%(wanted)s」的主账号登录后重新点「去授权」；确实换了店铺，请新接入一个来源"
            ),
            code="other_shop",
            came=came,
            wanted=wanted,
        )
