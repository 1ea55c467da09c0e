"""Trying a connection that is not saved, and a sample of a system described by a form."""

from __future__ import annotations

import json
from typing import Any

import pytest

from config.errors import AppError
from config.tenancy.scope import for_environment
from connectors import http
from connectors.http import ConnectorError, Response
from connectors.orders.canonical import CanonicalReceipt
from connectors.shops.models import AllowedAddress, Connection
from connectors.sync.models import CallLog
from connectors.sync.sampling import PREVIEWED, preview_rows, take_sample
from connectors.sync.trying import MAX_SHOWN, explain_failure, try_connection
from tests.connectors.sync.outside import OMS_FORM, VENDORS, Outside
from tests.connectors.sync.test_backfill import mall_life
from tests.factories import World

pytestmark = pytest.mark.django_db


def allow(outside: Outside) -> None:
    """What IT approved for this environment."""
    host, _, port = outside.address.removeprefix("http://").partition(":")
    with for_environment(outside.environment):
        AllowedAddress.objects.create(
            host=host, port=int(port), purpose="模拟器",
            requested_at=outside.now(), approved_at=outside.now(),
        )  # fmt: skip


def asking(outside: Outside, app: str, **changes: Any) -> dict[str, Any]:
    config, secrets = outside.credentials(app)
    vendor = VENDORS[app][0]
    return {
        "vendor": vendor,
        "base_url": f"{outside.address}/{app}/",  # people copy addresses with a slash
        "config": config,
        "secrets": secrets,
        "now": outside.now(),
        **changes,
    }


def nothing_is_stored(outside: Outside) -> bool:
    with for_environment(outside.environment, write=False):
        return not (Connection.objects.exists() or CallLog.objects.exists())


@pytest.mark.parametrize("app", VENDORS)
def test_the_right_credentials_answer_and_nothing_is_kept(outside: Outside, app: str) -> None:
    allow(outside)
    asked = asking(outside, app)

    trial = try_connection(outside.environment, shop="", **asked)

    assert (trial.ok, trial.code) == (True, ""), trial
    assert trial.words.message.startswith("连接成功")
    assert 0 < len(trial.answer) <= MAX_SHOWN
    assert not [secret for secret in asked["secrets"].values() if secret in trial.answer]
    assert len(outside.host.costs) == 1  # one call, and no more
    assert nothing_is_stored(outside)


def test_a_refusal_is_an_answer_in_words_with_the_vendor_s_own_code(outside: Outside) -> None:
    allow(outside)
    asked = asking(outside, "tmall")
    secrets = asked["secrets"] | {"app_secret": "0" * 32}

    trial = try_connection(outside.environment, shop="", **asked | {"secrets": secrets})

    assert not trial.ok
    told = str(trial.words.params)
    assert trial.words.message == "%(reason)s（对方代码 %(code)s）"
    assert trial.words.params["code"] == "25 isv.invalid-signature"  # people may look it up
    assert "0" * 32 not in trial.answer + told
    assert nothing_is_stored(outside)


@pytest.mark.parametrize(
    "changes",
    [{"base_url": "not an address"}, {"secrets": {}}, {"base_url": "http://127.0.0.1:9/tmall"}],
)
def test_settings_that_cannot_be_are_said_and_nobody_is_called(
    outside: Outside, changes: dict[str, Any]
) -> None:
    allow(outside)

    trial = try_connection(outside.environment, shop="", **asking(outside, "tmall") | changes)

    assert (trial.ok, trial.answer, bool(trial.code)) == (False, "", True)
    assert outside.host.costs == {}


def test_what_one_environment_was_allowed_another_is_not(outside: Outside, world: World) -> None:
    allow(outside)

    trial = try_connection(world.staging, shop="", **asking(outside, "mall"))

    assert (trial.ok, trial.code) == (False, "address_refused")
    assert outside.host.costs == {}


def test_a_failure_without_a_vendor_s_code_is_its_reason_alone() -> None:
    plain = explain_failure(AppError("没有接通 %(n)s", n=3))
    coded = explain_failure(ConnectorError("拒绝", vendor_code="S003"))

    assert (plain.message, plain.params) == ("没有接通 %(n)s", {"n": 3})
    assert coded.params["code"] == "S003"


def test_a_long_answer_is_shown_masked_and_cut(
    outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = json.dumps({"orders": [{"phone": "13812345678", "qty": 1}] * MAX_SHOWN}).encode()
    monkeypatch.setattr(http, "send", lambda request: Response(200, {}, body))

    trial = try_connection(outside.environment, shop="", **asking(outside, "mall"))

    assert len(trial.answer) == MAX_SHOWN
    assert "13812345678" not in trial.answer


# --- a sample -------------------------------------------------------------------------------------


def ask_oms(outside: Outside, count: int) -> dict[str, Any]:
    allow(outside)
    outside.add(*[
        mall_life(outside, n, minutes_ago=60 + n, oms=outside.now()) for n in range(count)
    ])  # fmt: skip
    return asking(outside, "oms")


def test_the_first_rows_are_shown_as_they_will_be_taken_in(outside: Outside) -> None:
    asked = ask_oms(outside, 5)

    sample = take_sample(outside.environment, **asked)
    rows = preview_rows(outside.environment, **asked)

    assert (sample.words, sample.code) == (None, "")
    assert sample.call is not None
    assert len(rows) == PREVIEWED
    for row in rows:
        assert isinstance(row.receipt, CanonicalReceipt)
        assert (row.receipt.received_at, row.words) == (outside.now(), None)
    assert nothing_is_stored(outside)


def test_a_row_the_form_does_not_fit_says_why_in_its_place(outside: Outside) -> None:
    asked = ask_oms(outside, 2)
    form = OMS_FORM | {"received_path": "orderNo"}

    rows = preview_rows(outside.environment, **asked | {"config": form})

    assert [row.receipt for row in rows] == [None, None]
    assert all(row.words is not None and row.words.message for row in rows)


def test_a_system_that_gives_nothing_says_why_and_never_raises(
    outside: Outside, world: World
) -> None:
    asked = ask_oms(outside, 1)

    wrong = take_sample(outside.environment, **asked | {"secrets": {"auth_secret": "no"}})
    foreign = take_sample(world.staging, **asked)

    assert wrong.call is not None
    assert (wrong.call.status, wrong.call.rows) == (401, None)
    assert wrong.call.trouble is not None
    assert "认证没有通过" in wrong.call.trouble.message
    assert (foreign.call, foreign.code) == (None, "address_refused")
    with pytest.raises(AppError):
        preview_rows(world.staging, **asked)
