"""A trade of Taobao or Tmall in our words. Pure.

Source: channels.md 3.4 (status) and 3.5 (fields), both from the documentation of
`taobao.trade.fullinfo.get`; field texts not in channels.md are from the same page of the TOP
documentation (apiId=54) and are quoted where they are used.

What money, time and identity rest on is strict: a field of the wrong form is a PayloadError that
names it. Whatever only decorates the order is kept out with a notice when it has a form nobody
described, so that a new spelling of TOP does not stop the orders.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from config.errors import gettext_noop
from connectors.channels.tmall.answers import read_list
from connectors.orders.canonical import (
    CanonicalLine,
    CanonicalOrder,
    CanonicalParcelLine,
    CanonicalPayment,
    CanonicalPromotion,
    CanonicalShipment,
)
from connectors.orders.statuses import (
    GroupState,
    PaymentStatus,
    PresalePhase,
    RefundState,
    Stage,
)
from connectors.wire import Mapped, Notice, PayloadError, Reader

CHANNEL = "tmall"

# status -> stage (channels.md 3.4); three of them are refined in `_read_stage`.
STAGES: Mapping[str, str] = {
    "TRADE_NO_CREATE_PAY": Stage.AWAIT_PAY,
    "WAIT_BUYER_PAY": Stage.AWAIT_PAY,
    "PAY_PENDING": Stage.PAY_PROCESSING,
    "WAIT_PRE_AUTH_CONFIRM": Stage.PAY_PROCESSING,
    "PAID_FORBID_CONSIGN": Stage.PLATFORM_HOLD,
    "WAIT_SELLER_SEND_GOODS": Stage.AWAIT_SHIP,
    "SELLER_CONSIGNED_PART": Stage.PART_SHIPPED,
    "WAIT_BUYER_CONFIRM_GOODS": Stage.SHIPPED,
    "TRADE_BUYER_SIGNED": Stage.DELIVERED,
    "TRADE_FINISHED": Stage.COMPLETED,
    "TRADE_CLOSED": Stage.CLOSED_REFUNDED,
    "TRADE_CLOSED_BY_TAOBAO": Stage.CLOSED_UNPAID,
}
PRESALE_PHASES: Mapping[str, PresalePhase] = {
    "": PresalePhase.NONE,
    "FRONT_NOPAID_FINAL_NOPAID": PresalePhase.DEPOSIT_DUE,
    "FRONT_PAID_FINAL_NOPAID": PresalePhase.DEPOSIT_PAID,
    "FRONT_PAID_FINAL_PAID": PresalePhase.BALANCE_PAID,
    "FRONT_PAID_FRONT_FORFEITED": PresalePhase.FORFEITED,
}
# CLOSED is a refund that was called off. NO_REFUND is in TOP's own sample answers.
REFUND_STATES: Mapping[str, RefundState] = {
    "": RefundState.NONE,
    "NO_REFUND": RefundState.NONE,
    "CLOSED": RefundState.NONE,
    "WAIT_SELLER_AGREE": RefundState.REQUESTED,
    "WAIT_BUYER_RETURN_GOODS": RefundState.WAITING_RETURN,
    "WAIT_SELLER_CONFIRM_GOODS": RefundState.WAITING_RETURN,
    "SELLER_REFUSE_BUYER": RefundState.REJECTED,
    "SUCCESS": RefundState.DONE,
}
# Of several lines the one that needs somebody first tells the order's state.
_REFUND_ORDER = (
    RefundState.REQUESTED,
    RefundState.WAITING_RETURN,
    RefundState.REJECTED,
)
# The mark of a risk review, and our words where the platform has none of its own.
RISK_MARK, RISK_WORDS = "top_hold", gettext_noop("平台拦截")
# The other marks by which the platform stops an order.
HOLD_MARKS: Mapping[str, str] = {
    "ofp_hold": gettext_noop("天猫国际拦截"),
    "share_group_hold": gettext_noop("分享购拦截"),
    "is_sh_ship": gettext_noop("平台屏蔽发货"),
}
RX_AUDIT = gettext_noop("处方药待审核")
# The stages in which a mark of the platform stops something; on a sent order it is old.
_STOPPABLE = frozenset({Stage.AWAIT_GROUP, Stage.PLATFORM_HOLD, Stage.PART_SHIPPED})
_NOTHING_PAID = frozenset({Stage.AWAIT_PAY, Stage.CLOSED_UNPAID})
_DEPOSIT_PHASES = frozenset(
    {PresalePhase.DEPOSIT_PAID, PresalePhase.BALANCE_PAID, PresalePhase.FORFEITED}
)
# The phases in which `pay_time` is the moment the whole sum was in.
_WHOLE_PHASES = frozenset({PresalePhase.NONE, PresalePhase.BALANCE_PAID})
_SHIPPED = frozenset({Stage.SHIPPED, Stage.DELIVERED, Stage.COMPLETED})
_CLOSED = frozenset({Stage.COMPLETED, Stage.CLOSED_UNPAID, Stage.CLOSED_REFUNDED})


def map_order(
    payload: object, *, shop: str, stages: Mapping[str, str] = STAGES
) -> Mapped[CanonicalOrder]:
    """The order of a detail answer, or of the trade inside it; `stages` as mapped by the business.

    Lists of TOP give a part of the fields only: map what the detail call answers. Raises
    PayloadError naming the field.
    """
    reader = Reader(payload)
    if reader.has("trade_fullinfo_get_response"):
        reader = reader.one("trade_fullinfo_get_response")
    if reader.has("trade"):
        reader = reader.one("trade")
    return _Trade(reader, stages).map(shop)


class _Trade:
    """One trade being mapped: its reader, and the notices so far."""

    def __init__(self, reader: Reader, stages: Mapping[str, str]) -> None:
        self.reader, self.stages = reader, stages
        self.notices: list[Notice] = []

    def map(self, shop: str) -> Mapped[CanonicalOrder]:
        """Read the whole trade."""
        reader = self.reader
        order_no = reader.identifier("tid_str") or reader.required_identifier("tid")
        status = reader.required_identifier("status", limit=100)
        phase = self._phase()
        is_in_review = self._mark(reader, RISK_MARK) is True
        holds = self._holds()
        is_held = is_in_review or bool(holds)
        is_in_group = self._mark(reader, "team_buy_hold") is True
        stage = self._stage(status, phase, is_in_group=is_in_group, is_held=is_held)
        items = read_list(reader, "orders", "order")
        if not items:
            raise reader.missing("orders")
        lines = tuple(self._line(item) for item in items)
        _refuse_repeated(reader, lines)
        refunds = [self._refund(item) for item in items]
        pay_time = reader.clock("pay_time")
        is_balance_due = phase is PresalePhase.DEPOSIT_PAID
        payment = reader.yuan("payment")
        is_reduced = RefundState.DONE in refunds or stage == Stage.CLOSED_REFUNDED
        deposit, balance, payments = self._payments(
            order_no, phase, stage, pay_time, None if is_reduced else payment
        )
        is_cod = reader.text("type") == "cod"
        is_waiting = stage not in _SHIPPED | _CLOSED
        refund_state = _worst_refund(refunds, stage)
        order = CanonicalOrder(
            order_no=order_no,
            channel=CHANNEL,
            shop=shop,
            raw_status=status,
            stage=stage,
            placed_at=reader.clock("created"),
            paid_at=pay_time if phase in _WHOLE_PHASES else None,
            shipped_at=_find_dispatch(reader, items) if stage in _SHIPPED else None,
            delivered_at=reader.clock("end_time") if stage == Stage.COMPLETED else None,
            closed_at=reader.clock("end_time") if stage in _CLOSED else None,
            promised_ship_at=self._promise(lines),
            collect_by=self._collect_by(items),
            estimated_delivery_at=self._estimate(),
            source_updated_at=reader.clock("modified"),
            goods_fen=reader.yuan("total_fee"),
            freight_fen=reader.yuan("post_fee"),
            shop_discount_fen=reader.yuan("discount_fee"),
            platform_discount_fen=reader.yuan("platform_subsidy_fee"),
            payable_fen=self._payable(items, refunds, payment, stage),
            paid_fen=self._paid(stage, phase, pay_time, payment),
            is_paid_reduced=is_reduced,
            payment_method="cod" if is_cod else "alipay" if reader.has("alipay_no") else "",
            is_cod=is_cod,
            refund_state=refund_state,
            partial_refund=RefundState.DONE in refunds and refund_state != RefundState.DONE,
            group_state=GroupState.OPEN if is_in_group and is_waiting else GroupState.NONE,
            risk_state=self._risk(stage, is_in_review=is_in_review, holds=holds),
            platform_hold=holds[0] if holds and stage in _STOPPABLE else "",
            address_change_pending=is_waiting and self._is_address_changed(items),
            oversold=any(line.is_oversold for line in lines),
            buyer_urged="lg" in self._loose_text(reader, "ob_tag", 200).split(","),
            presale_phase=phase or PresalePhase.NONE,
            deposit_fen=deposit,
            deposit_paid_at=pay_time if is_balance_due else None,
            balance_fen=balance,
            balance_paid_at=pay_time if phase is PresalePhase.BALANCE_PAID else None,
            gifts_due=self._gifts_due(),
            gifts_packed=self._gifts_packed(items, lines),
            parent_no=reader.identifier("o2o_et_order_id"),
            buyer=reader.identifier("buyer_open_uid", limit=200),
            receiver_name=reader.text("receiver_name", limit=100),
            receiver_phone=self._phone(),
            province=reader.text_or_none("receiver_state", limit=40),
            city=self._city(),
            district=reader.text_or_none("receiver_district", limit=60),
            town=reader.text("receiver_town", limit=60),
            postcode=reader.text("receiver_zip", limit=20),
            address_detail=reader.text("receiver_address", limit=300),
            remark=reader.text("seller_memo") or reader.text("buyer_message"),
            lines=lines,
            payments=payments,
            promotions=self._promotions(order_no),
            shipments=_find_parcels(items),
            custom=self._custom(),
            raw=reader.mapping,
        )
        return Mapped(order, tuple(self.notices))

    # -- where it stands -------------------------------------------------------------------------

    def _stage(
        self, status: str, phase: PresalePhase | None, *, is_in_group: bool, is_held: bool
    ) -> str:
        """The stage of a status and the marks that refine it (channels.md 3.4).

        A presale phase nobody knows makes an unpaid trade UNKNOWN: only the phase tells whether
        its deposit is in. Ordinary shipping is the one stage a mark of the platform can stop.
        """
        stage = self.stages.get(status, "")
        if stage not in set(Stage):
            self._tell("status", status, code="unmapped_status")
            return Stage.UNKNOWN
        if stage == Stage.AWAIT_PAY and phase is None:
            return Stage.UNKNOWN
        if stage == Stage.AWAIT_PAY and phase is PresalePhase.DEPOSIT_PAID:
            return Stage.DEPOSIT_PAID
        if stage in {Stage.PLATFORM_HOLD, Stage.AWAIT_SHIP} and is_in_group:
            return Stage.AWAIT_GROUP
        if stage == Stage.AWAIT_SHIP and is_held:
            return Stage.PLATFORM_HOLD
        return Stage(stage)

    def _phase(self) -> PresalePhase | None:
        """Where a presale stands; None for a phase nobody knows."""
        told = self.reader.identifier("step_trade_status", limit=100)
        if told not in PRESALE_PHASES:
            self._tell("step_trade_status", told)
            return None
        return PRESALE_PHASES[told]

    def _holds(self) -> list[str]:
        """Why the platform stops the order, in our words; empty when it does not."""
        found = [words for key, words in HOLD_MARKS.items() if self._mark(self.reader, key)]
        # 0 is an audit that is not done yet (channels.md 3.4); the other values release.
        if self.reader.identifier("rx_audit_status", limit=100) == "0":
            found.append(RX_AUDIT)
        return found

    def _risk(self, stage: str, *, is_in_review: bool, holds: list[str]) -> str:
        """Why the platform has not let go, in its own words; a mark left on a sent order is old.

        PAID_FORBID_CONSIGN outside a group is the platform's own control (发货强管控), too.
        """
        is_controlled = stage == Stage.PLATFORM_HOLD and not holds
        if not is_controlled and not (is_in_review and stage in _STOPPABLE):
            return ""
        return self.reader.text("mark_desc", limit=60) or (RISK_WORDS if is_in_review else "")

    def _refund(self, item: Reader) -> RefundState:
        told = item.identifier("refund_status", limit=100)
        if told not in REFUND_STATES:
            self._tell(item.path_of("refund_status"), told)
            return RefundState.NONE
        return REFUND_STATES[told]

    # -- money -----------------------------------------------------------------------------------

    def _payable(
        self,
        items: list[Reader],
        refunds: list[RefundState],
        payment: int | None,
        stage: str,
    ) -> int | None:
        """What the buyer has to pay: the lines after allocation, and freight (channels.md 3.5).

        None once a line was refunded, for a refund changes `payment`; and none when a line does
        not tell its share of a trade that is paid: comparing `payment` with itself proves nothing.
        """
        if RefundState.DONE in refunds:
            return None
        shares = [item.yuan("divide_order_fee") for item in items]
        if all(share is not None for share in shares):
            freight = self.reader.yuan("post_fee") or 0
            return sum(share for share in shares if share is not None) + freight
        return payment if stage in _NOTHING_PAID else None

    def _paid(
        self, stage: str, phase: PresalePhase | None, pay_time: datetime | None, payment: int | None
    ) -> int | None:
        """What was paid. `payment` of an unpaid trade is what it would cost, not money received.

        A refund changes `payment` (channels.md 3.5): then this is what is left of it, and the
        order is marked `is_paid_reduced`, so that what was told before the refund stays.
        """
        if phase in {PresalePhase.DEPOSIT_PAID, PresalePhase.FORFEITED}:
            return self.reader.yuan("step_paid_fee")
        if phase is None:
            return None
        if pay_time is not None:
            return payment
        return 0 if stage in _NOTHING_PAID else None

    def _payments(
        self,
        order_no: str,
        phase: PresalePhase | None,
        stage: str,
        pay_time: datetime | None,
        payment: int | None,
    ) -> tuple[int | None, int | None, tuple[CanonicalPayment, ...]]:
        """Deposit, balance and the payments; a presale's steps by their number.

        `pay_status` of a step has no documented values: which step is paid is told by the phase.
        `payment` is None once a refund changed it: what was paid is not told any more.
        """
        steps = {
            step.required_integer("step_no"): step
            for step in read_list(self.reader, "step_pay_details", "step_pay_detail")
        }
        amounts = {number: step.yuan("step_actual_pay_fee") for number, step in steps.items()}
        if phase in _DEPOSIT_PHASES:
            deposit = amounts.get(1)
            if deposit is None and phase is not PresalePhase.BALANCE_PAID:
                deposit = self.reader.yuan("step_paid_fee")
            balance = amounts.get(2) or None
            paid = {1: "deposit"} if phase is not PresalePhase.BALANCE_PAID else {
                1: "deposit", 2: "balance",
            }  # fmt: skip
            newest = max(paid)
            return deposit, balance, tuple(
                CanonicalPayment(
                    order_no=order_no,
                    payment_id=steps[number].identifier("step_channel_no", limit=80)
                    or f"{order_no}-{number}",
                    method="alipay",
                    status=PaymentStatus.PAID,
                    amount_fen=amounts[number],
                    paid_at=pay_time if number == newest else None,
                    phase=name,
                )
                for number, name in paid.items()
                if number in steps
            )  # fmt: skip
        payment_id = self.reader.identifier("alipay_no", limit=80)
        if not payment_id or pay_time is None:
            return None, None, ()
        status = PaymentStatus.REFUNDED if stage == Stage.CLOSED_REFUNDED else PaymentStatus.PAID
        single = CanonicalPayment(
            order_no=order_no,
            payment_id=payment_id,
            method="alipay",
            status=status,
            amount_fen=payment,
            paid_at=pay_time,
        )
        return None, None, (single,)

    # -- lines and gifts -------------------------------------------------------------------------

    def _line(self, item: Reader) -> CanonicalLine:
        """One sub-order. `sku`: the merchant's own code, else the platform's number."""
        share = item.yuan("divide_order_fee")
        sku = next(
            (
                text
                for key in ("outer_sku_id", "outer_iid", "sku_id", "num_iid")
                if (text := item.identifier(key, limit=80))
            ),
            "",
        )
        custom: dict[str, object] = {}
        for key, limit in (("inv_type", 20), ("shipper", 40), ("zhengji_status", 40)):
            if text := self._loose_text(item, key, limit):
                custom[key] = text
        is_gift = self._mark(item, "is_free_gift") is True
        return CanonicalLine(
            line_id=item.identifier("oid_str") or item.required_identifier("oid"),
            sku=sku,
            title=item.text("title", limit=200),
            quantity=item.quantity("num"),
            price_fen=item.yuan("price"),
            amount_fen=share if share is not None else item.yuan("payment"),
            is_gift=is_gift,
            # Gift and main line name each other; the link is kept on the gift.
            gift_of=self._loose_text(item, "gift_mids", 200).split(",")[0][:64] if is_gift else "",
            ship_by=self._loose_clock(item, "delivery_time")
            or self._loose_clock(item, "estimate_con_time"),
            category=item.identifier("cid", limit=100) or None,
            status=item.identifier("status", limit=100),
            refund_state=self._refund(item),
            warehouse=self._loose_text(item, "store_code", 60),
            is_oversold=self._mark(item, "is_oversold") is True,
            custom=custom,
        )

    def _promotions(self, order_no: str) -> tuple[CanonicalPromotion, ...]:
        """`id` is the trade or the line; the tool is what stands before the activity's number.

        Who pays for a promotion TOP does not tell; `platform_subsidy_fee` is its sum.
        """
        found = []
        for item in read_list(self.reader, "promotion_details", "promotion_detail"):
            number = item.identifier("promotion_id", limit=200)
            owner = item.identifier("id")
            name = item.text("promotion_name", limit=200)
            gift = item.identifier("gift_item_id", limit=80) or item.text(
                "gift_item_name", limit=80
            )
            found.append(
                CanonicalPromotion(
                    promotion_id=number,
                    tool=number.partition("-")[0][:60],
                    name=name or item.text("promotion_desc", limit=200),
                    discount_fen=item.yuan("discount_fee"),
                    line_id="" if owner == order_no else owner,
                    gift_sku=gift,
                    gift_quantity=item.quantity("gift_item_num") if gift else 0,
                )
            )
        return tuple(found)

    def _gifts_due(self) -> int | None:
        """Gifts the promotions promise; None when promotions were not asked for."""
        if not self.reader.has("promotion_details"):
            return None
        due = 0
        for promotion in read_list(self.reader, "promotion_details", "promotion_detail"):
            if promotion.text("gift_item_id") or promotion.text("gift_item_name"):
                due += promotion.quantity("gift_item_num")
        return due

    def _gifts_packed(self, items: list[Reader], lines: tuple[CanonicalLine, ...]) -> int | None:
        """Gifts among the lines; None when the lines do not tell which of them are gifts."""
        if not any(item.has("is_free_gift") for item in items):
            return None
        return sum(
            line.quantity
            for line in lines
            if line.is_gift and not line.status.startswith("TRADE_CLOSED")
        )

    # -- times, receiver, the rest ---------------------------------------------------------------

    def _promise(self, lines: tuple[CanonicalLine, ...]) -> datetime | None:
        """The latest moment to ship: the platform's, the presale's, the shop's, the lines' first."""
        for key in ("delivery_time", "send_time", "est_con_time"):
            if (moment := self._loose_clock(self.reader, key)) is not None:
                return moment
        return min((line.ship_by for line in lines if line.ship_by), default=None)

    def _estimate(self) -> datetime | None:
        agreement = self.reader.raw("logistics_agreement")
        if not isinstance(agreement, Mapping):
            return None
        reader = Reader(agreement, self.reader.path_of("logistics_agreement"))
        return self._loose_clock(reader, "promise_sign_time")

    def _phone(self) -> str:
        for key in ("receiver_mobile", "receiver_phone"):
            if phone := self.reader.text(key, limit=60):
                return phone
        return ""

    def _city(self) -> str | None:
        """The city; of a county-level city under its province TOP fills the district only."""
        city = self.reader.text_or_none("receiver_city", limit=60)
        return city or self.reader.text("receiver_district", limit=60) or city

    def _collect_by(self, items: list[Reader]) -> datetime | None:
        """The latest pick-up by the carrier: the trade's, else the lines' first."""
        whole = self._loose_clock(self.reader, "collect_time")
        told = [self._loose_clock(item, "collect_time") for item in items]
        return whole or min((moment for moment in told if moment), default=None)

    def _is_address_changed(self, items: list[Reader]) -> bool:
        """Whether the buyer changed the address after payment: what is downstream has the old one.

        `modify_address` 2 is a change before payment (channels.md 3.5): nobody had it by then.
        """
        changes = {self._loose_text(item, "modify_address", 20) for item in items}
        return "1" in changes or (
            "2" not in changes and self._loose_text(self.reader, "lm", 20) == "1"
        )

    def _custom(self) -> dict[str, object]:
        """What the canonical order has no place for: plain values, absent when not told."""
        reader = self.reader
        custom: dict[str, object] = {}
        for key in ("type", "mark_desc", "ob_tag", "seller_flag", "o2o_step_order_id"):
            if reader.has(key) and (text := self._loose_text(reader, key, 200)):
                custom[key] = text
        for key in ("new_presell", "general_new_presell", "is_part_consign"):
            if (mark := self._mark(reader, key)) is not None:
                custom[key] = mark
        if "*" in reader.text("receiver_address") or "*" in reader.text("receiver_name"):
            custom["receiver_masked"] = True
        return custom

    # -- reading what nobody described -------------------------------------------------------------

    def _mark(self, reader: Reader, key: str) -> bool | None:
        """A yes or no; None when not told, or told in a way nobody described (with a notice)."""
        if not reader.has(key):
            return None
        try:
            return reader.flag(key)
        except PayloadError:
            self._tell(reader.path_of(key), str(reader.raw(key)))
            return None

    def _loose_clock(self, reader: Reader, key: str) -> datetime | None:
        """A moment; None with a notice when it is written in another way."""
        try:
            return reader.clock(key)
        except PayloadError:
            self._tell(reader.path_of(key), "")
            return None

    def _loose_text(self, reader: Reader, key: str, limit: int) -> str:
        """A short text; empty with a notice when it is none."""
        try:
            return reader.text(key, limit=limit)
        except PayloadError:
            self._tell(reader.path_of(key), "")
            return ""

    def _tell(self, field: str, value: str, *, code: str = "unmapped_value") -> None:
        """Add a notice. Only what has the form of a code is quoted: anything else may be personal."""
        is_code = value.isascii() and value.replace("_", "").isalnum() and len(value) <= 60
        notice = Notice(code, field, value if is_code else "")
        if notice not in self.notices:
            self.notices.append(notice)


def _worst_refund(refunds: Iterable[RefundState], stage: str) -> RefundState:
    """The refund state of the order: an open one of any line first; DONE only when all are."""
    if stage == Stage.CLOSED_REFUNDED:
        return RefundState.DONE
    found = set(refunds)
    for state in _REFUND_ORDER:
        if state in found:
            return state
    return RefundState.DONE if found == {RefundState.DONE} else RefundState.NONE


def _find_parcels(items: list[Reader]) -> tuple[CanonicalShipment, ...]:
    """The parcels by waybill: which lines each carries, and when the first of them left."""
    parcels: dict[str, list[Reader]] = {}
    for item in items:
        if number := item.text("invoice_no", limit=80):
            parcels.setdefault(number, []).append(item)
    found = []
    for number, packed in parcels.items():
        moments = [moment for item in packed if (moment := _read_consign_time(item))]
        found.append(
            CanonicalShipment(
                shipment_id=number,
                tracking_no=number,
                company=packed[0].text("logistics_company", limit=60),
                shipped_at=min(moments, default=None),
                lines=tuple(
                    CanonicalParcelLine(
                        item.identifier("oid_str") or item.required_identifier("oid"),
                        item.quantity("num"),
                    )
                    for item in packed
                ),
            )
        )
    return tuple(found)


def _find_dispatch(trade: Reader, items: Sequence[Reader]) -> datetime | None:
    """When all of it was sent: with the last line. The trade's own `consign_time` is the first's."""
    told = (trade.clock("consign_time"), *(_read_consign_time(item) for item in items))
    return max((moment for moment in told if moment is not None), default=None)


def _read_consign_time(item: Reader) -> datetime | None:
    try:
        return item.clock("consign_time")
    except PayloadError:
        return None


def _refuse_repeated(reader: Reader, lines: tuple[CanonicalLine, ...]) -> None:
    """Two lines of one number would overwrite each other."""
    if len({line.line_id for line in lines}) != len(lines):
        raise PayloadError(
            gettext_noop("报文字段 %(field)s 里有重复的子订单号"), field=reader.path_of("orders")
        )
