"""Files that come from outside, and drafts that are given up."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from config.audit.models import AuditEntry
from config.errors import BadInput, WrongState
from config.releases import services
from config.releases.models import Version
from config.tenancy.scope import for_environment
from connectors.orders.nodes import nodes_to_content

NOW = datetime(2025, 11, 11, 4, tzinfo=UTC)
HEAD = "format: hedao/1\nkind: node_table\nkey: default\nname: 节点表\ncontent:\n"


def bomb() -> str:
    text = HEAD + "  a: &a [1,1,1,1,1,1,1,1,1,1]\n"
    for i in range(9):
        text += f"  {chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 10)}]\n"
    return text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (bomb(), "第 7 行用了 YAML 引用"),
        (HEAD + "  nodes: " + "[" * 20_000, "读不懂"),
        (HEAD + "  nodes: 2025-11-11", "不支持的值"),
        (HEAD + "  1: a\n  b: c", "不支持的值"),
        (HEAD + "  nodes: 2025-99-99", "读不懂"),
        (HEAD + "  nodes: [1, 2\nx: y", "不是有效的 YAML"),
        ("[1, 2]", "不是本系统导出的文件"),
        ("", "不是本系统导出的文件"),
    ],
)
def test_a_hostile_or_broken_file_is_refused_in_words_and_makes_nothing(world, text, said):
    with for_environment(world.women):
        with pytest.raises(BadInput) as refused:
            services.import_yaml(text, author=world.author)

        assert said in refused.value.text
        assert Version.objects.count() == 0


def _draft(world):
    document = services.get_or_create_document(kind="node_table", key="default", name="节点表")
    return services.create_draft(document, content=nodes_to_content(), author=world.author)


def test_a_draft_can_be_given_up_and_the_log_keeps_it(world):
    with for_environment(world.women):
        services.discard_draft(_draft(world), actor=world.author, now=NOW)

        assert Version.objects.count() == 0
        assert AuditEntry.objects.filter(action="release.discard").count() == 1


def test_a_version_that_was_submitted_cannot_be_given_up(world):
    with for_environment(world.women):
        draft = services.submit_version(_draft(world), actor=world.author, note="", now=NOW)
        with pytest.raises(WrongState):
            services.discard_draft(draft, actor=world.author, now=NOW)
        sent_back = services.request_changes(draft, reviewer=world.reviewer, comment="改", now=NOW)
        with pytest.raises(WrongState):
            services.discard_draft(sent_back, actor=world.author, now=NOW)

        assert Version.objects.count() == 1
