"""How the order lists of TOP may be read, and what its detail call is asked for. Pure data.

Source: channels.md 2 (page sizes), 3.2 (windows, reach, order of the answer, the recipe of ten
minutes of overlap and one minute of settling) and 3.5 (fields).
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from connectors.adapters.lists import ListRules, Paging

# taobao.trades.sold.increment.get: a window of at most one day, half an hour advised; three
# months back; newest modification first. 50 a page (40-50 advised, 100 allowed).
MODIFIED: Final = ListRules(
    max_window=timedelta(minutes=30),
    overlap=timedelta(minutes=10),
    settle=timedelta(minutes=1),
    reach=timedelta(days=89),
    page_size=50,
    paging=Paging.BACKWARD,
)
# taobao.trades.sold.get: by time of creation, the daily sweep; newest first.
CREATED: Final = ListRules(
    max_window=timedelta(days=1),
    overlap=timedelta(minutes=10),
    settle=timedelta(minutes=1),
    reach=timedelta(days=89),
    page_size=50,
    paging=Paging.BACKWARD,
)
# Without `type` TOP returns five kinds only; the others have to be named (channels.md 3.2).
TYPES: Final = (
    "guarantee_trade", "auto_delivery", "ec", "cod", "step", "eticket", "tmall_i18n", "nopaid",
    "o2o_offlinetrade",
)  # fmt: skip
# A row of a list only says which trade to read anew: every further field costs the platform.
LIST_FIELDS: Final = ("tid", "status", "modified")
# The detail call gives `oaid` only when these five are asked for.
OAID_FIELDS: Final = (
    "receiver_name", "receiver_address", "created", "receiver_mobile", "receiver_phone",
)  # fmt: skip
# Everything channels.md 3.5 lists. A field that is not asked for is absent, which the mapping
# would take for "not told": what it reads has to stand here.
DETAIL_FIELDS: Final = (
    *OAID_FIELDS,
    # identity
    "tid", "tid_str", "type", "status", "title", "seller_nick", "buyer_open_uid", "alipay_no",
    # times
    "pay_time", "modified", "consign_time", "end_time", "send_time", "est_con_time",
    "timeout_action_time", "delivery_time", "collect_time",
    # money
    "payment", "total_fee", "discount_fee", "adjust_fee", "post_fee", "received_payment",
    "paid_coupon_fee", "platform_subsidy_fee", "alipay_point", "pcc_af", "o2o_voucher_price",
    "coupon_fee", "tmall_coupon_fee",
    # promotions, presale, lines
    "promotion_details", "step_trade_status", "step_paid_fee", "step_pay_details", "new_presell",
    "general_new_presell", "o2o_step_order_id", "o2o_et_order_id", "o2o_step_trade_detail",
    "orders",
    # receiver
    "oaid", "receiver_state", "receiver_city", "receiver_district", "receiver_town",
    "receiver_country", "receiver_zip", "lm", "ti_modify_address_time",
    # warehouse and logistics
    "logistics_infos", "is_part_consign", "logistics_consign_info", "logistics_agreement",
    # holds
    "top_hold", "team_buy_hold", "share_group_hold", "ofp_hold", "forbid_consign",
    "delay_create_delivery", "is_sh_ship", "rx_audit_status", "mark_desc", "ob_tag",
    # memos
    "seller_memo", "seller_flag", "buyer_message", "buyer_memo",
)  # fmt: skip
# Topics of messages that say that a trade has changed; from memory in channels.md 3.6 [M].
TOPICS: Final = (
    "taobao_trade_TradeCreate", "taobao_trade_TradeBuyerStepPay", "taobao_trade_TradeBuyerPay",
    "taobao_trade_TradeSellerShip", "taobao_trade_TradePartlySellerShip", "taobao_trade_TradeChanged", "taobao_trade_TradeClose",
    "taobao_trade_TradeSuccess", "taobao_trade_TradeMemoModified",
    "taobao_trade_TradeLogisticsAddressChanged", "taobao_trade_TradeTimeoutRemind",
    "taobao_refund_RefundCreated",
)  # fmt: skip
