"""Authorising by redirect: the browser goes to the platform and comes back with a code.

What comes back is believed only with the `state` that went along: signed, good for half an hour
and once, and bound to the environment, the connection, the person and the session that began it.
A code is a credential: it is read here, exchanged at once, and shown or kept nowhere.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.contrib import messages
from django.core import signing
from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import path, reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from config.audit.services import record
from config.errors import AppError, BadInput, NotFound, Phrase, gettext_noop, join_phrases
from config.tenancy.middleware import outside_scope
from config.tenancy.roles import MANAGE_CONNECTORS
from config.tenancy.scope import for_environment
from config.wording import say_error
from connectors.adapters import Connector, ConsentPage, Grant
from connectors.shops.connections import reveal_secrets
from connectors.shops.identity import SHOP_ID, SHOP_NAME
from connectors.shops.models import Connection
from connectors.sync.registry import get_connector
from frontend.pages import connection_forms as forms
from frontend.pages.connection_forms import Draft
from frontend.pages.connection_wizard import Wizard, judge_address, read_answers, render_draft
from frontend.pages.connections import get_connection, note_refusal, page
from workflows.patrol.authorising import ask_for_grant, store_grant
from workflows.patrol.sources import wake_pull

SESSION_KEY = "authorisations"
SALT = "connection.authorise"
STATE_LIVES = timedelta(minutes=30)  # a merchant has to sign in, perhaps with a code by telephone
MAX_KEPT = 10
_AGAIN = gettext_noop("请从连接器页面重新点「去授权」")


class StateRefused(BadInput):
    """What came back cannot be trusted to belong to what was begun here."""

    code = "state_refused"


@dataclass
class Target:
    """What is being authorised: a draft of the wizard, or a connection."""

    connector: Connector
    base_url: str
    config: dict[str, Any]
    secrets: dict[str, str]
    name: str
    place: str  # the page to come back to
    wizard: Wizard | None = None
    draft: Draft | None = None
    connection: Connection | None = None

    @property
    def consent(self) -> ConsentPage:
        if self.connector.consent is None:
            raise BadInput(gettext_noop("这个平台没有授权页，请粘贴令牌"), code="no_consent_page")
        return self.connector.consent

    @property
    def expected_name(self) -> str:
        """Whom a connection belongs to that never heard its platform's own number of the shop."""
        shop = self.connection.shop if self.connection else None
        return str(shop.name) if shop else ""


def _open_draft(request: Any, key: str) -> Target:
    wizard = Wizard(request)
    draft = wizard.get(key)
    # Whoever agreed before was agreed to by nobody yet: only what was typed names the shop.
    config = {name: v for name, v in draft.config.items() if name not in {SHOP_ID, SHOP_NAME}}
    return Target(
        connector=get_connector(draft.vendor),
        base_url=draft.base_url,
        config=config,
        secrets=draft.secrets,
        name=draft.name,
        place=reverse("connection_draft", args=[key]),
        wizard=wizard,
        draft=draft,
    )


def _open_connection(public_id: str) -> Target:
    row = get_connection(public_id)
    return Target(
        connector=get_connector(row.vendor),
        base_url=row.base_url,
        config=dict(row.config),
        secrets=reveal_secrets(row),
        name=str(row),
        place=reverse("connection_detail", args=[public_id]),
        connection=row,
    )


def _open(request: Any, kind: str, key: str) -> Target:
    """In the scope in force."""
    return _open_draft(request, key) if kind == "draft" else _open_connection(key)


# --- leaving --------------------------------------------------------------------------------------


@outside_scope
@require_POST
@page(MANAGE_CONNECTORS)
def draft_authorise(request: Any, key: str) -> HttpResponse:
    """Keep what was filled in and go to the platform; tokens and name may still be missing."""
    with for_environment(request.environment, write=False):
        wizard = Wizard(request)
        draft = wizard.get(key)
        errors = read_answers(request, wizard, draft, is_authorising=True)
        errors = errors or judge_address(request, draft)
        wizard.save()
        if errors:
            return render_draft(request, wizard, draft, errors, status=400)
        target = _open_draft(request, key)
        target.consent.get_address(target.config)
    missing = _list_missing(target)
    if missing:
        with for_environment(request.environment, write=False):
            return render_draft(request, wizard, draft, missing, status=400)
    return _leave(request, target, "draft", key)


@outside_scope
@require_POST
@page(MANAGE_CONNECTORS)
def connection_authorise(request: Any, public_id: str) -> HttpResponse:
    """Authorise a connection again; what it needs for that and lacks is named on its form."""
    with for_environment(request.environment, write=False):
        target = _open_connection(public_id)
        target.consent.get_address(target.config)
    if missing := _list_missing(target):
        labels = join_phrases(Phrase(f.label) for f in target.connector.fields if f.name in missing)
        error = BadInput(
            gettext_noop("先在这里填写「%(labels)s」并保存，才能去授权"), labels=labels
        )
        messages.error(request, say_error(error))
        return redirect("connection_edit", public_id)
    return _leave(request, target, "connection", public_id)


def _list_missing(target: Target) -> dict[str, str]:
    """What has to be answered before anybody can be sent anywhere, by field."""
    answers = target.config | target.secrets
    if target.consent.is_own(answers):
        return {}
    missing = target.consent.list_missing(answers)
    return {
        f.name: _("去授权要先填写「%(label)s」") % {"label": _(f.label)}
        for f in target.connector.fields
        if f.name in missing
    }


def _leave(request: Any, target: Target, kind: str, key: str) -> HttpResponse:
    """To the page that leads to the platform; a shop's own application needs nobody's consent."""
    if target.consent.is_own(target.config | target.secrets):
        return _finish(request, target, code=None)
    mark = secrets.token_urlsafe(12)
    begun = request.session.get(SESSION_KEY, {})
    begun[mark] = {
        "environment": request.environment.public_id,
        "kind": kind,
        "key": key,
        "used": False,
    }
    request.session[SESSION_KEY] = dict(list(begun.items())[-MAX_KEPT:])
    return redirect("connection_leave", mark)


@never_cache
@require_GET
@page(MANAGE_CONNECTORS)
def connection_leave(request: Any, mark: str) -> HttpResponse:
    """Say where the browser goes, as whom to sign in there, and lead on.

    A link and not a redirect: the form's page may only be answered by ourselves (`form-action`),
    and an address that is not the platform's public one is gone to by a person who has read it.
    """
    begun = request.session.get(SESSION_KEY, {}).get(mark)
    if begun is None or begun["used"] or begun["environment"] != request.environment.public_id:
        raise NotFound(gettext_noop("这次授权已经结束或不是从这里开始的"))
    target = _open(request, begun["kind"], begun["key"])
    state = signing.dumps({**_bind(request, begun), "m": mark}, salt=SALT)
    callback = write_callback(request)
    address = target.consent.get_address(target.config)
    context = {
        "crumbs": [(_("连接器"), reverse("connection_list")), (_("去授权"), None)],
        "url": target.consent.write_url(target.config, callback=callback, state=state),
        "host": forms.get_host(address).removesuffix(":443"),
        "is_public": address == target.consent.address,
        "name": target.name,
        "connector_label": _(target.connector.label),
        "callback": callback,
        "sends_callback": target.consent.sends_callback,
        "minutes": round(STATE_LIVES.total_seconds() / 60),
        "place": target.place,
    }
    return render(request, "connections/leave.html", context)


def write_callback(request: Any) -> str:
    """The one address platforms send the browser back to."""
    address: str = request.build_absolute_uri(reverse("connection_authorised"))
    return address


def _bind(request: Any, begun: Mapping[str, Any]) -> dict[str, Any]:
    """What a state is good for."""
    return {
        "e": begun["environment"],
        "k": begun["kind"],
        "i": begun["key"],
        "u": request.user.pk,
    }


# --- coming back ----------------------------------------------------------------------------------


@never_cache
@outside_scope
@require_GET
def connection_authorised(request: Any) -> HttpResponse:
    """Where every platform sends the browser: judge the state, exchange the code, store, go on."""
    if not request.user.is_authenticated:  # and the code goes no further: it is of no use now
        messages.error(request, _("登录已过期，授权没有保存。请登录后重新点「去授权」"))
        query = urlencode({"next": reverse("connection_list")})
        return redirect(f"{reverse('login')}?{query}")
    return _come_back(request)


@page(MANAGE_CONNECTORS)
def _come_back(request: Any) -> HttpResponse:
    try:
        begun = _take(request, _read_state(request))
        with for_environment(request.environment, write=False):
            target = _open(request, begun["kind"], begun["key"])
    except (StateRefused, NotFound, Connection.DoesNotExist) as refusal:
        error = refusal if isinstance(refusal, AppError) else StateRefused(_GONE)
        _note(request, "", error.code)
        messages.error(request, say_error(error))
        return redirect("connection_list")
    try:
        code = _read_code(request)
    except AppError as refusal:
        _note(request, target.name, refusal.code)
        messages.error(request, say_error(refusal))
        return redirect(target.place)
    return _finish(request, target, code=code)


_GONE = gettext_noop("要授权的连接已经不在了，授权没有保存。请从连接器页面重新开始")


def _read_state(request: Any) -> dict[str, Any]:
    """The state that went along; raises StateRefused for one that is forged, old or another's."""
    try:
        state: dict[str, Any] = signing.loads(
            request.GET.get("state", ""), salt=SALT, max_age=STATE_LIVES
        )
    except signing.SignatureExpired as error:
        raise StateRefused(
            gettext_noop("授权超过 %(minutes)d 分钟没有完成，已作废，没有保存。%(again)s"),
            minutes=round(STATE_LIVES.total_seconds() / 60),
            again=Phrase(_AGAIN),
        ) from error
    except signing.BadSignature as error:
        raise StateRefused(
            gettext_noop("这次授权回调不是从这里发起的，已丢弃。%(again)s"), again=Phrase(_AGAIN)
        ) from error
    return state


def _foreign() -> StateRefused:
    return StateRefused(
        gettext_noop(
            "这次授权是在另一个登录会话里开始的，没有保存。请回到开始授权的浏览器和账号，"
            "或在这里重新点「去授权」"
        )
    )


def _take(request: Any, state: Mapping[str, Any]) -> dict[str, Any]:
    """What was begun under this state, used up; of two that come at once one gets it."""
    session: Any = request.session
    with transaction.atomic():
        rows = session.model.objects.select_for_update(no_key=True)
        is_kept = rows.filter(session_key=session.session_key).first() is not None
        kept = type(session)(session.session_key) if is_kept else session
        all_begun: dict[str, Any] = kept.get(SESSION_KEY, {})
        begun = all_begun.get(state["m"])
        if begun is None or _bind(request, begun) | {"m": state["m"]} != dict(state):
            raise _foreign()
        if begun["used"]:
            raise StateRefused(
                gettext_noop("这次授权已经处理过，不会重复使用。%(again)s"), again=Phrase(_AGAIN)
            )
        was, begun["used"] = dict(begun), True
        kept[SESSION_KEY] = all_begun
        kept.save()
    session[SESSION_KEY] = all_begun
    if was["environment"] != request.environment.public_id:
        name = next(
            (str(e) for e in request.environments if e.public_id == was["environment"]), "—"
        )
        raise StateRefused(
            gettext_noop(
                "这次授权是为「%(name)s」开始的，现在是另一个环境，没有保存。"
                "请切换回去，再点一次「去授权」"
            ),
            name=name,
        )
    return was


def _read_code(request: Any) -> str:
    """The code; raises BadInput when the merchant refused or the platform sent none."""
    if request.GET.get("error") == "access_denied":
        raise BadInput(
            gettext_noop(
                "店铺没有同意授权，没有保存任何内容。请用店铺主账号登录平台，"
                "重新点「去授权」并点同意"
            ),
            code="denied",
        )
    code: str = request.GET.get("code", "").strip()
    if not code or len(code) > 500 or request.GET.get("error"):
        raise BadInput(
            gettext_noop(
                "平台没有带回授权码，多半是没有点同意，或应用还没有通过审核；没有保存任何内容。"
                "请重新点「去授权」"
            ),
            code="no_code",
        )
    return code


def _finish(request: Any, target: Target, *, code: str | None) -> HttpResponse:
    """Exchange, judge, store; whatever goes wrong is said on the page it began on."""
    now = timezone.now()
    try:
        grant = ask_for_grant(
            request.environment,
            target.connector,
            base_url=target.base_url,
            config=target.config,
            secrets=target.secrets,
            code=code,
            expected_name=target.expected_name,
            now=now,
        )
        with for_environment(request.environment):
            if target.draft is not None and target.wizard is not None:
                words = _keep(request, target.wizard, target.draft, grant, now)
            else:
                words = _store(request, target, grant, now)
    except AppError as error:
        note_refusal(request, target.name, error.code)
        _note(request, target.name, error.code)
        messages.error(request, say_error(error))
    else:
        messages.success(request, words)
    return redirect(target.place)


def _keep(request: Any, wizard: Wizard, draft: Draft, grant: Grant, now: datetime) -> str:
    """Seal the tokens with the draft; a shop that has no name yet is called as the platform does."""
    tokens = grant.tokens
    kept = {name: v for name, v in draft.secrets.items() if name != "refresh_token"}
    kept["access_token"] = tokens.access_token
    if tokens.refresh_token:
        kept["refresh_token"] = tokens.refresh_token
    draft.seal(kept)
    draft.name = draft.name or " ".join(grant.shop_name.split())[: forms.MAX_NAME]
    draft.authorised = {
        "shop_id": grant.shop_id,
        "shop_name": grant.shop_name,
        "at": now.isoformat(),
        "expires_at": tokens.expires_at.isoformat() if tokens.expires_at else "",
        "refresh_expires_at": (
            tokens.refresh_expires_at.isoformat() if tokens.refresh_expires_at else ""
        ),
    }
    draft.trial = None
    draft.is_filled = bool(draft.name) and not forms.list_unanswered(
        get_connector(draft.vendor), draft
    )
    wizard.save()
    record(
        action="connection.authorise_draft",
        subject=draft.name[:60],
        actor=request.user,
        now=now,
        details={"shop": grant.shop_name, "shop_id": grant.shop_id, "vendor": draft.vendor},
    )
    return _("「%(shop)s」已授权，再点「保存并测试」确认能读到订单") % {
        "shop": grant.shop_name or grant.shop_id
    }


def _store(request: Any, target: Target, grant: Grant, now: datetime) -> str:
    assert target.connection is not None  # noqa: S101 - narrowing: it is no draft
    row = store_grant(target.connection, grant, actor=request.user, now=now)
    if row.is_active:
        wake_pull(request.environment, row)
        return _("「%(name)s」已重新授权，正在补读") % {"name": row}
    return _("「%(name)s」已重新授权；它还在暂停中，恢复后从停下的地方补读") % {"name": row}


def _note(request: Any, subject: str, code: str) -> None:
    """An authorisation that came to nothing is worth a line in the audit log; never the code."""
    with for_environment(request.environment):
        record(
            action="connection.authorise_refused",
            subject=subject[:60],
            actor=request.user,
            now=timezone.now(),
            details={"code": code},
        )


urlpatterns = [
    path("connections/authorised/", connection_authorised, name="connection_authorised"),
    path("connections/authorise/<str:mark>/", connection_leave, name="connection_leave"),
    path("connections/new/<str:key>/authorise/", draft_authorise, name="draft_authorise"),
    path(
        "connections/<str:public_id>/authorise/",
        connection_authorise,
        name="connection_authorise",
    ),
]
