"""The browser of the tests is a Chinese one, and it tells when a page breaks its own rules."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.browser
POLICY = {"Content-Security-Policy": "default-src 'self'; style-src 'self'"}


def _open(page, body: str) -> None:
    html = f"<!doctype html><meta charset=utf-8><title>河道</title>{body}"
    page.route(
        "**/*", lambda route: route.fulfill(body=html, headers=POLICY, content_type="text/html")
    )
    page.goto("http://hedao.test/")


def test_the_browser_is_chinese(page):
    _open(page, "<h1>订单</h1>")

    assert page.title() == "河道"
    assert page.evaluate("navigator.language") == "zh-CN"
    assert page.evaluate("new Date(2026, 10, 11).getTimezoneOffset()") == -480
    assert page.viewport_size == {"width": 1440, "height": 900}


@pytest.mark.parametrize(
    "body", ["<p style='color: red'>红</p>", "<script>document.title = '被改'</script>"]
)
def test_a_breach_of_the_content_policy_is_noted(page, page_problems, body):
    _open(page, body)
    page.wait_for_timeout(200)

    assert page.title() == "河道"
    assert any("Content Security Policy" in problem for problem in page_problems)
    page_problems.clear()  # or the fixture would fail this test, as it must fail any other


def test_a_script_error_is_noted(page, page_problems):
    page.goto("about:blank")
    page.evaluate("setTimeout(() => { throw new Error('坏了') }, 0)")
    page.wait_for_timeout(200)

    assert any("坏了" in problem for problem in page_problems)
    page_problems.clear()
