"""The canvas of an environment: which drawing is in force, whose draft is open, saving it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from config.errors import NotFound, WrongState, gettext_noop
from config.releases.models import Document, State, Version
from config.releases.services import (
    create_draft,
    get_or_create_document,
    get_published,
    save_draft,
    submit_version,
)
from config.tenancy.models import User
from connectors.orders.services import list_nodes
from workflows.canvas.drawing import check_canvas, clean_shape, default_canvas

CANVAS_KIND = "canvas"
CANVAS_KEY = "default"
CANVAS_NAME = "订单流转画布"
_EDITABLE = (State.DRAFT, State.CHANGES_REQUESTED)


@dataclass(frozen=True)
class Canvas:
    """A drawing to show: its content, and the version it comes from (None: the shipped one)."""

    content: dict[str, Any]
    version: Version | None

    @property
    def is_draft(self) -> bool:
        """Whether it may still be changed (by its author)."""
        return self.version is not None and self.version.state in _EDITABLE


def get_canvas() -> Canvas:
    """The published drawing of the environment in force, or the twelve nodes in river order."""
    version = get_published(CANVAS_KIND, CANVAS_KEY)
    if version is None:
        return Canvas(default_canvas(list_nodes()), None)
    return Canvas(version.content, version)


def get_open_draft(author: User) -> Version | None:
    """The author's newest unsubmitted version, or None."""
    return (
        _versions()
        .filter(author=author, state__in=_EDITABLE)
        .select_related("document", "author")
        .order_by("-number")
        .first()
    )


def get_canvas_version(public_id: str) -> Version:
    """One version of this environment's canvas; raises NotFound for anything else."""
    version: Version | None = (
        _versions()
        .filter(public_id=public_id)
        .select_related("document", "author", "published_by", "based_on")
        .first()
    )
    if version is None:
        raise NotFound(gettext_noop("没有这个画布版本"))
    return version


def list_canvas_versions() -> list[Version]:
    """All versions of this environment's canvas, newest first."""
    return list(_versions().select_related("author", "published_by").order_by("-number"))


def _versions() -> Any:
    return Version.objects.filter(document__kind=CANVAS_KIND, document__key=CANVAS_KEY)


def _document() -> Document:
    return get_or_create_document(kind=CANVAS_KIND, key=CANVAS_KEY, name=CANVAS_NAME)


def save_canvas(content: Any, *, author: User, based_on: Version | None, checksum: str) -> Version:
    """Save a drawing as the author's draft; returns the draft.

    `based_on` is the version the author started from and `checksum` its content at that moment.
    The author's own open draft is replaced; from anything else a new draft begins. Raises
    WrongState when the draft was changed meanwhile (another window), BadInput for a wrong shape.
    """
    clean = clean_shape(content)
    if based_on is not None and based_on.author_id == author.pk and based_on.state in _EDITABLE:
        if based_on.checksum != checksum:
            raise WrongState(
                gettext_noop("这份草稿在别的窗口里改过，请先刷新页面再保存，以免互相覆盖"),
                code="draft_changed",
            )
        return save_draft(based_on, content=clean, author=author)
    if get_open_draft(author) is not None:
        raise WrongState(
            gettext_noop("您已有一份未提交的画布草稿，请先打开那份草稿"), code="draft_exists"
        )
    return create_draft(_document(), content=clean, author=author, based_on=based_on)


def submit_canvas(version: Version, *, actor: User, note: str, now: datetime) -> Version:
    """Put the actor's own draft before the reviewers; raises BadInput naming the first problem."""
    if version.author_id != actor.pk:
        raise WrongState(gettext_noop("只能提交自己的草稿"), code="not_author")
    check_canvas(version.content)
    return submit_version(version, actor=actor, note=note, now=now)


def discard_canvas(version: Version, *, actor: User) -> None:
    """Delete the actor's own draft that was never submitted."""
    if version.author_id != actor.pk or version.state != State.DRAFT or version.submitted_at:
        raise WrongState(gettext_noop("只能丢弃自己还没提交过的草稿"), code="not_discardable")
    version.delete()
