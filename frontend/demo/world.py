"""An invented promo day whose clock runs to the present. Pure: seed and start in, rows out.

Every order has a whole timeline, made once from the seed; `World.export()` says what the brand's
systems would have exported at a moment. Orders that get stuck simply have no later events. The
numbers follow the incident the product was made for: 18,000 paid, 16,700 at the WMS, 1,300 not.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

ZONE = ZoneInfo("Asia/Shanghai")
SEED = 20251111

PAID_AT_WMS = 16_700
# The 1,300 paid orders the warehouse never saw, by cause.
MISSING: dict[str, int] = {
    "支付回调丢失": 480,
    "地址触发风控": 300,
    "促销叠加价格异常": 180,
    "OMS未接收": 150,
    "库存冲突": 80,
    "WMS未接收": 50,
    "拼团超时": 40,
    "赠品缺失": 20,
}
OVERDUE_BALANCES = 46  # deposit paid, balance not: stuck, but not among the paid
UNPAID, PRESALE_WAITING, CLOSED_UNPAID, COD = 180, 260, 220, 150
LIVE_PER_MINUTE = 6

_CHANNELS: tuple[tuple[str, int, dict[str, str]], ...] = (
    (
        "天猫",
        34,
        {"unpaid": "等待买家付款", "paid": "买家已付款,等待卖家发货", "shipped": "卖家已发货,等待买家确认",
         "closed": "交易关闭", "done": "交易成功"},
    ),
    ("抖音", 25, {"unpaid": "待支付", "paid": "备货中", "shipped": "已发货", "closed": "已关闭", "done": "已完成"}),
    (
        "拼多多",
        12,
        {"unpaid": "待支付", "paid": "待发货", "shipped": "已发货待签收", "closed": "已取消", "done": "已签收",
         "group": "待成团"},
    ),
    ("京东", 11, {"unpaid": "等待付款", "paid": "等待出库", "shipped": "等待确认收货", "closed": "已取消", "done": "完成"}),
    ("快手", 7, {"unpaid": "待付款", "paid": "待发货", "shipped": "已发货", "closed": "交易失败", "done": "交易成功"}),
    ("私域小程序", 7, {"unpaid": "待付款", "paid": "待发货", "shipped": "已发货", "closed": "已取消", "done": "已完成"}),
    ("微信小店", 4, {"unpaid": "待付款", "paid": "待发货", "shipped": "待收货", "closed": "未付款用户主动取消", "done": "已完成"}),
)  # fmt: skip
_WORDS = {name: words for name, _share, words in _CHANNELS}
_PREFIX = {
    "天猫": "38",
    "抖音": "69",
    "拼多多": "2511-",
    "京东": "29",
    "快手": "25",
    "私域小程序": "MP",
    "微信小店": "37",
}
_PLACES = (
    ("浙江省", "杭州市", "余杭区"), ("上海市", "上海市", "浦东新区"), ("广东省", "深圳市", "南山区"),
    ("广东省", "东莞市", ""), ("四川省", "成都市", "武侯区"), ("湖北省", "武汉市", "洪山区"),
    ("江苏省", "苏州市", "姑苏区"), ("北京市", "北京市", "朝阳区"), ("福建省", "厦门市", "思明区"),
    ("湖北省", "仙桃市", ""), ("河南省", "济源市", ""), ("陕西省", "西安市", "雁塔区"),
    ("山东省", "青岛市", "市南区"), ("海南省", "五指山市", ""), ("辽宁省", "大连市", "中山区"),
)  # fmt: skip
_GOODS = (
    "羊毛双面呢大衣",
    "法式碎花连衣裙",
    "高腰直筒牛仔裤",
    "真丝衬衫",
    "针织开衫",
    "短款羽绒服",
    "百褶半身裙",
    "圆领卫衣",
)
_SURNAMES = "王李张刘陈杨黄赵吴周徐孙马朱胡林郭何高罗"


@dataclass(slots=True)
class Plan:
    """One order and its whole life; a moment of None never comes."""

    order_no: str
    channel: str
    shop: str
    placed: datetime
    visible: datetime
    cause: str = ""
    stuck_since: datetime | None = None
    paid: datetime | None = None
    gateway_paid: datetime | None = None
    locked: datetime | None = None
    oms: datetime | None = None
    reviewed: datetime | None = None
    wms: datetime | None = None
    picked: datetime | None = None
    out: datetime | None = None
    shipped: datetime | None = None
    delivered: datetime | None = None
    closed: datetime | None = None
    risk: str = ""
    risk_cleared: datetime | None = None
    group: bool = False
    group_done: datetime | None = None
    cod: bool = False
    presale: bool = False
    deposit_fen: int = 0
    deposit_paid: datetime | None = None
    balance_opens: datetime | None = None
    balance_due: datetime | None = None
    balance_paid: datetime | None = None
    goods_fen: int = 0
    freight_fen: int = 0
    discounts: tuple[int, int, int] = (0, 0, 0)
    price_error_fen: int = 0
    price_mended: datetime | None = None
    gifts_due: int = 0
    gifts_packed: int = 0
    gifts_packed_at: datetime | None = None
    place: tuple[str, str, str] = ("", "", "")
    buyer: str = ""
    receiver: str = ""
    phone: str = ""
    detail: str = ""
    lines: list[tuple[str, str, int, int, int]] = field(default_factory=list)

    @property
    def payable_fen(self) -> int:
        return self.goods_fen + self.freight_fen - sum(self.discounts)

    def channel_moments(self) -> Iterator[datetime | None]:
        """The moments at which the channel's row of this order changes."""
        yield from (
            self.visible, self.paid, self.locked, self.shipped, self.delivered, self.closed,
            self.risk_cleared, self.group_done, self.deposit_paid, self.balance_paid,
            self.price_mended, self.gifts_packed_at,
        )  # fmt: skip


def _later(rng: random.Random, start: datetime, low: float, high: float) -> datetime:
    """A moment `low` to `high` minutes after start, in whole seconds."""
    return start + timedelta(seconds=round(rng.uniform(low, high) * 60))


class World:
    """The brand's day: seed and start decide everything.

    `started_at` is the moment of the first board (aware); the day before it is history, live
    orders follow minute by minute.
    """

    def __init__(self, *, seed: int, started_at: datetime, scale: float = 1.0) -> None:
        self.seed, self.started_at = seed, started_at.astimezone(ZONE).replace(microsecond=0)
        self.scale = scale
        self._rng = random.Random(seed)  # noqa: S311 - invented orders, no secrets
        self._number = 100_110_000_000
        self.plans: list[Plan] = list(self._history())
        self._live_minutes = 0

    # -- making orders -----------------------------------------------------------------------

    def _base(self, rng: random.Random, channel: str | None, placed: datetime) -> Plan:
        if channel is None:
            channel = rng.choices([c[0] for c in _CHANNELS], [c[1] for c in _CHANNELS])[0]
        self._number += rng.randint(3, 90)
        lines = []
        for _ in range(rng.choices((1, 2, 3), (62, 28, 10))[0]):
            good = rng.choice(_GOODS)
            lines.append(
                (f"SKU{rng.randint(100, 189)}", good, rng.choices((1, 2), (9, 1))[0],
                 rng.randint(59, 899) * 100, rng.randint(20, 400))
            )  # fmt: skip
        goods = sum(quantity * price for _s, _g, quantity, price, _a in lines)
        place = rng.choice(_PLACES)
        return Plan(
            order_no=f"{_PREFIX[channel]}{self._number}",
            channel=channel,
            shop=f"{channel}{rng.choices(('旗舰店', '女装馆'), (7, 3))[0]}",
            placed=placed,
            visible=placed + timedelta(seconds=1),
            goods_fen=goods,
            freight_fen=rng.choice((0, 0, 0, 800, 1000)),
            discounts=(
                rng.choice((0, 1000, 2000)),
                rng.choice((0, 0, 1500, 2500)),
                rng.choice((0, 0, 500, 1000)),
            ),
            place=place,
            buyer=f"b{rng.randrange(10**9):09d}",
            receiver=rng.choice(_SURNAMES) + rng.choice(("女士", "先生", "小姐")),
            phone=f"199{rng.randrange(10**8):08d}",
            detail=f"演示路{rng.randint(1, 999)}号{rng.randint(1, 30)}幢{rng.randint(101, 3204)}室",
            lines=lines,
        )

    def _pay(self, rng: random.Random, plan: Plan, paid: datetime) -> None:
        plan.paid = paid
        if plan.channel == "私域小程序":
            plan.gateway_paid = paid - timedelta(seconds=rng.randint(2, 9))

    def _flow(self, rng: random.Random, plan: Plan, start: datetime) -> None:
        """A healthy life after `start` (payment, or whatever held it)."""
        plan.locked = plan.locked or _later(rng, start, 0.2, 0.6)
        plan.oms = plan.oms or _later(rng, start, 0.3, 4)
        plan.reviewed = plan.reviewed or _later(rng, plan.oms, 2, 20)
        plan.wms = _later(rng, plan.reviewed, 2, 20)
        plan.picked = _later(rng, plan.wms, 30, 300)
        plan.out = _later(rng, plan.picked, 20, 180)
        plan.shipped = _later(rng, plan.out, 2, 20)
        plan.delivered = _later(rng, plan.shipped, 24 * 60, 70 * 60)

    def _count(self, number: int) -> int:
        return max(1, round(number * self.scale))

    def _history(self) -> Iterator[Plan]:
        rng, now = self._rng, self.started_at
        for number in range(self._count(PAID_AT_WMS) + self._count(COD)):
            # Twelve hours of sale with a swell; the last hour is quiet, so that every healthy
            # order has reached the warehouse and the gap is exactly the stuck ones.
            minutes = 60 + 660 * rng.betavariate(1.6, 2.4)
            is_cod = number >= self._count(PAID_AT_WMS)
            channel = rng.choice(("京东", "快手")) if is_cod else None
            plan = self._base(rng, channel, now - timedelta(minutes=minutes + rng.uniform(0.4, 4)))
            plan.placed = plan.placed.replace(microsecond=0)
            plan.visible = plan.placed
            plan.cod = is_cod
            if not is_cod:
                self._pay(rng, plan, _later(rng, plan.placed, 0.3, 4))
            self._flow(rng, plan, plan.paid or plan.placed)
            if rng.random() < 0.03:
                plan.gifts_due = plan.gifts_packed = 1
                plan.gifts_packed_at = plan.reviewed
            yield plan
        for cause, number in MISSING.items():
            for _ in range(self._count(number)):
                low = 26 * 60 if cause == "拼团超时" else 90
                high = 34 * 60 if cause == "拼团超时" else 640
                placed = _later(rng, now, -high, -low)
                yield self._stuck(rng, cause, placed)
        for _ in range(self._count(OVERDUE_BALANCES)):
            yield self._presale(rng, overdue=True)
        for _ in range(self._count(PRESALE_WAITING)):
            yield self._presale(rng, overdue=False)
        for _ in range(self._count(UNPAID)):
            plan = self._base(rng, None, _later(rng, now, -20, 0))
            if plan.channel == "私域小程序" or rng.random() < 0.5:
                self._pay(rng, plan, _later(rng, now, 2, 12))
                self._flow(rng, plan, plan.paid or now)
            else:
                plan.closed = _later(rng, now, 10, 30)
            yield plan
        for _ in range(self._count(CLOSED_UNPAID)):
            plan = self._base(rng, None, _later(rng, now, -700, -60))
            plan.closed = _later(rng, plan.placed, 15, 30)
            yield plan

    def _presale(self, rng: random.Random, *, overdue: bool) -> Plan:
        now = self.started_at
        placed = _later(rng, now, -9 * 1440, -5 * 1440)
        plan = self._base(rng, rng.choice(("天猫", "抖音", "京东")), placed)
        plan.presale, plan.deposit_fen = True, 5000
        plan.goods_fen += 30_000
        sku, good, quantity, price, stock = plan.lines[0]
        plan.lines[0] = (sku, good, quantity, price + 30_000 // quantity, stock)
        plan.goods_fen = sum(q * p for _s, _g, q, p, _a in plan.lines)
        plan.deposit_paid = _later(rng, placed, 0.5, 5)
        plan.balance_opens = now - timedelta(hours=30)
        if overdue:
            plan.balance_due = _later(rng, now, -600, -20)
            plan.cause, plan.stuck_since = "预售尾款逾期", plan.balance_due
        else:
            plan.balance_due = _later(rng, now, 300, 1500)
            plan.balance_paid = plan.balance_due - timedelta(minutes=rng.randint(5, 200))
            plan.paid = plan.balance_paid
            self._flow(rng, plan, plan.balance_paid)
        return plan

    def _stuck(self, rng: random.Random, cause: str, placed: datetime) -> Plan:
        channel = {"支付回调丢失": "私域小程序", "拼团超时": "拼多多"}.get(cause)
        plan = self._base(rng, channel, placed)
        plan.cause = cause
        paid = _later(rng, placed, 0.3, 3)
        if cause == "支付回调丢失":
            plan.gateway_paid, plan.stuck_since = paid, paid
            return plan
        self._pay(rng, plan, paid)
        plan.stuck_since = paid
        plan.locked = _later(rng, paid, 0.2, 0.6)
        if cause == "拼团超时":
            plan.group, plan.stuck_since = True, placed
        elif cause == "地址触发风控":
            plan.risk = rng.choice(("风控审核中", "地址待核实"))
            if plan.risk == "地址待核实":
                plan.place = (plan.place[0], plan.place[1], "")
        elif cause == "促销叠加价格异常":
            plan.price_error_fen = rng.choice((-3000, -2000, -1000, 2000))
            plan.oms = _later(rng, paid, 0.3, 4)  # taken in, then suspended
        elif cause == "库存冲突":
            plan.locked = None
            plan.oms = _later(rng, paid, 0.3, 4)
            sku, good, quantity, price, _stock = plan.lines[0]
            plan.lines[0] = (sku, good, quantity, price, 0)
        elif cause in {"WMS未接收", "赠品缺失"}:
            plan.oms = _later(rng, paid, 0.3, 4)
            plan.reviewed = plan.stuck_since = _later(rng, plan.oms, 2, 20)
            if cause == "赠品缺失":
                plan.gifts_due = 1
        return plan

    # -- the present -------------------------------------------------------------------------

    def _live(self, minute: int) -> Iterator[Plan]:
        """Orders that appear in one minute after the start; every other minute one gets stuck."""
        rng = random.Random(f"{self.seed}:{minute}")  # noqa: S311 - invented orders
        start = self.started_at + timedelta(minutes=minute)
        for _ in range(self._count(LIVE_PER_MINUTE)):
            plan = self._base(rng, None, _later(rng, start, 0, 1))
            self._pay(rng, plan, _later(rng, plan.placed, 0.3, 3))
            self._flow(rng, plan, plan.paid or start)
            yield plan
        if minute % 2 == 0:
            causes = (
                "支付回调丢失",
                "促销叠加价格异常",
                "OMS未接收",
                "地址触发风控",
                "支付回调丢失",
                "库存冲突",
            )
            cause = causes[minute // 2 % len(causes)]
            early = 6 if minute == 0 else 0  # the first is reported late, so that it turns red soon
            plan = self._stuck(rng, cause, start - timedelta(minutes=early))
            plan.visible = start + timedelta(seconds=1)
            if minute == 0:
                plan.gateway_paid = plan.stuck_since = start - timedelta(minutes=4)
            elif rng.random() < 0.5:
                self._mend(rng, plan, cause)
            yield plan

    def _mend(self, rng: random.Random, plan: Plan, cause: str) -> None:
        """Somebody or the system itself puts it right after a while."""
        mended = _later(rng, plan.stuck_since or plan.placed, 25, 55)
        if cause == "支付回调丢失":
            plan.paid = mended
        elif cause == "地址触发风控":
            plan.risk_cleared = mended
        elif cause == "促销叠加价格异常":
            plan.price_mended = mended
        elif cause == "库存冲突":
            plan.locked = mended
        self._flow(rng, plan, mended)

    def _grow(self, until: datetime) -> None:
        minutes = int((until - self.started_at).total_seconds() // 60) + 1
        for minute in range(self._live_minutes, max(minutes, 0)):
            self.plans.extend(self._live(minute))
        self._live_minutes = max(self._live_minutes, minutes, 0)

    # -- what the systems would export -------------------------------------------------------

    def export(self, *, since: datetime | None, until: datetime) -> dict[str, list[dict[str, str]]]:
        """Rows per file of what changed in (since, until]; everything known when since is None."""
        self._grow(until)

        def is_new(*moments: datetime | None) -> bool:
            return any(
                m is not None and m <= until and (since is None or m > since) for m in moments
            )

        files: dict[str, list[dict[str, str]]] = {
            k: [] for k in ("orders", "lines", "gateway", "oms", "wms")
        }
        for plan in self.plans:
            if plan.visible > until:
                continue
            if is_new(*plan.channel_moments()):
                files["orders"].append(_order_row(plan, until))
                files["lines"].extend(_line_rows(plan, until))
            if is_new(_seen(plan.gateway_paid, plan.visible)):
                files["gateway"].append(_gateway_row(plan))
            if is_new(plan.oms, plan.reviewed):
                files["oms"].append(_oms_row(plan, until))
            if is_new(plan.wms, plan.picked, plan.out):
                files["wms"].append(_wms_row(plan, until))
        return files

    def truth(self) -> list[tuple[str, str, str]]:
        """(order number, cause, stuck since) of every order that is stuck at the start."""
        return [
            (p.order_no, p.cause, _text(p.stuck_since))
            for p in self.plans
            if p.cause and p.visible <= self.started_at
        ]


def _seen(moment: datetime | None, visible: datetime) -> datetime | None:
    return max(moment, visible) if moment is not None else None


def _text(moment: datetime | None, until: datetime | None = None) -> str:
    if moment is None or (until is not None and moment > until):
        return ""
    return moment.astimezone(ZONE).strftime("%Y-%m-%d %H:%M:%S")


def _yuan(fen: int) -> str:
    return f"{fen // 100}.{fen % 100:02d}"


def _status(plan: Plan, until: datetime) -> str:
    words = _WORDS[plan.channel]

    def has(moment: datetime | None) -> bool:
        return moment is not None and moment <= until

    if has(plan.closed):
        return words["closed"]
    if has(plan.delivered):
        return words["done"]
    if has(plan.shipped):
        return words["shipped"]
    if plan.group and has(plan.paid) and not has(plan.group_done):
        return "待成团"
    if plan.presale and has(plan.deposit_paid) and not has(plan.balance_paid):
        return "定金已付，尾款未付" if plan.channel == "天猫" else words["unpaid"]
    if has(plan.paid) or plan.cod:
        return words["paid"]
    return words["unpaid"]


def _order_row(plan: Plan, until: datetime) -> dict[str, str]:
    is_paid = plan.paid is not None and plan.paid <= until
    error = plan.price_error_fen
    if plan.price_mended is not None and plan.price_mended <= until:
        error = 0
    paid_fen = plan.payable_fen + error if is_paid else 0
    has_deposit = plan.presale and plan.deposit_paid is not None and plan.deposit_paid <= until
    if has_deposit and not is_paid:
        paid_fen = plan.deposit_fen
    risk = plan.risk
    if risk and plan.risk_cleared is not None and plan.risk_cleared <= until:
        risk = "审核通过"
    phase = ""
    if has_deposit:
        phase = "定金已付尾款已付" if is_paid else "定金已付尾款未付"
    group = ""
    if plan.group and is_paid:
        group = "已成团" if plan.group_done and plan.group_done <= until else "拼团中"
    packed = plan.gifts_packed if plan.gifts_packed_at and plan.gifts_packed_at <= until else 0
    masked = plan.channel != "私域小程序"
    changed = max(m for m in plan.channel_moments() if m is not None and m <= until)
    promise = plan.paid or (plan.placed if plan.cod else None)
    return {
        "订单编号": plan.order_no,
        "平台": plan.channel,
        "店铺名称": plan.shop,
        "下单时间": _text(plan.placed),
        "订单状态": _status(plan, until),
        "付款时间": _text(plan.paid, until),
        "商品金额": _yuan(plan.goods_fen),
        "运费": _yuan(plan.freight_fen),
        "店铺优惠": _yuan(plan.discounts[0]),
        "平台优惠": _yuan(plan.discounts[1]),
        "优惠券": _yuan(plan.discounts[2]),
        "应付金额": _yuan(plan.payable_fen),
        "实付金额": _yuan(paid_fen) if paid_fen or is_paid else "",
        "买家": plan.buyer,
        "收货人": plan.receiver[0] + "**" if masked else plan.receiver,
        "手机": f"{plan.phone[:3]}****{plan.phone[-4:]}" if masked else plan.phone,
        "省": plan.place[0],
        "市": plan.place[1],
        "区县": plan.place[2],
        "详细地址": plan.detail[:3] + "******" if masked else plan.detail,
        "预售阶段": phase,
        "定金": _yuan(plan.deposit_fen) if plan.presale else "",
        "定金支付时间": _text(plan.deposit_paid, until),
        "尾款": _yuan(plan.payable_fen - plan.deposit_fen) if plan.presale else "",
        "尾款支付时间": _text(plan.balance_paid, until),
        "尾款开始": _text(plan.balance_opens),
        "尾款截止": _text(plan.balance_due),
        "风控标记": risk,
        "拼团": group,
        "支付方式": "货到付款" if plan.cod else "",
        "赠品应发": str(plan.gifts_due),
        "赠品已配": str(packed),
        "承诺发货时间": _text(promise + timedelta(hours=48))
        if promise and promise <= until
        else "",
        "发货时间": _text(plan.shipped, until),
        "签收时间": _text(plan.delivered, until),
        "关闭时间": _text(plan.closed, until),
        "更新时间": _text(changed),
    }


def _line_rows(plan: Plan, until: datetime) -> list[dict[str, str]]:
    return [
        {
            "订单编号": plan.order_no,
            "行号": str(number),
            "SKU": sku,
            "商品名称": good,
            "数量": str(quantity),
            "单价": _yuan(price),
            "可用库存": str(stock),
            "锁定时间": _text(plan.locked, until),
        }
        for number, (sku, good, quantity, price, stock) in enumerate(plan.lines, 1)
    ]


def _gateway_row(plan: Plan) -> dict[str, str]:
    return {
        "商户订单号": plan.order_no,
        "流水号": f"ZF{plan.order_no}",
        "支付时间": _text(plan.gateway_paid),
        "支付金额": _yuan(plan.payable_fen),
        "支付状态": "支付成功",
    }


def _oms_row(plan: Plan, until: datetime) -> dict[str, str]:
    return {
        "订单编号": plan.order_no,
        "OMS接收时间": _text(plan.oms, until),
        "OMS审单时间": _text(plan.reviewed, until),
    }


def _wms_row(plan: Plan, until: datetime) -> dict[str, str]:
    return {
        "订单编号": plan.order_no,
        "WMS接收时间": _text(plan.wms, until),
        "拣货时间": _text(plan.picked, until),
        "出库时间": _text(plan.out, until),
    }
