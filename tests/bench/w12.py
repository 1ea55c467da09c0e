"""W12: twelve scoring dimensions over a flat order record of 42 fields, deterministic.

The workload of `make bench formula`, our own copy, so that it runs wherever the project is.
Orders carry date-times and None for missing; `norm()` turns date-times into Excel serial days.
`NOW` is fixed, so that every engine gives the same answer, which `CHECKSUM` holds.
"""

# ruff: noqa: S311, DTZ001, UP031, SIM108 - made-up data by a fixed seed, local wall time, text kept as it came

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Iterable
from typing import Any

NOW_DT = dt.datetime(2026, 11, 13, 10, 0, 0)
EPOCH = dt.datetime(1899, 12, 30)


def serial(d: dt.datetime) -> float:
    """Excel serial days."""
    x = d - EPOCH
    return x.days + x.seconds / 86400.0


NOW = serial(NOW_DT)
DAY1111 = serial(dt.datetime(2026, 11, 11))

TEXT = [
    "order_id",
    "channel",
    "shop_id",
    "status",
    "receiver_name",
    "receiver_phone",
    "receiver_province",
    "receiver_city",
    "receiver_district",
    "receiver_address",
    "promo_codes",
    "refund_status",
    "risk_flag",
    "buyer_memo",
    "logistics_company",
    "waybill_no",
    "warehouse",
]
NUM = [
    "order_amount",
    "pay_amount",
    "goods_amount",
    "freight",
    "shop_discount",
    "platform_discount",
    "coupon_discount",
    "deposit_amount",
    "balance_amount",
    "stock_qty",
    "item_count",
    "gift_required",
    "gift_sent",
    "promo_count",
]
BOOL = ["is_presale", "deposit_paid", "balance_paid", "stock_locked"]
DATE = [
    "balance_deadline",
    "created_at",
    "paid_at",
    "pay_callback_at",
    "synced_wms_at",
    "shipped_at",
    "promise_ship_at",
]
FIELDS = TEXT + NUM + BOOL + DATE  # 42

CH = ["天猫", "抖音", "京东", "拼多多", "快手", "微信小店"]
PROV = ["浙江省", "广东省", "江苏省", "北京市", "上海市", "四川省"]
CITY = ["杭州市", "深圳市", "苏州市", "北京市", "上海市", "成都市"]
STREET = ["文三路", "科技园南区", "人民路", "中关村大街", "延安西路", "天府大道"]


def gen_orders(n: int = 20000, seed: int = 20261111) -> list[dict[str, Any]]:
    """The orders."""
    r = random.Random(seed)
    out = []
    for i in range(n):
        ch = r.choice(CH)
        p = r.randrange(6)
        created = NOW_DT - dt.timedelta(minutes=r.randrange(0, 6 * 1440))
        presale = r.random() < 0.2
        paid = r.random() < 0.85
        paid_at = created + dt.timedelta(minutes=r.randrange(1, 240)) if paid else None
        cb = (
            paid_at + dt.timedelta(seconds=r.randrange(1, 90))
            if paid and r.random() < 0.96
            else None
        )
        wms = (
            paid_at + dt.timedelta(minutes=r.randrange(1, 60))
            if paid and r.random() < 0.9
            else None
        )
        shipped = wms + dt.timedelta(hours=r.randrange(1, 72)) if wms and r.random() < 0.5 else None
        goods = r.randrange(1900, 199900) / 100
        freight = r.choice([0, 0, 0, 6, 8, 10])
        sd, pd_, cd = (
            r.choice([0, 0, 5, 10, 20.5]),
            r.choice([0, 0, 15, 30]),
            r.choice([0, 0, 3.3, 50]),
        )
        amount = round(goods + freight - sd - pd_ - cd, 2)
        if r.random() < 0.03:
            amount = round(amount + r.choice([0.5, -1, 12.34]), 2)
        items = r.randrange(1, 6)
        gr = r.choice([0, 0, 0, 1, 2, 3])
        out.append(
            {
                "order_id": "TB%012d" % (10**11 + i * 7919),
                "channel": ch,
                "shop_id": "S%03d" % r.randrange(40),
                "status": "paid" if paid else r.choice(["created", "closed"]),
                "receiver_name": r.choice(["张三", "李四", "王小明", None]),
                "receiver_phone": r.choice(
                    ["13800138000", "1380013****", "139%08d" % r.randrange(10**8), None, "021-5566"]
                ),
                "receiver_province": PROV[p] if r.random() < 0.97 else None,
                "receiver_city": CITY[p] if r.random() < 0.96 else "",
                "receiver_district": "西湖区",
                "receiver_address": STREET[p]
                + "%d号%d室" % (r.randrange(1, 999), r.randrange(100, 999))
                if r.random() < 0.95
                else r.choice([None, "", "自提"]),
                "promo_codes": ",".join("P%02d" % r.randrange(30) for _ in range(r.randrange(4)))
                or None,
                "refund_status": r.choice([None, None, None, "applied", "done"]),
                "risk_flag": r.choice([None, None, None, "low", "medium", "HIGH", "high"]),
                "buyer_memo": r.choice([None, "尽快发货", "不要放快递柜"]),
                "logistics_company": r.choice(["京东快递", "顺丰", "中通", None]),
                "waybill_no": "SF%011d" % r.randrange(10**11) if shipped else None,
                "warehouse": r.choice(["杭州1仓", "广州2仓"]),
                "order_amount": amount,
                "pay_amount": amount if paid else None,
                "goods_amount": goods,
                "freight": freight,
                "shop_discount": sd,
                "platform_discount": pd_,
                "coupon_discount": cd,
                "deposit_amount": 50 if presale else None,
                "balance_amount": round(amount - 50, 2) if presale else None,
                "stock_qty": r.randrange(0, 30),
                "item_count": items,
                "gift_required": gr,
                "gift_sent": r.randrange(0, gr + 1),
                "promo_count": r.randrange(0, 5),
                "is_presale": presale,
                "deposit_paid": presale and r.random() < 0.9,
                "balance_paid": presale and r.random() < 0.6,
                "stock_locked": r.random() < 0.92,
                "balance_deadline": created + dt.timedelta(days=r.randrange(1, 5))
                if presale
                else None,
                "created_at": created,
                "paid_at": paid_at,
                "pay_callback_at": cb,
                "synced_wms_at": wms,
                "shipped_at": shipped,
                "promise_ship_at": created + dt.timedelta(hours=48) if paid else None,
            }
        )
    return out


def norm(orders: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Date-times as serial days."""
    ep = EPOCH
    out = []
    for o in orders:
        q = dict(o)
        for k in DATE:
            v = q[k]
            if v is not None:
                x = v - ep
                q[k] = x.days + x.seconds / 86400.0
        out.append(q)
    return out


# What the user types (Excel dialect; named fields; `now` is the batch's evaluation time)
EXCEL = {
    "d01_address": "IF(AND(LEN(receiver_province)>0,LEN(receiver_city)>0,LEN(receiver_address)>=6),20,IF(LEN(receiver_address)>0,8,0))",
    "d02_callback": 'IF(pay_callback_at="",IF(ISBLANK(paid_at),0,5),30)',
    "d03_stock": "IF(AND(stock_locked,stock_qty>=item_count),25,IF(stock_qty>=item_count,10,0))",
    "d04_price": "IF(ABS(order_amount-SUM(goods_amount,freight,-shop_discount,-platform_discount,-coupon_discount))<0.01,15,0)",
    "d05_logistics": 'IF(OR(AND(channel="京东",logistics_company="京东快递"),AND(channel<>"京东",LEN(waybill_no)>=10)),10,IF(ISBLANK(shipped_at),5,0))',
    "d06_presale": "IF(AND(is_presale,deposit_paid,NOT(balance_paid),balance_deadline<now),-20,IF(AND(is_presale,deposit_paid,balance_deadline-now<=1),-5,0))",
    "d07_sla": 'IFS(channel="抖音",IF(now-created_at>2,-15,0),channel="拼多多",IF(now-created_at>1,-20,0),OR(channel="天猫",channel="京东"),IF(now-created_at>3,-10,0),TRUE,0)',
    "d08_risk": 'SWITCH(risk_flag,"high",-30,"medium",-10,"low",-2,0)',
    "d09_gift": "IF(gift_required=0,0,IF(gift_sent>=gift_required,3,-ROUND(5*(gift_required-gift_sent)/gift_required,0)))",
    "d10_promo": 'IF(AND(promo_count>2,IFERROR((shop_discount+platform_discount+coupon_discount)/goods_amount,0)>0.3),-25,IF(AND(promo_count>3,TEXT(created_at,"mmdd")<>"1111"),-5,0))',
    "d11_phone": 'IF(AND(LEN(receiver_phone)=11,LEFT(receiver_phone,1)="1",NOT(ISNUMBER(FIND("*",receiver_phone)))),2,IF(ISNUMBER(FIND("*",receiver_phone)),-1,-3))',
    "d12_delay": 'IF(AND(status="paid",ISBLANK(synced_wms_at)),-MIN(20,ROUND((now-paid_at)*24/6,0)),IF(AND(NOT(ISBLANK(promise_ship_at)),ISBLANK(shipped_at),promise_ship_at<now),-10,0))',
}
DIMS = list(EXCEL)


def xround(x: float, n: int = 0) -> float:
    """Round half away from zero."""
    m = 10.0**n
    return (int(x * m + 0.5) if x >= 0 else -int(-x * m + 0.5)) / m


def hand(o: dict[str, Any], now: float = NOW) -> tuple[float, ...]:
    """Hand-written Python over a normalised record: the floor for interpreted Python."""
    addr = o["receiver_address"]
    la = len(addr) if addr else 0
    d1 = 20 if o["receiver_province"] and o["receiver_city"] and la >= 6 else (8 if la > 0 else 0)
    d2 = (0 if o["paid_at"] is None else 5) if o["pay_callback_at"] is None else 30
    enough = o["stock_qty"] >= o["item_count"]
    d3 = 25 if o["stock_locked"] and enough else (10 if enough else 0)
    sd, pd_, cd = o["shop_discount"], o["platform_discount"], o["coupon_discount"]
    d4 = (
        15
        if abs(o["order_amount"] - (o["goods_amount"] + o["freight"] - sd - pd_ - cd)) < 0.01
        else 0
    )
    ch = o["channel"]
    wb = o["waybill_no"]
    if ch == "京东":
        ok = o["logistics_company"] == "京东快递"
    else:
        ok = wb is not None and len(wb) >= 10
    d5 = 10 if ok else (5 if o["shipped_at"] is None else 0)
    d6 = 0
    if o["is_presale"] and o["deposit_paid"]:
        bd = o["balance_deadline"] or 0.0
        if not o["balance_paid"] and bd < now:
            d6 = -20
        elif bd - now <= 1:
            d6 = -5
    age = now - o["created_at"]
    if ch == "抖音":
        d7 = -15 if age > 2 else 0
    elif ch == "拼多多":
        d7 = -20 if age > 1 else 0
    elif ch == "天猫" or ch == "京东":
        d7 = -10 if age > 3 else 0
    else:
        d7 = 0
    rf = o["risk_flag"]
    rf = rf.lower() if rf else ""
    d8 = -30 if rf == "high" else -10 if rf == "medium" else -2 if rf == "low" else 0
    gr, gs = o["gift_required"], o["gift_sent"]
    d9 = 0 if gr == 0 else 3 if gs >= gr else -xround(5 * (gr - gs) / gr)
    pc = o["promo_count"]
    ga = o["goods_amount"]
    if pc > 2 and ((sd + pd_ + cd) / ga if ga else 0) > 0.3:
        d10 = -25
    elif pc > 3 and not (DAY1111 <= o["created_at"] < DAY1111 + 1):
        d10 = -5
    else:
        d10 = 0
    ph = o["receiver_phone"] or ""
    star = "*" in ph
    d11 = 2 if len(ph) == 11 and ph[0] == "1" and not star else (-1 if star else -3)
    if o["status"] == "paid" and o["synced_wms_at"] is None:
        d12 = -min(20, xround((now - (o["paid_at"] or 0.0)) * 24 / 6))
    elif (
        o["promise_ship_at"] is not None and o["shipped_at"] is None and o["promise_ship_at"] < now
    ):
        d12 = -10
    else:
        d12 = 0
    return (d1, d2, d3, d4, d5, d6, d7, d8, d9, d10, d11, d12)


def summary(rows: Iterable[tuple[Any, ...]]) -> tuple[list[float], dict[str, int]]:
    """rows: iterable of 12-tuples -> checksum (per-dimension sums, level counts)."""
    sums = [0] * 12
    lv = {"ok": 0, "yellow": 0, "orange": 0, "red": 0}
    for t in rows:
        s = 0
        for i, v in enumerate(t):
            sums[i] += v
            s += v
        s = 0 if s < 0 else 100 if s > 100 else s
        lv["ok" if s >= 70 else "yellow" if s >= 60 else "orange" if s >= 50 else "red"] += 1
    return [round(float(x), 3) for x in sums], lv


# What `summary` says of 20,000 orders: sums of the dimensions, orders per level.
CHECKSUM = (
    [
        366444.0,
        494165.0,
        428960.0,
        291180.0,
        131285.0,
        -26380.0,
        -122440.0,
        -206584.0,
        -14962.0,
        -23885.0,
        -11473.0,
        -71535.0,
    ],
    {"ok": 7933, "yellow": 3548, "orange": 2786, "red": 5733},
)
