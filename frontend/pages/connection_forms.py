"""The form of a connection: a vendor's questions, what was answered, what is wrong with it.

A secret goes in and never comes out: of an answer that is stored the page shows the last four
characters, of a draft what was typed stays sealed in the session.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from django.http import QueryDict
from django.utils.translation import gettext as _

from config.errors import BadInput, Phrase, keep_params, recall_phrase
from config.secrets import decrypt, encrypt
from config.wording import say, say_error
from connectors.adapters.base import Connector, CredentialField
from connectors.adapters.consent import PAGE_ADDRESS, TOKEN_NAMES, check_page_address
from connectors.shops.connections import hint_secrets

# What a platform tells once somebody has agreed there.
TOLD_BY_PLATFORM = TOKEN_NAMES | {"name"}
DRAFT_PURPOSE = "connection.draft"
MAX_NAME, MAX_URL, MAX_ANSWER, MAX_SHOWN = 60, 300, 8000, 4000
PREFIX = "f_"
ADDRESS_CODES = frozenset({"address_refused", "name_not_resolved"})


@dataclass
class Draft:
    """A connection that is being filled in. `sealed` holds its secrets, `trial` what a call said.

    `kept` are the hints of secrets that are stored with the connection already. `authorised`: whose
    consent its tokens come from, and until when (ISO texts); None for tokens that were pasted.
    """

    key: str
    vendor: str
    name: str = ""
    base_url: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    sealed: str = ""
    hints: dict[str, str] = field(default_factory=dict)
    trial: dict[str, Any] | None = None
    is_filled: bool = False
    kept: dict[str, str] = field(default_factory=dict)
    sample: dict[str, Any] | None = None
    preview: list[dict[str, Any]] | None = None
    authorised: dict[str, Any] | None = None

    @property
    def secrets(self) -> dict[str, str]:
        """What was typed, in clear: for the call and for the service that stores it."""
        if not self.sealed:
            return {}
        found: dict[str, str] = json.loads(decrypt(self.sealed, purpose=DRAFT_PURPOSE))
        return found

    def seal(self, secrets: Mapping[str, str]) -> None:
        """Keep these secrets, sealed."""
        self.sealed = encrypt(json.dumps(dict(secrets)), purpose=DRAFT_PURPOSE) if secrets else ""
        self.hints = hint_secrets(secrets)

    @property
    def is_tried(self) -> bool:
        return bool(self.trial and self.trial["ok"])


@dataclass(frozen=True)
class Question:
    """One field as the template draws it. Of a secret `value` is always empty.

    `default` is the choice that holds while none is made.
    """

    field: CredentialField
    label: str
    help: str
    value: str
    is_stored: bool
    hint: str
    error: str
    default: str = ""

    @property
    def name(self) -> str:
        return PREFIX + self.field.name

    @property
    def is_required(self) -> bool:
        return self.field.is_required and not self.is_stored

    @property
    def choices(self) -> list[tuple[str, str]]:
        """Values and their words; where an answer may be left out, the first one says so."""
        found = [(value, _(label)) for value, label in self.field.choices]
        needs_blank = not self.value and not self.default
        return [("", "—"), *found] if needs_blank else found

    @property
    def chosen(self) -> str:
        return self.value or self.default


def list_questions(
    connector: Connector,
    draft: Draft,
    errors: Mapping[str, str],
    defaults: Mapping[str, str],
) -> list[Question]:
    """The vendor's fields with what is known of them."""
    return [
        Question(
            field=f,
            label=_(f.label),
            help=_(f.help) if f.help else "",
            value="" if f.is_secret else str(draft.config.get(f.name, "")),
            is_stored=f.is_secret and (f.name in draft.hints or f.name in draft.kept),
            hint=draft.hints.get(f.name) or draft.kept.get(f.name, ""),
            error=errors.get(f.name, ""),
            default=defaults.get(f.name, ""),
        )
        for f in connector.fields
    ]


def read_form(
    connector: Connector,
    draft: Draft,
    posted: QueryDict,
    *,
    may_lack: frozenset[str] = frozenset(),
) -> dict[str, str]:
    """Take the answers into the draft; what is wrong by field ("name", "base_url", or a field's).

    `may_lack`: what need not be answered yet.
    """
    errors: dict[str, str] = {}
    if "name" in posted:
        draft.name = " ".join(posted.get("name", "").split())[:MAX_NAME]
    if not draft.name and "name" not in may_lack:
        errors["name"] = _("请填写名称，例如店铺在平台上的名字")
    draft.base_url = posted.get("base_url", draft.base_url).strip()[:MAX_URL].rstrip("/")
    if problem := check_address(draft.base_url):
        errors["base_url"] = problem
    secrets = draft.secrets
    for f in connector.fields:
        answer = posted.get(PREFIX + f.name, "").strip()
        if len(answer) > MAX_ANSWER:
            errors[f.name] = _("太长了，最多 %(n)s 个字符") % {"n": MAX_ANSWER}
        elif f.choices and answer and answer not in dict(f.choices):
            errors[f.name] = _("请从列表里选一项")
        elif f.most and answer and not _is_number(answer, f.most):
            errors[f.name] = _("请填写 1 到 %(most)s 的整数") % {"most": f"{f.most:,}"}
        elif f.is_secret:
            if answer:
                secrets[f.name] = answer
                if f.name in TOKEN_NAMES:
                    draft.authorised = None  # pasted: nobody knows whose they are
        elif answer:
            draft.config[f.name] = answer
        else:
            draft.config.pop(f.name, None)
        if f.name == PAGE_ADDRESS and answer:
            try:
                check_page_address(answer)
            except BadInput as error:
                errors[f.name] = say_error(error)
    draft.seal(secrets)
    for name in list_unanswered(connector, draft):
        if name not in may_lack:
            errors.setdefault(name, _ask_for(connector, name))
    draft.is_filled, draft.trial, draft.preview = not errors, None, None
    return errors


def _is_number(answer: str, most: int) -> bool:
    return answer.isascii() and answer.isdecimal() and 1 <= int(answer) <= most


def list_unanswered(connector: Connector, draft: Draft) -> list[str]:
    """The names of what has to be answered and is not."""
    there = draft.config.keys() | draft.hints.keys() | draft.kept.keys()
    return [f.name for f in connector.fields if f.is_required and f.name not in there]


def _ask_for(connector: Connector, name: str) -> str:
    label = {"label": _(next(f.label for f in connector.fields if f.name == name))}
    if connector.consent is not None and name in TOKEN_NAMES:
        return _("请点「去授权」，或粘贴「%(label)s」") % label
    return _("请填写「%(label)s」") % label


def check_address(address: str) -> str:
    """What is wrong with the form of an address, or "". Whether it may be reached, the door says."""
    if not address:
        return _("请填写接口地址")
    try:
        parts = urlsplit(address)
        is_bad = parts.scheme not in {"http", "https"} or not parts.hostname or parts.port == 0
    except ValueError:
        return _("这不是有效的网址")
    if is_bad or any(ord(c) <= 32 or ord(c) == 127 for c in address):
        return _("接口地址应以 https:// 开头，例如 https://api.example.com")
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        return _("接口地址里不要带用户名、密码或问号后面的部分，密钥填在下面的格子里")
    return ""


def get_host(address: str) -> str:
    """host:port of an address, as the allow-list writes it."""
    try:
        parts = urlsplit(address)
        port = parts.port or (80 if parts.scheme == "http" else 443)
    except ValueError:
        return ""
    return f"{parts.hostname or ''}:{port}"


def keep_trial(draft: Draft, trial: Any) -> None:
    """Remember what a test call said: words as a template, so that every reader has their own."""
    draft.trial = {
        "ok": trial.ok,
        "words": keep_words(trial.words),
        "answer": trial.answer[:MAX_SHOWN],
        "code": trial.code,
    }


def keep_words(phrase: Phrase | None) -> dict[str, Any] | None:
    """A phrase as a session can hold it: its template and what fills it."""
    if phrase is None:
        return None
    return {"message": phrase.message, "params": keep_params(phrase.params)}


def say_words(kept: Mapping[str, Any] | None) -> str:
    """The phrase again, in the reader's language."""
    return say(recall_phrase(kept["message"], kept["params"])) if kept else ""


def say_trial(draft: Draft) -> dict[str, Any] | None:
    """The trial as the template shows it."""
    if draft.trial is None:
        return None
    return draft.trial | {
        "words": say_words(draft.trial["words"]),
        "is_refused": draft.trial["code"] in ADDRESS_CODES,
        "host": get_host(draft.base_url),
    }
