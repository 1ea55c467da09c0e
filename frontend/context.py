"""What every page of the shell needs: environment, rights, navigation, freshness."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.utils.functional import SimpleLazyObject
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext_lazy

from config.errors import BY_SENTENCE
from config.releases.models import State, Version
from config.tenancy import roles
from config.tenancy.scope import current_scope
from config.wording import join_words
from connectors.shops.models import Source
from frontend.admin_site import ADMIN_RIGHTS
from frontend.wording import describe_duration, describe_exact
from workflows.rollup.models import BoardSnapshot


@dataclass(frozen=True)
class Destination:
    """One entry of the navigation. `names` are the URL names at which it is the current one."""

    name: str
    label: Any
    right: str
    names: tuple[str, ...] = ()
    icon: str = ""
    needs_environment: bool = True
    or_right: str = ""  # opens it too


@dataclass
class Item:
    """An entry as the template draws it."""

    name: str
    label: str
    url: str
    icon: str
    is_current: bool
    count: int | None = None


@dataclass
class Group:
    """Entries under one heading."""

    label: str
    items: list[Item] = field(default_factory=list)


# A destination whose address does not exist (yet) is left out.
NAVIGATION: tuple[tuple[Any, tuple[Destination, ...]], ...] = (
    (
        "",
        (
            Destination("rollup", gettext_lazy("总部汇总"), roles.VIEW_ROLLUP, (), "rollup", False),
            Destination("home", gettext_lazy("河道总览"), roles.VIEW_BOARD, (), "river"),
            Destination(
                "order_list", gettext_lazy("订单"), roles.VIEW_ORDERS, ("order_detail",), "orders"
            ),
            Destination("gap_list", gettext_lazy("对账缺口"), roles.VIEW_ORDERS),
            Destination("deadline_list", gettext_lazy("倒计时"), roles.VIEW_ORDERS),
            Destination(
                "hold_list",
                pgettext_lazy("a page", "挂起"),
                roles.VIEW_ORDERS,
                ("alert_group",),
                "hold",
            ),
            Destination(
                "robot_ledger", gettext_lazy("通知台账"), roles.VIEW_ORDERS, ("robot_new",)
            ),
            Destination("shift_list", gettext_lazy("值班"), roles.VIEW_ORDERS),
            Destination("canvas", gettext_lazy("画布"), roles.VIEW_BOARD, ("canvas_edit",)),
        ),
    ),
    (
        gettext_lazy("配置"),
        (
            Destination("check_list", gettext_lazy("检查项"), roles.WRITE_RULES, (), "checks"),
            Destination("table_list", gettext_lazy("查找表"), roles.VIEW_BOARD),
            Destination("review_list", gettext_lazy("待审核"), roles.WRITE_RULES, (), "review"),
            Destination(
                "function_list", gettext_lazy("公式手册"), roles.VIEW_BOARD, ("formula_guide",)
            ),
            Destination("node_table", gettext_lazy("节点表"), roles.VIEW_BOARD, (), ""),
        ),
    ),
    (
        gettext_lazy("数据"),
        (
            Destination(
                "connection_list",
                gettext_lazy("连接器"),
                roles.VIEW_BOARD,
                ("connections_made",),
            ),
            Destination(
                "unmapped_list", gettext_lazy("未映射"), roles.VIEW_BOARD, ("mapping_version",)
            ),
            Destination("quarantine_list", gettext_lazy("隔离区"), roles.VIEW_ORDERS),
            Destination("backfill_list", gettext_lazy("补录"), roles.MANAGE_CONNECTORS),
            Destination(
                "file_list", pgettext_lazy("a page", "文件"), roles.IMPORT_FILES, (), "files"
            ),
        ),
    ),
    (
        gettext_lazy("系统"),
        (
            Destination("api", gettext_lazy("接口"), roles.MANAGE_CONNECTORS),
            Destination(
                "address_list",
                pgettext_lazy("a page", "放行地址"),
                roles.MANAGE_CONNECTORS,
                or_right=roles.REVIEW_RULES,
            ),
            Destination(
                "admin:index", gettext_lazy("管理"), roles.MANAGE_USERS, ("admin",), "", False
            ),
        ),
    ),
)
REVIEWED_KINDS = ("rule_set", "lookup_table", "node_table", "canvas", "status_mapping")
_MAX_TABS = 3  # beside "more", on the phone


def find_url(name: str) -> str | None:
    """The address of a page, or None when this installation has no such page."""
    try:
        return reverse(name)
    except NoReverseMatch:
        return None


def _is_current(destination: Destination, view: str, namespaces: Iterable[str]) -> bool:
    if destination.name.startswith("admin"):
        return "admin" in namespaces
    if view == destination.name or view in destination.names:
        return True
    # The same stem makes an address belong to a destination: check_edit is part of check_list.
    stem, _sep, tail = destination.name.rpartition("_")
    return tail == "list" and view.startswith(f"{stem}_")


def list_navigation(request: Any) -> list[Group]:
    """The groups this person may see here."""
    match = request.resolver_match
    view = match.url_name or "" if match else ""
    namespaces = match.namespaces if match else []
    groups = []
    for label, destinations in NAVIGATION:
        group = Group(str(label))
        for d in destinations:
            if not _may_see(request, d):
                continue
            url = find_url(d.name)
            if url is None:
                continue
            group.items.append(
                Item(d.name, str(d.label), url, d.icon, _is_current(d, view, namespaces))
            )
        if group.items:
            groups.append(group)
    return groups


def count_reviews(navigation: list[Group]) -> None:
    """Say at the entry for reviews how many versions wait (one query, for those who see it)."""
    for group in navigation:
        for item in group.items:
            if item.name == "review_list":
                waiting = Version.objects.filter(
                    document__kind__in=REVIEWED_KINDS, state=State.SUBMITTED
                )
                item.count = waiting.count()


def _may_see(request: Any, destination: Destination) -> bool:
    if destination.needs_environment and request.environment is None:
        return False
    if destination.name == "admin:index":
        return bool(ADMIN_RIGHTS & request.rights)
    return bool({destination.right, destination.or_right} & request.rights)


@dataclass(frozen=True)
class Late:
    """A feed that is behind, in words."""

    text: str
    exact: str


@dataclass(frozen=True)
class ShellFreshness:
    """Until when the figures hold, and which feeds are behind."""

    at: datetime | None
    late: list[Late]


_MAX_LATE = 2


def get_freshness(now: datetime) -> ShellFreshness:
    """The newest snapshot's moment and the late feeds of the environment in force (two queries)."""
    at = BoardSnapshot.objects.order_by("-at").values_list("at", flat=True).first()
    late = []
    for source in Source.objects.exclude(complete_until=None).order_by("complete_until"):
        behind = now - min(source.complete_until, now)
        if behind.total_seconds() > source.lateness_minutes * 60:
            late.append(
                Late(
                    _("%(name)s晚 %(span)s")
                    % {"name": source.name, "span": describe_duration(behind)},
                    _("数据截至 %(at)s") % {"at": describe_exact(source.complete_until)},
                )
            )
    if len(late) > _MAX_LATE:
        rest = late[_MAX_LATE - 1 :]
        late[_MAX_LATE - 1 :] = [
            Late(
                _("另有 %(n)s 个来源滞后") % {"n": len(rest)},
                join_words((x.text for x in rest), BY_SENTENCE),
            )
        ]
    return ShellFreshness(at, late)


def get_role_label(request: Any) -> str:
    """The roles a person has here, in words."""
    environment = request.environment
    labels = []
    for m in request.memberships:
        is_here = (
            (m.division_id is None and m.environment_id is None)
            or (environment is not None and m.environment_id == environment.pk)
            or (
                environment is not None
                and m.environment_id is None
                and m.division_id == environment.division_id
            )
        )
        if is_here and m.get_role_display() not in labels:
            labels.append(m.get_role_display())
    return join_words(labels)


def shell(request: HttpRequest) -> dict[str, Any]:
    """The shell's context. Error pages render outside a scope and go without freshness."""
    context: dict[str, Any] = {
        "environment": getattr(request, "environment", None),
        "environments": getattr(request, "environments", []),
        "rights": getattr(request, "rights", frozenset()),
        "csp_nonce": getattr(request, "csp_nonce", ""),
        "freshness": None,
        "navigation": [],
        "tabs": [],
    }
    if not hasattr(request, "rights") or not request.user.is_authenticated:
        return context
    navigation = list_navigation(request)
    scope = current_scope()
    is_fragment = getattr(request, "htmx", False)
    is_page = scope is not None and scope.environment_id is not None and not is_fragment
    if is_page:
        count_reviews(navigation)
    context |= {
        "navigation": navigation,
        "tabs": [item for group in navigation for item in group.items if item.icon][:_MAX_TABS],
        "role_label": get_role_label(request),
        "search_url": find_url("order_list"),
    }
    if is_page:
        context["freshness"] = SimpleLazyObject(lambda: get_freshness(timezone.now()))
    return context
