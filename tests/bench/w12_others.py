"""W12 in the languages of other engines, for the table of `bench_formula`.

Each function returns a callable order -> tuple of twelve numbers, or says that it is not installed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from tests.bench.w12 import DAY1111, xround

Score = Callable[[dict[str, Any]], tuple[Any, ...]]

PYTHON = (
    "20 if LEN(receiver_province)>0 and LEN(receiver_city)>0 and LEN(receiver_address)>=6"
    " else (8 if LEN(receiver_address)>0 else 0)",
    "(0 if BLANK(paid_at) else 5) if BLANK(pay_callback_at) else 30",
    "25 if stock_locked and stock_qty>=item_count else (10 if stock_qty>=item_count else 0)",
    "15 if ABS(order_amount-(goods_amount+freight-shop_discount-platform_discount-coupon_discount))"
    "<0.01 else 0",
    '10 if (channel=="京东" and logistics_company=="京东快递") or (channel!="京东" and '
    "LEN(waybill_no)>=10) else (5 if BLANK(shipped_at) else 0)",
    "-20 if is_presale and deposit_paid and not balance_paid and N(balance_deadline)<now else "
    "(-5 if is_presale and deposit_paid and N(balance_deadline)-now<=1 else 0)",
    '(-15 if now-created_at>2 else 0) if channel=="抖音" else ((-20 if now-created_at>1 else 0) if '
    'channel=="拼多多" else ((-10 if now-created_at>3 else 0) if channel=="天猫" or channel=="京东" '
    "else 0))",
    '-30 if LOWER(risk_flag)=="high" else (-10 if LOWER(risk_flag)=="medium" else '
    '(-2 if LOWER(risk_flag)=="low" else 0))',
    "0 if gift_required==0 else (3 if gift_sent>=gift_required else "
    "-ROUND(5*(gift_required-gift_sent)/gift_required))",
    "-25 if promo_count>2 and SHARE(shop_discount+platform_discount+coupon_discount,goods_amount)>0.3"
    ' else (-5 if promo_count>3 and MMDD(created_at)!="1111" else 0)',
    '2 if LEN(receiver_phone)==11 and LEFT(receiver_phone,1)=="1" and not HAS(receiver_phone,"*") '
    'else (-1 if HAS(receiver_phone,"*") else -3)',
    '-MIN(20,ROUND((now-N(paid_at))*24/6)) if status=="paid" and BLANK(synced_wms_at) else '
    "(-10 if not BLANK(promise_ship_at) and BLANK(shipped_at) and promise_ship_at<now else 0)",
)

ZEN = (
    'len(receiver_province ?? "")>0 and len(receiver_city ?? "")>0 and '
    'len(receiver_address ?? "")>=6 ? 20 : (len(receiver_address ?? "")>0 ? 8 : 0)',
    "pay_callback_at == null ? (paid_at == null ? 0 : 5) : 30",
    "stock_locked and stock_qty>=item_count ? 25 : (stock_qty>=item_count ? 10 : 0)",
    "abs(order_amount-(goods_amount+freight-shop_discount-platform_discount-coupon_discount))<0.01"
    " ? 15 : 0",
    '(channel=="京东" and logistics_company=="京东快递") or (channel!="京东" and '
    'len(waybill_no ?? "")>=10) ? 10 : (shipped_at == null ? 5 : 0)',
    "is_presale and deposit_paid and not balance_paid and (balance_deadline ?? 0)<now ? -20 : "
    "(is_presale and deposit_paid and (balance_deadline ?? 0)-now<=1 ? -5 : 0)",
    'channel=="抖音" ? (now-created_at>2 ? -15 : 0) : (channel=="拼多多" ? (now-created_at>1 ? -20 : 0)'
    ' : (channel=="天猫" or channel=="京东" ? (now-created_at>3 ? -10 : 0) : 0))',
    'lower(risk_flag ?? "")=="high" ? -30 : (lower(risk_flag ?? "")=="medium" ? -10 : '
    '(lower(risk_flag ?? "")=="low" ? -2 : 0))',
    "gift_required==0 ? 0 : (gift_sent>=gift_required ? 3 : "
    "-round(5*(gift_required-gift_sent)/gift_required))",
    "promo_count>2 and (goods_amount==0 ? 0 : (shop_discount+platform_discount+coupon_discount)"
    f"/goods_amount)>0.3 ? -25 : (promo_count>3 and not (created_at>={DAY1111} and "
    f"created_at<{DAY1111 + 1}) ? -5 : 0)",
    'len(receiver_phone ?? "")==11 and startsWith(receiver_phone ?? "","1") and not '
    'contains(receiver_phone ?? "","*") ? 2 : (contains(receiver_phone ?? "","*") ? -1 : -3)',
    'status=="paid" and synced_wms_at == null ? -min([20,round((now-(paid_at ?? 0))*24/6)]) : '
    "(promise_ship_at != null and shipped_at == null and promise_ship_at<now ? -10 : 0)",
)

CEL = (
    "size(S(receiver_province))>0 && size(S(receiver_city))>0 && size(S(receiver_address))>=6 ? 20 : "
    "(size(S(receiver_address))>0 ? 8 : 0)",
    "pay_callback_at == null ? (paid_at == null ? 0 : 5) : 30",
    "stock_locked && stock_qty>=item_count ? 25 : (stock_qty>=item_count ? 10 : 0)",
    "order_amount-(goods_amount+freight-shop_discount-platform_discount-coupon_discount)<0.01 && "
    "order_amount-(goods_amount+freight-shop_discount-platform_discount-coupon_discount)>-0.01"
    " ? 15 : 0",
    '(channel=="京东" && logistics_company=="京东快递") || (channel!="京东" && '
    "size(S(waybill_no))>=10) ? 10 : (shipped_at == null ? 5 : 0)",
    "is_presale && deposit_paid && !balance_paid && (balance_deadline == null || "
    "balance_deadline<now) ? -20 : (is_presale && deposit_paid && (balance_deadline == null || "
    "balance_deadline-now<=1.0) ? -5 : 0)",
    'channel=="抖音" ? (now-created_at>2.0 ? -15 : 0) : (channel=="拼多多" ? (now-created_at>1.0 ? -20 :'
    ' 0) : (channel=="天猫" || channel=="京东" ? (now-created_at>3.0 ? -10 : 0) : 0))',
    'risk_flag in ["high","HIGH"] ? -30 : (risk_flag=="medium" ? -10 : (risk_flag=="low" ? -2 : 0))',
    "gift_required==0.0 ? 0 : (gift_sent>=gift_required ? 3 : "
    "-int(5.0*(gift_required-gift_sent)/gift_required+0.5))",
    "promo_count>2.0 && goods_amount>0.0 && (shop_discount+platform_discount+coupon_discount)"
    f"/goods_amount>0.3 ? -25 : (promo_count>3.0 && !(created_at>={DAY1111} && "
    f"created_at<{DAY1111 + 1}) ? -5 : 0)",
    'size(S(receiver_phone))==11 && S(receiver_phone).startsWith("1") && '
    '!S(receiver_phone).contains("*") ? 2 : (S(receiver_phone).contains("*") ? -1 : -3)',
    'status=="paid" && synced_wms_at == null ? (paid_at == null || (now-paid_at)*4.0>=19.5 ? -20 : '
    "-int((now-paid_at)*4.0+0.5)) : (promise_ship_at != null && shipped_at == null && "
    "promise_ship_at<now ? -10 : 0)",
)

_PYTHON_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "LEN": lambda text: len(text) if text else 0,
    "BLANK": lambda value: value is None,
    "ABS": abs,
    "N": lambda value: 0.0 if value is None else value,
    "LOWER": lambda text: text.lower() if text else "",
    "ROUND": xround,
    "MIN": min,
    "SHARE": lambda part, whole: part / whole if whole else 0.0,
    "MMDD": lambda serial: "1111" if DAY1111 <= serial < DAY1111 + 1 else "",
    "LEFT": lambda text, count: text[:count] if text else "",
    "HAS": lambda text, part: part in text if text else False,
}


def make_simpleeval() -> Score:
    """Bare simpleeval over trees parsed once; formulas in Python's own syntax."""
    from simpleeval import SimpleEval

    evaluator = SimpleEval(functions=_PYTHON_FUNCTIONS)
    parsed = [(text, evaluator.parse(text)) for text in PYTHON]

    def score(order: dict[str, Any]) -> tuple[Any, ...]:
        evaluator.names = order
        return tuple([evaluator.eval(text, previously_parsed=tree) for text, tree in parsed])

    return score


def make_zen() -> Score | str:
    """zen-engine: twelve compiled expressions."""
    try:
        import zen
    except ImportError:
        return "not installed"
    compiled = [zen.compile_expression(text) for text in ZEN]

    def score(order: dict[str, Any]) -> tuple[Any, ...]:
        return tuple([expression.evaluate(order) for expression in compiled])

    return score


def make_cel() -> Score | str:
    """Rust CEL: twelve programs over one context per order."""
    try:
        import cel
    except ImportError:
        return "not installed"
    # A missing text is written out, since CEL has no function of its own for it.
    written = [_write_missing(text) for text in CEL]
    programs = [cel.compile(text) for text in written]

    def score(order: dict[str, Any]) -> tuple[Any, ...]:
        context = cel.Context(variables=order)
        return tuple([program.execute(context) for program in programs])

    return score


def _write_missing(text: str) -> str:
    return re.sub(r"S\((\w+)\)", r'(\1 == null ? "" : \1)', text)
