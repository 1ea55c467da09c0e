"""The release machine."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django.db import DatabaseError, connection, transaction

from config.audit.models import AuditEntry
from config.audit.services import check_chain
from config.errors import BadInput, NotAllowed, WrongState
from config.releases import services
from config.releases.models import State, Version
from config.tenancy.scope import for_environment
from connectors.orders.nodes import nodes_to_content

NOW = datetime(2025, 11, 11, 4, tzinfo=UTC)


def _content(label="下单"):
    content = nodes_to_content()
    content["nodes"][0]["label"] = label
    return content


def _submitted(world, label="下单"):
    document = services.get_or_create_document(kind="node_table", key="default", name="节点表")
    draft = services.create_draft(document, content=_content(label), author=world.author)
    return services.submit_version(draft, actor=world.author, note="改名", now=NOW)


def _published(world, label="下单"):
    version = _submitted(world, label)
    version = services.approve_version(version, reviewer=world.reviewer, comment="", now=NOW)
    return services.publish_version(version, actor=world.reviewer, now=NOW)


def test_a_version_walks_from_draft_to_published_and_retires_the_one_before(world):
    with for_environment(world.women):
        first = _published(world, "下单一")
        second = _published(world, "下单二")

        first.refresh_from_db()
        assert (first.state, second.state) == (State.RETIRED, State.PUBLISHED)
        assert (first.number, second.number) == (1, 2)
        assert services.get_published("node_table", "default") == second


def test_nobody_approves_their_own_submission(world):
    with for_environment(world.women):
        version = _submitted(world)
        with pytest.raises(NotAllowed):
            services.approve_version(version, reviewer=world.author, comment="", now=NOW)
        version.refresh_from_db()
        assert version.state == State.SUBMITTED
        assert version.reviews.count() == 0


def test_an_unapproved_version_is_not_published(world):
    with for_environment(world.women):
        version = _submitted(world)
        with pytest.raises(WrongState):
            services.publish_version(version, actor=world.reviewer, now=NOW)
        assert services.get_published("node_table", "default") is None


def test_a_submitted_version_cannot_be_edited(world):
    with for_environment(world.women):
        version = _submitted(world)
        with pytest.raises(WrongState):
            services.save_draft(version, content=_content("改"), author=world.author)


def test_an_approval_is_void_once_the_content_changed(world):
    with for_environment(world.women):
        version = _submitted(world)
        version = services.approve_version(version, reviewer=world.reviewer, comment="", now=NOW)
        Version.objects.filter(pk=version.pk).update(checksum="0" * 64)
        with pytest.raises(NotAllowed):
            services.publish_version(version, actor=world.reviewer, now=NOW)


def test_a_second_reviewer_finds_the_submission_already_handled(world):
    with for_environment(world.women):
        version = _submitted(world)
        services.request_changes(version, reviewer=world.reviewer, comment="名称太长", now=NOW)
        with pytest.raises(WrongState):
            services.approve_version(version, reviewer=world.reviewer, comment="", now=NOW)


def test_asking_for_changes_needs_a_word_why(world):
    with for_environment(world.women):
        version = _submitted(world)
        with pytest.raises(BadInput):
            services.request_changes(version, reviewer=world.reviewer, comment=" ", now=NOW)


def test_a_rollback_publishes_the_old_content_under_a_new_number(world):
    with for_environment(world.women):
        first = _published(world, "下单一")
        _published(world, "下单二")
        first.refresh_from_db()
        again = services.roll_back(first, actor=world.reviewer, now=NOW)

        assert (again.number, again.state) == (3, State.PUBLISHED)
        assert again.content == first.content
        assert again.based_on == first


def test_content_that_does_not_check_is_not_submitted(world):
    with for_environment(world.women):
        document = services.get_or_create_document(kind="node_table", key="default", name="节点表")
        draft = services.create_draft(document, content={"nodes": []}, author=world.author)
        with pytest.raises(BadInput):
            services.submit_version(draft, actor=world.author, note="", now=NOW)
        draft.refresh_from_db()
        assert draft.state == State.DRAFT


def test_an_export_promotes_a_version_to_another_environment(world):
    with for_environment(world.women_staging):
        text = services.export_yaml(_published(world, "下单预发"))
    with for_environment(world.women):
        draft = services.import_yaml(text, author=world.author)
        assert draft.state == State.DRAFT
        assert draft.content["nodes"][0]["label"] == "下单预发"
        assert services.export_yaml(draft) == text


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("a: [", "bad_yaml"),
        ("just text", "bad_format"),
        ("format: hedao/1\nkind: node_table", "bad_format"),
        ("format: hedao/1\nkind: nonsense\ncontent: {}", "unknown_kind"),
        ("format: hedao/1\nkind: node_table\nchecksum: x\ncontent: {}", "checksum_mismatch"),
        ("!!python/object/apply:os.system ['id']", "bad_yaml"),
    ],
)
def test_a_broken_import_names_its_fault_and_leaves_nothing(world, text, code):
    with for_environment(world.women):
        with pytest.raises(BadInput) as caught:
            services.import_yaml(text, author=world.author)
        assert caught.value.code == code
        assert Version.objects.count() == 0


def test_another_environment_sees_no_version(world):
    with for_environment(world.women):
        _published(world)
    with for_environment(world.kids):
        assert Version.objects.count() == 0
        assert services.get_published("node_table", "default") is None


def test_every_step_is_audited_in_an_unbroken_chain(world):
    with for_environment(world.women):
        _published(world)
        actions = list(AuditEntry.objects.order_by("position").values_list("action", flat=True))
        assert actions == ["release.submit", "release.approve", "release.publish"]
        assert check_chain() is None


def test_the_database_refuses_to_edit_an_audit_entry(world):
    with for_environment(world.women):
        _published(world)
        with pytest.raises(DatabaseError), transaction.atomic():
            AuditEntry.objects.filter(position=2).update(subject="别的")
        assert check_chain() is None


def test_a_removed_audit_entry_is_refused_or_named_by_the_chain(world):
    with for_environment(world.women):
        _published(world)
        if connection.vendor == "postgresql":
            with pytest.raises(DatabaseError), transaction.atomic():
                AuditEntry.objects.filter(position=2).delete()
            assert check_chain() is None
        else:
            AuditEntry.objects.filter(position=2).delete()
            assert check_chain() == 3
