"""The form of a system that is described by its answers: its questions in groups, its sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from config.errors import BY_SENTENCE, AppError, BadInput, Phrase
from config.tenancy.models import Environment
from config.wording import join_words, say, say_error
from connectors.adapters.base import Connector
from connectors.adapters.consent import TOKEN_NAMES
from connectors.adapters.pace import PACE_FIELDS
from connectors.sync.sampling import PreviewRow, preview_rows, take_sample
from connectors.systems.oms.adapter import GENERIC_OMS
from connectors.systems.oms.paths import SampleField
from connectors.systems.oms.spec import LABELS, OmsSpec, Problem
from connectors.systems.registry import SYSTEMS, find_problems
from frontend.pages.connection_forms import (
    ADDRESS_CODES,
    Draft,
    Question,
    get_host,
    keep_words,
    list_questions,
    say_trial,
    say_words,
)

MAX_BODY, MAX_PLACES = 8000, 200
_ADDRESSES = frozenset({"list_path", "detail_path", "hold_path", "release_path"})
_OF_ROW = frozenset(
    name for name in LABELS if name.endswith("_path") and name in
    {"order_no_path", "updated_path", "received_path", "reviewed_path", "picked_path",
     "shipped_path", "status_path"}
)  # fmt: skip
# What a group is called, what it is for, the first words of its fields' names; folded or not.
_GROUPS: tuple[tuple[Any, Any, tuple[str, ...], bool], ...] = (
    (gettext_lazy("1. 认证"), "", ("auth_", "sign_"), False),
    (
        gettext_lazy("2. 订单列表怎么要"),
        gettext_lazy("路径、参数和翻页，照对方的接口文档填"),
        (
            "list_", "start_name", "end_name", "time_format", "paging_kind", "page_name",
            "size_name", "page_size", "first_page",
        ),
        False,
    ),
    (
        gettext_lazy("3. 在样例里点出位置"),
        gettext_lazy("先取一份样例；点一下下面的格子，再点样例里的字段，位置就填好了"),
        (
            "rows_path", "order_no_path", "updated_path", "received_path", "reviewed_path",
            "picked_path", "shipped_path", "status_path", "total_path", "cursor_path",
            "next_path", "ok_", "code_path",
        ),
        False,
    ),
    (
        gettext_lazy("4. 选填：核对单张订单、挂起和解除"),
        gettext_lazy("填了挂起和解除，红色订单就能在 OMS 里停下"),
        ("detail_", "hold_", "release_"),
        True,
    ),
    (gettext_lazy("5. 很少用到的设置"), "", tuple(f.name for f in PACE_FIELDS), True),
)  # fmt: skip


@dataclass(frozen=True)
class Group:
    """Questions that belong together. `is_sample`: the sample stands beside them."""

    label: str
    help: str
    questions: Sequence[Question]
    is_folded: bool
    is_sample: bool


def is_described(vendor: str) -> bool:
    """Whether the system is described by the form rather than known to us."""
    return vendor == GENERIC_OMS.code


def group_questions(vendor: str, questions: Sequence[Question]) -> list[Group]:
    """The questions in the order in which a person answers them."""
    if not is_described(vendor):
        return _fold_rare(questions)
    groups = []
    for label, words, starts, is_folded in _GROUPS:
        inside = sorted(
            (q for q in questions if q.field.name.startswith(starts)),
            key=lambda q: next(
                n for n, start in enumerate(starts) if q.field.name.startswith(start)
            ),
        )
        # Something wrong is never folded away.
        is_wrong = any(q.error for q in inside) or any(q.value for q in inside[:2])
        folded = is_folded and not is_wrong
        groups.append(Group(label, words, inside, folded, is_sample=starts[0] == "rows_path"))
    return groups


def _fold_rare(questions: Sequence[Question]) -> list[Group]:
    """What everybody answers, then what hardly anybody does, folded; nothing wrong is folded."""
    rare = [q for q in questions if q.field.is_rare]
    usual = [q for q in questions if not q.field.is_rare]
    groups = [Group(_("授权"), "", usual, is_folded=False, is_sample=False)]
    if rare:
        is_folded = not any(q.error for q in rare)
        groups.append(Group(_("很少用到的设置"), "", rare, is_folded, is_sample=False))
    return groups


def describe_form(connector: Connector, draft: Draft, errors: Mapping[str, str]) -> dict[str, Any]:
    """All of a form that the pages of wizard and settings share."""
    described = is_described(draft.vendor)
    blank = OmsSpec()
    defaults = {f.name: getattr(blank, f.name) for f in connector.fields if f.choices and described}
    questions = list_questions(connector, draft, errors, defaults)
    pasted: list[Question] = []
    if connector.consent is not None:  # tokens come by a button; pasting them is the second way
        pasted = [q for q in questions if q.field.name in TOKEN_NAMES]
        questions = [q for q in questions if q.field.name not in TOKEN_NAMES]
    sample = draft.sample
    if sample is not None:
        sample = sample | {
            "words": say_words(sample["words"]),
            "is_refused": sample["code"] in ADDRESS_CODES,
            "host": get_host(draft.base_url),
        }
    return {
        "draft": draft,
        "connector": connector,
        "connector_help": _(connector.help) if connector.help else "",
        "groups": group_questions(draft.vendor, questions),
        "is_described": described,
        "consent": connector.consent,
        "pasted": pasted,
        "may_test": connector.consent is None or bool(draft.authorised) or _has_tokens(pasted),
        "is_pasting": any(q.error or (q.is_stored and not draft.authorised) for q in pasted),
        "authorised": _say_authorised(draft),
        "errors": errors,
        "trial": say_trial(draft),
        "sample": sample,
        "preview": [_say_row(row) for row in draft.preview or []],
    }


def _has_tokens(pasted: Sequence[Question]) -> bool:
    return any(q.is_stored for q in pasted)


def _say_authorised(draft: Draft) -> dict[str, Any] | None:
    """Whose consent a draft has and until when, as the template shows it."""
    if draft.authorised is None:
        return None
    ends = draft.authorised["expires_at"]
    return {
        "shop": draft.authorised["shop_name"] or draft.authorised["shop_id"],
        "expires_at": datetime.fromisoformat(ends) if ends else None,
    }


def _say_row(row: Mapping[str, Any]) -> dict[str, Any]:
    if "words" in row:
        return {"words": say_words(row["words"])}
    moments = [datetime.fromisoformat(text) if text else None for text in row["moments"]]
    return {**row, "moments": moments}


def name_places(name: str) -> str:
    """Which list of a sample a setting is picked from: "row", "answer", or "" for none."""
    if not name.endswith("_path") or name in _ADDRESSES:
        return ""
    return "row" if name in _OF_ROW else "answer"


def check_settings(
    draft: Draft, secrets: Mapping[str, str], *, is_sampling: bool = False
) -> dict[str, str]:
    """What can be known to be wrong before anything is called: by field, or "" for the whole."""
    if is_described(draft.vendor):
        return _check_described(draft, is_sampling=is_sampling)
    if draft.vendor not in SYSTEMS:
        return {}
    problems = find_problems(draft.vendor, config=draft.config, secrets=secrets)
    return {"": join_words((say(problem) for problem in problems), BY_SENTENCE)} if problems else {}


def _check_described(draft: Draft, *, is_sampling: bool) -> dict[str, str]:
    """Before a sample only what keeps it from being taken."""
    try:
        spec = OmsSpec.read(draft.config)
    except BadInput as error:
        return {"page_size": say_error(error)}
    problems: list[Problem] = spec.check_call() if is_sampling else spec.check()
    return {problem.field: say(problem.words) for problem in reversed(problems)}


def fetch_sample(
    environment: Environment, draft: Draft, secrets: Mapping[str, str], now: datetime
) -> None:
    """Ask once, keep what came for the page, and propose what is not picked yet."""
    sample = take_sample(
        environment,
        vendor=draft.vendor,
        base_url=draft.base_url,
        config=draft.config,
        secrets=secrets,
        now=now,
    )
    call = sample.call
    draft.sample = {
        "words": keep_words(call.trouble if call else sample.words),
        "code": sample.code,
        "body": call.body[:MAX_BODY] if call else "",
        "rows": call.rows if call else None,
        "answer": _list_places(call.fields) if call else [],
        "row": _list_places(call.row_fields) if call else [],
        "guessed": [],
    }
    guesses = (call.guesses or {}) if call else {}
    for name, path in guesses.items():
        if not draft.config.get(name):
            draft.config[name] = path
            draft.sample["guessed"].append(name)
    if call is not None and not _check_described(draft, is_sampling=False):
        fetch_preview(environment, draft, secrets, now)


def _list_places(found: Sequence[SampleField]) -> list[list[str]]:
    """Paths of an answer with what stood there; how many are in a list is said in words."""
    return [
        [f.path, say(f.example) if isinstance(f.example, Phrase) else f.example]
        for f in found[:MAX_PLACES]
    ]


def fetch_preview(
    environment: Environment, draft: Draft, secrets: Mapping[str, str], now: datetime
) -> None:
    """Three rows as they will be taken in."""
    try:
        rows = preview_rows(
            environment,
            vendor=draft.vendor,
            base_url=draft.base_url,
            config=draft.config,
            secrets=secrets,
            now=now,
        )
    except AppError:
        draft.preview = None  # the test call has said why
        return
    draft.preview = [_describe(row) for row in rows]


def _describe(row: PreviewRow) -> dict[str, Any]:
    receipt = row.receipt
    if receipt is None:
        return {"words": keep_words(row.words)}
    moments = (receipt.received_at, receipt.reviewed_at, receipt.picked_at, receipt.shipped_at)
    return {
        "order_no": receipt.order_no,
        "moments": [moment.isoformat() if moment else "" for moment in moments],
        "status": str(receipt.custom.get("oms_status", "")),
    }
