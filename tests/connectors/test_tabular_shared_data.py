"""The two real sets of files, whole: counts and the check figures of shared/data/README.md."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.db.models import F, Sum
from django.db.models.functions import Abs, Coalesce

from config.tenancy.scope import for_environment
from connectors.orders.models import Order, OrderLine, Payment, Receipt
from connectors.shops.models import Shop, Source
from connectors.tabular.mapping import find_files, load_mapping
from connectors.tabular.services import run_import

pytestmark = [pytest.mark.shared_data, pytest.mark.slow, pytest.mark.django_db]
DATA = Path(__file__).resolve().parent.parent / "data"
AS_OF = datetime(2025, 11, 11, 6, 32, tzinfo=UTC)


def test_a_promo_day_comes_in_whole_and_a_second_import_changes_nothing(world, shared_data):
    mapping = load_mapping(DATA / "promo_mapping.yaml")
    files = find_files(mapping, shared_data / "promo" / "day")
    arguments = {"mapping": mapping, "files": files, "complete_until": AS_OF, "now": AS_OF}

    run = run_import(world.production, **arguments)

    assert (run.state, run.counts["bad_rows"], run.notices) == ("done", 0, [])
    with for_environment(world.production):
        assert Order.objects.count() == 6000
        assert OrderLine.objects.count() == 10_043
        assert Payment.objects.filter(is_gateway=True, order__isnull=False).count() == 377
        assert Receipt.objects.filter(order__isnull=False).count() == 4765 + 4471
        assert Shop.objects.count() == 14
        assert Order.objects.filter(is_history=False).count() == 0
        assert Counter(Order.objects.values_list("stage", flat=True)) == {
            "shipped": 3209,
            "await_ship": 1658,
            "closed_refunded": 425,
            "closed_unpaid": 263,
            "await_pay": 206,
            "deposit_paid": 201,
            "await_group": 38,
        }
        # An order cancelled after payment is not one that never paid.
        assert Order.objects.filter(is_cod=True).count() == 72
        assert Order.objects.exclude(risk_state="").count() == 68
        assert Order.objects.filter(presale_phase="balance_paid").count() == 83
        assert set(Source.objects.values_list("kind", "complete_until")) == {
            (kind, AS_OF) for kind in ("channel", "gateway", "oms", "wms")
        }
        before = set(Order.objects.values_list("order_no", "revision", "received_at"))

    run = run_import(world.production, **arguments)

    assert (run.counts["orders_unchanged"], run.counts["records_unchanged"]) == (6000, 9613)
    assert (run.counts["orders_new"], run.counts["orders_updated"]) == (0, 0)
    with for_environment(world.production):
        assert set(Order.objects.values_list("order_no", "revision", "received_at")) == before


@pytest.mark.any_database
def test_the_olist_files_come_in_with_their_check_figures(world, shared_data):
    mapping = load_mapping(DATA / "olist_mapping.yaml")
    files = find_files(mapping, shared_data / "data" / "olist")

    run = run_import(
        world.production, mapping=mapping, files=files, complete_until=AS_OF, now=AS_OF
    )

    assert (run.state, run.counts["bad_rows"]) == ("done", 0)
    with for_environment(world.production):
        orders = Order.objects.all()
        assert orders.count() == 8135
        assert OrderLine.objects.count() == 8365
        assert Payment.objects.count() == 8924
        assert Counter(orders.values_list("raw_status", flat=True)) == {
            "delivered": 5172,
            "shipped": 1107,
            "canceled": 625,
            "unavailable": 609,
            "invoiced": 314,
            "processing": 301,
            "created": 5,
            "approved": 2,
        }
        # Joined here, not in SQL: inside a test's transaction PostgreSQL has no statistics.
        lines = list(
            OrderLine.objects.values_list(
                "order_id", "seller", "category", "weight_g", "length_cm", "width_cm", "height_cm"
            )
        )
        ids = set(orders.values_list("pk", flat=True))
        assert len(ids - {line[0] for line in lines}) == 775
        assert ids == set(Payment.objects.values_list("order_id", flat=True))
        assert Payment.objects.aggregate(sum=Sum("amount_fen"))["sum"] == 142_860_281
        assert Counter(Payment.objects.values_list("method", flat=True)) == {
            "credit_card": 6255,
            "boleto": 1580,
            "voucher": 964,
            "debit_card": 122,
            "not_defined": 3,
        }
        assert orders.filter(approved_at=None).count() == 146
        assert orders.filter(approved_at__isnull=False, shipped_at=None).count() == 1636
        assert orders.filter(shipped_at__lt=F("approved_at")).count() == 77
        assert orders.filter(delivered_at__lt=F("shipped_at")).count() == 3
        assert orders.filter(delivered_at__gt=F("estimated_delivery_at")).count() == 415
        sellers = Counter(order for order, _ in {line[:2] for line in lines})
        assert sum(count > 1 for count in sellers.values()) == 71
        assert len({line[0] for line in lines if not all(line[2:])}) == 142
        gaps = _gaps()
        assert (sum(g > 1 for g in gaps), sum(g > 100 for g in gaps)) == (26, 21)
        assert orders.filter(province=None).count() == 0
        assert orders.filter(postcode__startswith="0").count() > 0


def _gaps() -> list[int]:
    """|paid - goods - freight| in cents, over orders with lines."""
    goods = dict(
        OrderLine.objects.values("order_id")
        .annotate(sum=Sum(F("price_fen") + Coalesce(F("freight_fen"), 0)))
        .values_list("order_id", "sum")
    )
    paid = dict(
        Payment.objects.values("order_id")
        .annotate(sum=Sum(Abs("amount_fen")))
        .values_list("order_id", "sum")
    )
    return [abs(paid[key] - total) for key, total in goods.items()]
