"""Connectors: how every source does, in words, and the button that mends it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import wraps
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import path, reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext_lazy
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from config.audit.services import record
from config.errors import BY_SENTENCE, AppError, NotFound, WrongState, gettext_noop
from config.tenancy.middleware import outside_scope
from config.tenancy.roles import MANAGE_CONNECTORS, VIEW_BOARD, VIEW_ORDERS, check_right
from config.tenancy.scope import for_environment
from config.wording import join_words, say, say_error
from connectors.adapters.base import Connector
from connectors.shops.connections import change_connection, reveal_secrets
from connectors.shops.identity import SHOP_ID, SHOP_NAME
from connectors.shops.models import Connection
from connectors.sync.health import Health, read_health
from connectors.sync.registry import get_connector
from connectors.sync.trying import try_connection
from frontend.pages import connection_forms as forms
from frontend.pages import form_groups
from frontend.pages.connection_forms import Draft
from workflows.patrol.sources import wake_pull

View = Callable[..., HttpResponse]
# Level -> its place in the list, the band whose sign and colour it borrows, and its word.
LEVELS: dict[str, tuple[int, str, Any]] = {
    "trouble": (0, "red", gettext_lazy("需要处理")),
    "late": (1, "orange", gettext_lazy("数据滞后")),
    "waiting": (2, "yellow", gettext_lazy("平台要求等待")),
    "new": (3, "yellow", gettext_lazy("还没读到")),
    "ok": (4, "healthy", pgettext_lazy("how a connection fares", "正常")),
    "paused": (5, "unknown", gettext_lazy("已暂停")),
}
REMIND_BEFORE = timedelta(days=3)  # so that nobody is surprised on a weekend
_STATES = {"done": "sent", "running": "pending", "partial": "ambiguous", "failed": "failed"}


def page(right: str) -> Callable[[View], View]:
    """A view for people with a right in the environment in force."""

    def decorate(view: View) -> View:
        @wraps(view)
        def run(request: Any, *args: Any, **kwargs: Any) -> HttpResponse:
            if request.environment is None:
                raise NotFound(gettext_noop("请先选择一个环境"))
            check_right(request.rights, right)
            return view(request, *args, **kwargs)

        guarded: View = login_required(run)
        return guarded

    return decorate


def get_connection(public_id: str) -> Connection:
    """The connection of this id in the environment in force; DoesNotExist when foreign."""
    row: Connection = Connection.objects.select_related("source", "shop").get(public_id=public_id)
    return row


def write_webhook(request: Any, connection: Connection) -> str:
    """The address a vendor pushes to, or "" when it does not push."""
    if get_connector(connection.vendor).push is None:
        return ""
    place = reverse("inbound", args=[request.environment.public_id, connection.public_id])
    address: str = request.build_absolute_uri(place)
    return address


# --- how they do --------------------------------------------------------------------------------


@require_GET
@page(VIEW_BOARD)
def connection_list(request: Any) -> HttpResponse:
    """Every connection with its health in words, those in trouble first (fixed queries)."""
    now = timezone.now()
    cards = sorted((describe(health, now) for health in read_health(now)), key=_rank)
    counts = Counter(card["level"] for card in cards)
    context = {
        "now": now,
        "cards": cards,
        "counts": [(look, label, counts[key]) for key, (_n, look, label) in LEVELS.items()],
        "may_manage": MANAGE_CONNECTORS in request.rights,
        "may_see_orders": VIEW_ORDERS in request.rights,
    }
    template = "connections/_cards.html" if request.htmx else "connections/list.html"
    return render(request, template, context)


def _rank(card: dict[str, Any]) -> tuple[int, str]:
    return LEVELS[card["level"]][0], str(card["connection"])


def describe(health: Health, now: datetime) -> dict[str, Any]:
    """A connection's health as the templates draw it."""
    connection = health.connection
    _place, look, label = LEVELS[health.level]
    until, allowed = health.complete_until, connection.source.lateness_minutes * 60
    behind = max(0, round((now - until).total_seconds())) if until else None
    trouble = connection.trouble if health.level == "trouble" else None
    words = [say(phrase) for phrase in health.words]
    return {
        "health": health,
        "connection": connection,
        "level": health.level,
        "look": look,
        "label": label,
        "trouble": words[0] if trouble else "",  # the first sentence says what is wrong
        "sentence": join_words(words[1:] if trouble else words, BY_SENTENCE),
        "until": until,
        "behind": behind,
        "allowed": allowed,
        "shown": min(behind, allowed) if behind is not None else 0,
        "is_late": behind is not None and behind > allowed,
        "remedy": _find_remedy(connection),
        "ending": _find_end(connection, now),
        "has_consent": get_connector(connection.vendor).consent is not None,
        "quota": (
            round(100 * health.calls_of_application / health.per_day) if health.per_day else None
        ),
        "scan": health.scan,
        "next_at": _find_next(health, now),
    }


def _find_next(health: Health, now: datetime) -> datetime | None:
    """When the schedule reads again; None while it does not, or is at it already."""
    slot = health.cursor.slot if health.cursor else None
    if slot is None or not health.connection.is_active:
        return None
    following: datetime = slot + timedelta(minutes=health.connection.every_minutes)
    return following if following > now else None


def _find_end(connection: Connection, now: datetime) -> datetime | None:
    """When an authorisation that cannot be renewed ends, once that is near; None otherwise."""
    ends: datetime | None = connection.access_expires_at
    is_renewed = "refresh_token" in connection.secret_hints
    return ends if ends and not is_renewed and now < ends < now + REMIND_BEFORE else None


def _find_remedy(connection: Connection) -> str:
    """Which button mends it: authorise, address or read."""
    if connection.trouble_code in forms.ADDRESS_CODES:
        return "address"
    if connection.trouble_code == "authorisation":
        return "authorise"
    return "read"


@require_GET
@page(VIEW_BOARD)
def connection_detail(request: Any, public_id: str) -> HttpResponse:
    """One connection: what is wrong, how it does, its runs, how it is set up."""
    now = timezone.now()
    card = describe(read_health(now, connection=get_connection(public_id))[0], now)
    health, connection = card["health"], card["connection"]
    context = card | {
        "now": now,
        "card": card,
        "runs": [_describe_run(run) for run in health.runs],
        "may_manage": MANAGE_CONNECTORS in request.rights,
        "may_see_orders": VIEW_ORDERS in request.rights,
    }
    if request.htmx:
        return render(request, "connections/_health.html", context)
    connector = get_connector(connection.vendor)
    context |= {
        "crumbs": [(_("连接器"), reverse("connection_list")), (str(connection), None)],
        "vendor_label": _(connector.label),
        "settings": _list_settings(connector, connection),
        "webhook": write_webhook(request, connection),
        "has_lists": bool(connector.list_streams(connection.config)),
    }
    return render(request, "connections/detail.html", context)


def _describe_run(run: Any) -> dict[str, Any]:
    took = run.finished_at - run.started_at if run.finished_at else None
    return {
        "run": run,
        "took": took,
        "look": _STATES[run.state],
        "error": say(run.error) if run.error else "",
    }


def _list_settings(connector: Connector, connection: Connection) -> list[tuple[str, str, str]]:
    """How it is set up: label, value, and what may be shown of a secret."""
    rows = []
    for f in connector.fields:
        if f.is_secret:
            if f.name in connection.secret_hints:
                rows.append((_(f.label), "", connection.secret_hints[f.name] or "*"))
        elif value := connection.config.get(f.name, ""):
            choice = dict(f.choices).get(value)
            rows.append((_(f.label), _(choice) if choice else str(value), ""))
    if shop_id := connection.config.get(SHOP_ID):
        name = connection.config.get(SHOP_NAME, "")
        rows.append((_("授权的店铺"), f"{name} {shop_id}".strip(), ""))
    return rows


# --- what a person presses ----------------------------------------------------------------------


@require_POST
@page(MANAGE_CONNECTORS)
def connection_read(request: Any, public_id: str) -> HttpResponse:
    """Read now, as if the next slot had come."""
    connection = get_connection(public_id)
    if not connection.is_active:
        raise WrongState(
            gettext_noop("「%(name)s」已暂停，先恢复再读取"), name=connection.source.name
        )
    record(
        action="connection.read_now",
        subject=str(connection),
        actor=request.user,
        now=timezone.now(),
    )
    wake_pull(request.environment, connection)
    messages.success(
        request, _("已让「%(name)s」立即读取，结果会出现在读取记录里") % {"name": connection}
    )
    return redirect("connection_detail", public_id)


@require_POST
@page(MANAGE_CONNECTORS)
def connection_switch(request: Any, public_id: str) -> HttpResponse:
    """Pause a connection or let it go on."""
    connection = get_connection(public_id)
    is_active = request.POST.get("active") == "1"
    change_connection(connection, actor=request.user, now=timezone.now(), is_active=is_active)
    if is_active:
        wake_pull(request.environment, connection)
    words = (
        _("「%(name)s」已恢复，正在补读暂停期间的数据")
        if is_active
        else _("「%(name)s」已暂停，不再读取")
    )
    messages.success(request, words % {"name": connection})
    return redirect("connection_detail", public_id)


@outside_scope
@require_http_methods(["GET", "POST"])
@page(MANAGE_CONNECTORS)
def connection_edit(request: Any, public_id: str) -> HttpResponse:
    """Change address, credentials and schedule: tested first, stored when it answers.

    What was typed stays sealed in the session while the page says what the test found, so that
    nothing has to be typed again to store it all the same.
    """
    with for_environment(request.environment, write=False):
        connection = get_connection(public_id)
        draft = _draft_of(request, connection)
        if request.method == "GET":
            _forget(request, public_id)
            return _render_edit(request, connection, draft, {}, connection.every_minutes)
        connector = get_connector(connection.vendor)
        was = (draft.base_url, dict(draft.config), draft.sealed)
        action = request.POST.get("action", "save")
        known = reveal_secrets(connection)
        errors = forms.read_form(connector, draft, request.POST)
        settings = form_groups.check_settings(
            draft, known | draft.secrets, is_sampling=action == "sample"
        )
        errors = settings | errors
        every, problem = read_minutes(request.POST.get("every_minutes", ""))
        if problem:
            errors["every_minutes"] = problem
        if not errors:
            errors = _check_new_address(connector, connection, draft)
        _remember(request, public_id, draft)
        if errors:
            return _render_edit(request, connection, draft, errors, every, status=400)
    if action == "sample" and form_groups.is_described(connection.vendor):
        form_groups.fetch_sample(request.environment, draft, known | draft.secrets, timezone.now())
        with for_environment(request.environment, write=False):
            return _render_edit(request, connection, draft, {}, every)
    has_changed = was != (draft.base_url, draft.config, draft.sealed) or bool(draft.sealed)
    if has_changed and action != "force":
        trial = try_connection(
            request.environment,
            vendor=connection.vendor,
            base_url=draft.base_url,
            config=draft.config,
            secrets=known | draft.secrets,
            shop=connection.shop.name if connection.shop else "",
            now=timezone.now(),
        )
        forms.keep_trial(draft, trial)
        if not trial.ok:
            note_refusal(request, str(connection), trial.code)
            with for_environment(request.environment, write=False):
                return _render_edit(request, connection, draft, {}, every, status=400)
    try:
        with for_environment(request.environment):
            row = change_connection(
                connection,
                actor=request.user,
                now=timezone.now(),
                base_url=draft.base_url,
                config=draft.config,
                secrets=draft.secrets,
                every_minutes=every,
            )
            wake_pull(request.environment, row)
    except AppError as error:
        note_refusal(request, str(connection), error.code)
        with for_environment(request.environment, write=False):
            errors = {"": say_error(error)}
            return _render_edit(request, connection, draft, errors, every, status=400)
    _forget(request, public_id)
    messages.success(request, _("已保存「%(name)s」的修改") % {"name": connection})
    return redirect("connection_detail", public_id)


def read_minutes(text: str) -> tuple[int, str]:
    """An interval in minutes and what is wrong with it."""
    text = text.strip()
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 5 else 0
    return number, "" if 1 <= number <= 60 else _("读取间隔应是 1 到 60 之间的整数（分钟）")


def _check_new_address(
    connector: Connector, connection: Connection, draft: Draft
) -> dict[str, str]:
    """Another host asks for the secrets anew: nobody can have stored ones sent to their own."""
    if forms.get_host(draft.base_url) == forms.get_host(connection.base_url):
        return {}
    return {
        f.name: _("接口地址换了主机，这一项要重新填写")
        for f in connector.fields
        if f.is_secret and f.name in draft.kept and f.name not in draft.hints
    }


def note_refusal(request: Any, subject: str, code: str) -> None:
    """An address that points inside is worth a line in the audit log; never the address itself."""
    if code not in forms.ADDRESS_CODES:
        return
    with for_environment(request.environment):
        record(
            action="connection.refused",
            subject=subject[:60],
            actor=request.user,
            now=timezone.now(),
            details={"code": code},
        )


def _draft_of(request: Any, connection: Connection) -> Draft:
    """The connection as a form, with what was typed a moment ago on the same page."""
    draft = Draft(
        key=connection.public_id,
        vendor=connection.vendor,
        name=connection.source.name,
        base_url=connection.base_url,
        config=dict(connection.config),
        kept=dict(connection.secret_hints),
    )
    typed = request.session.get("connection_edits", {}).get(connection.public_id)
    if typed and request.method == "POST":
        draft.sealed, draft.hints = typed["sealed"], typed["hints"]
    return draft


def _remember(request: Any, public_id: str, draft: Draft) -> None:
    edits = request.session.setdefault("connection_edits", {})
    edits[public_id] = {"sealed": draft.sealed, "hints": draft.hints}
    request.session.modified = True


def _forget(request: Any, public_id: str) -> None:
    if public_id in request.session.get("connection_edits", {}):
        del request.session["connection_edits"][public_id]
        request.session.modified = True


def _render_edit(
    request: Any,
    connection: Connection,
    draft: Draft,
    errors: dict[str, str],
    every: int,
    *,
    status: int = 200,
) -> HttpResponse:
    connector = get_connector(connection.vendor)
    context = form_groups.describe_form(connector, draft, errors) | {
        "crumbs": [
            (_("连接器"), reverse("connection_list")),
            (str(connection), reverse("connection_detail", args=[connection.public_id])),
            (_("修改"), None),
        ],
        "connection": connection,
        "every_minutes": every,
    }
    return render(request, "connections/edit.html", context, status=status)


urlpatterns = [
    path("connections/", connection_list, name="connection_list"),
    path("connections/<str:public_id>/", connection_detail, name="connection_detail"),
    path("connections/<str:public_id>/edit/", connection_edit, name="connection_edit"),
    path("connections/<str:public_id>/read/", connection_read, name="connection_read"),
    path("connections/<str:public_id>/switch/", connection_switch, name="connection_switch"),
]
