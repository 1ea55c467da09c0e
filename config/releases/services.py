"""The release machine: draft -> submitted -> approved -> published -> retired.

Kinds register themselves from their app's `ready()`; the machine knows nothing of their content
but how to check it. Nobody approves what they wrote; a published version never changes; a rollback
publishes an old content again under a new number.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import yaml
from django.db import transaction
from django.db.models import Max

from config.audit.services import record
from config.errors import BadInput, NotAllowed, WrongState, gettext_noop
from config.releases.models import Document, Review, State, Version
from config.tenancy.models import User

FORMAT = "hedao/1"
MAX_EXPORT_BYTES = 2_000_000


@dataclass(frozen=True)
class Kind:
    """A kind of document.

    `check` returns the clean content or raises BadInput; `on_published` runs in the publishing
    transaction (mark work due; anything that leaves the building goes to on_commit).
    """

    name: str
    label: str
    check: Callable[[dict[str, Any]], dict[str, Any]]
    on_published: Callable[[Version], None] | None = None


_KINDS: dict[str, Kind] = {}


def register_kind(kind: Kind) -> None:
    """Make a kind known; called once per kind from an AppConfig.ready()."""
    _KINDS[kind.name] = kind


def get_kind(name: str) -> Kind:
    """The registered kind; raises BadInput for an unknown one."""
    if name not in _KINDS:
        raise BadInput(gettext_noop("不认识的文档类型「%(kind)s」"), code="unknown_kind", kind=name)
    return _KINDS[name]


def checksum_of(content: dict[str, Any]) -> str:
    """SHA-256 of the content in canonical JSON."""
    text = json.dumps(content, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def get_or_create_document(*, kind: str, key: str, name: str) -> Document:
    """The document of this kind and key in the environment in force."""
    get_kind(kind)
    document, _ = Document.objects.get_or_create(kind=kind, key=key, defaults={"name": name})
    return document


def get_published(kind: str, key: str) -> Version | None:
    """The published version in the environment in force, or None."""
    return (
        Version.objects.select_related("document")
        .filter(document__kind=kind, document__key=key, state=State.PUBLISHED)
        .first()
    )


def _next_number(document: Document) -> int:
    last: int | None = document.versions.aggregate(last=Max("number"))["last"]
    return (last or 0) + 1


def create_draft(
    document: Document,
    *,
    content: dict[str, Any],
    author: User | None,
    based_on: Version | None = None,
    origin: str = "",
    note: str = "",
) -> Version:
    """A new draft. The content is not checked yet: half-written work may be saved."""
    with transaction.atomic():
        return Version.objects.create(
            document=document,
            number=_next_number(document),
            content=content,
            checksum=checksum_of(content),
            author=author,
            based_on=based_on,
            origin=origin,
            note=note,
        )


def save_draft(version: Version, *, content: dict[str, Any], author: User) -> Version:
    """Replace a draft's content. Approvals given to an earlier content no longer count."""
    with transaction.atomic():
        version = _lock(version)
        if version.state not in {State.DRAFT, State.CHANGES_REQUESTED}:
            raise WrongState(gettext_noop("这个版本已提交，不能再改；请新建草稿"))
        version.content, version.checksum = content, checksum_of(content)
        version.author, version.state = author, State.DRAFT
        version.save()
    return version


def _lock(version: Version) -> Version:
    locked: Version = (
        Version.objects.select_for_update(of=("self",), no_key=True)
        .select_related("document")
        .get(pk=version.pk)
    )
    return locked


def discard_draft(version: Version, *, actor: User, now: datetime) -> None:
    """Delete a draft that was never submitted; what reviewers have seen stays on record."""
    with transaction.atomic():
        version = _lock(version)
        if version.state != State.DRAFT or version.submitted_at is not None:
            raise WrongState(gettext_noop("提交过的版本会留作记录，不能放弃；可以不再修改它"))
        record(action="release.discard", subject=str(version), actor=actor, now=now)
        version.delete()


def submit_version(version: Version, *, actor: User, note: str, now: datetime) -> Version:
    """Freeze a draft and put it before the reviewers; refuses content that does not check."""
    with transaction.atomic():
        version = _lock(version)
        if version.state not in {State.DRAFT, State.CHANGES_REQUESTED}:
            raise WrongState(gettext_noop("只有草稿可以提交审核"))
        version.content = get_kind(version.document.kind).check(version.content)
        version.checksum = checksum_of(version.content)
        version.state, version.note = State.SUBMITTED, note
        version.submitted_at, version.author = now, actor
        version.save()
        record(action="release.submit", subject=str(version), actor=actor, now=now)
    return version


def _review(
    version: Version, *, reviewer: User, verdict: str, comment: str, now: datetime
) -> Version:
    version = _lock(version)
    if version.state != State.SUBMITTED:
        raise WrongState(gettext_noop("这个版本不在待审核状态，可能别人已经处理"))
    if version.author_id == reviewer.pk:
        raise NotAllowed(
            gettext_noop("不能审核自己提交的版本，请另一位审核者处理"), code="own_change"
        )
    Review.objects.create(
        version=version,
        reviewer=reviewer,
        verdict=verdict,
        comment=comment,
        checksum=version.checksum,
        at=now,
    )
    return version


def approve_version(version: Version, *, reviewer: User, comment: str, now: datetime) -> Version:
    """Approve somebody else's submission."""
    with transaction.atomic():
        version = _review(
            version, reviewer=reviewer, verdict=Review.Verdict.APPROVE, comment=comment, now=now
        )
        version.state = State.APPROVED
        version.save()
        record(action="release.approve", subject=str(version), actor=reviewer, now=now)
    return version


def request_changes(version: Version, *, reviewer: User, comment: str, now: datetime) -> Version:
    """Send a submission back to its author with a word why."""
    if not comment.strip():
        raise BadInput(gettext_noop("请写明要改什么"), code="comment_missing")
    with transaction.atomic():
        version = _review(
            version,
            reviewer=reviewer,
            verdict=Review.Verdict.REQUEST_CHANGES,
            comment=comment,
            now=now,
        )
        version.state = State.CHANGES_REQUESTED
        version.save()
        record(action="release.request_changes", subject=str(version), actor=reviewer, now=now)
    return version


def publish_version(version: Version, *, actor: User, now: datetime) -> Version:
    """Publish an approved version and retire the one before it, in one transaction."""
    with transaction.atomic():
        version = _lock(version)
        if version.state != State.APPROVED:
            raise WrongState(gettext_noop("只有已通过审核的版本可以发布"))
        approved = version.reviews.filter(
            verdict=Review.Verdict.APPROVE, checksum=version.checksum
        ).exclude(reviewer_id=version.author_id)
        if not approved.exists():
            raise NotAllowed(
                gettext_noop("审核意见对应的内容已变，请重新审核"), code="stale_review"
            )
        return _publish(version, actor=actor, now=now, action="release.publish")


def _publish(version: Version, *, actor: User | None, now: datetime, action: str) -> Version:
    version.document.versions.filter(state=State.PUBLISHED).update(state=State.RETIRED)
    version.state, version.published_at, version.published_by = State.PUBLISHED, now, actor
    version.save()
    kind = get_kind(version.document.kind)
    if kind.on_published is not None:
        kind.on_published(version)
    record(
        action=action,
        subject=str(version),
        actor=actor,
        now=now,
        details={"checksum": version.checksum},
    )
    return version


def roll_back(version: Version, *, actor: User, now: datetime) -> Version:
    """Publish a retired version's content again, under a new number."""
    with transaction.atomic():
        version = _lock(version)
        if version.state != State.RETIRED:
            raise WrongState(gettext_noop("只能回滚到以前发布过的版本"))
        again = create_draft(
            version.document,
            content=version.content,
            author=version.author,
            based_on=version,
            origin=f"rollback:v{version.number}",
        )
        return _publish(again, actor=actor, now=now, action="release.roll_back")


def install_preset(
    *, kind: str, key: str, name: str, content: dict[str, Any], origin: str, now: datetime
) -> Version:
    """Publish a shipped content as the first version of a document that has none.

    Raises WrongState when the document already has a published version: presets never overwrite.
    """
    with transaction.atomic():
        document = get_or_create_document(kind=kind, key=key, name=name)
        if get_published(kind, key) is not None:
            raise WrongState(
                gettext_noop("「%(name)s」已有发布版本，预置模板不会覆盖它"), name=name
            )
        clean = get_kind(kind).check(content)
        version = create_draft(document, content=clean, author=None, origin=origin)
        return _publish(version, actor=None, now=now, action="release.install_preset")


def export_yaml(version: Version) -> str:
    """A version as one YAML text with a checksum; the same text promotes it elsewhere."""
    head = {
        "format": FORMAT,
        "kind": version.document.kind,
        "key": version.document.key,
        "name": version.document.name,
        "version": version.number,
        "checksum": version.checksum,
    }
    # Sorted, because jsonb keeps no order of keys: equal contents must export as equal bytes.
    return yaml.safe_dump(head, allow_unicode=True, sort_keys=False, width=100) + yaml.safe_dump(
        {"content": version.content}, allow_unicode=True, sort_keys=True, width=100
    )


class _PlainLoader(yaml.SafeLoader):
    """YAML without references: nine lines of them would unfold into a billion values."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise BadInput(
                gettext_noop("第 %(line)s 行用了 YAML 引用（*），请把内容展开后再导入"),
                code="bad_yaml",
                line=self.peek_event().start_mark.line + 1,
            )
        return super().compose_node(parent, index)


def _read_yaml(text: str) -> Any:
    try:
        return yaml.load(text, Loader=_PlainLoader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise BadInput(
            gettext_noop("第 %(line)s 行不是有效的 YAML，请检查缩进和引号"),
            code="bad_yaml",
            line=mark.line + 1 if mark else 1,
        ) from error
    except (RecursionError, ValueError) as error:  # nested too deep; a date such as 2025-99-99
        raise BadInput(
            gettext_noop("文件嵌套太深或有写错的日期、数字，读不懂"), code="bad_yaml"
        ) from error


def import_yaml(text: str, *, author: User | None, origin: str = "") -> Version:
    """A draft from an exported text, in the environment in force; raises BadInput with the place."""
    if len(text.encode()) > MAX_EXPORT_BYTES:
        raise BadInput(gettext_noop("文件超过 2 MB，不是规则导出文件"), code="too_large")
    parsed = _read_yaml(text)
    if not isinstance(parsed, dict) or parsed.get("format") != FORMAT:
        raise BadInput(
            gettext_noop("缺少 format: hedao/1，这不是本系统导出的文件"), code="bad_format"
        )
    content = parsed.get("content")
    if not isinstance(content, dict):
        raise BadInput(gettext_noop("缺少 content 段"), code="bad_format")
    try:
        checksum = checksum_of(content)
    except (TypeError, ValueError, RecursionError) as error:
        raise BadInput(
            gettext_noop("content 里有不支持的值（日期请加引号，键要写成文本）"), code="bad_format"
        ) from error
    if parsed.get("checksum") not in {None, checksum}:
        raise BadInput(
            gettext_noop("校验和不符：内容在导出后被改过。如属有意修改，请删去 checksum 一行"),
            code="checksum_mismatch",
        )
    kind = get_kind(str(parsed.get("kind")))
    clean = kind.check(content)
    key, name = str(parsed.get("key", ""))[:60], str(parsed.get("name", ""))[:100]
    if not key or not name:
        raise BadInput(gettext_noop("缺少 key 或 name"), code="bad_format")
    document = get_or_create_document(kind=kind.name, key=key, name=name)
    return create_draft(
        document,
        content=clean,
        author=author,
        based_on=get_published(kind.name, key),
        origin=origin or f"import:v{parsed.get('version', '?')}",
    )
