"""Starter rule sets as data: the same content a person would write, checked like any other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from config.errors import gettext_noop


@dataclass(frozen=True)
class Preset:
    """A starter rule set; `content` still has to pass the check of rule sets."""

    key: str
    name: str
    description: str
    content: dict[str, Any]


def _dimension(
    key: str,
    name: str,
    points: float,
    cap: int | None,
    cause: str,
    formula: str,
    reason: str,
    *,
    source: str = "",
    note: str = "",
) -> dict[str, Any]:
    return {
        "key": key,
        "name": name,
        "formula": " ".join(formula.split()),
        "kind": "judgement",
        "points": points,
        "cap": cap,
        "when_insufficient": "no_points",
        "when_late": "no_deduction",
        "when_not_applicable": "full",
        "reason": reason,
        "cause": cause,
        "source": source,
        "note": note,
    }


def _content(name: str, dimensions: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "name": name,
        "lines": {"yellow": 70, "orange": 60, "red": 50},
        "dimensions": dimensions,
    }


# How long something has been missing is measured up to where the source that would tell is known
# (OMS截至, 渠道截至 ...), not to now: a feed 15 minutes behind makes no order 15 minutes older. That
# an order still waits to ship, the channel tells: the OMS's silence counts up to both.
_OVER = '或(已结束, 退款状态="已退款")'
_TO_SHIP = '属于(阶段, "待发货", "部分发货")'

_ADDRESS_COMPLETE = """
    如果(或(已结束, 非(地址可见)), 不适用(),
      且(非(是空(省)), 非(是空(市)), 或(非(是空(区县)), 无区县城市)))
"""
# A platform stops orders for other reasons, too (a prescription to be checked): where it says one,
# that is no review, and this cause would be wrong.
# A review that began after the payment has its half hour from then.
_REVIEWED_FROM = "如果(是空(审核开始时间), 付款时间, 最晚(付款时间, 审核开始时间))"
_RISK = f"""
    如果({_OVER}, 不适用(),
      如果(属于(阶段, "已发货", "已签收"), 通过(),
        如果(且(是空(风控标记), 或(阶段<>"平台暂停", 非(是空(平台暂停原因)))), 通过(),
          如果(非(是空(付款时间)), 相隔分钟({_REVIEWED_FROM}, 渠道截至)<30,
            如果(货到付款, 相隔分钟(如果(是空(审核开始时间), 下单时间, 审核开始时间), 渠道截至)<30,
              不适用())))))
"""
_CALLBACK_LOST = """
    如果(渠道<>"私域小程序", 不适用(),
      如果(非(属于(阶段, "待付款", "支付处理中")), 通过(),
        如果(是空(网关支付时间), 通过(),
          如果(网关支付状态<>"支付成功", 通过(),
            相隔分钟(网关支付时间, 渠道截至)<5))))
"""
_OMS_MISSING = f"""
    如果(或({_OVER}, 非({_TO_SHIP}), 是空(付款时间)), 不适用(),
      如果(或(非(是空(风控标记)), 拼团状态="待成团"), 不适用(),
        如果(是空(OMS接收时间), 相隔分钟(可发货时间, 最早(OMS截至, 渠道截至))<15, 通过())))
"""
_PRICE = f"""
    如果(或({_OVER}, 是空(付款时间), 退款金额>0, 预售阶段="定金已付"), 不适用(),
      如果(或(是空(应付金额), 是空(实付金额)), 数据不足(),
        金额相等(实付金额, 应付金额, 0.01)))
"""
_STOCK = f"""
    如果(或({_OVER}, 非(或({_TO_SHIP}, 阶段="平台暂停"))), 不适用(),
      如果(非(任一(明细, 且(是空(锁定时间), 非(是空(可用库存)), 数量>可用库存))), 通过(),
        如果(非(是空(付款时间)), 相隔分钟(可发货时间, 渠道截至)<10,
          如果(货到付款, 相隔分钟(下单时间, 渠道截至)<10, 不适用()))))
"""
_BALANCE_OVERDUE = f"""
    如果(或({_OVER}, 预售阶段<>"定金已付", 是空(尾款截止)), 不适用(),
      相隔分钟(尾款截止, 渠道截至)<0)
"""
_GROUP = """
    如果(或(已结束, 且(拼团状态<>"待成团", 阶段<>"已付待成团")), 不适用(),
      如果(且(是空(付款时间), 阶段<>"已付待成团"), 不适用(),
        相隔小时(下单时间, 渠道截至)<24))
"""
_WMS_MISSING = f"""
    如果({_OVER}, 不适用(),
      如果(是空(OMS审单时间), 不适用(),
        如果(是空(WMS接收时间), 相隔分钟(OMS审单时间, 最早(WMS截至, 渠道截至))<60, 通过())))
"""
# Douyin lists the gifts it gives and does not say which were put in: nothing to compare there.
_GIFT = f"""
    如果(或({_OVER}, 是空(赠品已配)), 不适用(),
      如果(赠品应发<=赠品已配, 通过(),
        如果(是空(OMS审单时间), 不适用(), 相隔分钟(OMS审单时间, 渠道截至)<30)))
"""
_CALLBACK_FIVE = f"""
    如果(渠道="私域小程序",
      如果(非(属于(阶段, "待付款", "支付处理中")), 通过(),
        如果(是空(网关支付时间), 不适用(), 相隔分钟(网关支付时间, 渠道截至)<5)),
      如果(或({_OVER}, 非({_TO_SHIP}), 是空(付款时间), 非(是空(风控标记)), 拼团状态="待成团"), 不适用(),
        如果(是空(OMS接收时间), 相隔分钟(可发货时间, 最早(OMS截至, 渠道截至))<15, 通过())))
"""
_ADDRESS_FIVE = f"""
    如果({_OVER}, 不适用(),
      如果(且(非(是空(风控标记)), 非(是空(付款时间)), 非(属于(阶段, "已发货", "已签收")),
             相隔分钟(如果(是空(付款时间), 渠道截至, {_REVIEWED_FROM}), 渠道截至)>=30), 不通过(),
        如果(非(地址可见), 不适用(),
          且(非(是空(省)), 非(是空(市)), 或(非(是空(区县)), 无区县城市)))))
"""
_LOGISTICS_FIVE = f"""
    如果({_OVER}, 不适用(),
      如果(是空(OMS审单时间), 不适用(),
        如果(是空(WMS接收时间), 相隔分钟(OMS审单时间, 最早(WMS截至, 渠道截至))<60,
          如果(或(非(是空(出库时间)), 是空(最晚处理时间)), 通过(),
            相隔分钟(最晚处理时间, WMS截至)<0))))
"""
_PAID_NOT_SHIPPED = f"""
    如果(或({_OVER}, 非({_TO_SHIP}), 是空(付款时间)), 不适用(),
      如果(是空(最晚处理时间), 数据不足(), 相隔分钟(最晚处理时间, 渠道截至)<0))
"""
_SHIPPED_NOT_PAID = """
    如果(且(非(属于(阶段, "部分发货", "已发货", "已签收", "交易完成")), 是空(发货时间)), 不适用(),
      如果(或(货到付款, 且(非(是空(应付金额)), 应付金额=0)), 通过(),
        或(非(是空(付款时间)), 非(是空(付款确认时间)),
           求和(付款, 付款金额, 付款状态="支付成功")>0)))
"""
_PHASES_ADD_UP = """
    如果(或(已结束, 非(属于(预售阶段, "定金已付", "尾款已付"))), 不适用(),
      如果(或(是空(定金), 是空(尾款), 是空(应付金额)), 数据不足(),
        如果(预售阶段="定金已付", 金额相等(定金+尾款, 应付金额, 0.01),
          如果(是空(实付金额), 数据不足(), 金额相等(实付金额, 定金+尾款, 0.01)))))
"""

_RISK_REASON = (
    "{付款时间} 付款，“{风控标记}”至今未完成，已 {相隔分钟(" + _REVIEWED_FROM + ", 渠道截至)}"
)
_CALLBACK_REASON = "网关 {网关支付时间} 已收 {网关支付金额} 元，商城订单仍是{阶段}"
_OMS_REASON = "{付款时间} 付款，截至 {OMS截至} OMS 还没有这张订单"
_PRICE_REASON = "应付 {应付金额} 元，实付 {实付金额} 元，相差 {绝对值(应付金额-实付金额)} 元"
_STOCK_REASON = (
    "有 {计数(明细, 且(是空(锁定时间), 数量>可用库存))} 行商品没有锁定库存，要的比可用的多"
)
_BALANCE_REASON = "尾款 {尾款} 元应在 {尾款截止} 前付清，已过 {相隔分钟(尾款截止, 渠道截至)}"
_GROUP_REASON = "{下单时间} 下单，至今未成团，已 {相隔分钟(下单时间, 渠道截至)}"
_WMS_REASON = "OMS {OMS审单时间} 审单，截至 {WMS截至} WMS 还没有这张订单"
_GIFT_REASON = "应发赠品 {赠品应发} 件，已配 {赠品已配} 件；{OMS审单时间} 已审单"
_ADDRESS_REASON = "收货地址不完整：省“{省}”、市“{市}”、区县“{区县}”"

PRESETS: tuple[Preset, ...] = (
    Preset(
        key="five_dimensions",
        name=gettext_noop("五维模型"),
        description=gettext_noop("地址、支付回调、库存、价格、物流五项；任何一项不通过都看得见"),
        content=_content(
            "五维模型",
            [
                _dimension("address", "地址", 20, 59, "地址不完整", _ADDRESS_FIVE,
                           "地址不完整或审核未完成：省“{省}”、市“{市}”、区县“{区县}”，风控标记“{风控标记}”"),
                _dimension("callback", "支付回调", 30, 49, "支付回调丢失", _CALLBACK_FIVE,
                           "已付款但下游没有收到：付款时间 {付款时间}，网关支付时间 {网关支付时间}"),
                _dimension("stock", "库存锁定", 25, 69, "库存冲突", _STOCK, _STOCK_REASON),
                _dimension("price", "价格校验", 15, 59, "促销叠加价格异常", _PRICE, _PRICE_REASON),
                _dimension("logistics", "物流匹配", 10, 69, "物流未匹配", _LOGISTICS_FIVE,
                           "OMS {OMS审单时间} 审单，WMS 接收 {WMS接收时间}，最晚应在 {最晚处理时间} 出库"),
            ],
        ),
    ),
    Preset(
        key="promo",
        name=gettext_noop("大促模型"),
        description=gettext_noop("找出大促中卡住的订单：九种原因，各有宽限"),
        content=_content(
            "大促模型",
            [
                _dimension("callback", "支付回调", 20, 49, "支付回调丢失", _CALLBACK_LOST,
                           _CALLBACK_REASON, source="gateway",
                           note="自有商城：网关已收款 5 分钟，订单仍待付款"),
                _dimension("risk", "风控与地址核实", 15, 59, "地址触发风控", _RISK, _RISK_REASON,
                           note="付款（或之后才开始审核）30 分钟后，审核或核实仍未完成"),
                _dimension("price", "价格校验", 10, 59, "促销叠加价格异常", _PRICE, _PRICE_REASON,
                           note="实付与应付相差超过 0.01 元"),
                _dimension("stock", "库存锁定", 10, 69, "库存冲突", _STOCK, _STOCK_REASON,
                           note="付款 10 分钟后仍未锁定，且要的比可用的多"),
                _dimension("balance", "预售尾款", 5, 69, "预售尾款逾期", _BALANCE_OVERDUE,
                           _BALANCE_REASON, note="定金已付、尾款未付，付尾款的时间已过"),
                _dimension("group", "拼团", 5, 69, "拼团超时", _GROUP, _GROUP_REASON,
                           note="已付款，下单 24 小时后仍未成团"),
                _dimension("oms", "OMS 接收", 15, 49, "OMS未接收", _OMS_MISSING, _OMS_REASON,
                           source="oms", note="平台待发货，付款 15 分钟后 OMS 仍没有"),
                _dimension("wms", "WMS 接收", 10, 59, "WMS未接收", _WMS_MISSING, _WMS_REASON,
                           note="OMS 审单 60 分钟后 WMS 仍没有"),
                _dimension("gift", "赠品", 5, 69, "赠品缺失", _GIFT, _GIFT_REASON,
                           note="审单 30 分钟后，应发的赠品多于已配的"),
                _dimension("address", "收货地址", 5, None, "地址不完整", _ADDRESS_COMPLETE,
                           _ADDRESS_REASON, note="只看省、市、区县；平台隐藏的地址不扣分"),
            ],
        ),
    ),
    Preset(
        key="pay_ship",
        name=gettext_noop("支付发货对齐"),
        description=gettext_noop("已付未发、未付已发两个方向；只有一份订单导出也能用"),
        content=_content(
            "支付发货对齐",
            [
                _dimension("paid_not_shipped", "已付未发", 50, 59, "已付未发", _PAID_NOT_SHIPPED,
                           "{付款时间} 付款，最晚应在 {最晚处理时间} 发货，已过 {相隔分钟(最晚处理时间, 渠道截至)}"),
                _dimension("shipped_not_paid", "未付已发", 50, 49, "未付已发", _SHIPPED_NOT_PAID,
                           "平台状态“{平台状态}”，却没有付款时间和成功的付款"),
            ],
        ),
    ),
    Preset(
        key="presale",
        name=gettext_noop("预售定金尾款"),
        description=gettext_noop("定金和尾款是同一笔交易的两个阶段：尾款按期付，两笔相加等于应付"),
        content=_content(
            "预售定金尾款",
            [
                _dimension("balance", "尾款按期", 60, 69, "预售尾款逾期", _BALANCE_OVERDUE,
                           _BALANCE_REASON),
                _dimension("phases", "定金尾款相符", 40, 59, "定金尾款不符", _PHASES_ADD_UP,
                           "定金 {定金} 元 + 尾款 {尾款} 元，应付 {应付金额} 元，实付 {实付金额} 元"),
            ],
        ),
    ),
)  # fmt: skip
