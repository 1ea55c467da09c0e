"""Orders and scores over the API: what is told, masked, filtered, followed; and only one's own."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from config.tenancy.models import Environment
from config.tenancy.services import create_scope_key
from connectors.orders.models import Order
from connectors.orders.services import receive
from connectors.shops.models import SourceKind
from rules_engine.scoring.models import Score, ScoreChange
from tests.factories import (
    NOW,
    CanonicalPayment,
    CanonicalReceipt,
    World,
    canonical_order,
    for_environment,
    make_order,
    make_sources,
)

pytestmark = pytest.mark.django_db


def _score(order: Order, *, band: str, cause: str = "", points: int = 4900) -> None:
    """A score in force since NOW, healthy before."""
    Score.objects.create(
        order=order,
        score_hundredths=points,
        uncapped_hundredths=7000,
        cap_hundredths=4900,
        band=band,
        cause=cause,
        sum_text="70 → 49",
        dimensions=[{"key": "callback", "name": "支付回调", "result": "fail"}],
        needs_intervention=band != "healthy",
        revision=order.revision,
        scored_at=NOW,
    )
    for at, until, value, name in (
        (NOW - timedelta(minutes=20), NOW, 10000, "healthy"),
        (NOW, None, points, band),
    ):
        ScoreChange.objects.create(
            order=order,
            at=at,
            until=until,
            score_hundredths=value,
            band=name,
            cause=cause if until is None else "",
            why="clock",
            revision=order.revision,
        )


def _make(environment: Environment, **changes: Any) -> Order:
    with for_environment(environment):
        return make_order(**changes)


def _get(api: Client, address: str = "/api/v1/orders/", **params: Any) -> Any:
    answer = api.get(address, params)
    assert answer.status_code == 200, answer.content
    return answer.json()


@pytest.fixture
def foreign(world: World) -> list[Order]:
    """The same order in the staging of the same division, and in another division."""
    orders = []
    for environment in (world.staging, world.other):
        order = _make(environment, order_no="SAME")
        with for_environment(environment):
            _score(order, band="red", cause="支付回调丢失")
        orders.append(order)
    return orders


def test_a_list_holds_the_orders_of_its_own_environment_only(
    api: Client, world: World, foreign: list[Order]
) -> None:
    own = _make(world.production, order_no="SAME")

    assert [o["id"] for o in _get(api)["results"]] == [own.public_id]
    assert [o["id"] for o in _get(api, order_no="SAME")["results"]] == [own.public_id]
    assert _get(api, band="red")["results"] == []
    assert _get(api, "/api/v1/scores/")["results"] == []


def test_an_order_of_another_environment_is_not_found(api: Client, foreign: list[Order]) -> None:
    for order in foreign:
        assert api.get(f"/api/v1/orders/{order.public_id}/").status_code == 404
        assert api.get(f"/api/v1/scores/{order.public_id}/").status_code == 404


def test_a_token_of_the_other_environment_sees_the_other_order(
    world: World, foreign: list[Order]
) -> None:
    _key, token = create_scope_key(world.other, name="童装")
    other = Client(headers={"Authorization": f"Bearer {token}"})

    assert [o["id"] for o in _get(other)["results"]] == [foreign[1].public_id]
    assert [s["order"] for s in _get(other, "/api/v1/scores/")["results"]] == [foreign[1].public_id]


def test_the_receiver_is_masked_everywhere(api: Client, world: World) -> None:
    order = _make(
        world.production,
        receiver_name="王小明",
        receiver_phone="13812345678",
        address_detail="文一西路 969 号 3 幢 501 室",
        remark="请打 13812345678 找王小明",
        custom={"note": "13812345678"},
        raw={"phone": "13812345678"},
    )

    listed = api.get("/api/v1/orders/")
    single = api.get(f"/api/v1/orders/{order.public_id}/")

    for answer in (listed, single):
        text = answer.content.decode()
        assert "13812345678" not in text
        assert "王小明" not in text
        assert "969" not in text
    receiver = single.json()["receiver"]
    assert receiver == {
        "name": "王**",
        "phone": "138****5678",
        "address": "文一西***",
        "province": "浙江省",
        "city": "杭州市",
        "district": "余杭区",
    }
    assert listed.json()["results"][0]["receiver"] == receiver


def test_an_order_comes_with_its_parts(api: Client, world: World) -> None:
    with for_environment(world.production):
        sources = make_sources()
        order = make_order(source=sources[SourceKind.CHANNEL], order_no="A1")
        receive(
            [CanonicalPayment("A1", "P9", "支付宝", "paid", 32700, NOW - timedelta(minutes=28))],
            source=sources[SourceKind.GATEWAY],
            now=NOW,
        )
        receive(
            [CanonicalReceipt("A1", received_at=NOW - timedelta(minutes=20))],
            source=sources[SourceKind.OMS],
            now=NOW,
        )
        order.refresh_from_db()
        _score(order, band="red", cause="支付回调丢失")

    body = _get(api, f"/api/v1/orders/{order.public_id}/")

    assert body["order_no"] == "A1"
    assert body["payable_fen"] == 32700
    assert body["placed_at"] == "2026-11-11T14:02:00+08:00"  # the environment's own zone
    assert [(x["sku"], x["quantity"], x["amount_fen"]) for x in body["lines"]] == [
        ("DR-0417-M", 1, 32700)
    ]
    assert [(p["payment_id"], p["source"], p["is_gateway"]) for p in body["payments"]] == [
        ("P9", "支付宝", True)
    ]
    assert [(r["source"], r["kind"]) for r in body["receipts"]] == [("OMS", "oms")]
    assert body["receipts"][0]["received_at"] == "2026-11-11T14:12:00+08:00"
    walked = [(p["node"], p["label"], p["left_at"] is None) for p in body["passages"]]
    assert walked[:3] == [
        ("placed", "下单", False),
        ("payment", "支付", False),
        ("callback", "支付回调", False),
    ]
    assert walked[-1] == ("oms_review", "OMS审单", True)
    assert body["node"] == "oms_review"
    assert body["score"] == {
        "score": "49.00",
        "uncapped": "70.00",
        "cap": "49.00",
        "sum": "70 → 49",
        "band": "red",
        "cause": "支付回调丢失",
        "needs_intervention": True,
        "is_silent": False,
        "rule_version": None,
        "revision": order.revision,
        "scored_at": "2026-11-11T14:32:00+08:00",
    }


def test_an_order_not_yet_scored_has_no_score(api: Client, world: World) -> None:
    order = _make(world.production)
    with for_environment(world.production):
        Score.objects.create(order=order)  # due, not scored

    assert _get(api)["results"][0]["score"] is None
    assert _get(api, f"/api/v1/orders/{order.public_id}/")["score"] is None
    body = _get(api, f"/api/v1/scores/{order.public_id}/")
    assert (body["current"], body["dimensions"], body["history"]) == (None, [], [])


def test_filters_narrow_the_list(api: Client, world: World) -> None:
    with for_environment(world.production):
        red = make_order(order_no="R1", channel="tmall")
        make_order(order_no="H1", channel="jd", shop="京东旗舰店")
        make_order(order_no="D1", channel="jd", shop="京东旗舰店", stage="delivered")
        _score(red, band="red", cause="支付回调丢失")

    def numbers(**params: str) -> list[str]:
        return [o["order_no"] for o in _get(api, **params)["results"]]

    assert numbers() == ["R1", "H1", "D1"]
    assert numbers(channel="jd") == ["H1", "D1"]
    assert numbers(channel="jd", stage="delivered") == ["D1"]
    assert numbers(band="red") == ["R1"]
    assert numbers(band="healthy") == []
    assert numbers(cause="支付回调丢失") == ["R1"]
    assert numbers(cause="支付回调") == []
    assert numbers(order_no="H1") == ["H1"]
    assert numbers(order_no="%") == []
    assert numbers(order_no="") == []  # an empty variable does not fetch everything
    assert numbers(updated_since=NOW.isoformat()) == ["R1", "H1", "D1"]
    assert numbers(updated_since=(NOW + timedelta(seconds=1)).isoformat()) == []
    assert numbers(updated_since="2026-11-11T06:32:00Z") == ["R1", "H1", "D1"]


@pytest.mark.parametrize(
    ("address", "params", "name"),
    [
        ("/api/v1/orders/", {"channel": "taobao"}, "channel"),
        ("/api/v1/orders/", {"stage": "paid"}, "stage"),
        ("/api/v1/orders/", {"band": "black"}, "band"),
        ("/api/v1/orders/", {"band": ""}, "band"),
        ("/api/v1/orders/", {"updated_since": ""}, "updated_since"),
        ("/api/v1/orders/", {"updated_since": "yesterday"}, "updated_since"),
        ("/api/v1/orders/", {"updated_since": "2026-11-11T00:00:00"}, "updated_since"),
        ("/api/v1/orders/", {"updated_since": "2026-13-45T99:00:00Z"}, "updated_since"),
        ("/api/v1/orders/", {"limit": "0"}, "limit"),
        ("/api/v1/orders/", {"limit": "501"}, "limit"),
        ("/api/v1/orders/", {"limit": "9" * 400}, "limit"),
        ("/api/v1/orders/", {"limit": "٣"}, "limit"),
        ("/api/v1/orders/", {"after": "x"}, "after"),
        ("/api/v1/scores/", {"band": "black"}, "band"),
        ("/api/v1/scores/", {"changed_since": "1"}, "changed_since"),
        ("/api/v1/scores/", {"after": "WzEsMl0"}, "after"),
    ],
)
def test_a_bad_parameter_is_named(
    api: Client, address: str, params: dict[str, str], name: str
) -> None:
    answer = api.get(address, params)

    assert answer.status_code == 400
    assert answer.json()["params"]["name"] == name
    assert answer.json()["code"] in {"bad_parameter", "bad_cursor"}


@pytest.mark.parametrize("nul", ["order_no", "cause"])
def test_a_nul_character_finds_nothing(api: Client, world: World, nul: str) -> None:
    _make(world.production)

    answer = api.get("/api/v1/orders/", {nul: "a\x00b"})

    assert answer.status_code == 400
    assert answer.json()["params"]["name"] == nul


def test_pages_cover_every_order_once(api: Client, world: World) -> None:
    with for_environment(world.production):
        source = make_sources()[SourceKind.CHANNEL]
        for minutes in (0, 0, 0, 1, 2):  # three share one moment
            records = [canonical_order(order_no=f"K{minutes}{n}") for n in range(3)]
            receive(records, source=source, now=NOW + timedelta(minutes=minutes))
        expected = list(
            Order.objects.order_by("received_at", "pk").values_list("order_no", flat=True)
        )

    seen, after, pages = [], "", 0
    while True:
        body = _get(api, limit=2, after=after)
        seen += [o["order_no"] for o in body["results"]]
        after, pages = body["next"], pages + 1
        if not body["has_more"]:
            break

    assert seen == expected
    assert pages == 5


def test_the_last_cursor_gets_only_what_changed_since(api: Client, world: World) -> None:
    with for_environment(world.production):
        make_order(order_no="OLD")
    first = _get(api)
    assert _get(api, after=first["next"]) == {
        "results": [],
        "next": first["next"],
        "has_more": False,
    }

    with for_environment(world.production):
        make_order(NOW + timedelta(minutes=1), order_no="NEW")
        make_order(NOW + timedelta(minutes=2), order_no="OLD", paid_fen=1)
    second = _get(api, after=first["next"])

    assert [o["order_no"] for o in second["results"]] == ["NEW", "OLD"]


def test_scores_are_told_in_the_order_they_changed(api: Client, world: World) -> None:
    with for_environment(world.production):
        for number, band in (("A", "red"), ("B", "yellow"), ("C", "red")):
            _score(make_order(order_no=number), band=band, cause="库存冲突", points=6999)

    body = _get(api, "/api/v1/scores/")

    assert [(s["order_no"], s["band"], s["score"], s["until"]) for s in body["results"]] == [
        ("A", "red", "69.99", None),
        ("B", "yellow", "69.99", None),
        ("C", "red", "69.99", None),
    ]
    reds = _get(api, "/api/v1/scores/", band="red", limit=1)
    assert [s["order_no"] for s in reds["results"]] == ["A"]
    rest = _get(api, "/api/v1/scores/", band="red", after=reds["next"])
    assert [s["order_no"] for s in rest["results"]] == ["C"]
    assert not _get(api, "/api/v1/scores/", changed_since="2026-11-12T00:00:00Z")["results"]
    assert len(_get(api, "/api/v1/scores/", cause="库存冲突")["results"]) == 3


def test_a_score_tells_its_history_oldest_first(api: Client, world: World) -> None:
    order = _make(world.production)
    with for_environment(world.production):
        _score(order, band="orange", cause="价格异常", points=5900)

    body = _get(api, f"/api/v1/scores/{order.public_id}/")

    assert body["order"] == order.public_id
    assert body["current"]["band"] == "orange"
    assert body["dimensions"][0]["name"] == "支付回调"
    assert [(c["band"], c["at"], c["until"]) for c in body["history"]] == [
        ("healthy", "2026-11-11T14:12:00+08:00", "2026-11-11T14:32:00+08:00"),
        ("orange", "2026-11-11T14:32:00+08:00", None),
    ]


def test_a_list_costs_the_same_queries_for_one_order_and_for_many(
    api: Client, world: World, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    with for_environment(world.production):
        order = make_order()
        _score(order, band="red")
    api.get("/api/v1/orders/")  # notes the use of the token

    scope = 4 if connection.vendor == "postgresql" else 0  # savepoint, tenant, tenant, release
    addresses = {
        "/api/v1/orders/": 1,
        "/api/v1/scores/": 1,
        f"/api/v1/orders/{order.public_id}/": 6,
        f"/api/v1/scores/{order.public_id}/": 2,
    }
    for many in (False, True):
        if many:
            with for_environment(world.production):
                source = make_sources()[SourceKind.CHANNEL]
                receive([canonical_order() for _ in range(40)], source=source, now=timezone.now())
                for other in Order.objects.exclude(pk=order.pk):
                    _score(other, band="red")
        for address, queries in addresses.items():
            with django_assert_num_queries(1 + queries + scope):
                assert api.get(address).status_code == 200


def test_times_follow_the_environments_zone(api: Client, world: World) -> None:
    world.production.time_zone = "America/New_York"
    world.production.save()
    _make(world.production, placed_at=datetime.fromisoformat("2026-11-11T06:02:00+00:00"))

    assert _get(api)["results"][0]["placed_at"] == "2026-11-11T01:02:00-05:00"
