"""Stages and flags of an order: what the platform says (channels.md section 1). Pure."""

from __future__ import annotations

from enum import StrEnum

from config.errors import gettext_noop


class Stage(StrEnum):
    """Exactly one per order."""

    AWAIT_PAY = "await_pay"
    DEPOSIT_PAID = "deposit_paid"
    PAY_PROCESSING = "pay_processing"
    AWAIT_GROUP = "await_group"
    PLATFORM_HOLD = "platform_hold"
    AWAIT_SHIP = "await_ship"
    PART_SHIPPED = "part_shipped"
    SHIPPED = "shipped"
    DELIVERED = "delivered"
    COMPLETED = "completed"
    CLOSED_UNPAID = "closed_unpaid"
    CLOSED_REFUNDED = "closed_refunded"
    UNKNOWN = "unknown"


STAGE_LABELS: dict[str, str] = {
    Stage.AWAIT_PAY: gettext_noop("待付款"),
    Stage.DEPOSIT_PAID: gettext_noop("定金已付待尾款"),
    Stage.PAY_PROCESSING: gettext_noop("支付处理中"),
    Stage.AWAIT_GROUP: gettext_noop("已付待成团"),
    Stage.PLATFORM_HOLD: gettext_noop("平台暂停"),
    Stage.AWAIT_SHIP: gettext_noop("待发货"),
    Stage.PART_SHIPPED: gettext_noop("部分发货"),
    Stage.SHIPPED: gettext_noop("已发货"),
    Stage.DELIVERED: gettext_noop("已签收"),
    Stage.COMPLETED: gettext_noop("交易完成"),
    Stage.CLOSED_UNPAID: gettext_noop("未付关闭"),
    Stage.CLOSED_REFUNDED: gettext_noop("付后关闭"),
    Stage.UNKNOWN: gettext_noop("未知"),
}

# An order in one of these is over: it is scored once more and then left alone.
FINAL_STAGES = frozenset({Stage.COMPLETED, Stage.CLOSED_UNPAID, Stage.CLOSED_REFUNDED})
# Money is in (or a deposit is), but nothing may ship yet.
WAITING_STAGES = frozenset({Stage.DEPOSIT_PAID, Stage.AWAIT_GROUP, Stage.PLATFORM_HOLD})
PAID_STAGES = frozenset(
    {
        Stage.AWAIT_GROUP,
        Stage.PLATFORM_HOLD,
        Stage.AWAIT_SHIP,
        Stage.PART_SHIPPED,
        Stage.SHIPPED,
        Stage.DELIVERED,
        Stage.COMPLETED,
        Stage.CLOSED_REFUNDED,
    }
)
# How far an order is: of two states of one second the further one is the later.
STAGE_RANKS: dict[str, int] = {
    Stage.UNKNOWN: 0,
    Stage.AWAIT_PAY: 1,
    Stage.DEPOSIT_PAID: 2,
    Stage.PAY_PROCESSING: 3,
    Stage.AWAIT_GROUP: 4,
    Stage.PLATFORM_HOLD: 4,
    Stage.AWAIT_SHIP: 5,
    Stage.PART_SHIPPED: 6,
    Stage.SHIPPED: 7,
    Stage.DELIVERED: 8,
    Stage.COMPLETED: 9,
    Stage.CLOSED_UNPAID: 10,
    Stage.CLOSED_REFUNDED: 10,
}
SHIPPED_STAGES = frozenset({Stage.SHIPPED, Stage.DELIVERED, Stage.COMPLETED})


def is_open_stage(stage: str) -> bool:
    """Whether an order in this stage still has a way to go."""
    return stage not in FINAL_STAGES and stage != Stage.DELIVERED


class PresalePhase(StrEnum):
    """Where a presale trade stands; both phases are one trade."""

    NONE = ""
    DEPOSIT_DUE = "deposit_due"
    DEPOSIT_PAID = "deposit_paid"
    BALANCE_PAID = "balance_paid"
    FORFEITED = "forfeited"


PRESALE_LABELS: dict[str, str] = {
    PresalePhase.NONE: "",
    PresalePhase.DEPOSIT_DUE: gettext_noop("定金未付"),
    PresalePhase.DEPOSIT_PAID: gettext_noop("定金已付"),
    PresalePhase.BALANCE_PAID: gettext_noop("尾款已付"),
    PresalePhase.FORFEITED: gettext_noop("定金罚没"),
}


class RefundState(StrEnum):
    """The refund flag."""

    NONE = ""
    REQUESTED = "requested"
    WAITING_RETURN = "waiting_return"
    PLATFORM = "platform"
    DONE = "done"
    REJECTED = "rejected"


REFUND_LABELS: dict[str, str] = {
    RefundState.NONE: "",
    RefundState.REQUESTED: gettext_noop("退款申请中"),
    RefundState.WAITING_RETURN: gettext_noop("待退货"),
    RefundState.PLATFORM: gettext_noop("平台介入"),
    RefundState.DONE: gettext_noop("已退款"),
    RefundState.REJECTED: gettext_noop("退款被拒"),
}


class GroupState(StrEnum):
    """The group-buying flag."""

    NONE = ""
    OPEN = "open"
    DONE = "done"
    FAILED = "failed"


GROUP_LABELS: dict[str, str] = {
    GroupState.NONE: "",
    GroupState.OPEN: gettext_noop("待成团"),
    GroupState.DONE: gettext_noop("已成团"),
    GroupState.FAILED: gettext_noop("拼团失败"),
}


class PaymentStatus(StrEnum):
    """What a gateway or platform says about one payment."""

    PENDING = "pending"
    PAID = "paid"
    REFUNDED = "refunded"
    CLOSED = "closed"
    UNKNOWN = "unknown"


PAYMENT_LABELS: dict[str, str] = {
    PaymentStatus.PENDING: gettext_noop("未支付"),
    PaymentStatus.PAID: gettext_noop("支付成功"),
    PaymentStatus.REFUNDED: gettext_noop("已退款"),
    PaymentStatus.CLOSED: gettext_noop("已关闭"),
    PaymentStatus.UNKNOWN: gettext_noop("未知"),
}
