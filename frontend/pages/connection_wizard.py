"""Connecting many channels and systems in one go: pick, authorise and test each, one schedule, save.

Until the last step nothing is stored but a draft in the person's session, its secrets sealed.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from django.contrib import messages
from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import path, reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from config.errors import AppError, BadInput, NotFound, gettext_noop
from config.tenancy.middleware import outside_scope
from config.tenancy.roles import MANAGE_CONNECTORS
from config.tenancy.scope import for_environment
from config.wording import say_error
from connectors.adapters.base import Connector
from connectors.http import AddressRefused, check_literal
from connectors.shops.addresses import list_allowed_addresses
from connectors.shops.connections import (
    authorise_connection,
    create_connection,
    record_success,
)
from connectors.shops.models import Connection, SourceKind
from connectors.shops.services import get_or_create_shop
from connectors.sync.registry import get_connector, list_connectors
from connectors.sync.trying import try_connection
from frontend.pages import connection_forms as forms
from frontend.pages import form_groups
from frontend.pages.connection_forms import Draft
from frontend.pages.connections import note_refusal, page, read_minutes, write_webhook
from workflows.patrol.sources import wake_pull

SESSION_KEY = "connection_wizard"
DONE_KEY = "connections_made"
DEFAULT_MINUTES = 15
MAX_DRAFTS = 20
# What a card says under its name; the order of the groups.
GROUPS: dict[str, tuple[Any, Any]] = {
    SourceKind.CHANNEL: (gettext_lazy("销售渠道"), gettext_lazy("订单从这里来")),
    SourceKind.GATEWAY: (gettext_lazy("支付网关"), gettext_lazy("钱有没有真的收到")),
    SourceKind.OMS: (gettext_lazy("订单系统 OMS"), gettext_lazy("有没有接单、审单")),
    SourceKind.WMS: (gettext_lazy("仓库系统 WMS"), gettext_lazy("有没有收到、拣货、发出")),
}


class Wizard:
    """The drafts of one person in one environment, kept in the session."""

    def __init__(self, request: Any) -> None:
        self._session = request.session
        self._place = request.environment.public_id
        kept = self._session.get(SESSION_KEY, {}).get(self._place, {})
        self.drafts = [Draft(**row) for row in kept.get("drafts", [])]
        self.every_minutes: int = kept.get("every_minutes", DEFAULT_MINUTES)

    def save(self) -> None:
        """Keep what was filled in."""
        self._session.setdefault(SESSION_KEY, {})[self._place] = {
            "drafts": [asdict(draft) for draft in self.drafts],
            "every_minutes": self.every_minutes,
        }
        self._session.modified = True

    def clear(self) -> None:
        """Forget everything."""
        self._session.get(SESSION_KEY, {}).pop(self._place, None)
        self._session.modified = True

    def get(self, key: str) -> Draft:
        """The draft of this key; raises NotFound for one that is gone."""
        found = next((draft for draft in self.drafts if draft.key == key), None)
        if found is None:
            raise NotFound(gettext_noop("这一项已经不在接入清单里"))
        return found

    def add(self, connector: Connector) -> Draft:
        """One more of a vendor; raises BadInput when there are too many."""
        if len(self.drafts) >= MAX_DRAFTS:
            raise BadInput(
                gettext_noop("一次最多接入 %(n)s 个，先保存这一批再接其余的"), n=MAX_DRAFTS
            )
        name = "" if connector.kind == SourceKind.CHANNEL else connector.label
        draft = Draft(
            key=secrets.token_hex(4),
            vendor=connector.code,
            name=name,
            base_url=connector.base_url,
        )
        self.drafts.append(draft)
        return draft

    def after(self, key: str) -> Draft | None:
        """The next draft that still has to be filled in, after this one and then from the top."""
        keys = [draft.key for draft in self.drafts]
        place = keys.index(key) + 1 if key in keys else 0
        rest = self.drafts[place:] + self.drafts[: max(0, place - 1)]
        return next((draft for draft in rest if not draft.is_filled), None)


# --- step 1: which -------------------------------------------------------------------------------


@require_http_methods(["GET", "POST"])
@page(MANAGE_CONNECTORS)
def connection_new(request: Any) -> HttpResponse:
    """Pick channels and systems; those picked already stay as they are."""
    wizard = Wizard(request)
    if request.method == "POST":
        return _pick(request, wizard)
    picked = {draft.vendor for draft in wizard.drafts}
    made: dict[str, int] = {}
    for vendor in Connection.objects.values_list("vendor", flat=True):
        made[vendor] = made.get(vendor, 0) + 1
    groups = []
    for kind, (label, words) in GROUPS.items():
        cards = [
            {
                "connector": c,
                "label": _(c.label),
                "help": _(c.help) if c.help else "",
                "is_on": c.code in picked,
                "made": made.get(c.code, 0),
                "ways": _describe_ways(c),
            }
            for c in list_connectors()
            if c.kind == kind
        ]
        if cards:
            groups.append({"label": label, "words": words, "cards": cards})
    return _render(request, "connections/pick.html", wizard, 1, {"groups": groups})


def _describe_ways(connector: Connector) -> str:
    has_lists = bool(connector.streams or connector.streams_of)
    if connector.has_queue:
        return _("每 20 秒取一次平台消息，定时读取兜底")
    if connector.push is not None and has_lists:
        return _("推送为主，定时读取兜底")
    if connector.push is not None:
        return _("推送与逐单查询")
    return _("定时读取") if has_lists else _("逐单查询")


def _pick(request: Any, wizard: Wizard) -> HttpResponse:
    wanted = request.POST.getlist("vendor")
    connectors = [get_connector(code) for code in dict.fromkeys(wanted)]
    wizard.drafts = [draft for draft in wizard.drafts if draft.vendor in wanted]
    there = {draft.vendor for draft in wizard.drafts}
    for connector in connectors:
        if connector.code not in there:
            wizard.add(connector)
    wizard.save()
    if not wizard.drafts:
        messages.error(request, _("请至少选一个渠道或系统"))
        return redirect("connection_new")
    first = next((d for d in wizard.drafts if not d.is_filled), wizard.drafts[0])
    return redirect("connection_draft", first.key)


# --- step 2: each --------------------------------------------------------------------------------


@require_http_methods(["GET", "POST"])
@page(MANAGE_CONNECTORS)
def connection_draft(request: Any, key: str) -> HttpResponse:
    """One source's name, address and credentials. POST keeps them without a test call."""
    wizard = Wizard(request)
    draft = wizard.get(key)
    if request.method == "GET":
        return render_draft(request, wizard, draft, {})
    errors = read_answers(request, wizard, draft) or judge_address(request, draft)
    wizard.save()
    if errors:
        return render_draft(request, wizard, draft, errors, status=400)
    following = wizard.after(key)
    return redirect("connection_draft", following.key) if following else redirect("connection_plan")


@outside_scope
@require_POST
@page(MANAGE_CONNECTORS)
def connection_draft_try(request: Any, key: str) -> HttpResponse:
    """Keep what was filled in and make one authorised call with it."""
    with for_environment(request.environment, write=False):
        wizard = Wizard(request)
        draft = wizard.get(key)
        is_sampling = request.POST.get("action") == "sample"
        errors = read_answers(request, wizard, draft, is_sampling=is_sampling)
        wizard.save()
        if errors:
            return render_draft(request, wizard, draft, errors, status=400)
    if is_sampling and form_groups.is_described(draft.vendor):
        return _sample(request, wizard, draft)
    trial = try_connection(
        request.environment,
        vendor=draft.vendor,
        base_url=draft.base_url,
        config=draft.config,
        secrets=draft.secrets,
        shop=draft.name,
        now=timezone.now(),
    )
    forms.keep_trial(draft, trial)
    if trial.ok and form_groups.is_described(draft.vendor):
        form_groups.fetch_preview(request.environment, draft, draft.secrets, timezone.now())
    wizard.save()
    if not trial.ok:
        note_refusal(request, draft.name, trial.code)
        with for_environment(request.environment, write=False):
            return render_draft(request, wizard, draft, {}, status=400)
    return redirect("connection_draft", key)


def _sample(request: Any, wizard: Wizard, draft: Draft) -> HttpResponse:
    """Ask a system once for what its fields are picked from."""
    form_groups.fetch_sample(request.environment, draft, draft.secrets, timezone.now())
    wizard.save()
    assert draft.sample is not None  # noqa: S101 - narrowing: it was just taken
    if draft.sample["code"]:
        note_refusal(request, draft.name, draft.sample["code"])
        with for_environment(request.environment, write=False):
            return render_draft(request, wizard, draft, {}, status=400)
    return redirect(f"{reverse('connection_draft', args=[draft.key])}#sample")


@require_POST
@page(MANAGE_CONNECTORS)
def connection_draft_add(request: Any, key: str) -> HttpResponse:
    """One more shop of the same vendor."""
    wizard = Wizard(request)
    draft = wizard.add(get_connector(wizard.get(key).vendor))
    wizard.save()
    return redirect("connection_draft", draft.key)


@require_POST
@page(MANAGE_CONNECTORS)
def connection_draft_remove(request: Any, key: str) -> HttpResponse:
    """Take one off the list."""
    wizard = Wizard(request)
    draft = wizard.get(key)
    wizard.drafts.remove(draft)
    wizard.save()
    if not wizard.drafts:
        return redirect("connection_new")
    following = wizard.after(key)
    return redirect("connection_draft", following.key) if following else redirect("connection_plan")


def read_answers(
    request: Any,
    wizard: Wizard,
    draft: Draft,
    *,
    is_sampling: bool = False,
    is_authorising: bool = False,
) -> dict[str, str]:
    """Take what was typed into the draft; what is wrong with it, by field.

    `is_authorising`: tokens and the shop's name may be missing, the platform is about to tell them.
    """
    connector = get_connector(draft.vendor)
    may_lack = forms.TOLD_BY_PLATFORM if is_authorising else frozenset()
    errors = forms.read_form(connector, draft, request.POST, may_lack=may_lack)
    errors = form_groups.check_settings(draft, draft.secrets, is_sampling=is_sampling) | errors
    draft.is_filled = not errors and not is_sampling and not is_authorising
    name = _name_source(connector, draft)
    kinds = {c.code: c.kind for c in list_connectors()}
    is_twice = any(
        other.key != draft.key
        and kinds[other.vendor] == connector.kind
        and _name_source(get_connector(other.vendor), other) == name
        for other in wizard.drafts
    )
    is_made = Connection.objects.filter(source__kind=connector.kind, source__name=name).exists()
    if draft.name and (is_twice or is_made):
        errors["name"] = (
            _("「%(name)s」已经接入过，请在它的页面上修改，或换一个名称")
            if is_made
            else _("清单里已有「%(name)s」，请换一个名称")
        ) % {"name": name}
        draft.is_filled = False
    return errors


def judge_address(request: Any, draft: Draft) -> dict[str, str]:
    """What a test call would refuse at once: an address that is written as one inside."""
    try:
        check_literal(draft.base_url, allowed=list_allowed_addresses())
    except AddressRefused as refusal:
        note_refusal(request, draft.name, refusal.code)
        draft.is_filled = False
        return {"base_url": say_error(refusal)}
    return {}


def _name_source(connector: Connector, draft: Draft) -> str:
    """What the source is called: a shop with its platform, so that two platforms may have one."""
    if connector.kind != SourceKind.CHANNEL:
        return draft.name
    platform = re.split(r"[ /（]", connector.label)[0]
    return draft.name if platform in draft.name else f"{platform} {draft.name}"


def render_draft(
    request: Any, wizard: Wizard, draft: Draft, errors: Mapping[str, str], *, status: int = 200
) -> HttpResponse:
    """The page of one draft with what is wrong with it."""
    connector = get_connector(draft.vendor)
    context = form_groups.describe_form(connector, draft, errors) | {
        "connector_label": _(connector.label),
        "is_channel": connector.kind == SourceKind.CHANNEL,
        "now": timezone.now(),
        "callback": request.build_absolute_uri(reverse("connection_authorised")),
        "following": wizard.after(draft.key),
    }
    return _render(request, "connections/draft.html", wizard, 2, context, status=status)


# --- step 3: when, and all at once ----------------------------------------------------------------


@require_http_methods(["GET", "POST"])
@page(MANAGE_CONNECTORS)
def connection_plan(request: Any) -> HttpResponse:
    """One schedule for all, what will be connected, and the one button that does it."""
    wizard = Wizard(request)
    if not wizard.drafts:
        return redirect("connection_new")
    error = ""
    if request.method == "POST":
        wizard.every_minutes, error = read_minutes(request.POST.get("every_minutes", ""))
        if not error:
            wizard.save()
            try:
                made = _make_all(request, wizard)
            except AppError as refusal:
                note_refusal(request, "", refusal.code)
                error = say_error(refusal)
            else:
                wizard.clear()
                request.session[DONE_KEY] = [row.public_id for row in made]
                return redirect("connections_made")
    context = {
        "error": error,
        "every_minutes": wizard.every_minutes or DEFAULT_MINUTES,
        "untried": sum(not draft.is_tried for draft in wizard.drafts),
        "unfilled": next((draft for draft in wizard.drafts if not draft.is_filled), None),
    }
    status = 400 if error else 200
    return _render(request, "connections/plan.html", wizard, 3, context, status=status)


def _make_all(request: Any, wizard: Wizard) -> list[Connection]:
    """Every connection, or none."""
    now = timezone.now()
    if any(not draft.is_filled for draft in wizard.drafts):
        raise BadInput(gettext_noop("还有没填完的项，请先填完或移除"), code="drafts_unfilled")
    made = []
    with transaction.atomic():
        for draft in wizard.drafts:
            connector = get_connector(draft.vendor)
            is_channel = connector.kind == SourceKind.CHANNEL
            row = create_connection(
                vendor=draft.vendor,
                kind=connector.kind,
                name=_name_source(connector, draft),
                shop=get_or_create_shop(draft.vendor, draft.name) if is_channel else None,
                base_url=draft.base_url,
                config=draft.config,
                secrets=draft.secrets,
                actor=request.user,
                now=now,
                every_minutes=wizard.every_minutes,
            )
            if draft.authorised is not None:
                row = _store_authorisation(row, draft, request.user, now)
            if draft.is_tried:
                record_success(row, now=now)
            made.append(row)
    for row in made:
        wake_pull(request.environment, row)
    return made


def _store_authorisation(row: Connection, draft: Draft, actor: Any, now: datetime) -> Connection:
    """What the platform gave while the draft was filled in, with its ends and its shop."""
    told, tokens = draft.authorised or {}, draft.secrets
    ends = {name: told[name] for name in ("expires_at", "refresh_expires_at")}
    return authorise_connection(
        row,
        access_token=tokens["access_token"],
        refresh_token=tokens.get("refresh_token", ""),
        expires_at=datetime.fromisoformat(ends["expires_at"]) if ends["expires_at"] else None,
        refresh_expires_at=(
            datetime.fromisoformat(ends["refresh_expires_at"])
            if ends["refresh_expires_at"]
            else None
        ),
        shop_id=told["shop_id"],
        shop_name=told["shop_name"],
        actor=actor,
        now=now,
    )


@require_GET
@page(MANAGE_CONNECTORS)
def connections_made(request: Any) -> HttpResponse:
    """What was connected a moment ago, with the addresses to give to the platforms."""
    ids = request.session.get(DONE_KEY, [])
    rows = list(
        Connection.objects.filter(public_id__in=ids).select_related("source").order_by("pk")
    )
    if not rows:
        return redirect("connection_list")
    context = {
        "crumbs": [(_("连接器"), reverse("connection_list")), (_("已接入"), None)],
        "rows": [
            {
                "connection": row,
                "label": _(get_connector(row.vendor).label),
                "webhook": write_webhook(request, row),
            }
            for row in rows
        ],
    }
    return render(request, "connections/made.html", context)


@require_POST
@page(MANAGE_CONNECTORS)
def connection_give_up(request: Any) -> HttpResponse:
    """Throw the list away."""
    Wizard(request).clear()
    messages.success(request, _("已放弃这次接入，什么都没有保存"))
    return redirect("connection_list")


def _render(
    request: Any,
    template: str,
    wizard: Wizard,
    step: int,
    context: Mapping[str, Any],
    *,
    status: int = 200,
) -> HttpResponse:
    steps = [
        (1, _("选渠道和系统"), reverse("connection_new")),
        (
            2,
            _("授权并测试"),
            reverse("connection_draft", args=[wizard.drafts[0].key]) if wizard.drafts else "",
        ),
        (3, _("时间表与保存"), reverse("connection_plan") if wizard.drafts else ""),
    ]
    shared = {
        "crumbs": [(_("连接器"), reverse("connection_list")), (_("接入"), None)],
        "steps": [(n, label, url, n == step) for n, label, url in steps],
        "drafts": [
            {
                "draft": draft,
                "label": _(get_connector(draft.vendor).label),
                "trial": forms.say_trial(draft),
            }
            for draft in wizard.drafts
        ],
        "minutes_default": DEFAULT_MINUTES,
    }
    return render(request, template, {**shared, **context}, status=status)


urlpatterns = [
    path("connections/new/", connection_new, name="connection_new"),
    path("connections/new/plan/", connection_plan, name="connection_plan"),
    path("connections/new/made/", connections_made, name="connections_made"),
    path("connections/new/give-up/", connection_give_up, name="connection_give_up"),
    path("connections/new/<str:key>/", connection_draft, name="connection_draft"),
    path("connections/new/<str:key>/try/", connection_draft_try, name="connection_draft_try"),
    path("connections/new/<str:key>/add/", connection_draft_add, name="connection_draft_add"),
    path(
        "connections/new/<str:key>/remove/",
        connection_draft_remove,
        name="connection_draft_remove",
    ),
]
