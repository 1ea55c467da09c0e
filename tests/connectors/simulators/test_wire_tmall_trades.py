"""What the simulated TOP tells of a trade (channels.md 3.4, 3.5): fields, money, statuses; memos."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from connectors.simulators.life import Life, LifeLine, LifePromotion, LifeShipment
from connectors.simulators.tmall import Tmall
from tests.connectors.simulators.lives import make_life, minutes
from tests.connectors.simulators.tmall_caller import (
    DETAIL,
    KEYS,
    Top,
    at,
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


# -- what a trade tells --------------------------------------------------------------------------


def test_the_detail_has_every_field_of_the_manual(top: Top) -> None:
    life = make_life(
        1, paid=minutes(5), locked=minutes(6), presale=True, deposit_fen=5000,
        deposit_paid=minutes(1), balance_paid=minutes(5),
        promotions=(LifePromotion("mjs-123024_211143", "mjs", "满减", 500),),
    )  # fmt: skip
    top.store.add(life)
    at(top, 10)
    trade = top.detail(life, EVERYTHING, include_oaid="true")
    assert set(trade) == set(EVERYTHING.split(","))
    assert trade["tid"] == int(life.order_no) == int(trade["tid_str"])
    assert set(trade["orders"]["order"][0]) >= LINE_FIELDS
    assert trade["promotion_details"]["promotion_detail"][0]["promotion_id"] == "mjs-123024_211143"
    assert trade["step_pay_details"]["step_pay_detail"][1]["step_actual_pay_fee"] == "205.00"
    info = trade["logistics_infos"]["logistics_info"][0]
    assert {"store_code", "consign_type", "need_consign_num", "promise_outbound_time"} <= set(info)


def test_money_adds_up_in_yuan(top: Top) -> None:
    life = make_life(
        1, paid=minutes(5), platform_discount_fen=1500, coupon_fen=333, price_error_fen=700,
        price_mended=minutes(20),
    )  # fmt: skip
    top.store.add(life)
    at(top, 10)

    def fen(value: str) -> int:
        whole, _, cents = value.partition(".")
        assert len(cents) == 2
        return int(whole) * 100 + int(cents)

    trade = top.detail(life, EVERYTHING)
    assert fen(trade["total_fee"]) == 25_000
    assert fen(trade["discount_fee"]) == 2_333
    assert fen(trade["platform_subsidy_fee"]) == 1_500
    lines = trade["orders"]["order"]
    shares = sum(fen(line["divide_order_fee"]) for line in lines)
    assert shares + fen(trade["post_fee"]) == life.payable_fen == 23_667
    assert fen(trade["payment"]) == life.payable_fen + 700
    for line in lines:
        assert fen(line["payment"]) == fen(line["price"]) * line["num"] - fen(line["discount_fee"])
    at(top, 20)
    assert fen(top.detail(life, EVERYTHING)["payment"]) == life.payable_fen


def test_the_one_line_of_an_order_bears_the_freight(top: Top) -> None:
    top.store.add(life := make_life(1, lines=[LifeLine("A", "围巾", 1, 5_000)], paid=minutes(1)))
    at(top, 2)
    trade = top.detail(life, EVERYTHING)
    assert trade["orders"]["order"][0]["payment"] == trade["payment"] == "55.00"


def test_oaid_needs_five_fields_and_insisting_without_them_is_refused(top: Top) -> None:
    top.store.add(life := make_life(1))
    five = "receiver_name,receiver_address,created,receiver_mobile,receiver_phone"
    assert "oaid" in top.detail(life, f"oaid,{five}", include_oaid="true")
    assert "oaid" in top.detail(life, f"oaid,{five}")
    assert "oaid" not in top.detail(life, "oaid,receiver_name,created")
    some = {"tid": life.order_no, "fields": "oaid,receiver_name", "include_oaid": "true"}
    assert top.refused(signed(top.params(DETAIL, **some)))["sub_code"] == "isv.oaid-field-miss"


def test_the_receiver_is_masked_but_its_region_is_not(top: Top) -> None:
    top.store.add(life := make_life(1))
    trade = top.detail(life, EVERYTHING)
    assert trade["receiver_name"] == "王**"
    assert trade["receiver_mobile"] == "*******1234"
    assert "1号" not in trade["receiver_address"]
    assert (trade["receiver_state"], trade["receiver_town"]) == ("浙江省", "古荡街道")


PRESALE: dict[str, Any] = {
    "presale": True, "deposit_fen": 5000, "deposit_paid": minutes(1),
    "balance_opens": minutes(60), "balance_due": minutes(120),
}  # fmt: skip


@pytest.mark.parametrize(
    ("life", "expected"),
    [
        (make_life(1), {"status": "WAIT_BUYER_PAY", "pay_time": "", "alipay_no": ""}),
        (make_life(1, paid=minutes(5)),
         {"status": "WAIT_SELLER_SEND_GOODS", "pay_time": text(minutes(5))}),
        (make_life(1, cod=True),
         {"status": "WAIT_SELLER_SEND_GOODS", "type": "cod", "pay_time": ""}),
        (make_life(1, paid=minutes(5), group=True),
         {"status": "PAID_FORBID_CONSIGN", "team_buy_hold": 1, "mark_desc": "拼团中"}),
        (make_life(1, paid=minutes(5), group=True, group_done=minutes(9)),
         {"status": "WAIT_SELLER_SEND_GOODS", "team_buy_hold": 0, "mark_desc": ""}),
        (make_life(1, paid=minutes(5), group=True, group_failed=minutes(9)),
         {"status": "TRADE_CLOSED", "payment": "0.00", "end_time": text(minutes(9))}),
        (make_life(2, paid=minutes(5), risk_from=minutes(6), risk_words="订单审核中"),
         {"status": "WAIT_SELLER_SEND_GOODS", "top_hold": 1, "mark_desc": "订单审核中"}),
        (make_life(1, paid=minutes(5), risk_from=minutes(6), risk_words="强管控"),
         {"status": "PAID_FORBID_CONSIGN", "top_hold": 0, "forbid_consign": 1,
          "team_buy_hold": 0, "mark_desc": "强管控"}),
        (make_life(1, paid=minutes(5), risk_from=minutes(6), risk_until=minutes(9)),
         {"status": "WAIT_SELLER_SEND_GOODS", "top_hold": 0}),
        (make_life(1, **PRESALE),
         {"status": "WAIT_BUYER_PAY", "type": "step", "step_paid_fee": "50.00",
          "step_trade_status": "FRONT_PAID_FINAL_NOPAID", "pay_time": text(minutes(1))}),
        (make_life(1, **{**PRESALE, "deposit_paid": None}),
         {"status": "WAIT_BUYER_PAY", "step_trade_status": "FRONT_NOPAID_FINAL_NOPAID"}),
        (make_life(1, **PRESALE, balance_paid=minutes(8)),
         {"status": "WAIT_SELLER_SEND_GOODS", "step_paid_fee": "255.00",
          "step_trade_status": "FRONT_PAID_FINAL_PAID", "pay_time": text(minutes(8))}),
        (make_life(1, **PRESALE, forfeited=minutes(8)),
         {"status": "TRADE_CLOSED_BY_TAOBAO", "step_trade_status": "FRONT_PAID_FRONT_FORFEITED"}),
        (make_life(1, paid=minutes(5), shipped=minutes(9)),
         {"status": "WAIT_BUYER_CONFIRM_GOODS", "consign_time": text(minutes(9))}),
        (make_life(1, cod=True, shipped=minutes(8), delivered=minutes(9)),
         {"status": "TRADE_BUYER_SIGNED"}),
        (make_life(1, paid=minutes(5), shipped=minutes(8), completed=minutes(9)),
         {"status": "TRADE_FINISHED", "received_payment": "255.00", "end_time": text(minutes(9))}),
        (make_life(1, paid=minutes(5), refunded=minutes(9)),
         {"status": "TRADE_CLOSED", "payment": "0.00"}),
        (make_life(1, closed=minutes(9)), {"status": "TRADE_CLOSED_BY_TAOBAO"}),
        (make_life(1, paid=minutes(5), unknown_status="WAIT_NEW_THING", unknown_from=minutes(9)),
         {"status": "WAIT_NEW_THING"}),
        (make_life(1, paid=minutes(5), urged=minutes(6), address_change_from=minutes(7)),
         {"ob_tag": "lg", "lm": "1", "ti_modify_address_time": text(minutes(7))}),
    ],
)  # fmt: skip
def test_each_standing_has_the_platforms_words(
    top: Top, life: Life, expected: dict[str, Any]
) -> None:
    top.store.add(life)
    at(top, 10)
    trade = top.detail(life, EVERYTHING)
    assert {key: trade[key] for key in expected} == expected


def test_nothing_later_than_now_shows(top: Top) -> None:
    life = make_life(1, paid=minutes(5), shipped=minutes(50), refund_requested=minutes(40))
    top.store.add(life)
    at(top, 10)
    trade = top.detail(life, EVERYTHING)
    assert trade["modified"] == text(minutes(5))
    assert trade["consign_time"] == ""
    assert {line["refund_status"] for line in trade["orders"]["order"]} == {"NO_REFUND"}
    at(top, 45)
    assert {line["refund_status"] for line in top.detail(life, EVERYTHING)["orders"]["order"]} == {
        "WAIT_SELLER_AGREE"
    }


def test_of_a_part_shipped_order_only_the_sent_line_is_sent(top: Top) -> None:
    parcel = LifeShipment(minutes(8), "顺丰速运", "SF1", (0,))
    life = make_life(1, paid=minutes(5), part_shipped=minutes(8), shipments=(parcel,))
    top.store.add(life)
    at(top, 10)
    trade = top.detail(life, EVERYTHING)
    assert (trade["status"], trade["is_part_consign"]) == ("SELLER_CONSIGNED_PART", True)
    sent, kept = trade["orders"]["order"]
    assert (sent["status"], sent["invoice_no"]) == ("WAIT_BUYER_CONFIRM_GOODS", "SF1")
    assert (kept["status"], kept["invoice_no"]) == ("WAIT_SELLER_SEND_GOODS", "")


def test_a_refunded_line_is_closed_and_lowers_the_payment(top: Top) -> None:
    life = make_life(1, paid=minutes(5))
    life.lines[1].refunded = minutes(8)
    top.store.add(life)
    at(top, 10)
    trade = top.detail(life, EVERYTHING)
    kept, gone = trade["orders"]["order"]
    assert trade["status"] == kept["status"] == "WAIT_SELLER_SEND_GOODS"
    assert (gone["status"], gone["refund_status"]) == ("TRADE_CLOSED", "SUCCESS")
    assert trade["payment"] == "206.00"  # 255.00 minus the line's share of 49.00


def test_gifts_are_promised_by_promotions_and_linked_both_ways(top: Top) -> None:
    gift = LifePromotion("mjs-1_1", "mjs", "满赠", gift_sku="GIFT01", gift_quantity=1)
    lines = [
        LifeLine("A", "大衣", 1, 90_000),
        LifeLine("GIFT01", "帆布袋", is_gift=True, gift_of=0),
    ]
    life = make_life(1, lines=lines, promotions=(gift,), gifts_due=1, gifts_packed=1,
                     gifts_packed_at=minutes(8))  # fmt: skip
    top.store.add(life)
    at(top, 5)
    trade = top.detail(life, EVERYTHING)
    assert trade["promotion_details"]["promotion_detail"][0]["gift_item_num"] == "1"
    assert len(trade["orders"]["order"]) == 1
    at(top, 10)
    main, added = top.detail(life, EVERYTHING)["orders"]["order"]
    assert (added["is_free_gift"], added["gift_mids"]) == ("1", main["oid_str"])
    assert (main["has_gift"], main["gift_mids"]) == ("1", added["oid_str"])


# -- memos ---------------------------------------------------------------------------------------


def test_a_memo_is_written_once_and_changes_the_order(top: Top) -> None:
    top.store.add(life := make_life(1))
    at(top, 5)
    wish = {"tid": life.order_no, "memo": "河道：待核实", "flag": 1}
    answer = top.ask("taobao.trade.memo.update", **wish)
    assert answer["trade"] == {"tid": int(life.order_no), "modified": text(minutes(5))}
    at(top, 9)
    top.ask("taobao.trade.memo.update", **wish)
    assert top.detail(life, "modified,seller_memo") == {
        "modified": text(minutes(5)), "seller_memo": "河道：待核实",
    }  # fmt: skip
    top.ask("taobao.trade.memo.update", tid=life.order_no, reset="true")
    assert top.detail(life, "seller_memo")["seller_memo"] == ""


@pytest.mark.parametrize(
    ("more", "code"),
    [({"memo": "字" * 334}, 41), ({"memo": "x", "flag": 6}, 41), ({"tid": ""}, 40)],
)
def test_a_memo_has_limits(top: Top, more: dict[str, Any], code: int) -> None:
    top.store.add(life := make_life(1))
    params = top.params("taobao.trade.memo.update", **{"tid": life.order_no, **more})
    assert top.refused(signed(params))["code"] == code
