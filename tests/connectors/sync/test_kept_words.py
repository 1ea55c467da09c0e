"""What is kept of a failure is said whole in the language of whoever reads it, numbers and all."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.utils.translation import override

from config.errors import AppError, Phrase
from config.tenancy.scope import for_environment
from config.wording import say
from connectors.http import ConnectorError, Retry
from connectors.shops.connections import create_connection, record_trouble
from connectors.shops.models import Connection
from connectors.sync.models import BackfillRun, Quarantine, SyncRun
from connectors.sync.runs import close_run, start_run
from connectors.sync.taking import Reading, Taken, describe, put_aside
from connectors.sync.trying import explain_failure
from connectors.wire import Reader
from frontend.pages.connection_forms import keep_words, say_words
from tests.factories import NOW, make_world

pytestmark = pytest.mark.django_db

MISSING = Reader({}).missing("trade")
# With a number, with words of ours inside, and with the vendor's own code.
FAILURES: list[AppError] = [
    ConnectorError("调用太密，本应用的额度要再等 %(seconds)d 秒", retry=Retry.LATER, seconds=41),
    ConnectorError(
        "对方的应答读不懂：%(reason)s",
        reason=Phrase(MISSING.message, MISSING.params),
        vendor_code="41 isv",
    ),
]
SEEN = [["41"], ["trade"]]


@pytest.mark.parametrize(("failure", "seen"), list(zip(FAILURES, SEEN, strict=True)))
def test_a_failure_that_was_kept_is_said_whole_in_the_readers_language(
    failure: AppError, seen: list[str]
) -> None:
    with for_environment(make_world().production):
        connection = create_connection(
            vendor="tmall", kind="channel", name="天猫", shop=None,
            base_url="https://x.example", config={}, secrets={}, actor=None, now=NOW,
        )  # fmt: skip
        run = start_run(connection, SyncRun.Kind.PULL, now=NOW)
        close_run(run, Taken(), failure, is_complete=False, calls=1, now=NOW)
        put_aside(connection, Reading({"order_no": "1"}, "1"), failure, now=NOW)
        words = describe(failure)
        BackfillRun.objects.create(
            connection=connection, stream="modified", start=NOW - timedelta(days=1), end=NOW,
            error_message=words.message, error_params=dict(words.params), requested_at=NOW,
        )  # fmt: skip
        record_trouble(connection, code="x", words=Phrase(failure.message, failure.params), now=NOW)
        kept = [
            SyncRun.objects.get().error,
            Quarantine.objects.get().reason,
            BackfillRun.objects.get().error,
            Connection.objects.get().trouble,
        ]
    trial = keep_words(explain_failure(failure))

    with override("en"):
        told = [say(phrase) for phrase in kept if phrase is not None] + [say_words(trial)]

    assert len(told) == 5
    for text in told:
        assert not re.search("[\u4e00-\u9fff，。：（）]", text), text
        assert all(part in text for part in seen), text
    assert "41" in told[-1]  # people may look the vendor's code up


def test_what_is_kept_of_a_failure_is_cut() -> None:
    kept = describe(AppError("坏了：%(text)s", text="x" * 500, n=3)).params

    assert kept == {"text": "x" * 200, "n": 3}
