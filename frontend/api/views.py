"""What every read-only view shares: the scope of the token, parameters, keyset pages."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from django.db.models import Q, QuerySet
from django.http import Http404
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from drf_spectacular.utils import OpenApiParameter
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from config.errors import BadInput, gettext_noop
from config.tenancy.scope import for_environment
from config.wording import join_words

DEFAULT_LIMIT = 100
MAX_LIMIT = 500
# Parameters several views share, as OpenAPI describes them.
ORDER_ID = OpenApiParameter(
    "public_id", str, OpenApiParameter.PATH, description="订单的 id，见订单列表"
)
RULE_SET_ID = OpenApiParameter(
    "public_id", str, OpenApiParameter.PATH, description="规则集的 id，见规则集列表"
)
LIMIT = OpenApiParameter(
    "limit",
    {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT},
    description="每页 1–500，默认 100",
)
AFTER = OpenApiParameter("after", str, description="上一页的 next")


class ScopedView(APIView):
    """A read-only view that runs, and renders, on the rows of its token's environment only."""

    http_method_names: ClassVar[list[str]] = ["get", "head", "options"]
    # Names of the query parameters this view knows; any other is refused, so a typo is seen.
    parameters: ClassVar[frozenset[str]] = frozenset()

    def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        """As DRF's; the scope opened by `initial` stays open until the answer is rendered."""
        with ExitStack() as self._scope:
            response = super().dispatch(request, *args, **kwargs)
            response.render()
        return response

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """As DRF's (token, throttle), then enter the environment of the token."""
        super().initial(request, *args, **kwargs)
        environment = request.user.environment
        self._scope.enter_context(for_environment(environment, write=False))
        self._scope.enter_context(timezone.override(environment.zone))
        nul = next((n for n, v in request.query_params.items() if "\0" in v), None)
        if nul is not None:  # PostgreSQL refuses it in any text
            raise BadInput(
                gettext_noop("参数 %(name)s 含有不能使用的字符"), code="bad_parameter", name=nul
            )
        unknown = sorted(set(request.query_params) - self.parameters)
        if unknown:
            raise BadInput(
                gettext_noop("不认识的参数「%(name)s」，可用：%(known)s"),
                code="unknown_parameter",
                name=unknown[0],
                known=join_words(sorted(self.parameters)) or "—",
            )


class NothingHere(ScopedView):
    """An address below /api/v1/ that means nothing."""

    schema = None

    def get(self, request: Request, rest: str) -> Response:
        """Always 404, in the API's own shape."""
        raise Http404


def read_choice(params: Mapping[str, str], name: str, choices: Iterable[str]) -> str:
    """A parameter that is one of the choices, empty when not given; raises BadInput."""
    if name not in params:
        return ""
    value, known = params[name], list(choices)
    if value not in known:
        raise BadInput(
            gettext_noop("参数 %(name)s 不能是「%(value)s」，可选：%(known)s"),
            code="bad_parameter",
            name=name,
            value=value[:60],
            known=join_words(known),
        )
    return value


def read_moment(params: Mapping[str, str], name: str) -> datetime | None:
    """A parameter that is a moment with its zone, None when not given; raises BadInput.

    An empty one is refused: a program whose variable was empty would fetch everything.
    """
    if name not in params:
        return None
    value = params[name]
    try:
        # In a query string an unescaped "+08:00" arrives as " 08:00".
        moment = parse_datetime(value.replace(" ", "+") if "T" in value else value)
    except ValueError:
        moment = None
    if moment is None or timezone.is_naive(moment):
        raise BadInput(
            gettext_noop(
                "参数 %(name)s 应是带时区的时间，例如 2026-11-11T00:00:00%%2B08:00，"
                "现在是「%(value)s」"
            ),
            code="bad_parameter",
            name=name,
            value=value[:60],
        )
    return moment


def _read_limit(params: Mapping[str, str]) -> int:
    value = params.get("limit", str(DEFAULT_LIMIT))
    if not (value.isascii() and value.isdigit() and 1 <= int(value[:9]) <= MAX_LIMIT):
        raise BadInput(
            gettext_noop("参数 limit 应是 1–%(max)s 的整数，现在是「%(value)s」"),
            code="bad_parameter",
            name="limit",
            max=MAX_LIMIT,
            value=value[:60],
        )
    return int(value)


def encode_cursor(moment: datetime | None, pk: int) -> str:
    """An opaque place in a list ordered by (moment, pk), or by pk alone."""
    text = json.dumps([moment.isoformat() if moment else None, pk])
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_cursor(cursor: str, *, has_moment: bool) -> tuple[datetime | None, int]:
    """The place a cursor stands for; raises BadInput for anything this list did not give out."""
    try:
        text, pk = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        moment = None if text is None else datetime.fromisoformat(text)
        if not isinstance(pk, int) or isinstance(pk, bool) or not 0 <= pk < 2**63:
            raise ValueError("no such key")
        if (moment is not None) != has_moment or (moment and timezone.is_naive(moment)):
            raise ValueError("a place in another list")
    except (binascii.Error, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise BadInput(
            gettext_noop("参数 after 不是本列表给出的游标，请原样使用上一页的 next"),
            code="bad_cursor",
            name="after",
        ) from error
    return moment, pk


@dataclass(frozen=True)
class Page:
    """One page of a keyset list."""

    rows: list[Any]
    next: str
    has_more: bool


def read_page(rows: QuerySet[Any], params: Mapping[str, str], *, moment: str | None = None) -> Page:
    """The rows after the cursor `after`, oldest first by (moment, pk), at most `limit`.

    `next` stands behind the last row even when nothing follows yet: a program that comes back
    with it gets exactly what changed since. One query.
    """
    limit = _read_limit(params)
    after = params.get("after", "")
    if after:
        at, key = decode_cursor(after, has_moment=moment is not None)
        if moment is None:
            rows = rows.filter(pk__gt=key)
        else:
            # The range alone uses the index; the second half breaks ties.
            rows = rows.filter(**{f"{moment}__gte": at}).filter(
                Q(**{f"{moment}__gt": at}) | Q(pk__gt=key)
            )
    found = list(rows.order_by(*([moment] if moment else []), "pk")[: limit + 1])
    shown = found[:limit]
    following = after
    if shown:
        last = shown[-1]
        following = encode_cursor(getattr(last, moment) if moment else None, last.pk)
    return Page(rows=shown, next=following, has_more=len(found) > limit)


def page_body(page: Page, serialize: Callable[[Any], Any]) -> dict[str, Any]:
    """The answer of a list."""
    return {
        "results": [serialize(row) for row in page.rows],
        "next": page.next,
        "has_more": page.has_more,
    }
