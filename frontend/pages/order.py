"""One order: what is wrong, what it costs, how long is left; why; what to press; the evidence."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import path, reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET, require_POST

from config.errors import NotFound, WrongState, gettext_noop
from config.tenancy.roles import RELEASE_HOLD, REPAIR, VIEW_ORDERS, WRITE_RULES, check_right
from connectors.orders.models import (
    Order,
    OrderLine,
    Payment,
    Receipt,
)
from connectors.orders.services import list_nodes
from connectors.orders.statuses import (
    GROUP_LABELS,
    PAYMENT_LABELS,
    PRESALE_LABELS,
    REFUND_LABELS,
    STAGE_LABELS,
    Stage,
)
from frontend.context import find_url
from frontend.drawings import draw_ring
from frontend.pages import check_trials
from frontend.pages.order_timeline import build_timeline
from frontend.wording import (
    describe_band,
    describe_fen,
    describe_score,
)
from rules_engine.scoring.models import Score, ScoreChange
from workflows.interventions.effects import list_effects
from workflows.interventions.models import Alert, Hold, Repair
from workflows.interventions.services import release_hold
from workflows.patrol.services import repair_order, wake_holds
from workflows.rollup.services import amount_of, get_newest_snapshot, reason_of

CHANGES_SHOWN = 60
_FAILING = ("fail", "partial", "insufficient")


def get_order(public_id: str) -> Order:
    """The order of this id in the environment in force; DoesNotExist when absent or foreign."""
    order: Order = Order.objects.select_related("shop", "source").get(public_id=public_id)
    return order


@login_required
@require_GET
def order_detail(request: Any, public_id: str) -> HttpResponse:
    """The page of one order (a fixed number of queries)."""
    check_right(request.rights, VIEW_ORDERS)
    now = timezone.now()
    order = get_order(public_id)
    score = Score.objects.select_related("version").filter(order=order).first()
    changes = list(
        ScoreChange.objects.filter(order=order)
        .select_related("version")
        .order_by("-at", "-id")[:CHANGES_SHOWN]
    )
    holds = list(
        Hold.objects.filter(order=order)
        .select_related("placed_by", "released_by")
        .order_by("-placed_at")
    )
    alerts = list(Alert.objects.filter(order=order).order_by("opened_at"))
    repairs = list(Repair.objects.filter(order=order).select_related("actor").order_by("at"))
    nodes = list_nodes()
    labels = {n.code: _(n.label) for n in nodes}
    dwell = {n.code: n.dwell_minutes for n in nodes}
    hold = next((h for h in holds if h.released_at is None), None)
    dimensions = _list_dimensions(score)
    context = {
        "order": order,
        "now": now,
        "crumbs": [(_("订单"), reverse("order_list")), (order.order_no, None)],
        "score": score,
        "is_scored": score is not None and bool(score.band),
        "ring": draw_ring(score.score_hundredths) if score else draw_ring(0),
        "headline": _write_headline(order, score),
        "dimensions": dimensions,
        "main_key": next((d["key"] for d in dimensions if d["is_main"]), ""),
        "sum_text": _write_sum(score),
        "same_cause": _find_same_cause(score),
        "amount_fen": amount_of(order),
        "tags": _list_tags(order),
        "is_unmapped": order.stage == Stage.UNKNOWN,
        "node_label": labels.get(order.node, ""),
        "node_dwell": dwell.get(order.node),
        "hold": hold,
        "effects": list_effects([hold]).get(hold.pk, []) if hold else [],
        "last_repair": repairs[-1] if repairs else None,
        "timeline": build_timeline(
            order, changes=changes, holds=holds, alerts=alerts, repairs=repairs
        ),
        "lines": list(OrderLine.objects.filter(order=order).order_by("line_id")),
        "payments": _list_payments(order),
        "receipts": list(
            Receipt.objects.filter(order=order).select_related("source").order_by("source__kind")
        ),
        "money": _list_money(order),
        "receiver": order.mask_receiver(),
        "may_repair": REPAIR in request.rights,
        "may_release": RELEASE_HOLD in request.rights,
        "may_write": WRITE_RULES in request.rights and find_url("check_list"),
    }
    return render(request, "orders/detail.html", context)


def _write_headline(order: Order, score: Score | None) -> str:
    if score is None or not score.band:
        return _("还没有评分：巡检每分钟看一次，稍候刷新")
    if score.band == "healthy" and not score.needs_intervention:
        return _("一切正常") if order.is_open else _("订单已结束")
    return reason_of(score, score.cause) or score.cause or _("未归因")


def _write_sum(score: Score | None) -> str:
    """20 + 0 + 25 + 15 + 10 = 70 → 封顶 49."""
    if score is None or not score.dimensions:
        return ""
    parts = " + ".join(describe_score(d["points_hundredths"]) for d in score.dimensions)
    text = f"{parts} = {describe_score(score.uncapped_hundredths)}"
    if score.score_hundredths != score.uncapped_hundredths:
        text += " → " + _("封顶 %(n)s") % {"n": describe_score(score.score_hundredths)}
    return text


def _list_dimensions(score: Score | None) -> list[dict[str, Any]]:
    """Rows as stored; the one behind the cause is the main one, and opens its formula."""
    if score is None:
        return []
    failing = [d for d in score.dimensions if d["result"] in _FAILING]
    named = [d for d in failing if d["cause"] and d["cause"] == score.cause] or failing
    main = max(named, key=lambda d: (d["is_capping"], d["max"]), default=None)
    return [row | {"is_main": row is main} for row in score.dimensions]


def _find_same_cause(score: Score | None) -> dict[str, Any] | None:
    """How many orders share the cause, from the newest snapshot, and their list."""
    snapshot = get_newest_snapshot()
    if score is None or not score.cause or snapshot is None:
        return None
    row = next((c for c in snapshot.figures["causes"] if c["cause"] == score.cause), None)
    if row is None or row["count"] < 2:
        return None
    address = urlencode({"cause": score.cause, "as_of": snapshot.at.isoformat()})
    return row | {"url": f"{reverse('order_list')}?{address}"}


# Flags that are said by their name alone.
_FLAGS: dict[str, Any] = {
    "partial_refund": gettext_lazy("部分退款"),
    "address_change_pending": gettext_lazy("地址修改待确认"),
    "oversold": gettext_lazy("超卖"),
    "buyer_urged": gettext_lazy("买家催发货"),
    "is_credit_pay": gettext_lazy("先用后付"),
    "is_cod": gettext_lazy("货到付款"),
}


def _list_tags(order: Order) -> list[str]:
    """What the channel, the gateway and the flags say, in a word each."""
    stage = _(STAGE_LABELS[order.stage])
    tags = [str(order.shop), _("渠道：%(stage)s") % {"stage": stage}]
    if order.raw_status and order.raw_status != stage:
        tags.append(_("平台状态：%(status)s") % {"status": order.raw_status})
    if order.gateway_status:
        label = _(PAYMENT_LABELS.get(order.gateway_status, order.gateway_status))
        tags.append(_("网关：%(status)s") % {"status": label})
    for value, labels in (
        (order.presale_phase, PRESALE_LABELS),
        (order.refund_state, REFUND_LABELS),
        (order.group_state, GROUP_LABELS),
    ):
        if value:
            tags.append(_(labels.get(value, value)))
    if order.risk_state:
        tags.append(_("风控：%(words)s") % {"words": order.risk_state})
    if order.platform_hold:
        tags.append(_("平台暂停：%(words)s") % {"words": order.platform_hold})
    tags += [str(label) for name, label in _FLAGS.items() if getattr(order, name)]
    if order.is_history and not order.is_watched:
        tags.append(_("历史导入，不告警不挂起"))
    return tags


def _list_payments(order: Order) -> list[Any]:
    rows = list(
        Payment.objects.filter(order=order).select_related("source").order_by("paid_at", "id")
    )
    for row in rows:
        row.status_label = _(PAYMENT_LABELS.get(row.status, row.status))
    return rows


def _list_money(order: Order) -> list[tuple[str, str]]:
    """The amounts the channel told, in the order they add up."""
    rows = (
        (_("商品"), order.goods_fen, ""),
        (_("运费"), order.freight_fen, ""),
        (_("店铺优惠"), order.shop_discount_fen, "−"),
        (_("平台优惠"), order.platform_discount_fen, "−"),
        (_("优惠券"), order.coupon_fen, "−"),
        (_("应付"), order.payable_fen, ""),
        (_("实付"), order.paid_fen, ""),
        (_("网关实收"), order.gateway_paid_fen, ""),
        (_("定金"), order.deposit_fen, ""),
        (_("尾款"), order.balance_fen, ""),
        (_("已退款"), order.refunded_fen, ""),
    )
    return [
        (label, (sign if fen else "") + describe_fen(abs(fen) if sign else fen))
        for label, fen, sign in rows
        if fen is not None
    ]


# --- the formula of one row -------------------------------------------------------------------


@login_required
@require_POST
def order_repair(request: Any, public_id: str) -> HttpResponse:
    """Read the order again from its sources, score it, and say what came of it."""
    check_right(request.rights, REPAIR)
    order = get_order(public_id)
    repaired = repair_order(
        order, environment=request.environment, actor=request.user, now=timezone.now()
    )
    if not repaired.after_band:
        messages.warning(request, _("还没有已发布的检查项，无法评分"))
    else:
        score = f"{describe_band(repaired.after_band)} {describe_score(repaired.after_hundredths)}"
        if repaired.is_mended and repaired.was_released:
            messages.success(request, _("已修复：现在是%(score)s，挂起已解除") % {"score": score})
        elif repaired.is_mended:
            messages.success(request, _("已修复：现在是%(score)s") % {"score": score})
        elif repaired.has_changed:
            words = _("数据有更新，但还没好：现在是%(score)s") % {"score": score}
            messages.warning(request, words)
        else:
            words = _("来源没有新数据，评分不变：%(score)s") % {"score": score}
            messages.warning(request, words)
    return redirect("order_detail", public_id=order.public_id)


@login_required
@require_POST
def order_release(request: Any, public_id: str) -> HttpResponse:
    """Release the order's hold, with the reason a person gives."""
    check_right(request.rights, RELEASE_HOLD)
    order = get_order(public_id)
    hold = Hold.objects.filter(order=order, released_at__isnull=True).first()
    reason = request.POST.get("reason", "").strip()[:200]
    if hold is None:
        raise WrongState(gettext_noop("这张订单现在没有挂起，可能别人已经解除"))
    if not reason:
        messages.error(request, _("请写明解除挂起的理由"))
    else:
        release_hold(hold, actor=request.user, reason=reason, now=timezone.now())
        wake_holds(request.environment)
        messages.success(request, _("已解除挂起"))
    return redirect("order_detail", public_id=order.public_id)


@login_required
@require_GET
def order_trace(request: Any, public_id: str, key: str) -> HttpResponse:
    """Every part of one dimension's formula with its value, as the order was scored."""
    check_right(request.rights, VIEW_ORDERS)
    order = get_order(public_id)
    score = Score.objects.select_related("version").filter(order=order).first()
    rows = score.version.content["dimensions"] if score and score.version else []
    dimension = next((d for d in rows if d["key"] == key), None)
    if dimension is None or score is None or score.scored_at is None:
        raise NotFound(gettext_noop("这条检查不在给这张订单评分的规则里"))
    tree = check_trials.trace(dimension, order=order, now=score.scored_at)
    context = {"tree": tree, "order": order, "dimension": dimension}
    return render(request, "orders/trace.html", context)


urlpatterns = [
    path("orders/<str:public_id>/", order_detail, name="order_detail"),
    path("orders/<str:public_id>/repair/", order_repair, name="order_repair"),
    path("orders/<str:public_id>/release/", order_release, name="order_release"),
    path("orders/<str:public_id>/trace/<str:key>/", order_trace, name="order_trace"),
]
