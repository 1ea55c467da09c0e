"""The status words platforms print, as they are known to us: what guessing starts from.

A mapping carries its own copy of the words it uses: what is not in the mapping is unknown, is
counted, and is never guessed at import time. "closed" stands for both closed stages: whether
money had come in decides which (channels.md section 1: an order cancelled may have been paid).
"""

from __future__ import annotations

from config.errors import gettext_noop
from connectors.orders.statuses import (
    GroupState,
    PaymentStatus,
    PresalePhase,
    RefundState,
    Stage,
)

CLOSED = "closed"
CLOSED_LABEL = gettext_noop("已关闭（看是否付过款）")
ANY_CHANNEL = "*"

_AWAIT_PAY = "待付款 待支付 等待付款 等待买家付款 未付款 未支付 待买家付款 unpaid created wait_buyer_pay pending"
_AWAIT_SHIP = (
    "待发货 等待发货 等待卖家发货 备货中 等待出库 待出库 已付款 已支付 待配货 待揽收 出库中 待打印 "
    "买家已付款,等待卖家发货 买家已付款 已付款待发货 已接单 processing paid approved invoiced to_ship "
    "wait_seller_send_goods"
)
_SHIPPED = (
    "已发货 待收货 等待收货 等待确认收货 待确认收货 已发货待签收 已发货，待签收 已发货待收货 运输中 配送中 "
    "卖家已发货,等待买家确认 卖家已发货 已出库 shipped in_transit wait_buyer_confirm_goods"
)
_DELIVERED = "已签收 已收货 已妥投 待评价 delivered"
_COMPLETED = "交易成功 交易完成 已完成 完成 订单完成 已评价 completed complete finished success trade_finished"
_CLOSED = (
    "交易关闭 已关闭 已取消 取消 订单取消 交易失败 交易取消 未付款用户主动取消 超时未付款关闭 "
    "用户取消 商家取消 系统取消 已退款 全额退款 退款成功 canceled cancelled closed unavailable "
    "trade_closed trade_closed_by_taobao"
)
_STAGES: dict[str, str] = {
    _AWAIT_PAY: Stage.AWAIT_PAY,
    "定金已付，尾款未付 定金已付,尾款未付 定金已付尾款未付 定金已付 待付尾款 等待付尾款 front_paid_final_nopaid": Stage.DEPOSIT_PAID,
    "支付中 支付处理中 付款确认中 处理中": Stage.PAY_PROCESSING,
    "待成团 拼团中 等待成团 已付款待成团 待成团已付款 paid_forbid_consign": Stage.AWAIT_GROUP,
    "暂停 已锁定 锁定 平台暂停 审核中 风控审核中 待审核 locked pause": Stage.PLATFORM_HOLD,
    _AWAIT_SHIP: Stage.AWAIT_SHIP,
    "部分发货 部分出库 卖家部分发货 seller_consigned_part": Stage.PART_SHIPPED,
    _SHIPPED: Stage.SHIPPED,
    _DELIVERED: Stage.DELIVERED,
    _COMPLETED: Stage.COMPLETED,
    _CLOSED: CLOSED,
}


def _spread(table: dict[str, str]) -> dict[str, str]:
    return {word: str(code) for words, code in table.items() for word in words.split()}


STAGE_WORDS: dict[str, str] = _spread(_STAGES)
PRESALE_WORDS: dict[str, str] = _spread(
    {
        "定金未付尾款未付 定金未付 待付定金 front_nopaid_final_nopaid": PresalePhase.DEPOSIT_DUE,
        "定金已付尾款未付 定金已付，尾款未付 定金已付 待付尾款 front_paid_final_nopaid": PresalePhase.DEPOSIT_PAID,
        "定金已付尾款已付 定金已付，尾款已付 尾款已付 front_paid_final_paid": PresalePhase.BALANCE_PAID,
        "定金罚没 定金不退 尾款超时定金罚没": PresalePhase.FORFEITED,
        "非预售 普通 现货 否": PresalePhase.NONE,
    }
)
REFUND_WORDS: dict[str, str] = _spread(
    {
        "退款申请中 申请退款 退款中 待退款 退款待处理 买家申请退款 等待卖家同意 售后处理中 售后中 requested": RefundState.REQUESTED,
        "待退货 退货中 等待买家退货 waiting_return": RefundState.WAITING_RETURN,
        "平台介入 客服介入 平台介入中": RefundState.PLATFORM,
        "退款成功 已退款 全额退款 退款完成 退款 售后完成 refunded done": RefundState.DONE,
        "退款被拒 退款拒绝 拒绝退款 卖家拒绝 rejected": RefundState.REJECTED,
        "退款关闭 无退款 没有退款 无售后 无售后或售后关闭 售后关闭 无 否 未退款 none": RefundState.NONE,
    }
)
GROUP_WORDS: dict[str, str] = _spread(
    {
        "拼团中 待成团 未成团 组团中 进行中 open": GroupState.OPEN,
        "已成团 拼团成功 成团 done": GroupState.DONE,
        "拼团失败 成团失败 未成团关闭 failed": GroupState.FAILED,
        "非拼团 单独购买 无 否": GroupState.NONE,
    }
)
PAYMENT_WORDS: dict[str, str] = _spread(
    {
        "支付成功 成功 已支付 已付款 付款成功 交易成功 success paid trade_success trade_finished": PaymentStatus.PAID,
        "未支付 待支付 支付中 处理中 用户支付中 notpay userpaying wait_buyer_pay pending": PaymentStatus.PENDING,
        "已退款 转入退款 退款成功 全额退款 refund refunded": PaymentStatus.REFUNDED,
        "已关闭 支付失败 已撤销 交易关闭 closed payerror revoked trade_closed failed": PaymentStatus.CLOSED,
    }
)
# "" says that no review is open; every other value keeps the platform's own word as the flag.
RISK_CLEAR = ""
RISK_OPEN = "open"
RISK_WORDS: dict[str, str] = _spread(
    {
        "审核通过 通过 已通过 正常 无风险 无 否 已解除 放行 核实完成 地址已核实 passed pass none": RISK_CLEAR,
        "风控审核中 审核中 待审核 人工审核中 地址待核实 地址核实中 待核实 风险订单 疑似风险 拦截 已拦截 审核不通过": RISK_OPEN,
    }
)
PHASE_WORDS: dict[str, str] = _spread(
    {"定金 预付 deposit": "deposit", "尾款 余款 balance": "balance", "全款": ""}
)

# Tables of words a mapping may carry, and what each word may become.
WORD_TABLES: dict[str, dict[str, str]] = {
    "stage": STAGE_WORDS,
    "presale": PRESALE_WORDS,
    "refund": REFUND_WORDS,
    "group": GROUP_WORDS,
    "risk": RISK_WORDS,
    "payment_status": PAYMENT_WORDS,
    "phase": PHASE_WORDS,
}
WORD_VALUES: dict[str, frozenset[str]] = {
    "stage": frozenset({*map(str, Stage), CLOSED}),
    "presale": frozenset(map(str, PresalePhase)),
    "refund": frozenset(map(str, RefundState)),
    "group": frozenset(map(str, GroupState)),
    "risk": frozenset({RISK_CLEAR, RISK_OPEN}),
    "payment_status": frozenset(map(str, PaymentStatus)),
    "phase": frozenset({"", "deposit", "balance"}),
}
WORD_LABELS: dict[str, str] = {
    "stage": gettext_noop("平台状态"),
    "presale": gettext_noop("预售阶段"),
    "refund": gettext_noop("退款"),
    "group": gettext_noop("拼团"),
    "risk": gettext_noop("风控标记"),
    "payment_status": gettext_noop("支付状态"),
    "phase": gettext_noop("付款阶段"),
}
# What an unknown word becomes: the neutral value that claims least, plus a counted notice.
UNKNOWN_VALUE: dict[str, str] = {
    "stage": str(Stage.UNKNOWN),
    "presale": "",
    "refund": "",
    "group": "",
    "risk": RISK_OPEN,
    "payment_status": str(PaymentStatus.UNKNOWN),
    "phase": "",
}


def word_key(word: str) -> str:
    """How words are compared: trimmed, case aside, full-width marks as half-width ones."""
    return (
        word.strip()
        .lower()
        .replace("，", ",")
        .replace("（", "(")
        .replace("）", ")")
        .replace(" ", "")
    )
