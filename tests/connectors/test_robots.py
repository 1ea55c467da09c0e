"""The DingTalk sender: signing, body, and what each answer allows."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

import pytest

from connectors.http import ConnectorError, Response, Retry
from connectors.systems.robots import RobotAddress, RobotMessage, dingtalk, write_plain

SECRET = "SECdemo0000000000000000000000000000000000000000000000000000000000"
AT = datetime.fromtimestamp(1762791300, UTC)
ADDRESS = RobotAddress("https://oapi.dingtalk.com/robot/send?access_token=T", SECRET)


def answer(content, status=200):
    return Response(status, {}, json.dumps(content).encode())


def body_of(message, address=ADDRESS):
    return json.loads(dingtalk.write_body(address, message))


def test_the_signature_is_the_published_vector():
    assert dingtalk.sign(SECRET, 1762791300000) == "CYBbtb6bbTgB4u6GRndkApdohqkJDMmx556vqxMZNdM="


def test_the_signature_is_encoded_exactly_once():
    request = dingtalk.build_request(ADDRESS, RobotMessage("t", "x"), now=AT)

    assert request.url.endswith(
        "&timestamp=1762791300000&sign=CYBbtb6bbTgB4u6GRndkApdohqkJDMmx556vqxMZNdM%3D"
    )
    assert parse_qs(urlsplit(request.url).query)["sign"] == [dingtalk.sign(SECRET, 1762791300000)]


def test_a_robot_without_a_secret_is_called_without_a_signature():
    request = dingtalk.build_request(
        RobotAddress("https://oapi.dingtalk.com/robot/send?access_token=T"),
        RobotMessage("t", "x"),
        now=AT,
    )
    assert request.url == "https://oapi.dingtalk.com/robot/send?access_token=T"


def test_a_red_message_is_markdown_that_calls_everybody():
    body = body_of(RobotMessage("红色", "正文", at_all=True))

    assert body["msgtype"] == "markdown"
    assert body["markdown"] == {"title": "红色", "text": "正文"}
    assert body["at"] == {"isAtAll": True, "atMobiles": []}


def test_a_mentioned_mobile_stands_in_the_text_too():
    body = body_of(RobotMessage("黄色", "正文", at_mobiles=("13800000001",)))

    assert body["at"] == {"isAtAll": False, "atMobiles": ["13800000001"]}
    assert body["markdown"]["text"].endswith("@13800000001")


def test_a_keyword_robot_gets_its_keyword_once():
    address = RobotAddress(ADDRESS.webhook, keyword="河道")

    assert body_of(RobotMessage("t", "正文"), address)["markdown"]["text"].endswith("河道")
    assert body_of(RobotMessage("t", "河道告警"), address)["markdown"]["text"] == "河道告警"


def test_a_long_text_is_cut_at_a_line_and_keeps_mention_and_keyword():
    address = RobotAddress(ADDRESS.webhook, keyword="河道")
    text = "\n".join(f"- 订单 {n} 淤塞在支付回调" for n in range(2000))
    raw = dingtalk.write_body(address, RobotMessage("t", text, at_mobiles=("13800000001",)))
    shown = json.loads(raw)["markdown"]["text"]

    assert len(raw) <= dingtalk.MAX_BODY_BYTES
    assert len(raw) > 19_000
    assert "内容过长" in shown
    assert shown.endswith("河道")
    assert "@13800000001" in shown
    assert "\n- 订单 5 淤塞在支付回调\n" in shown


def test_a_single_line_longer_than_the_limit_still_fits():
    raw = dingtalk.write_body(ADDRESS, RobotMessage("t", "淤" * 30_000))
    assert len(raw) <= dingtalk.MAX_BODY_BYTES


def test_success_is_errcode_zero_only():
    assert dingtalk.read_answer(answer({"errcode": 0, "errmsg": "ok"})).vendor_code == "0"


@pytest.mark.parametrize(
    ("content", "status", "retry", "code"),
    [
        ({"errcode": 310000, "errmsg": "sign not match"}, 200, Retry.NEVER, "310000"),
        ({"errcode": 130101, "errmsg": "send too fast"}, 200, Retry.LATER, "130101"),
        ({"errcode": 410100, "errmsg": "x"}, 200, Retry.LATER, "410100"),
        ({"errcode": 90030, "errmsg": "x"}, 200, Retry.LATER, "90030"),
        ({"errcode": -1, "errmsg": "busy"}, 200, Retry.LATER, "-1"),
        ({"errcode": 400013, "errmsg": "x"}, 200, Retry.NEVER, "400013"),
        ({"errcode": 400101, "errmsg": "x"}, 200, Retry.NEVER, "400101"),
        ({"errcode": 987654, "errmsg": "x"}, 200, Retry.NEVER, "987654"),
        ({"status": 1111, "wait": 5, "punish": "deny"}, 200, Retry.LATER, "1111"),
        ({"something": "else"}, 200, Retry.AMBIGUOUS, ""),
        ([], 200, Retry.AMBIGUOUS, ""),
        ({"errcode": 0}, 500, Retry.AMBIGUOUS, "500"),
        ({"errcode": 0}, 302, Retry.NEVER, "302"),
        ({}, 503, Retry.LATER, "503"),
    ],
)
def test_an_answer_that_is_no_success_has_a_retry_class(content, status, retry, code):
    with pytest.raises(ConnectorError) as caught:
        dingtalk.read_answer(answer(content, status))

    assert caught.value.retry == retry
    assert caught.value.vendor_code == code
    assert caught.value.text


@pytest.mark.parametrize(
    ("foreign", "shown"),
    [
        ("[点我](http://evil)", "［点我］（http：／／evil）"),
        ("![](x)", "！［］（x）"),
        ("@all @13800000000", "＠all ＠13800000000"),
        ("# 标题\n> 引用\r\n- 项", "＃ 标题 ＞ 引用 - 项"),
        ("**粗** `码` <b>", "＊＊粗＊＊ ｀码｀ ＜b＞"),
        ("a\u202eb\u200bc\x00d\x1b[31m", "abc d ［31m"),
        ("行\u2028段", "行 段"),
        ("正常 订单 1234-AB", "正常 订单 1234-AB"),
    ],
)
def test_foreign_text_carries_no_markdown_no_link_and_no_mention(foreign, shown):
    assert write_plain(foreign) == shown


def test_foreign_text_is_shortened():
    assert write_plain("长" * 100, limit=10) == "长" * 9 + "…"


def test_a_robots_address_is_never_printed():
    assert SECRET not in repr(ADDRESS)
    assert "access_token" not in repr(ADDRESS)
