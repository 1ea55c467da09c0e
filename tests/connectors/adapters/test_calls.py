"""What every client does with settings and answers."""

from __future__ import annotations

from typing import Any

import pytest

from connectors.adapters.calls import check_status, get_secret, get_setting, read_answer
from connectors.http import RETRY_BY_STATUS, ConnectorError, Retry
from tests.connectors.channels.gateways import Gateway, reply


@pytest.mark.parametrize("config", [{}, {"app_key": ""}, {"app_key": "  "}, {"app_key": None}])
def test_empty_setting_is_named(config: dict[str, Any]) -> None:
    with pytest.raises(ConnectorError) as caught:
        get_setting(config, "app_key", "App Key")

    assert (caught.value.code, caught.value.retry) == ("not_configured", Retry.NEVER)
    assert "App Key" in caught.value.text


def test_setting_is_text_without_the_spaces_of_pasting() -> None:
    access = Gateway([reply({})]).access(config={}, secrets={"s": " abc \n"})

    assert get_setting({"app_key": 10000001}, "app_key", "App Key") == "10000001"
    assert get_secret(access, "s", "密钥") == "abc"


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_success_is_any_status_from_200(status: int) -> None:
    check_status(reply({}, status))


@pytest.mark.parametrize("status", [100, 301, 302, 400, 404, 429, 500, 503])
def test_other_status_is_an_error_of_its_class(status: int) -> None:
    with pytest.raises(ConnectorError) as caught:
        check_status(reply({}, status))

    assert caught.value.retry is RETRY_BY_STATUS.get(status, Retry.NEVER)
    assert caught.value.vendor_code == str(status)


@pytest.mark.parametrize("status", [200, 400, 500])
def test_object_is_read_whatever_the_status(status: int) -> None:
    assert read_answer(reply({"a": 1}, status)).mapping == {"a": 1}


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"null", b"\xff"])
@pytest.mark.parametrize(
    ("status", "code", "retry"),
    [(200, "bad_answer", Retry.AMBIGUOUS), (503, "http_status", Retry.LATER)],
)
def test_body_that_is_no_object_is_told_by_its_status_first(
    body: bytes, status: int, code: str, retry: Retry
) -> None:
    with pytest.raises(ConnectorError) as caught:
        read_answer(reply(body, status))

    assert (caught.value.code, caught.value.retry) == (code, retry)
