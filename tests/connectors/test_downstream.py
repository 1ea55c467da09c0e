"""The one function that pushes an order downstream refuses what is held."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from config.errors import WrongState
from connectors.systems import downstream
from tests.factories import NOW, for_environment, make_order, make_world

pytestmark = pytest.mark.django_db


@pytest.fixture
def pushed(monkeypatch):
    """An OMS that remembers what it was given, and a set of held orders."""
    seen, held = [], set()
    monkeypatch.setattr(downstream, "_writers", {"oms": lambda order, now: seen.append(order.pk)})
    monkeypatch.setattr(downstream, "_hold_checks", [lambda ids: held & set(ids)])
    return seen, held


def test_an_order_that_is_not_held_is_pushed(pushed):
    seen, _ = pushed
    with for_environment(make_world().production):
        order = make_order()
        downstream.push_order(order.pk, kind="oms", now=NOW)
    assert seen == [order.pk]


def test_a_held_order_is_refused_and_nothing_is_sent(pushed):
    seen, held = pushed
    with for_environment(make_world().production):
        order = make_order()
        held.add(order.pk)
        with pytest.raises(WrongState) as caught:
            downstream.push_order(order.pk, kind="oms", now=NOW)
    assert caught.value.code == "held"
    assert order.order_no in caught.value.text
    assert seen == []


def test_without_anybody_to_ask_nothing_is_pushed(pushed, monkeypatch):
    seen, _ = pushed
    monkeypatch.setattr(downstream, "_hold_checks", [])
    with for_environment(make_world().production), pytest.raises(WrongState):
        downstream.push_order(make_order().pk, kind="oms", now=NOW)
    assert seen == []


def test_a_system_that_is_not_connected_is_named(pushed):
    with for_environment(make_world().production), pytest.raises(WrongState) as caught:
        downstream.push_order(make_order().pk, kind="wms", now=NOW)
    assert caught.value.code == "not_connected"
    assert "WMS" in caught.value.text


def test_an_order_of_another_environment_does_not_exist_here(pushed):
    from connectors.orders.models import Order

    seen, _ = pushed
    world = make_world()
    with for_environment(world.other):
        foreign = make_order()
    with for_environment(world.production), pytest.raises(Order.DoesNotExist):
        downstream.push_order(foreign.pk, kind="oms", now=NOW)
    assert seen == []


def test_nothing_else_reaches_for_the_writers():
    """A second way out would be a way round the holds."""
    root = Path(__file__).resolve().parents[2]
    for folder in ("config", "connectors", "rules_engine", "workflows", "frontend"):
        for path in (root / folder).rglob("*.py"):
            if path.name == "downstream.py":
                continue
            names = {
                n.attr
                for n in ast.walk(ast.parse(path.read_text()))
                if isinstance(n, ast.Attribute)
            }
            assert "_writers" not in names, path
