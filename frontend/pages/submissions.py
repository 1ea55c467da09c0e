"""What waits for a reviewer, whatever kind of document it is: a line of words and an address."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from config.errors import BY_CLAUSE
from config.releases.models import Review, State, Version
from config.wording import join_words, translate
from connectors.orders.nodes import DEFAULT_NODES, nodes_to_content
from connectors.orders.services import NODE_TABLE_KIND, list_nodes
from connectors.orders.status_mappings import KIND_LABEL as MAPPING_LABEL
from connectors.orders.status_mappings import STATUS_MAPPING_KIND
from frontend.pages import check_trials as trials
from frontend.pages.nodes import describe_rows
from frontend.pages.tables import describe_version as describe_table
from frontend.pages.unmapped import describe_mapping
from rules_engine.facts.tables import KIND as TABLE_KIND
from workflows.canvas.drawing import default_canvas, describe_changes
from workflows.canvas.services import CANVAS_KIND

RULES_KIND = "rule_set"
WAITING = (State.SUBMITTED, State.APPROVED)
_NAMED = 3

# A version and what it would replace -> what it changes, in one line.
Describe = Callable[[Version, Version | None], str]


@dataclass(frozen=True)
class ReviewedKind:
    """A kind of document people review: its word, its one line, its page."""

    label: Any
    describe: Describe
    address: Callable[[Version], str]


@dataclass(frozen=True)
class Submission:
    """One version that waits, ready for the list."""

    version: Version
    kind: str
    title: str
    url: str
    is_mine: bool


def _describe_rules(version: Version, published: Version | None) -> str:
    return trials.title_of(version)


def _describe_nodes(version: Version, published: Version | None) -> str:
    before = published.content if published else nodes_to_content(DEFAULT_NODES)
    names = [
        str(row["label"]) for row in describe_rows(version.content, before) if row["is_changed"]
    ]
    return _("改%(names)s") % {"names": _join(names)} if names else _("没有改动")


def _describe_canvas(version: Version, published: Version | None) -> str:
    before = published.content if published else default_canvas(list_nodes())
    said = [translate(c.message, c.params) for c in describe_changes(before, version.content)]
    rest = len(said) - _NAMED
    shown = join_words(said[:_NAMED], BY_CLAUSE)
    more = _("，另有 %(n)d 处") % {"n": rest} if rest > 0 else ""
    return f"{shown}{more}" or _("没有改动")


def _describe_table(version: Version, published: Version | None) -> str:
    said = describe_table(version, published)
    if published is None:
        return said  # names the new table itself
    return f"「{published.content['name']}」{said}"


def _join(names: Sequence[str]) -> str:
    shown = "".join(f"「{name}」" for name in names[:_NAMED])
    if len(names) <= _NAMED:
        return shown
    return _("%(names)s等 %(n)d 个") % {"names": shown, "n": len(names)}


def _page(name: str) -> Callable[[Version], str]:
    return lambda version: reverse(name, args=[version.public_id])


KINDS: dict[str, ReviewedKind] = {
    RULES_KIND: ReviewedKind(gettext_lazy("检查项"), _describe_rules, _page("review_detail")),
    TABLE_KIND: ReviewedKind(gettext_lazy("查找表"), _describe_table, _page("table_version")),
    NODE_TABLE_KIND: ReviewedKind(gettext_lazy("节点表"), _describe_nodes, _page("node_version")),
    CANVAS_KIND: ReviewedKind(
        gettext_lazy("画布"),
        _describe_canvas,
        lambda version: f"{reverse('canvas')}?{urlencode({'version': version.public_id})}",
    ),
    STATUS_MAPPING_KIND: ReviewedKind(
        gettext_lazy(MAPPING_LABEL), describe_mapping, _page("mapping_version")
    ),
}


def list_submissions(versions: Sequence[Version], user: Any) -> list[Submission]:
    """The versions as lines, in the order given; two queries, whatever waits."""
    others = {v.document_id for v in versions if v.document.kind != RULES_KIND}
    published = {
        v.document_id: v
        for v in Version.objects.filter(document_id__in=others, state=State.PUBLISHED)
    }
    return [
        Submission(
            version=v,
            kind=str(KINDS[v.document.kind].label),
            title=KINDS[v.document.kind].describe(v, published.get(v.document_id)),
            url=KINDS[v.document.kind].address(v),
            is_mine=v.author_id == user.pk,
        )
        for v in versions
    ]


def _name(kind: ReviewedKind, version: Version) -> str:
    """The kind in words; of lookup tables there are many, so theirs are named."""
    is_one_of_many = version.document.kind == TABLE_KIND
    return f"{kind.label}「{version.document.name}」" if is_one_of_many else str(kind.label)


def list_recent(reviews: Iterable[Review]) -> list[tuple[Review, str, str]]:
    """(review, kind, address) of what was said last."""
    return [
        (review, _name(kind, review.version), kind.address(review.version))
        for review in reviews
        if (kind := KINDS.get(review.version.document.kind)) is not None
    ]
