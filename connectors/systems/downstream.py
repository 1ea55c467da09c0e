"""The one function that pushes an order downstream. It refuses held orders.

Holds live further down the river, so their package registers the question "which of these are
held?" here; with nobody to ask, nothing is pushed. Systems that take orders register a writer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from django.db import transaction

from config.errors import WrongState, gettext_noop
from connectors.orders.models import Order

HoldCheck = Callable[[Sequence[int]], set[int]]
Writer = Callable[[Order, datetime], None]

_hold_checks: list[HoldCheck] = []
_writers: dict[str, Writer] = {}


def register_hold_check(check: HoldCheck) -> None:
    """Name the function that tells which orders are held; called once, from AppConfig.ready()."""
    _hold_checks[:] = [check]


def register_writer(kind: str, writer: Writer) -> None:
    """Connect a system ("oms", "wms") that takes orders from us."""
    _writers[kind] = writer


def has_writer() -> bool:
    """Whether any system takes orders from us: without one, a hold holds on our side only."""
    return bool(_writers)


def push_order(order_id: int, *, kind: str, now: datetime) -> None:
    """Hand one order to the system of this kind, in the scope in force.

    The order's row stays locked from the question to the end of the push, and placing a hold takes
    the same lock: an order is pushed before it is held or not at all. Raises WrongState when the
    order is held (`held`) or no such system is connected (`not_connected`).
    """
    with transaction.atomic():
        order = Order.objects.select_for_update(of=("self",), no_key=True).get(pk=order_id)
        if not _hold_checks or _hold_checks[0]([order.pk]):
            raise WrongState(
                gettext_noop("订单 %(order_no)s 已挂起，不能下发。请先写明原因解除挂起"),
                code="held",
                order_no=order.order_no,
            )
        writer = _writers.get(kind)
        if writer is None:
            raise WrongState(
                gettext_noop("还没有接通可以下发订单的 %(kind)s，请在对应系统里处理"),
                code="not_connected",
                kind=kind.upper(),
            )
        writer(order, now)
