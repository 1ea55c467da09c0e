"""TOP as channels.md 3 tells it, against the simulator: signatures written here, no product code."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest

from connectors.simulators.life import LifeLine
from connectors.simulators.tmall import Tmall
from tests.connectors.simulators.lives import TMALL_SHOP, make_life, minutes
from tests.connectors.simulators.tmall_caller import (
    DETAIL,
    FORM,
    KEYS,
    LIST,
    SECRET,
    Top,
    at,
    numbers,
    signed,
    text,
)

EVERYTHING = (
    "tid,tid_str,type,status,title,seller_nick,buyer_open_uid,alipay_no,created,pay_time,modified,"
    "consign_time,end_time,send_time,est_con_time,timeout_action_time,delivery_time,collect_time,"
    "payment,total_fee,discount_fee,adjust_fee,post_fee,received_payment,paid_coupon_fee,"
    "platform_subsidy_fee,alipay_point,pcc_af,o2o_voucher_price,coupon_fee,tmall_coupon_fee,"
    "promotion_details,step_trade_status,step_paid_fee,step_pay_details,new_presell,"
    "general_new_presell,o2o_step_order_id,o2o_et_order_id,receiver_name,receiver_mobile,"
    "receiver_phone,receiver_country,receiver_state,receiver_city,receiver_district,receiver_town,"
    "receiver_zip,receiver_address,oaid,lm,ti_modify_address_time,logistics_infos,"
    "logistics_consign_info,logistics_agreement,is_part_consign,top_hold,team_buy_hold,"
    "share_group_hold,ofp_hold,forbid_consign,delay_create_delivery,is_sh_ship,rx_audit_status,"
    "mark_desc,ob_tag,seller_memo,seller_flag,buyer_message,buyer_memo,orders"
)
LINE_FIELDS = frozenset(
    {
        "oid", "oid_str", "num_iid", "title", "num", "price", "total_fee", "payment",
        "discount_fee", "adjust_fee", "divide_order_fee", "part_mjz_discount", "status",
        "refund_status", "is_oversold", "is_free_gift", "has_gift", "gift_mids", "lijian",
        "zhengji_status", "store_code", "inv_type", "shipper", "modify_address",
        "estimate_con_time", "delivery_time", "collect_time", "logistics_company", "invoice_no",
        "consign_time", "outer_sku_id",
    }
)  # fmt: skip


@pytest.fixture
def top() -> Iterator[Top]:
    world = Top(at=minutes(0))
    world.app = Tmall(world.store, world.clock, world.faults, KEYS)
    with world.serving(tmall=world.app):
        yield world


# -- signatures ----------------------------------------------------------------------------------


def test_the_official_vector_and_the_computed_ones_come_out_of_the_signing_used_here() -> None:
    official = {
        "method": "taobao.item.seller.get", "app_key": "12345678", "session": "test",
        "timestamp": "2016-01-01 12:00:00", "format": "json", "v": "2.0", "sign_method": "md5",
        "fields": "num_iid,title,nick,price,num", "num_iid": "11223344",
    }  # fmt: skip
    assert signed(official, "helloworld")["sign"] == "66987CB115214E59E6EC978214934FB8"
    assert {
        how: signed({**VECTOR, "sign_method": how})["sign"] for how in VECTOR_SIGNS
    } == VECTOR_SIGNS


VECTOR = {
    "method": LIST, "app_key": "10000001", "session": "sess-demo-1", "format": "json", "v": "2.0",
    "timestamp": "2025-11-11 00:15:00", "fields": "tid,status,modified", "use_has_next": "true",
    "start_modified": "2025-11-11 00:00:00", "end_modified": "2025-11-11 00:15:00",
    "page_no": "1", "page_size": "50",
}  # fmt: skip
VECTOR_SIGNS = {
    "md5": "2BBEC3864415A4C5B22256CABF7C590B",
    "hmac": "738208AD55509EED942B466094C0D0D1",
    "hmac-sha256": "689AD93A80B9376CA4C8759A39B9C0FB8317BAE40707B41CA892DA7D383B6C71",
}


@pytest.mark.parametrize("how", VECTOR_SIGNS)
def test_the_platform_takes_the_vectors_of_the_manual(top: Top, how: str) -> None:
    at(top, 15)
    answer = top.send({**VECTOR, "sign_method": how, "sign": VECTOR_SIGNS[how]})
    assert answer["trades_sold_increment_get_response"]["has_next"] is False


@pytest.mark.parametrize("how", ["md5", "hmac", "hmac-sha256"])
def test_one_changed_parameter_breaks_the_signature(top: Top, how: str) -> None:
    params = signed({**top.params("taobao.time.get"), "sign_method": how})
    assert "error_response" not in top.send(params)
    refusal = top.refused({**params, "session": "other"})
    assert (refusal["code"], refusal["msg"]) == (25, "Invalid Signature")
    assert top.refused({**params, "sign": params["sign"].lower()})["code"] == 25


def test_empty_parameters_are_not_signed(top: Top) -> None:
    params = {**top.params("taobao.time.get"), "partner_id": ""}
    assert "error_response" not in top.send(signed(params))


def test_chinese_and_reserved_characters_survive_the_form(top: Top) -> None:
    top.store.add(life := make_life(1))
    memo = "已联系 & 改地址=是+100%"
    top.ask("taobao.trade.memo.update", tid=life.order_no, memo=memo, flag=3)
    assert top.detail(life, "seller_memo,seller_flag") == {"seller_memo": memo, "seller_flag": 3}


# -- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"method": ""}, 21),
        ({"method": "taobao.no.such"}, 22),
        ({"sign": ""}, 24),
        ({"session": ""}, 26),
        ({"session": "sess-unknown"}, 27),
        ({"app_key": ""}, 28),
        ({"app_key": "99999999"}, 29),
        ({"timestamp": ""}, 30),
        ({"timestamp": "2025-11-11T00:00:00"}, 31),
        ({"v": ""}, 32),
        ({"v": "1.0"}, 34),
        ({"fields": ""}, 40),
        ({"start_modified": ""}, 40),
        ({"start_modified": "yesterday"}, 41),
        ({"page_size": "101"}, 41),
        ({"page_size": "0"}, 41),
        ({"page_no": "0"}, 41),
        ({"page_no": "one"}, 41),
        ({"status": "TRADE_CLOSED,TRADE_FINISHED"}, 41),
        # a window of more than a day, of nothing, of less than nothing, and three months ago
        ({"start_modified": "2025-11-10 00:14:59"}, 41),
        ({"start_modified": "2025-11-11 00:15:00"}, 41),
        ({"start_modified": "2025-11-11 00:16:00"}, 41),
        ({"start_modified": "2025-07-01 00:00:00", "end_modified": "2025-07-01 01:00:00"}, 41),
    ],
)
def test_a_wrong_call_is_refused_inside_http_200(
    top: Top, change: dict[str, str], code: int
) -> None:
    at(top, 15)
    params = signed({**VECTOR, "sign_method": "md5", **change})
    refusal = top.refused({**params, **({"sign": ""} if "sign" in change else {})})
    assert refusal["code"] == code
    assert refusal["msg"]
    assert refusal["request_id"]


def test_a_whole_day_is_still_a_legal_window(top: Top) -> None:
    at(top, 15)
    params = {**VECTOR, "sign_method": "md5", "start_modified": "2025-11-10 00:15:00"}
    assert "error_response" not in top.send(signed(params))


@pytest.mark.parametrize(
    ("skew", "is_taken"), [(-600, True), (600, True), (-601, False), (601, False)]
)
def test_a_timestamp_may_be_ten_minutes_off(top: Top, skew: int, is_taken: bool) -> None:
    params = top.params("taobao.time.get")
    params["timestamp"] = text(top.clock.now() + timedelta(seconds=skew))
    answer = top.send(signed(params))
    assert answer.get("error_response", {}).get("code") == (None if is_taken else 31)


def test_a_platform_whose_clock_is_wrong_refuses_right_timestamps(top: Top) -> None:
    top.faults.switch("tmall", "*", "wrong_clock", seconds=700, times=1)
    assert top.refused(signed(top.params("taobao.time.get")))["code"] == 31
    assert top.ask("taobao.time.get") == {
        "time": text(top.clock.now()), "request_id": ANY_TEXT,
    }  # fmt: skip


class _AnyText:
    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and bool(other)

    __hash__ = None


ANY_TEXT = _AnyText()


def test_a_get_call_is_refused(top: Top) -> None:
    reply = top.call(
        "GET", "/tmall/router/rest?" + urlencode(signed(top.params("taobao.time.get")))
    )
    assert json.loads(reply.body)["error_response"]["code"] == 9


def test_without_a_format_the_answer_is_xml(top: Top) -> None:
    params = top.params("taobao.time.get")
    del params["format"]
    reply = top.call("POST", "/tmall/router/rest", urlencode(signed(params)).encode(), FORM)
    assert reply.headers["content-type"].startswith("text/xml")
    assert f"<time>{text(top.clock.now())}</time>".encode() in reply.body


def test_a_session_sees_its_own_shop_only(top: Top) -> None:
    top.store.add(mine := make_life(1), other := make_life(2, shop="别家旗舰店"))
    at(top, 5)
    assert numbers(top.page(-10, 4)) == [mine.order_no]
    assert numbers(top.page(-10, 4, session="sess-demo-2")) == [other.order_no]
    refusal = top.refused(signed(top.params(DETAIL, tid=other.order_no, fields="tid")))
    assert (refusal["code"], refusal["sub_code"]) == (15, "isv.trade-not-exist")


def test_an_order_that_is_not_born_yet_does_not_exist(top: Top) -> None:
    top.store.add(life := make_life(1, at=10))
    assert top.refused(signed(top.params(DETAIL, tid=life.order_no, fields="tid")))["code"] == 15


def test_an_expired_session_is_invalid(top: Top) -> None:
    top.app.expire(TMALL_SHOP)
    top.clock.advance(timedelta(seconds=1))
    params = signed(top.params(LIST, fields="tid"))
    assert top.refused(params)["code"] == 27


def test_too_many_calls_are_banned_for_seconds_that_are_told() -> None:
    world = Top(at=minutes(0))
    world.app = Tmall(
        world.store, world.clock, world.faults, KEYS, rate_per_second=0.5, burst=2, daily_quota=4
    )
    with world.serving(tmall=world.app):
        world.ask("taobao.time.get")
        world.ask("taobao.time.get")
        refusal = world.refused(signed(world.params("taobao.time.get")))
        assert (refusal["code"], refusal["sub_code"], refusal["sub_msg"]) == (
            7,
            "accesscontrol.limited-by-api-access-count",
            "This ban will last for 2 more seconds",
        )
        world.clock.advance(timedelta(seconds=2))
        world.ask("taobao.time.get")
        world.clock.advance(timedelta(hours=23))
        world.ask("taobao.time.get")
        world.clock.advance(timedelta(seconds=30))
        refusal = world.refused(signed(world.params("taobao.time.get")))
        assert refusal["sub_code"] == "accesscontrol.limited-by-app-access-count"
        assert 3500 < int(refusal["sub_msg"].split()[5]) < 3600  # until midnight in Beijing
        world.clock.advance(timedelta(hours=1))
        world.ask("taobao.time.get")


def test_a_throttle_can_be_switched_on(top: Top) -> None:
    top.faults.switch("tmall", LIST, "throttle", times=1, seconds=3)
    params = signed(top.params(LIST, fields="tid"))
    assert top.refused(params)["sub_msg"] == "This ban will last for 3 more seconds"


def test_the_platforms_own_fault_is_told_as_isp(top: Top) -> None:
    top.faults.switch("tmall", LIST, "service_error", times=1)
    refusal = top.refused(signed(top.params(LIST, fields="tid")))
    assert (refusal["code"], refusal["sub_code"].split(".")[0]) == (15, "isp")


# -- tokens --------------------------------------------------------------------------------------


def test_a_refresh_gives_new_tokens_and_ends_the_old_ones(top: Top) -> None:
    answer = top.ask("taobao.top.auth.token.refresh", session="", refresh_token="refresh-1")
    result = json.loads(answer["token_result"])
    assert {"expires_in", "re_expires_in", "r1_expires_in", "w2_expires_in"} <= result.keys()
    assert (result["taobao_user_nick"], result["taobao_user_id"]) == (TMALL_SHOP, "2200000001")
    assert result["expires_in"] == 30 * 86400
    assert top.refused(signed(top.params(LIST, fields="tid")))["code"] == 27
    fresh = top.params(LIST, session=result["access_token"], fields="tid")
    assert top.refused(signed(fresh))["code"] == 40
    again = top.params("taobao.top.auth.token.refresh", session="", refresh_token="refresh-1")
    assert top.refused(signed(again))["sub_code"] == "isv.invalid-grant"


def test_a_code_of_the_sellers_consent_is_good_once(top: Top) -> None:
    code = top.app.sessions.authorise(TMALL_SHOP, top.clock.now())
    answer = top.ask("taobao.top.auth.token.create", session="", code=code)
    assert json.loads(answer["token_result"])["token_type"] == "Bearer"
    params = top.params("taobao.top.auth.token.create", session="", code=code)
    assert top.refused(signed(params))["code"] == 15


def test_the_token_door_takes_a_form_and_refuses_with_http_400(top: Top) -> None:
    form = {
        "grant_type": "refresh_token", "client_id": "10000001", "client_secret": SECRET,
        "refresh_token": "refresh-1",
    }  # fmt: skip

    def post(**change: str) -> tuple[int, dict[str, Any]]:
        body = urlencode({**form, **change}).encode()
        reply = top.call("POST", "/tmall/oauth/token", body, FORM)
        return reply.status, json.loads(reply.body)

    assert post(client_secret="wrong")[1]["error"] == "invalid_client"
    status, refusal = post(grant_type="password")
    assert (status, refusal["error"]) == (400, "unsupported_grant_type")
    status, tokens = post()
    assert status == 200
    assert post()[1]["error"] == "invalid_grant"
    assert post(refresh_token=tokens["refresh_token"])[0] == 200


# -- lists ---------------------------------------------------------------------------------------


def test_the_list_is_newest_change_first_and_pages_begin_with_one(top: Top) -> None:
    lives = [make_life(n, at=n) for n in range(1, 8)]
    top.store.add(*lives)
    at(top, 30)
    first = top.page(0, 10, 1, page_size=3)
    assert numbers(first) == [life.order_no for life in (lives[6], lives[5], lives[4])]
    assert first["total_results"] == 7
    assert "has_next" not in first
    last = top.page(0, 10, 3, page_size=3, use_has_next="true")
    assert numbers(last) == [lives[0].order_no]
    assert last["has_next"] is False
    assert "total_results" not in last
    assert top.page(0, 10, 2, page_size=3, use_has_next="true")["has_next"] is True


def test_an_empty_list_has_no_trades_at_all(top: Top) -> None:
    answer = top.page(-10, -1)
    assert answer == {"total_results": 0, "request_id": ANY_TEXT}
    assert "trades" not in top.page(-10, -1, 5, use_has_next="true")


def test_simplify_flattens_lists(top: Top) -> None:
    top.store.add(life := make_life(1, locked=minutes(1)))
    at(top, 5)
    answer = top.page(-1, 4, simplify="true", fields="tid_str,orders.title")
    assert answer["trades"] == [
        {"tid_str": life.order_no, "orders": [{"title": "羊绒围巾"}, {"title": "羊毛帽"}]}
    ]
    whole = top.detail(life, EVERYTHING, simplify="true")
    assert isinstance(whole["orders"], list)
    assert isinstance(whole["logistics_infos"], list)


def test_a_field_not_asked_for_is_absent_and_the_list_gives_a_part_only(top: Top) -> None:
    top.store.add(make_life(1, paid=minutes(1)))
    at(top, 5)
    (trade,) = top.page(-1, 4, fields="tid,mark_desc,promotion_details,step_pay_details")[
        "trades"]["trade"]  # fmt: skip
    assert list(trade) == ["tid"]
    (trade,) = top.page(-1, 4, fields="orders")["trades"]["trade"]
    assert "divide_order_fee" not in trade["orders"]["order"][0]


def test_some_types_are_listed_only_when_they_are_named(top: Top) -> None:
    free = make_life(1, lines=[LifeLine("GIFT", "小样", 1, 0)], freight_fen=0, shop_discount_fen=0)
    cod, step = make_life(2, cod=True), make_life(3, presale=True, deposit_fen=5000)
    top.store.add(free, cod, step, plain := make_life(4))
    at(top, 5)
    assert set(numbers(top.page(-1, 4))) == {cod.order_no, step.order_no, plain.order_no}
    assert numbers(top.page(-1, 4, type="nopaid")) == [free.order_no]
    assert set(numbers(top.page(-1, 4, type="guarantee_trade,nopaid"))) == {
        free.order_no, plain.order_no,
    }  # fmt: skip


def test_one_status_may_be_asked_for(top: Top) -> None:
    top.store.add(paid := make_life(1, paid=minutes(1)), make_life(2))
    at(top, 5)
    assert numbers(top.page(-1, 4, status="WAIT_SELLER_SEND_GOODS")) == [paid.order_no]


def test_the_created_list_finds_an_order_by_its_birth_whatever_happened_since(top: Top) -> None:
    top.store.add(life := make_life(1, at=1, paid=minutes(2), shipped=minutes(900)))
    at(top, 1000)
    wish = {"start_created": text(minutes(0)), "end_created": text(minutes(10))}
    answer = top.ask("taobao.trades.sold.get", fields="tid_str", **wish)
    assert numbers(answer) == [life.order_no]
    assert numbers(top.ask("taobao.trades.sold.get", fields="tid_str")) == [life.order_no]
    assert top.page(0, 10)["total_results"] == 0


def test_the_list_shows_an_order_as_it_was_before_its_lag(top: Top) -> None:
    top.store.add(life := make_life(1, paid=minutes(2), lag=timedelta(seconds=90)))
    at(top, 3)
    (trade,) = top.page(-1, 3)["trades"]["trade"]
    assert (trade["status"], trade["modified"]) == ("WAIT_BUYER_PAY", text(minutes(0)))
    assert top.detail(life, "status")["status"] == "WAIT_SELLER_SEND_GOODS"
    at(top, 4)
    (trade,) = top.page(-1, 3)["trades"]["trade"]
    assert (trade["status"], trade["modified"]) == ("WAIT_SELLER_SEND_GOODS", text(minutes(2)))


def test_a_half_page_keeps_its_total_and_a_repeated_page_gives_the_one_before(top: Top) -> None:
    top.store.add(*(make_life(n, at=n) for n in range(1, 9)))
    at(top, 30)
    top.faults.switch("tmall", LIST, "half_page", page=1, times=1)
    half = top.page(0, 10, 1, page_size=4)
    assert (len(numbers(half)), half["total_results"]) == (2, 8)
    whole = numbers(top.page(0, 10, 1, page_size=4))
    assert len(whole) == 4
    top.faults.switch("tmall", LIST, "repeated_page", page=2, times=1)
    assert numbers(top.page(0, 10, 2, page_size=4)) == whole
    assert not set(numbers(top.page(0, 10, 2, page_size=4))) & set(whole)
